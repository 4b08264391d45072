"""A network that takes long to get ready: signs of life meanwhile, and the rings are held already."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from capture.camera import CameraState
from capture.errors import UsageError
from capture.link import WorkerLink
from capture.ring import RingLayout, RingMemory, RingRef
from inference import worker as worker_module
from inference.restore_stage import RestoreStage
from inference.worker import PREPARING, READER, RestoreWorkerSpec, _RestoreWorker
from sync.rig import Rig
from tests.capture.fake_link import FakeLink
from tests.capture.simulated_small import small
from tests.recordings.own_sample import rig_of_config


@pytest.fixture(scope="module")
def rig() -> Rig:
    return rig_of_config(small(paced=False))


@pytest.fixture
def rings() -> Iterator[list[RingMemory]]:
    made = [RingMemory.create(RingLayout(n, 1 << 20, 16, (READER,))) for n in ("events", "frames")]
    made.append(RingMemory.create(RingLayout("pictures", 1 << 20, 16, ("viewer",))))
    yield made
    for m in made:
        m.close()


def spec_of(rig: Rig, rings: list[RingMemory], **more: Any) -> RestoreWorkerSpec:
    events, frames, pictures = (RingRef(m.name, m.label) for m in rings)
    return RestoreWorkerSpec(rig, "none", events, frames, pictures, **more)


class Beats(FakeLink):
    """Counts the signs of life of one that starts."""

    starting, waited_with = 0, ""

    def beat(self, state: CameraState, detail: str = "", **figures: Any) -> None:
        self.starting += (state, detail) == (CameraState.STARTING, "preparing none")

    def wait_start(self, detail: str = "") -> int | None:
        self.waited_with = detail
        return super().wait_start(detail)


@pytest.mark.parametrize(
    ("incarnation", "every_item", "attached"), [(0, False, True), (1, False, False), (1, True, True)]
)
def test_it_says_that_it_lives_and_holds_the_rings(
    rig: Rig,
    rings: list[RingMemory],
    monkeypatch: pytest.MonkeyPatch,
    incarnation: int,
    every_item: bool,
    attached: bool,
) -> None:
    """With every item the writers give up on a reader that is gone for ten seconds."""
    there: list[bool] = []

    def slow(*a: Any, **k: Any) -> RestoreStage:
        there.append(rings[0].stats().reader(READER).pid != 0)
        time.sleep(0.35)
        return RestoreStage(*a, **k)

    monkeypatch.setattr(worker_module, "RestoreStage", slow)
    link = Beats(lambda link: setattr(link, "stopping", True), incarnation=incarnation)
    _RestoreWorker(cast(WorkerLink, link), spec_of(rig, rings, every_item=every_item)).run()
    assert link.starting >= 3
    assert there == [attached]
    # Other words than those that give a network minutes to be made: now others are waited for.
    assert link.waited_with
    assert not link.waited_with.startswith(PREPARING)


def test_one_that_takes_for_ever_falls_silent(
    rig: Rig, rings: list[RingMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*a: Any, **k: Any) -> RestoreStage:
        time.sleep(0.3)
        return RestoreStage(*a, **k)

    monkeypatch.setattr(worker_module, "RestoreStage", slow)
    monkeypatch.setattr(worker_module, "PREPARING_S", 0.0)
    link = Beats(lambda link: setattr(link, "stopping", True))
    _RestoreWorker(cast(WorkerLink, link), spec_of(rig, rings)).run()
    assert link.starting == 0


def test_what_cannot_be_made_is_told_as_before(rig: Rig, rings: list[RingMemory]) -> None:
    link = Beats(lambda link: None)
    with pytest.raises(UsageError, match="none"):
        _RestoreWorker(cast(WorkerLink, link), spec_of(rig, rings, options={"nothing": 1}))


def test_a_camera_that_comes_back_with_another_size_is_told_from_a_wrong_rig_file(
    rig: Rig, rings: list[RingMemory]
) -> None:
    worker = _RestoreWorker(cast(WorkerLink, Beats(lambda link: None)), spec_of(rig, rings))
    at = rig.events
    with pytest.raises(UsageError, match=rf"events are 1280×720, but the rig .* says {at.width}×{at.height}"):
        worker._check_size("events", 1280, 720, at)
    worker._check_size("events", at.width, at.height, at)
    with pytest.raises(UsageError, match=rf"1280×720 now and were {at.width}×{at.height}: another camera") as e:
        worker._check_size("events", 1280, 720, at)
    assert "open the rig file of this one" in str(e.value)
    worker._close()
