"""The shared memory that rings are made of: taken whole or not at all, and what to say where it is not."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import platform
import secrets
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from capture.errors import HalfmirrorError

PREFIX = "hm"  # of segments: with the process id and an underscore, and what tells them apart


class RingError(HalfmirrorError):
    """A ring cannot be made, attached, written or read."""


def remove_segments(pid: int) -> None:
    """Give back the memory of the rings that a process made, which is gone. For Linux; elsewhere nothing.

    The resource tracker does it, unless it was killed together with the process.
    """
    for segment in Path("/dev/shm").glob(f"{PREFIX}{pid}_*"):
        with contextlib.suppress(OSError):
            if segment.stat().st_uid == os.getuid():
                segment.unlink()


def segment(size: int, label: str) -> SharedMemory:
    """New shared memory; nothing of it stays where not all of it is to be had, or Ctrl+C comes meanwhile.

    Raises:
        RingError: see `RingMemory.create`.
    """
    try:
        shm = SharedMemory(name=f"{PREFIX}{os.getpid()}_{secrets.token_hex(6)}", create=True, size=size)
        try:
            _commit(shm.name, size)
        except BaseException:
            shm.close()
            shm.unlink()
            raise
    except OSError as e:
        what = f"ring {label!r}: {size / 2**20:.0f} MiB of shared memory are not to be had"
        raise RingError(f"{what} ({e.strerror}){_room(e, size)}") from None
    return shm


def why_gone() -> str:
    """Why a ring that a worker was given is not there."""
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        return "the process that owns it has ended"
    return (
        "its owner runs, but something has removed it from /dev/shm, as systemd does when you log out "
        "(loginctl enable-linger keeps it); begin anew"
    )


def _commit(name: str, size: int) -> None:
    """Take the memory now: a tmpfs that is full later would kill the writer with SIGBUS."""
    path = Path("/dev/shm") / name
    if not path.exists() or platform.system() != "Linux":
        return
    fd = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


def _room(error: OSError, size: int) -> str:
    """What is free where shared memory comes from, and what to do; "" where that is not what is amiss."""
    free = free_bytes()
    return "" if error.errno != errno.ENOSPC or free is None else advice(size, free)


def free_bytes() -> int | None:
    """Bytes that are free where shared memory comes from; None: nobody knows, or there is no limit."""
    if platform.system() != "Linux" or not os.path.exists("/dev/shm"):
        return None
    room = os.statvfs("/dev/shm")
    return room.f_bavail * room.f_frsize if room.f_blocks else None


def advice(need: int, free: int) -> str:
    """What is free and by how much it has to grow, as the rest of a message."""
    room = os.statvfs("/dev/shm")
    gib = -(-(room.f_blocks * room.f_frsize - free + need) // 2**30)  # with what others have taken there
    return (
        f"; {free / 2**20:.0f} MiB are free in /dev/shm: enlarge it (Docker: --shm-size={gib}g; else: "
        f"mount -o remount,size={gib}g /dev/shm)"
    )
