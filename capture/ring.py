"""Shared-memory ring: one writer, several readers, items of any size, each item accounted for.

Writing never waits for ordinary readers: one that lags loses **old** items and knows how many. Reading is
zero-copy under a lease, or by copy. How overwriting and reading keep out of each other's way:

* `tail` is the oldest item that may still be taken. The writer moves it on before it needs the bytes.
* A reader publishes its lease (the item's number), then looks at `tail` again. If the item is behind it, the
  reader lets go and counts it lost; so no lease is taken on what is about to go.
* The writer waits up to `lease_wait_s` for leases on items behind `tail`, then lets them expire: capture
  goes on. It moves `floor` on and only then overwrites.
* Giving a lease back, the reader looks at `floor`: an item behind it was overwritten meanwhile, which
  raises `TornItem` instead of passing as data.

A writer killed in the middle of an item leaves the header's in-progress mark; the next writer closes that
item as aborted (readers skip and count it) and goes on with the next number.
"""

from __future__ import annotations

from capture.ring_memory import (
    ItemTooLarge,
    ReaderStats,
    RingLayout,
    RingMemory,
    RingRef,
    RingStalled,
    RingStats,
    TornItem,
    require_room,
)
from capture.ring_reader import Item, Lease, RingReader, wait_any
from capture.ring_segment import RingError
from capture.ring_writer import RingWriter

__all__ = [
    "Item",
    "ItemTooLarge",
    "Lease",
    "ReaderStats",
    "RingError",
    "RingLayout",
    "RingMemory",
    "RingReader",
    "RingRef",
    "RingStalled",
    "RingStats",
    "RingWriter",
    "TornItem",
    "require_room",
    "wait_any",
]
