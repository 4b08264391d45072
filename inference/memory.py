"""Memory that is short, and memory that was freed.

A network on the CPU allocates and frees hundreds of megabytes a frame. The C library hands blocks of this size
back to the system at once, which then has to clear every page of them again: of a frame's time that is 5 to
20 %. glibc can be told to keep them.
"""

from __future__ import annotations

import ctypes
import gc
import sys

# Names and numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8

KEPT = 1 << 30  # bytes at most that stay unused with the process
_PAD = 64 << 20


def keep_freed_memory() -> bool:
    """Let the C library keep up to `KEPT` bytes that were freed, and serve all threads from one arena.

    Holds for the whole process; again changes nothing. Threads that have allocated before keep their arena,
    whose large blocks still go back to the system: call it before they start.

    Returns:
        whether it took effect: with glibc on Linux it does, elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    settings = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, KEPT), (_TRIM_THRESHOLD, KEPT), (_TOP_PAD, _PAD))
    taken = [bool(mallopt(name, value)) for name, value in settings]
    return all(taken)


def out_of_memory(e: BaseException) -> bool:
    """Whether an error says that memory is short: Python's, numpy's, or torch's on a GPU or a CPU."""
    if isinstance(e, MemoryError) or type(e).__name__ == "OutOfMemoryError":
        return True
    # torch has no class of its own for the CPU: "DefaultCPUAllocator: can't allocate memory".
    return isinstance(e, RuntimeError) and any(
        words in str(e) for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def give_memory_back() -> None:
    """Collect garbage, and let the GPU have back what torch keeps of its memory."""
    gc.collect()
    torch = sys.modules.get("torch")  # never imported for this: EDI runs without
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
