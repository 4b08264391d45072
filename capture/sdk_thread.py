"""A thread for the calls into a vendor's library, so that one which never returns holds up nobody.

Most libraries want all calls from one thread, and some calls wait for seconds for a device that is gone. A
caller here waits as long as it likes and no longer; the thread, a daemon, goes on to the call's end by itself.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from capture.errors import CameraLost

T = TypeVar("T")

_TURN_S = 0.2


class SdkThread:
    """Runs calls one after another. Not to be used after `finish`.

    Args:
        name: of the camera, for the thread's name and for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._hung = ""
        self._thread = threading.Thread(target=self._run, name=f"sdk {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            work, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as e:  # it belongs to the caller, whatever it is
                future.set_exception(e)

    @property
    def hung(self) -> bool:
        """A call did not come back in time; no other is tried."""
        return bool(self._hung)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have it called; the result in the future. For those who look later."""
        future: Future[T] = Future()
        self._calls.put((work, future))
        return future

    def call(
        self, work: Callable[[], T], timeout_s: float, what: str, waiting: Callable[[], None] | None = None
    ) -> T:
        """Call it and wait.

        Args:
            what: what it does, for the message: "setting the exposure".
            waiting: called several times a second meanwhile; what it raises ends the wait.

        Raises:
            CameraLost: it has not come back in time, or an earlier call has not.
            Anything that `work` raises.
        """
        if self._hung:
            raise CameraLost(self._hung)
        future = self.submit(work)
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0 and not future.done():
            wait([future], min(left, _TURN_S) if waiting is not None else left)
            if waiting is not None:
                waiting()
        if not future.done():
            future.cancel()  # if it still waits behind a call that hangs
            self._hung = f"{self.name}: the camera does not answer ({what} had no end after {timeout_s:g} s)"
            raise CameraLost(self._hung)
        return future.result()

    def finish(self, work: Callable[[], Any], timeout_s: float) -> bool:
        """Call it last and end the thread; True when both happened in time. Errors of `work` are dropped.

        Out of time it still happens, as soon as the calls before it have come back.
        """
        self.submit(work)
        self._calls.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
