"""Packets to ring items and back, exactly.

An item is a kind (a short word), a header (a dictionary of plain values, as msgpack) and arrays. Its bytes:
the packed header, then each array C-contiguous, every part beginning at a multiple of 64 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

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
from capture.ring_memory import ALIGN
from capture.ring_segment import RingError

KIND_EVENTS = "events"
KIND_FRAME = "frame"
KIND_END = "end"
_EVENT_BYTES = 13  # t 8, x 2, y 2, p 1

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """In the place of a packet: a finite source has given its last item (of this epoch).

    More may follow after it, when the source is sought or begins anew.
    """

    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the parts of an item go: the packed header, offsets of the arrays, bytes in all."""

    meta: bytes
    offsets: tuple[int, ...]
    size: int


def _aligned(n: int) -> int:
    return -(-n // ALIGN) * ALIGN


def _plain(value: object) -> object:
    """Numpy scalars as plain values; msgpack asks for what it does not know."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} has no place in a header; give it as an array")


def plan(kind: str, header: Mapping[str, Any], arrays: Sequence[Array]) -> Plan:
    """Lay out an item.

    Raises:
        RingError: a header value or an array that cannot travel (objects, strings, dates).
    """
    shapes: list[tuple[str, tuple[int, ...]]] = []
    for i, a in enumerate(arrays):
        if a.dtype.kind not in "biufc":
            raise RingError(f"item {kind!r}: array {i} is {a.dtype}; only numbers and booleans travel")
        shapes.append((a.dtype.str, a.shape))
    try:
        meta: bytes = msgpack.packb((kind, dict(header), shapes), default=_plain)
    except (TypeError, ValueError, OverflowError) as e:
        raise RingError(f"item {kind!r}: its header cannot be packed ({e})") from e
    at, offsets = _aligned(len(meta)), []
    for a in arrays:
        offsets.append(at)
        at = _aligned(at + a.nbytes)
    return Plan(meta, tuple(offsets), at)


def place(p: Plan, arrays: Sequence[Array], into: memoryview) -> None:
    """Write an item's bytes; `into` has `p.size` bytes."""
    into[: len(p.meta)] = p.meta
    for a, at in zip(arrays, p.offsets, strict=True):
        if a.size:
            np.copyto(np.ndarray(a.shape, a.dtype, into, at), a, casting="no")


def unpack(meta_bytes: int, data: memoryview) -> tuple[str, dict[str, Any], tuple[Array, ...]]:
    """Kind, header and arrays of an item; the arrays are read-only views of `data`.

    Raises:
        RingError: the bytes are not an item (overwritten, or not written by this module).
    """
    try:
        kind, header, shapes = msgpack.unpackb(data[:meta_bytes], strict_map_key=False)
        at, arrays = _aligned(meta_bytes), []
        for text, shape in shapes:
            dtype = np.dtype(text)
            if dtype.kind not in "biufc":
                raise ValueError(f"dtype {text!r}")
            count = math.prod(shape)
            n = count * dtype.itemsize
            if n < 0 or at + n > len(data):
                raise ValueError("an array reaches beyond the item")
            # frombuffer, not ndarray(buffer=…): only the former keeps the mapping from being unmapped.
            a: Array = np.frombuffer(data, dtype, count, at) if n else np.empty(0, dtype)
            a = a.reshape(tuple(shape))
            a.flags.writeable = False
            arrays.append(a)
            at = _aligned(at + n)
    except Exception as e:  # msgpack, numpy and tuple unpacking each have errors of their own
        raise RingError(f"ring item: its bytes are not an item ({e})") from e
    return kind, header, tuple(arrays)


Encoded = tuple[str, dict[str, Any], tuple[Array, ...]]


def encode(packet: EventPacket | Frame | StreamEnd) -> Encoded:
    """Kind, header and arrays of a packet, as `RingWriter.write` takes them. No copies."""
    if isinstance(packet, Frame):
        return (
            KIND_FRAME,
            {
                "layout": packet.layout.value,
                "sequence": packet.sequence,
                "start": packet.device_start_ns,
                "end": packet.device_end_ns,
                "clock": packet.clock.value,
                "host_ns": packet.host_ns,
                "recorded_ns": packet.recorded_ns,
                "kind": packet.kind.value,
                "epoch": packet.epoch,
                "gap": packet.gap,
            },
            (packet.image,),
        )
    if isinstance(packet, EventPacket):
        ev, tr, bad = packet.events, packet.triggers, packet.rejected
        return (
            KIND_EVENTS,
            {
                "size": (ev.width, ev.height),
                "until": packet.complete_until_us,
                "host_ns": packet.host_ns,
                "recorded_ns": packet.recorded_ns,
                "dropped": packet.dropped,
                "gap": packet.gap,
                "rejected": (bad.decreasing, bad.outside),
                "epoch": packet.epoch,
            },
            (ev.t, ev.x, ev.y, ev.p, tr.t, tr.rising, *_imu_arrays(packet.imu)),
        )
    return KIND_END, {"epoch": packet.epoch}, ()


def _imu_arrays(imu: Inertial | None) -> tuple[Array, ...]:
    return () if imu is None else (imu.t, imu.values)


def decode(kind: str, header: Mapping[str, Any], arrays: Sequence[Array]) -> EventPacket | Frame | StreamEnd:
    """The packet again; its arrays are those given (views of the ring while a lease lasts).

    Raises:
        RingError: not a packet.
        InvalidPacket: a packet that breaks its contract.
    """
    try:
        if kind == KIND_FRAME:
            (image,) = arrays
            return Frame(
                image, PixelLayout(header["layout"]), header["sequence"], header["start"], header["end"],
                FrameClock(header["clock"]), header["host_ns"], FrameKind(header["kind"]), header["epoch"],
                header["gap"], header["recorded_ns"],
            )  # fmt: skip
        if kind == KIND_EVENTS:
            t, x, y, p, edge_t, rising, *imu = arrays
            width, height = header["size"]
            return EventPacket(
                Events(t, x, y, p, width, height), TriggerEdges(edge_t, rising), header["until"],
                header["host_ns"], header["dropped"], header["gap"], Rejected(*header["rejected"]),
                header["epoch"], Inertial.of(*imu) if imu else None, header["recorded_ns"],
            )  # fmt: skip
        if kind == KIND_END:
            return StreamEnd(header["epoch"])
    except (KeyError, TypeError, ValueError) as e:
        raise RingError(f"ring item of kind {kind!r} is not a packet of this version ({e!r})") from e
    raise RingError(f"ring item of kind {kind!r} is not a packet")


def split(packet: EventPacket, largest: int) -> list[EventPacket]:
    """The packet in parts of at most about `largest` bytes, for a burst that would fill a ring.

    The parts together say exactly what the packet said: losses, gap, rejections and IMU stand on the first,
    edges and `complete_until_us` on the last. The parts before it promise only what has been delivered with
    them.
    """
    n = len(packet.events)
    step = max(1, largest // _EVENT_BYTES)
    if n <= step:
        return [packet]
    parts = []
    for a in range(0, n, step):
        b = min(a + step, n)
        last, first = b == n, a == 0
        parts.append(
            replace(
                packet,
                events=packet.events[a:b],
                triggers=packet.triggers if last else TriggerEdges.empty(),
                complete_until_us=packet.complete_until_us if last else _floor_us(packet, b),
                imu=packet.imu if first else None,
                dropped=packet.dropped if first else 0,
                gap=packet.gap and first,
                rejected=packet.rejected if first else Rejected(),
            )
        )
    return parts


def _floor_us(packet: EventPacket, b: int) -> int:
    """Up to when everything has been delivered by the events before index `b`, edges still to come."""
    t = min(int(packet.events.t[b]), packet.complete_until_us)
    return min(t, int(packet.triggers.t[0])) if len(packet.triggers) else t
