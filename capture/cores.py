"""How many cores this process may use: fewer than there are under `taskset`, Slurm or a container's cpuset."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """At least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
