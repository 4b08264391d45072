"""The container of our own recordings: a file of chunks that is only ever appended to.

One chunk holds one item (an event packet with its trigger edges and inertial samples, a frame, the end of a
stream) as the camera gave it, in the order in which it came:

    header   `HEADER`: what the chunk is, where it lies in time, lengths, checksums
    meta     msgpack: stamps and all that has no place in the header
    body     arrays one behind the other, little endian, C order

A checksum (CRC-32) covers the header, another one meta and body. So whatever was written before a writer was
killed or a disk filled up is found and known to be whole; a torn end is recognised and left out. The index
beside it (`INDEX`) repeats every header with its place, for seeking; it can be made anew from the chunks.

Events take 4 bytes (`own_events`); those that do not fit into it 8: time since the packet's first (µs) 4, x 2,
y with polarity in the highest bit 2; and those that do not fit into that 13. Version 1 had the latter two only.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from capture.codec import StreamEnd
from capture.errors import HalfmirrorError
from capture.packets import (
    EventPacket,
    Events,
    Frame,
    FrameClock,
    FrameKind,
    Inertial,
    PixelLayout,
    Rejected,
    TriggerEdges,
)
from recordings.formats.own_events import Packed, pack, unpack

MAGIC, VERSION = b"HMck", 2
READ = (1, VERSION)
EVENTS, FRAME, END = 1, 2, 3

HEADER = struct.Struct("<4sHHIIQQqqIIIIII")
"""magic, version, kind, bytes of meta, checksum of meta and body, bytes of body, number, first_us, until_us,
amount, edges, epoch, flags, lost, checksum of the header up to here."""
INDEX = np.dtype(
    {
        "names": ["offset", "magic", "version", "kind", "meta", "check", "body", "number", "first_us",
                  "until_us", "amount", "edges", "epoch", "flags", "lost", "head_check"],
        "formats": ["<u8", "S4", "<u2", "<u2", "<u4", "<u4", "<u8", "<u8", "<i8", "<i8", "<u4", "<u4", "<u4",
                    "<u4", "<u4", "<u4"],
        "offsets": [0, *(8 + o for o in (0, 4, 6, 8, 12, 16, 24, 32, 40, 48, 52, 56, 60, 64, 68))],
        "itemsize": 8 + HEADER.size,
    }
)  # fmt: skip
"""One row of the index: the chunk's place, then its header."""

UNKNOWN_US = -(2**63)
"""A frame that came before any events has no place on their clock."""
GAP, IMU, NO_EXPOSURE, RAW_TIMES, PACKED = 1, 2, 4, 8, 16
MAX_META, MAX_BODY = 1 << 20, 1 << 30
_TOP = np.uint16(0x8000)

Item = EventPacket | Frame | StreamEnd


class Damaged(HalfmirrorError):
    """Bytes that are not a sound chunk."""


class Head(NamedTuple):
    """A chunk's header.

    Attributes:
        kind: `EVENTS`, `FRAME` or `END`.
        meta, body: bytes of both parts; `check` is their checksum.
        number: consecutive from 0 in a file.
        first_us, until_us: event clock. Events: time of the first event or edge (none: as `until_us`), and
            `complete_until_us`. Frame: its exposure as far as known when it came (`place_of`).
        amount, edges: events and trigger edges; of a frame its bytes and 0.
        epoch: as in the packets.
        flags: `GAP`, `NO_EXPOSURE`; `PACKED`, `RAW_TIMES`: how events are kept; `IMU`: inertial samples lie
            behind the events.
        lost: items of this stream that the recorder lost right before this one.
    """

    kind: int
    meta: int
    check: int
    body: int
    number: int
    first_us: int
    until_us: int
    amount: int
    edges: int
    epoch: int
    flags: int
    lost: int

    @property
    def size(self) -> int:
        """Bytes of the whole chunk."""
        return HEADER.size + self.meta + self.body


@dataclass(slots=True)
class Draft:
    """An item packed for the disk, on memory of its own; number and checksums follow when it is written.

    `size` is the bytes that it will take.
    """

    kind: int
    meta: bytes
    parts: tuple[memoryview, ...]
    first_us: int
    until_us: int
    amount: int
    edges: int
    epoch: int
    flags: int
    lost: int = 0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = HEADER.size + len(self.meta) + sum(len(p) for p in self.parts)

    def sealed(self, number: int) -> bytes:
        """The header's bytes; reads all data once for the checksum."""
        check = zlib.crc32(self.meta)
        for p in self.parts:
            check = zlib.crc32(p, check)
        head = HEADER.pack(
            MAGIC, VERSION, self.kind, len(self.meta), check, sum(len(p) for p in self.parts), number,
            self.first_us, self.until_us, self.amount, self.edges, self.epoch, self.flags, self.lost, 0,
        )[:-4]  # fmt: skip
        return head + struct.pack("<I", zlib.crc32(head))


def resealed(head: Head, number: int, flags: int, lost: int) -> bytes:
    """The header's bytes of a chunk that gets another number, or marks of what is missing before it."""
    data = HEADER.pack(
        MAGIC, VERSION, head.kind, head.meta, head.check, head.body, number, head.first_us, head.until_us,
        head.amount, head.edges, head.epoch, flags, lost, 0,
    )[:-4]  # fmt: skip
    return data + struct.pack("<I", zlib.crc32(data))


def _bytes(a: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(a).reshape(-1).view(np.uint8).data


def draft(item: Item, watermark_us: int | None, lost: int = 0) -> Draft:
    """Pack an item; nothing of it is referred to afterwards.

    Args:
        item: may lie in memory that is about to be reused.
        watermark_us: `complete_until_us` of the last event packet before it, which places a frame whose clock
            is not the events'.
        lost: items of its stream that were lost before it.
    """
    if isinstance(item, EventPacket):
        d = _events_draft(item)
    elif isinstance(item, Frame):
        d = _frame_draft(item, watermark_us)
    else:
        at = UNKNOWN_US if watermark_us is None else watermark_us
        d = Draft(END, msgpack.packb({}), (), at, at, 0, 0, item.epoch, 0)
    d.lost = lost
    return d


def _events_draft(p: EventPacket) -> Draft:
    e, tr = p.events, p.triggers
    n, flags = len(e), GAP if p.gap else 0
    base = int(e.t[0]) if n else 0
    plain = {
        "size": (e.width, e.height), "base": base, "host_ns": p.host_ns, "dropped": p.dropped,
        "rejected": (p.rejected.decreasing, p.rejected.outside),
    }  # fmt: skip
    if (packed := pack(e)) is not None:
        flags |= PACKED
        plain["far"] = len(packed.far)
        kept: list[NDArray[Any]] = [packed.words, packed.far, packed.pauses]
    else:
        since = e.t - base
        # As unsigned: a time that runs back, against the contract, is kept as it came, too.
        if n and (int(since.view(np.uint64).max()) >= 2**32 or e.height > 0x8000):
            flags |= RAW_TIMES
            kept = [e.t.copy(), e.x.copy(), e.y.copy(), e.p.copy()]
        else:
            kept = [since.astype("<u4"), e.x.copy(), e.y | (e.p.astype(np.uint16) << np.uint16(15))]
    arrays = [tr.t.copy(), *kept, tr.rising.copy()]
    if p.imu is not None:
        flags |= IMU
        plain["imu"] = len(p.imu)
        arrays += [p.imu.t.astype("<i8"), p.imu.values.astype("<f4")]
    meta = msgpack.packb(plain)
    firsts = [int(a[0]) for a in (e.t, tr.t) if len(a)]
    first = min([p.complete_until_us, *firsts])
    parts = tuple(_bytes(a) for a in arrays)
    return Draft(EVENTS, meta, parts, first, p.complete_until_us, n, len(tr), p.epoch, flags)


def place_of(f: Frame, watermark_us: int | None) -> tuple[int, int | None]:
    """(start, end) of a frame's exposure on the event clock as far as known when it comes; end None: unknown.

    On the event clock its own stamps; otherwise it ends where the events have come to. Good enough for a seek
    bar and for pacing, never for restoring.
    """
    length = f.exposure_ns
    if f.clock is FrameClock.EVENT and f.device_start_ns is not None:
        end = None if f.device_end_ns is None else f.device_end_ns // 1000
        return f.device_start_ns // 1000, end
    at = UNKNOWN_US if watermark_us is None else watermark_us
    if length is None or at == UNKNOWN_US:
        return at, None
    return at - length // 1000, at


def arrival_us(f: Frame) -> int:
    """In the place of a watermark where there is no event camera: host time at which the frame came, µs."""
    return f.host_ns // 1000


def place(d: Draft, f: Frame, watermark_us: int | None) -> None:
    """Place a packed frame anew, when more events have come before it than when it was packed."""
    start, end = place_of(f, watermark_us)
    d.first_us, d.until_us = start, start if end is None else end
    d.flags = (NO_EXPOSURE if end is None else 0) | (GAP if f.gap else 0)


def _frame_draft(f: Frame, watermark_us: int | None) -> Draft:
    meta = msgpack.packb(
        {
            "shape": f.image.shape, "layout": f.layout.value, "sequence": f.sequence,
            "start": f.device_start_ns, "end": f.device_end_ns, "clock": f.clock.value,
            "host_ns": f.host_ns, "kind": f.kind.value,
        }
    )  # fmt: skip
    d = Draft(FRAME, meta, (_bytes(f.image.copy()),), 0, 0, f.image.nbytes, 0, f.epoch, 0)
    place(d, f, watermark_us)
    return d


def read_head(data: bytes | memoryview) -> Head:
    """The header of a chunk.

    Raises:
        Damaged: not one, of a version this program does not know, or with wrong bytes in it.
    """
    if len(data) < HEADER.size or bytes(data[:4]) != MAGIC:
        raise Damaged("not the beginning of a chunk")
    fields = HEADER.unpack(data[: HEADER.size])
    if zlib.crc32(data[: HEADER.size - 4]) != fields[-1]:
        raise Damaged("a chunk's header has wrong bytes")
    if fields[1] not in READ:
        raise Damaged(f"a chunk of version {fields[1]}, this program reads {VERSION}: update the program")
    head = Head(*fields[2:-1])
    if head.kind not in (EVENTS, FRAME, END) or head.meta > MAX_META or head.body > MAX_BODY:
        raise Damaged(f"a chunk of kind {head.kind} with {head.meta} + {head.body} bytes")
    return head


def decode(head: Head, data: bytes | memoryview) -> Item:
    """The item of a chunk; `data` is meta and body. Its checksum is verified, its values are checked.

    Raises:
        Damaged: wrong bytes, or values that contradict each other.
        InvalidPacket: a packet that breaks its contract.
    """
    if len(data) != head.meta + head.body or zlib.crc32(data) != head.check:
        raise Damaged(f"chunk {head.number} has wrong bytes")
    view = memoryview(data)
    try:
        meta = msgpack.unpackb(view[: head.meta])
        body = view[head.meta :]
        if head.kind == FRAME:
            return _frame(head, meta, body)
        return _events(head, meta, body) if head.kind == EVENTS else StreamEnd(head.epoch)
    except (KeyError, TypeError, ValueError, IndexError) as e:
        raise Damaged(f"chunk {head.number} contradicts itself ({e})") from e


def _frame(head: Head, meta: dict[str, Any], body: memoryview) -> Frame:
    shape = tuple(int(v) for v in meta["shape"])
    image = np.frombuffer(body, np.uint8).reshape(shape)
    return Frame(
        image, PixelLayout(meta["layout"]), int(meta["sequence"]), meta["start"], meta["end"],
        FrameClock(meta["clock"]), int(meta["host_ns"]), FrameKind(meta["kind"]), head.epoch,
        bool(head.flags & GAP) or head.lost > 0,
    )  # fmt: skip


def _events(head: Head, meta: dict[str, Any], body: memoryview) -> EventPacket:
    n, m = head.amount, head.edges
    width, height = (int(v) for v in meta["size"])
    kinds: list[tuple[str, int]]
    if head.flags & PACKED:
        far = int(meta["far"])
        kinds = [("<u4", n), ("<u4", far), ("<u4", far)]
    elif head.flags & RAW_TIMES:
        kinds = [("<i8", n), ("<u2", n), ("<u2", n), ("?", n)]
    else:
        kinds = [("<u4", n), ("<u2", n), ("<u2", n)]
    kinds = [("<i8", m), *kinds, ("?", m)]
    arrays, at = [], 0
    for kind, count in kinds:
        arrays.append(np.frombuffer(body, kind, count, at))
        at += arrays[-1].nbytes
    imu = None
    if head.flags & IMU:
        k = int(meta["imu"])
        imu_t = np.frombuffer(body, "<i8", k, at).astype(np.int64)
        values = np.frombuffer(body, "<f4", 7 * k, at + 8 * k).astype(np.float32).reshape(k, 7)
        imu, at = Inertial.of(imu_t, values), at + (8 + 28) * k
    if at != len(body):
        raise ValueError(f"{n} events and {m} edges do not take {len(body)} bytes")
    edge_t, *kept, rising = arrays
    base = int(meta["base"])
    if head.flags & PACKED:
        events, sound = unpack(Packed(*kept), base, width, height)
    else:
        events = _plain(kept, base, width, height)
        t, x, y = events.t, events.x, events.y
        sound = not n or (int(x.max()) < width and int(y.max()) < height and not bool((t[1:] < t[:-1]).any()))
    rejected = Rejected(*(int(v) for v in meta["rejected"]))
    if not sound:
        events, bad = Events.sanitised(events.t, events.x, events.y, events.p, width, height)
        rejected += bad
    return EventPacket(
        events, TriggerEdges(edge_t.astype(np.int64), rising.astype(np.bool_)), head.until_us,
        int(meta["host_ns"]), int(meta["dropped"]), bool(head.flags & GAP) or head.lost > 0, rejected,
        head.epoch, imu,
    )  # fmt: skip


def _plain(kept: Sequence[NDArray[Any]], base: int, width: int, height: int) -> Events:
    """Events of 13 bytes (t, x, y, p) or of 8 (time since `base`, x, y with polarity)."""
    if len(kept) == 4:
        t, x, y, p = kept
        return Events(t, x, y, p, width, height)
    since, x, both = kept
    return Events(since.astype(np.int64) + np.int64(base), x, both & ~_TOP, both >= _TOP, width, height)
