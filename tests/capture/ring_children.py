"""What the processes of test_ring_processes.py run."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection

import numpy as np

from capture import codec, ring_writer
from capture.ring import RingReader, RingRef, RingWriter, TornItem


def content(n: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """What item `n` holds: its number, over and over, in a length of its own."""
    return np.full(1000 + 37 * (n % 101), n, np.uint32)


def write_then_die_in_an_item(ref: RingRef, whole: int) -> None:
    """Write items whole, then be killed when half of the next one is in place."""
    w = RingWriter(ref)
    for n in range(whole):
        w.write("x", {"n": n}, [content(n)])
    place = codec.place

    def half(p: codec.Plan, arrays: object, into: memoryview) -> None:
        place(p, arrays, into)  # type: ignore[arg-type]
        into[p.size // 2 :] = bytes(p.size - p.size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    ring_writer.codec.place = half  # type: ignore[assignment]
    w.write("x", {"n": whole}, [content(whole)])


def lease_then_hang(ref: RingRef, name: str, ready: Connection) -> None:
    """Take an item and never give it back."""
    r = RingReader(ref, name)
    lease = r.next(30)
    assert lease.item is not None
    ready.send(lease.item.sequence)
    time.sleep(1000)


def write_many(ref: RingRef, count: int, pause_s: float, lossless: bool) -> None:
    """Write `count` items."""
    w = RingWriter(ref, lease_wait_s=0.0005)
    for n in range(count):
        w.write("x", {"n": n}, [content(n)], timeout_s=60.0 if lossless else 0.0)
        if pause_s:
            time.sleep(pause_s)
    w.close()


def read_all(ref: RingRef, name: str, count: int, how: str, result: Connection) -> None:
    """Read until `count` items are accounted for; report what was found."""
    r = RingReader(ref, name)
    result.send("attached")
    wrong = handed = told = torn = 0
    last = -1
    while r.stats().waiting or r.stats().read + r.stats().lost + r.stats().superseded < count:
        try:
            with r.newest(0.05) if how == "newest" else r.next(0.05) as item:
                if item is None:
                    continue
                if how == "slow":
                    time.sleep(0.002)
                a = item.arrays[0]
                # Garbage is allowed here as long as the end of the lease says so.
                good = (
                    item.header["n"] == item.sequence > last
                    and len(a) == len(content(item.sequence))
                    and bool((a == item.sequence).all())
                )
                told += item.lost_before
                last = item.sequence
        except TornItem:
            torn += 1
            continue
        handed += 1
        wrong += not good
    s = r.stats()
    result.send({"wrong": wrong, "handed": handed, "torn": torn, "told": told, "stats": s})
    r.close()
