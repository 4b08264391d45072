"""Ctrl+C, SIGTERM, SIGHUP during a run: the step is finished and the state saved; a second one ends it at once.

A hangup that is ignored (nohup) stays so. The same signal twice in a moment is one: `timeout` sends SIGTERM to
the program and to the group that this is in, a closing terminal SIGHUP by its shell and by the kernel, and
Ctrl+C is pressed twice by impatience.
"""

from __future__ import annotations

import signal
import threading
from time import monotonic
from types import FrameType, TracebackType

from capture.hangup import hangup_counts

_MOMENT_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A run was stopped by a signal after its state was saved.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.number = number


class StopSignals:
    """Remembers the first signal, so that the run can end between two steps.

    Attributes:
        received: the signal's number; 0: none came.
    """

    def __init__(self) -> None:
        self.received = 0
        self._at = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # type: ignore[arg-type]

    def install(self) -> None:
        """Listen from now on. Called when steps begin: before that there is nothing to save."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if number != signal.SIGHUP or hangup_counts():
                    signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received == number and monotonic() - self._at < _MOMENT_S:
            return
        if self.received:
            raise KeyboardInterrupt
        self.received, self._at = number, monotonic()
