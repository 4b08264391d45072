"""The events of an AEDAT4 file out of its packets, without dv-processing: as they lie, for others to copy once.

dv-processing hands events over as a store, and its columns as copies of copies; of a whole recording that costs
more than unpacking it. What is not just so is left to the library: ZSTD, two streams of events, files whose
packets do not follow one another to the end. It also never hangs over a damaged packet.

A packet is a FlatBuffer "EVTS" with its size before it, packed by LZ4 (a frame) or not at all. Field 0 of its
table is a vector of structures of 16 bytes (iniVation, AEDAT 4.0): time int64 µs, x and y int16, polarity bool,
three bytes of padding.

No thread unpacks ahead: the process that takes the events works beside this one already, and on two cores a
thread costs more than it hides.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import lz4.frame
import numpy as np
from numpy.typing import NDArray

from recordings.formats.aedat4_container import Container
from recordings.formats.aedat4_frame_heads import LZ4, LZ4_HIGH, NONE, NotSo, unpacked_head
from recordings.formats.aedat4_stages import Stage
from recordings.pickle_steps import megabytes
from recordings.sandbox_child import mark

EVENT = np.dtype(
    {
        # Negative x and y count as 32768 or more; a damaged file may hold other p than 0 and 1.
        "names": ["t", "x", "y", "p"], "formats": ["<i8", "<u2", "<u2", "u1"], "offsets": [0, 8, 10, 12],
        "itemsize": 16,
    }
)  # fmt: skip
# Other kinds of streams, which are passed over.
_OTHERS = (b"FRME", b"IMUS", b"TRIG")
# What is read from the file at once, if a packet is not larger.
_WINDOW_BYTES = 1 << 20
# A packet unpacks to no more than this; cameras write some hundred kilobytes.
PACKET_BYTES = 256 << 20
_STEP_BYTES = 1 << 20


class Damaged(Exception):
    """One packet cannot be read; the text says why."""


def gathered_packets(
    path: Path, container: Container, end: int, *, capacity: int, enough: int, enough_us: int
) -> Iterator[list[NDArray[np.void]] | str]:
    """The events of all packets, small ones together; a line of text where a packet is damaged.

    Each list has events in it, in the file's order, and none of its arrays is empty.

    Args:
        end: where the packets end.
        capacity: events at once, at most.
        enough: so many events, or `enough_us` of them, are handed on.

    Raises:
        NotSo, OSError: as `event_packets`.
    """
    held = _Gathered(capacity)
    for found in event_packets(path, container, end):
        mark(Stage.EVENTS)
        if isinstance(found, str):
            if held.count:
                yield held.taken()
            yield found
            continue
        while len(found):
            found = found[held.add(found) :]
            if held.count >= min(enough, capacity) or held.span_us >= enough_us:
                yield held.taken()
    if held.count:
        yield held.taken()


def event_packets(path: Path, container: Container, end: int) -> Iterator[NDArray[np.void] | str]:
    """The events of each packet as rows of `EVENT`, in the file's order; a line of text where one is damaged.

    Args:
        end: where the packets end.

    Raises:
        NotSo: before the end, or in the middle of it; what lies before that place is given first.
        OSError: it cannot be read, likewise.
    """
    if container.compression == NONE:
        yield from (_rows_or_why(p, bytes) for p in _packed(path, container, end))
    elif container.compression in (LZ4, LZ4_HIGH):
        unpacked = _Unpacking()
        yield from (_rows_or_why(p, unpacked) for p in _packed(path, container, end))
    else:
        raise NotSo


def _packed(path: Path, container: Container, end: int) -> Iterator[memoryview]:
    """The packets of events as they lie in the file, each valid until the next one is asked for."""
    events: int | None = None
    others: set[int] = set()
    with path.open("rb") as f:
        window = _Window(f.fileno(), end)
        at = container.data_start
        while at < end:
            stream, size = struct.unpack("<ii", window.bytes(at, 8))
            if stream < 0 or size < 0 or at + 8 + size > end:
                raise NotSo
            if stream not in others:
                packed = window.bytes(at + 8, size)
                if stream != events:
                    kind = unpacked_head(bytes(packed[:512]), container.compression)[8:12]
                    if kind in _OTHERS:
                        others.add(stream)
                    elif kind == b"EVTS" and events is None:
                        events = stream
                    else:
                        raise NotSo
                if stream == events:
                    yield packed
            at += 8 + size
    if at != end or events is None:
        raise NotSo


class _Window:
    """Parts of a file, read into one buffer that is used again and again."""

    def __init__(self, fd: int, end: int) -> None:
        self._fd, self._end = fd, end
        self._buffer = memoryview(bytearray(_WINDOW_BYTES))
        self._at = self._held = 0

    def bytes(self, at: int, size: int) -> memoryview:
        """A part, valid until the next one is asked for.

        Raises:
            NotSo: longer than a packet may be, or the file has become shorter.
        """
        if not self._at <= at <= at + size <= self._at + self._held:
            if size > PACKET_BYTES:
                raise NotSo
            if size > len(self._buffer):
                self._buffer = memoryview(bytearray(size))
            wanted = min(len(self._buffer), self._end - at)
            self._at, self._held = at, os.preadv(self._fd, [self._buffer[:wanted]], at)
            if self._held < size:
                raise NotSo
        return self._buffer[at - self._at : at - self._at + size]


def _rows_or_why(packet: memoryview, unpacked: Callable[[memoryview], bytes]) -> NDArray[np.void] | str:
    try:
        payload = unpacked(packet)
        found = rows(payload)
    except Damaged as e:
        return str(e)
    # A packet with much beside its events must not be kept for them.
    return found if 2 * found.nbytes >= len(payload) else found.copy()


class _Unpacking:
    """Unpacks LZ4 frames, within `PACKET_BYTES` whatever they claim."""

    def __init__(self) -> None:
        self._context = lz4.frame.create_decompression_context()

    def __call__(self, packed: memoryview) -> bytes:
        """What the frame holds.

        Raises:
            Damaged: it is none, or not all there.
        """
        parts: list[bytes] = []
        done, ended = 0, False
        try:
            # Part by part: a single large limit is allocated, and so paid for, as a whole.
            while not ended:
                part, used, ended = lz4.frame.decompress_chunk(
                    self._context, packed[done:], max_length=_STEP_BYTES
                )
                parts.append(part)
                done += used
                if not part and not ended:
                    raise Damaged("it is packed by LZ4 and cut off")
                if len(parts) * _STEP_BYTES > PACKET_BYTES:
                    raise Damaged(f"it unpacks to more than {megabytes(PACKET_BYTES)}")
        except (RuntimeError, EOFError, ValueError) as e:
            raise Damaged("what LZ4 packed is damaged") from e
        finally:
            if not ended:  # one that is reset still expects the size that a broken-off frame stated
                self._context = lz4.frame.create_decompression_context()
        return parts[0] if len(parts) == 1 else b"".join(parts)


def rows(payload: memoryview | bytes) -> NDArray[np.void]:
    """The events of an unpacked packet as rows of `EVENT`: a view.

    Raises:
        Damaged: it is no such packet, or claims more than it holds.
    """
    try:
        if payload[8:12] != b"EVTS":
            raise Damaged("it does not say that it holds events")
        table = 4 + _u32(payload, 4)
        (back,) = struct.unpack_from("<i", payload, table)
        vtable = table - back
        if vtable < 4:
            raise Damaged("its table is damaged")
        (vtable_size,) = struct.unpack_from("<H", payload, vtable)
        field = struct.unpack_from("<H", payload, vtable + 4)[0] if vtable_size >= 6 else 0
        if not field:
            return np.empty(0, EVENT)
        vector = table + field + _u32(payload, table + field)
        count = _u32(payload, vector)
    except struct.error as e:
        raise Damaged("its table is damaged") from e
    if vector + 4 + count * EVENT.itemsize > len(payload):
        raise Damaged(f"it claims {count} events and holds fewer")
    return np.frombuffer(payload, EVENT, count, vector + 4)


def _u32(data: memoryview | bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


class _Gathered:
    """Packets that wait until they are enough to be handed on.

    Args:
        capacity: events.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity, self.count = capacity, 0
        self._parts: list[NDArray[np.void]] = []

    def add(self, found: NDArray[np.void]) -> int:
        """As many of the rows as there is room for; how many that were."""
        part = found[: self.capacity - self.count]
        self._parts.append(part)
        self.count += len(part)
        return len(part)

    @property
    def span_us(self) -> int:
        """From the first to the last event."""
        return int(self._parts[-1]["t"][-1]) - int(self._parts[0]["t"][0]) if self._parts else 0

    def taken(self) -> list[NDArray[np.void]]:
        """What is in it; it is empty now."""
        parts, self._parts, self.count = self._parts, [], 0
        return parts
