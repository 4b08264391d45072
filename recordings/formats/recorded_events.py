"""Events of a Prophesee RAW, DAT or AEDAT4 file as a `Source`, for a folder that has pictures beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.packets import EventPacket
from recordings.formats.aedat4 import Aedat4Recording
from recordings.formats.aedat4_container import MAGIC as AEDAT4_MAGIC
from recordings.formats.dataset_source import Edges, Found, FrameRefused, FrameTime, Piece, SourceFacts
from recordings.formats.prophesee_raw import PropheseeRecording
from recordings.recording import Recording, RecordingError
from recordings.sandbox_child import Refused


class RecordedEvents:
    """The events and edges of one file; its own frames, where it has any, are left out.

    Args:
        path: the file.
        stated: size of the sensor where the person gave it.
        start: its first bytes.
    """

    frames: list[FrameTime]

    def __init__(self, path: Path, stated: tuple[int, int] | None, start: bytes) -> None:
        self.frames = []
        self._path = path
        try:
            # AEDAT4's reader has a child of its own, which ends with this process.
            self._recording: Recording = (
                Aedat4Recording(path)
                if start.startswith(AEDAT4_MAGIC)
                else PropheseeRecording(path, geometry=stated)
            )
        except RecordingError as e:
            raise Refused(self._said(e)) from e
        i = self._recording.info
        problems = list(i.problems)
        if i.image_size is not None:
            problems.append(
                f"{path.name} has frames of its own, which are left out beside the folder's pictures"
            )
        self.facts = SourceFacts(
            format=i.format, event_size=i.event_size, image_size=None, start_us=i.start_us, end_us=i.end_us,
            camera=i.camera, has_triggers=i.has_triggers, problems=problems,
        )  # fmt: skip

    def _said(self, e: RecordingError) -> str:
        return str(e).replace(str(self._path), self._path.name)

    def image(self, index: int) -> NDArray[np.uint8]:
        """None."""
        raise FrameRefused("there are no frames")

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`."""
        try:
            for item in self._recording.items(start_us):
                if not isinstance(item, EventPacket):
                    continue
                e, edges = item.events, item.triggers
                if item.gap:
                    yield "events are missing there"
                if len(edges.t):
                    yield Edges(edges.t, edges.rising)
                if len(e):
                    yield Piece(e.t, e.x.astype(np.int16), e.y.astype(np.int16), e.p)
        except RecordingError as error:
            raise Refused(self._said(error)) from error
