"""AEDAT 3.1 (cAER): packets of polarity events, special events and frames behind a text header, little-endian.

A packet's header has 28 bytes: type (0 special, 1 polarity, 2 frame), source, size of an event, offset of its
time, overflow, capacity, number, valid. A time is `overflow · 2^31 + 32-bit stamp`, µs. Polarity: bit 0 valid,
bit 1 brighter, row in 16:2, column in 31:17. Special: bit 0 valid, type in 7:1 (2 rising, 3 falling edge of
the external input). Frames: 36 bytes with the times of exposure and the size, then 16-bit pixels. (0, 0) is the
top left.

Special events of the types 0 (the stamps wrapped) and 1 (the clock was set back) have no time of their own;
what follows a clock set back is placed behind what came before (see `aedat_stretches`).

Of several sources in one file the first with events is read. Packets that are packed (`#Format:` other than
RAW) are refused by name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.formats.aedat_header import Bytes, read_header, sensor_size
from recordings.formats.aedat_stretches import Span, began_anew, runs_back, shifts
from recordings.formats.dataset_source import (
    EVENTS_PER_PIECE,
    MAX_PICTURE_BYTES,
    Edges,
    Found,
    FrameRefused,
    FrameTime,
    Ignored,
    Piece,
    SourceFacts,
    in_order,
    merged,
    scaled,
    side,
)
from recordings.pickle_steps import megabytes
from recordings.sandbox_child import Refused

HEADER = struct.Struct("<hhiiiiii")
FRAME = struct.Struct("<Iiiiiiiii")
SPECIAL, POLARITY, FRAMES = 0, 1, 2
WRAPPED, RESET, RISING, FALLING = range(4)
WORDS = 8  # bytes of a special or polarity event
_NAMES = {3: "imu_samples", 4: "imu_samples"}
MAX_FRAMES = 1_000_000


class _Packet(NamedTuple):
    at: int
    kind: int
    source: int
    number: int
    first_us: int
    base_us: int  # what its 32-bit stamps count from


class _FramePlace(NamedTuple):
    at: int
    size: tuple[int, int]
    channels: int


_FoundFrame = tuple[int, _FramePlace, FrameTime]  # the first: its source


class Aedat3Source:
    """One file; see `Source`.

    Args:
        path: the file.
        stated: size of the sensor where the person gave it.
    """

    def __init__(self, path: Path, stated: tuple[int, int] | None) -> None:
        header = read_header(path)
        packing = header.value("Format")
        if packing.upper() not in ("", "RAW"):
            raise Refused(
                f"its packets are packed as {packing[:40]}, which is not read; save it as RAW, or as AEDAT4"
            )
        self._file = Bytes(path)
        problems: list[str] = []
        self._others: dict[str, int] = {}
        self._resets: list[tuple[int, int]] = []  # places in the file, and whose clock
        packets, found = self._scanned(header.data_at, problems)
        packets, found = self._on_one_axis(packets, found, problems)
        source = next((p.source for p in packets if p.kind == POLARITY), packets[0].source if packets else 0)
        sources = sorted({p.source for p in packets} | {s for s, _, _ in found})
        if len(sources) > 1:
            numbers = ", ".join(map(str, sources[:8]))
            problems.append(f"{len(sources)} sensors are in it (sources {numbers}); source {source} is read")
        self._packets = [p for p in packets if p.source == source]
        kept = [(place, time) for s, place, time in found if s == source]
        if not self._packets and not kept:
            raise Refused("holds no events; nothing can be read")
        times = [time for _, time in kept]
        name = header.value(f"Source {source}") or header.value(f"Source{source}")
        has_events = any(p.kind == POLARITY for p in self._packets)
        size = sensor_size(name, stated, problems) if has_events else None
        image = kept[0][0].size if kept else None
        stamps = [p.first_us for p in self._packets] + [int(v) for t in times for v in t]
        stamps += [self._last_us(p) for p in self._packets[-1:]]
        self.facts = SourceFacts(
            format="aedat3", event_size=size, image_size=image, start_us=min(stamps), end_us=max(stamps),
            camera=name, problems=problems, note="one sensor gives both", stamp_in_middle=False, by_sensor=True,
            image_from_event=scaled(size, image) if size is not None and size == image else None,
            has_triggers=any(p.kind == SPECIAL and self._has_edges(p) for p in self._packets),
        )  # fmt: skip
        order = in_order(times, self.facts)
        self.frames = [times[i] for i in order]
        self._places = [kept[i][0] for i in order]

    def _scanned(self, at: int, problems: list[str]) -> tuple[list[_Packet], list[_FoundFrame]]:
        """All packets of events, and all frames, by their headers."""
        packets: list[_Packet] = []
        frames: list[_FoundFrame] = []
        while at < self._file.size:
            data = self._file.read(at, HEADER.size + WORDS)
            if len(data) < HEADER.size:
                problems.append(f"the file ends inside a packet's header, {len(data)} bytes of it are there")
                break
            kind, source, size, _, overflow, _, number, _ = HEADER.unpack_from(data)
            if not (
                0 <= kind < 64 and 0 < size < 1 << 31 and 0 <= number < 1 << 31 and 0 <= overflow < 1 << 20
            ):
                problems.append(f"no packet begins at byte {at}, where one should; the rest is not read")
                break
            body, length = at + HEADER.size, size * number
            whole = min(number, max(0, self._file.size - body) // size)
            if whole < number:
                problems.append(
                    f"the file ends inside a packet: {number - whole} of its {number} items are missing"
                )
            if kind in (SPECIAL, POLARITY) and size == WORDS and whole:
                base = overflow << 31
                first = base + int.from_bytes(data[HEADER.size + 4 :], "little")
                packet = _Packet(body, kind, source, whole, first, base)
                packets += [packet] if kind == POLARITY else self._with_times(packet)
            elif kind == FRAMES and size > FRAME.size:
                frames += self._frames(body, size, whole, overflow, source)
                if len(frames) > MAX_FRAMES:
                    raise Refused(f"holds more than {MAX_FRAMES} frames, which is more than are read")
            elif whole:
                what = _NAMES.get(kind, f"items_of_type_{kind}")
                self._others[what] = self._others.get(what, 0) + whole
            at = body + length
        return packets, frames

    def _with_times(self, p: _Packet) -> list[_Packet]:
        """A packet of special events by the first that has a time; none when none has. Resets are noted."""
        kinds, t = self._kinds_and_times(p, self._words(p, 0, EVENTS_PER_PIECE))
        if (kinds == RESET).any():
            self._resets.append((p.at, p.source))
        timed = t[kinds > RESET]
        return [p._replace(first_us=int(timed[0]))] if len(timed) else []

    def _on_one_axis(
        self, packets: list[_Packet], frames: list[_FoundFrame], problems: list[str]
    ) -> tuple[list[_Packet], list[_FoundFrame]]:
        """Both with every stretch of a clock behind the one before, source by source."""
        for source in sorted({p.source for p in packets} | {s for s, _, _ in frames}):
            resets = [at for at, s in self._resets if s == source]
            events = np.array(
                [p.first_us for p in packets if p.source == source and p.kind == POLARITY], np.int64
            )
            has_events = len(events) > 0
            if has_events and not resets and not runs_back(events):
                continue  # nearly always, and files may hold millions of packets
            mine = [(p.at, True, k) for k, p in enumerate(packets) if p.source == source]
            mine += [(place.at, False, k) for k, (s, place, _) in enumerate(frames) if s == source]
            mine.sort()
            spans: list[Span] = []
            for at, is_packet, k in mine:
                reset = bool(resets) and resets[0] < at
                while resets and resets[0] < at:
                    resets.pop(0)
                a, b = (packets[k].first_us,) * 2 if is_packet else frames[k][2]
                leads = not has_events or (is_packet and packets[k].kind == POLARITY)
                spans.append(Span(a, b, reset, leads))

            def last_of(n: int, mine: list[tuple[int, bool, int]] = mine) -> int:
                _, is_packet, k = mine[n]
                return self._last_us(packets[k]) if is_packet else frames[k][2].end_us

            moved = shifts(spans, last_of)
            if any(moved):
                problems.append(began_anew(len(set(moved)) - 1))
            for (_, is_packet, k), shift in zip(mine, moved, strict=True):
                if shift and is_packet:
                    p = packets[k]
                    packets[k] = p._replace(first_us=p.first_us + shift, base_us=p.base_us + shift)
                elif shift:
                    s, place, t = frames[k]
                    frames[k] = s, place, FrameTime(t.start_us + shift, t.end_us + shift)
        return packets, frames

    def _frames(self, body: int, size: int, number: int, overflow: int, source: int) -> list[_FoundFrame]:
        found = []
        for k in range(number):
            at = body + k * size
            data = self._file.read(at, FRAME.size)
            if len(data) < FRAME.size:
                break
            info, _, _, start, end, width, height, _, _ = FRAME.unpack(data)
            if not info & 1:
                self._others["frames_marked_invalid"] = self._others.get("frames_marked_invalid", 0) + 1
                continue
            channels = (info >> 1) & 7
            wh = side(width, "a frame's width"), side(height, "a frame's height")
            if channels not in (1, 3, 4) or FRAME.size + 2 * channels * wh[0] * wh[1] > size:
                raise Refused(f"a frame of {wh[0]}×{wh[1]} with {channels} channels does not fit its packet")
            high = overflow << 31
            time = FrameTime(high + start, high + max(start, end))
            found.append((source, _FramePlace(at + FRAME.size, wh, channels), time))
        return found

    def _words(self, p: _Packet, first: int, count: int) -> NDArray[np.uint32]:
        data = self._file.read(p.at + first * WORDS, min(count, p.number - first) * WORDS)
        return np.frombuffer(data, "<u4", len(data) // WORDS * 2).reshape(-1, 2)

    def _last_us(self, p: _Packet) -> int:
        """The latest time in a packet."""
        words = self._words(p, max(0, p.number - EVENTS_PER_PIECE), EVENTS_PER_PIECE)
        kinds, t = self._kinds_and_times(p, words)
        if p.kind == SPECIAL:
            t = t[kinds > RESET]
        return max(p.first_us, int(t.max())) if len(t) else p.first_us

    def _kinds_and_times(self, p: _Packet, words: NDArray[np.uint32]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Of special events: their types, and their times."""
        return (words[:, 0] >> 1) & 0x7F, self._times(p, words)

    def _times(self, p: _Packet, words: NDArray[np.uint32]) -> NDArray[np.int64]:
        return p.base_us + words[:, 1].astype(np.int64)

    def _has_edges(self, p: _Packet) -> bool:
        words = self._words(p, 0, EVENTS_PER_PIECE)
        return bool(np.isin((words[:, 0] >> 1) & 0x7F, (RISING, FALLING)).any())

    def image(self, index: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        at, (w, h), channels = self._places[index]
        size = 2 * w * h * channels
        if size > 2 * MAX_PICTURE_BYTES:
            raise FrameRefused(f"takes {megabytes(size)} of memory; at most {megabytes(2 * MAX_PICTURE_BYTES)}")
        data = self._file.read(at, size)
        if len(data) < size:
            raise FrameRefused("is cut off")
        pixels = (np.frombuffer(data, "<u2") >> 8).astype(np.uint8)
        if channels == 1:
            return pixels.reshape(h, w)
        return np.ascontiguousarray(pixels.reshape(h, w, channels)[:, :, :3])

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`."""
        streams = (self._stream(POLARITY, start_us), self._stream(SPECIAL, start_us))
        for _, found in merged(*streams):
            yield found
        if self._others:
            yield Ignored(dict(self._others))

    def _stream(self, kind: int, start_us: int | None) -> Iterator[tuple[int, Found]]:
        packets = [p for p in self._packets if p.kind == kind]
        first, key = 0, -(1 << 62)
        if start_us is not None:
            # The last packet that begins at or before; what lies before in it is dropped by the taker.
            earliest = np.maximum.accumulate([p.first_us for p in packets]) if packets else np.empty(0)
            first = max(0, int(np.searchsorted(earliest, start_us, "right")) - 1)
        for p in packets[first:]:
            for a in range(0, p.number, EVENTS_PER_PIECE):
                words = self._words(p, a, EVENTS_PER_PIECE)
                found = self._edges(p, words) if kind == SPECIAL else self._events(p, words)
                if len(found.t):
                    key = max(key, int(found.t[0]))
                    yield key, found

    def _events(self, p: _Packet, words: NDArray[np.uint32]) -> Piece:
        words = words[(words[:, 0] & 1) == 1]
        a = words[:, 0]
        x, y = (((a >> shift) & 0x7FFF).astype(np.int16) for shift in (17, 2))
        return Piece(self._times(p, words), x, y, ((a >> 1) & 1) == 1)

    def _edges(self, p: _Packet, words: NDArray[np.uint32]) -> Edges:
        kinds: NDArray[Any] = (words[:, 0] >> 1) & 0x7F
        ours = ((words[:, 0] & 1) == 1) & np.isin(kinds, (RISING, FALLING))
        return Edges(self._times(p, words)[ours], kinds[ours] == RISING)
