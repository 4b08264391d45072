"""A child process that must not outlive its parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Arrange that this process, a `multiprocessing` child, is killed when its parent is gone.

    On Linux the kernel sees to it (`PR_SET_PDEATHSIG`), also when this process hangs in native code. Mind
    that it acts when the *thread* that started this process ends: start children from a thread that outlives
    them. Elsewhere a thread waits for the parent's end.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0:
            if os.getppid() != parent.pid:  # it went before the kernel was told
                os._exit(1)
            return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
