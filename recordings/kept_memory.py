"""Freed memory stays with the process for a while, so that reading does not fetch every page anew.

The C library maps a large array when it is made and unmaps it when it is freed; each time the kernel clears
every page. For arrays of a few megabytes that live for milliseconds, which is what reading a recording makes,
it costs several times the copying itself. glibc learns: once a mapped block was freed, blocks up to its size
come from memory that is kept, and twice that much may stay unused (mallopt(3), M_MMAP_THRESHOLD). Other C
libraries do as they did.
"""

from __future__ import annotations

import numpy as np

# Just below glibc's largest threshold, 32 MiB.
_BLOCK_BYTES = 31 << 20


def keep_freed_memory() -> None:
    """Let blocks up to 31 MiB come from kept memory from now on; some microseconds, no memory touched."""
    del_me = np.empty(_BLOCK_BYTES, np.uint8)
    del del_me
