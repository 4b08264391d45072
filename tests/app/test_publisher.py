"""Numbers of published pictures, with the publishing process's own parts in this one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from app import publishing
from app.picture_reader import PictureReader
from app.publishing import PUBLISHER, PublishSpec
from capture.ring import RingLayout, RingMemory, RingRef
from inference.outcomes import Result
from inference.worker import PictureWriter
from tests.capture.fake_link import FakeLink
from tests.inference.restorers.rigs import noise_exposure, one_grid

RIG = one_grid(16, 12)


class Sent:
    """A socket that keeps what it is given; while `full` it takes nothing."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.full = False

    def send_multipart(self, parts: Any, *_: Any, **__: Any) -> None:
        if self.full:
            raise zmq.Again
        self.numbers.append(json.loads(parts[1])["number"])


class Audience:
    there = 0

    def count(self) -> int:
        return self.there


@pytest.fixture
def ring() -> Iterator[tuple[PictureWriter, PictureReader, RingRef]]:
    memory = RingMemory.create(RingLayout("pictures", 1 << 18, 64, (PUBLISHER,)))
    ref = RingRef(memory.name, "pictures")
    writer, reader = PictureWriter(ref), PictureReader(ref, RIG, PUBLISHER)
    yield writer, reader, ref
    reader.close()
    writer.close()
    memory.close()


def test_a_picture_that_was_not_sent_is_seen_by_the_numbers(
    ring: tuple[PictureWriter, PictureReader, RingRef], tmp_path: Path
) -> None:
    writer, reader, ref = ring
    sent, audience = Sent(), Audience()
    exposure = noise_exposure(RIG, n=10)

    def publish(n: int) -> None:
        for _ in range(n):
            writer.publish(Result(exposure, None, "no network", 0))

    def listen(there: int, *, full: bool = False, pictures: int = 0) -> None:
        audience.there, sent.full = there, full
        publish(pictures)

    steps = iter([
        lambda: listen(0, pictures=3), lambda: None, lambda: listen(1, pictures=1), lambda: None,
        lambda: listen(1, full=True, pictures=1), lambda: None, lambda: listen(1, pictures=1), lambda: None,
        lambda: listen(0, pictures=2), lambda: None, lambda: listen(1, pictures=1), lambda: None,
    ])  # fmt: skip

    def script(link: FakeLink) -> None:
        step = next(steps, None)
        link.stopping = step is None
        if step is not None:
            step()

    link = FakeLink(script)
    spec = PublishSpec(address=f"ipc://{tmp_path}/s", pictures=ref, rig=RIG, source="test")
    publishing._Publisher(link, spec, sent, audience, reader).run()  # type: ignore[arg-type]
    # Three for nobody, one that the socket did not take, two for nobody.
    assert sent.numbers == [4, 6, 9]
    assert link.figures["items"] == 9
