"""AEDAT4 read by one of the two readers of events alone; named by tests, run in the sandbox's child."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recordings.formats import aedat4_native
from recordings.formats.aedat4_native import Aedat4Server
from recordings.sandbox_child import Refused


class ByLibrary(Aedat4Server):
    """dv-processing alone."""

    def _streams(self, r: Any) -> None:
        super()._streams(r)
        self._one_of_events = False


class ByOwn(Aedat4Server):
    """Our own reader alone: where it would leave the rest to the library it refuses."""

    def __init__(self, path: str, scratch: str, exposure_us: int | None = None) -> None:
        super().__init__(path, scratch, exposure_us)
        aedat4_native.library_events = _refused


def _refused(*_: object, **__: object) -> Iterator[Any]:
    raise Refused("the library was asked")
