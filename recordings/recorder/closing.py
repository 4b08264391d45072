"""Recordings that have ended, each being closed by a thread of its own while the rings are read on."""

from __future__ import annotations

import threading
import time
from typing import Any

from recordings.recorder.take import Take


class Closings:
    """For one thread."""

    def __init__(self) -> None:
        self._all: list[_Closing] = []

    def begin(self, take: Take, why: str) -> None:
        """Write what waits and close, aside; `why`: what ended it early, "" for nothing."""
        take.stop()
        self._all.append(_Closing(take, why))

    @property
    def going(self) -> bool:
        """Some are not closed yet."""
        return any(c.thread.is_alive() for c in self._all)

    @property
    def queued(self) -> int:
        """Bytes that wait for the disk."""
        return sum(c.take.file.queued for c in self._all)

    @property
    def written(self) -> int:
        """Bytes that are on their way to the disk: while this grows, closing comes nearer to its end."""
        return sum(c.take.file.written for c in self._all)

    def ended(self) -> list[tuple[str, dict[str, Any]]]:
        """Folder and last health report of those that are closed; each is told once."""
        done = [c for c in self._all if not c.thread.is_alive()]
        self._all = [c for c in self._all if c not in done]
        return [(str(c.take.folder), c.health) for c in done]

    def give_up(self) -> None:
        """There is no time left: what waits is counted as lost."""
        for c in self._all:
            c.take.file.give_up()

    def wait(self, timeout_s: float) -> None:
        """Until all are closed, or so long."""
        deadline = time.monotonic() + timeout_s
        for c in self._all:
            c.thread.join(max(0.0, deadline - time.monotonic()))

    def join(self) -> None:
        """Until all are closed."""
        for c in self._all:
            c.thread.join()


class _Closing:
    def __init__(self, take: Take, why: str) -> None:
        self.take = take
        self.health: dict[str, Any] = {}
        self.thread = threading.Thread(target=self._close, args=(why,), name="closing", daemon=True)
        self.thread.start()

    def _close(self, why: str) -> None:
        self.health = self.take.finish(why)
