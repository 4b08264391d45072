"""Is there room to go on writing a video, and to complete it?"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from recordings.recorder.disk import free_bytes

RESERVE_BYTES = 64 << 20
"""So much stays free for what is written at the end, and for others; on a disk with little room half of it."""
PICTURE_BYTES = 48
"""Of each picture in the index that completes an MP4, at most."""
_EVERY_S = 0.25


class DiskRoom:
    """Looks now and then how much is free.

    Args:
        folder: on the disk.
        free: bytes that are free there.
        every_s: between two looks.
    """

    def __init__(
        self, folder: Path, *, free: Callable[[Path], int] = free_bytes, every_s: float = _EVERY_S
    ) -> None:
        self._folder, self._free, self._every_s = folder, free, every_s
        self._reserve: int | None = None
        self._looked = 0.0
        self._short = False

    def short(self, pictures: int) -> bool:
        """Whether a video of so many pictures has to be completed now, as long as it still can be."""
        now = time.monotonic()
        if self._reserve is None or now - self._looked >= self._every_s:
            self._looked = now
            try:
                free = self._free(self._folder)
            except OSError:  # a disk that does not tell; writing to it tells
                return False
            if self._reserve is None:
                self._reserve = min(RESERVE_BYTES, free // 2)
            self._short = free < self._reserve + PICTURE_BYTES * pictures
        return self._short
