"""What this process, or another, has in /dev/shm."""

from __future__ import annotations

import os
from pathlib import Path


def segments(pid: int | None = None) -> set[str]:
    """Names of the ring segments that a process made (this one by default)."""
    return {p.name for p in Path("/dev/shm").glob(f"hm{pid or os.getpid()}_*")}
