"""What ends beside the window, and what waits for that: a camera serves one program at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.viewer.words import sentence

AT_ONCE_S = 0.03  # what ends within this needs no waiting
LONGEST_S = 15.0


class Closing:
    """Ends sessions and previews one after another on a thread: a second of that would hold the window up.

    For the window's thread.

    Attributes:
        thread: that ends them, None when all have ended.
    """

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self._then: Callable[[], object] | None = None
        self._faults: list[str] = []

    @property
    def going(self) -> bool:
        """Something has not ended yet."""
        return self.thread is not None and self.thread.is_alive()

    def begin(self, stop: Callable[[], object]) -> None:
        """Have this end, after what ends already. Nothing else may use it any more."""
        before = self.thread

        def end() -> None:
            if before is not None:
                before.join()
            try:
                stop()
            except Exception as error:  # on a thread of its own: whatever it is, it must be seen
                self._faults.append(sentence(error))

        self.thread = threading.Thread(target=end, name="closing", daemon=True)
        self.thread.start()
        self.thread.join(AT_ONCE_S)

    def then(self, do: Callable[[], object]) -> None:
        """Do this once all has ended, in place of what was to be done then before; perhaps at once."""
        self._then = do
        self.look()

    def forget(self) -> None:
        """Nothing is to be done any more."""
        self._then = None

    def look(self) -> None:
        """Often: do what waits, if its time has come."""
        if self.going:
            return
        self.thread = None
        do, self._then = self._then, None
        if do is not None:
            do()

    def fault(self) -> str:
        """What went wrong at an end, one line, once; "" for nothing."""
        return self._faults.pop(0) if self._faults else ""

    def wait(self) -> None:
        """Until all has ended: the program is about to."""
        self.forget()
        if self.thread is not None:
            self.thread.join(LONGEST_S)
