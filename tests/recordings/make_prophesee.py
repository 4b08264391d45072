"""Small Prophesee files for tests: encoders written from the descriptions of the formats, in plain numpy.

They share nothing with the decoders under test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, TriggerEdges

HEADERS = {
    "evt2": "% evt 2.0\n% format EVT2;height={h};width={w}\n% end\n",
    "evt2.1": "% evt 2.1\n% format EVT21;endianness=little;height={h};width={w}\n% end\n",
    "evt2.1-legacy": "% evt 2.1\n% format EVT21;endianness=legacy;height={h};width={w}\n% end\n",
    "evt3": "% evt 3.0\n% format EVT3;height={h};width={w}\n% geometry {w}x{h}\n% end\n",
    "dat1": "% Data file containing CD events.\n% Version 1\n% Height {h}\n% Width {w}\n",
    "dat2": "% Height {h}\n% Version 2\n% Width {w}\n",
}
ENCODINGS = tuple(HEADERS)


def write(
    path: Path, encoding: str, events: Events, edges: TriggerEdges | None = None, *, header: str | None = None,
    channel: int = 0, vectors: bool = True,
) -> Path:  # fmt: skip
    """Write a file. `header` replaces the usual one; DAT carries no edges."""
    text = (HEADERS[encoding] if header is None else header).format(w=events.width, h=events.height)
    path.write_bytes(text.encode() + payload(encoding, events, edges, channel=channel, vectors=vectors))
    return path


def payload(
    encoding: str, events: Events, edges: TriggerEdges | None = None, *, channel: int = 0, vectors: bool = True
) -> bytes:
    """The data behind the header."""
    edges = edges or TriggerEdges.empty()
    if encoding.startswith("dat"):
        kind = b"\x0c\x08" if encoding == "dat2" else b"\x00\x08"
        return kind + _dat(encoding, events)
    if encoding == "evt3":
        return _evt3(events, edges, channel, vectors).astype("<u2").tobytes()
    return _evt2(encoding, events, edges, channel)


def _dat(encoding: str, e: Events) -> bytes:
    x, y, p = (a.astype(np.uint32) for a in (e.x, e.y, e.p))
    address = x | y << 14 | p << 28 if encoding == "dat2" else x | y << 9 | p << 17
    return np.stack([(e.t & 0xFFFFFFFF).astype("<u4"), address.astype("<u4")], 1).tobytes()


def _steps(time: NDArray[np.int64], unit: int, bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """High words and the index of the item before which each stands: at least one per 1/8 of the period."""
    high = time // unit
    where = np.flatnonzero(np.diff(high, prepend=-1 if len(high) else 0))
    at, value = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    period = 1 << bits
    last: int | None = None
    for k in where.tolist():
        h = int(high[k])
        between = [] if last is None else list(range(last + period // 8, h, period // 8))
        at.append(np.full(len(between) + 1, k, np.int64))
        value.append(np.array([*between, h], np.int64))
        last = h
    return np.concatenate(at), np.concatenate(value) % period


def _evt2(encoding: str, e: Events, edges: TriggerEdges, channel: int) -> bytes:
    """Both kinds of items sorted by time, high words put between."""
    t = np.concatenate([e.t, edges.t])
    low = (t & 63) << 22
    heads = np.concatenate([
        e.p.astype(np.int64) << 28 | e.x.astype(np.int64) << 11 | e.y,
        np.int64(10) << 28 | np.int64(channel) << 8 | edges.rising.astype(np.int64),
    ]) | low  # fmt: skip
    tails = np.concatenate([np.ones(len(e), np.int64), np.zeros(len(edges), np.int64)])
    order = np.argsort(t, kind="stable")
    t, heads, tails = t[order], heads[order], tails[order]
    at, high = _steps(t, 64, 28)
    heads, tails = np.insert(heads, at, np.int64(8) << 28 | high), np.insert(tails, at, 0)
    if encoding == "evt2":
        return heads.astype("<u4").tobytes()
    pair = (heads, tails) if encoding == "evt2.1-legacy" else (tails, heads)
    return np.stack([a.astype("<u4") for a in pair], 1).tobytes()


def _evt3(e: Events, edges: TriggerEdges, channel: int, vectors: bool) -> NDArray[Any]:
    """Word by word, slow and plain. Runs of events of one row, time and polarity become vectors."""
    words: list[int] = []
    high = low = row = -1
    k = j = 0

    def tell(t: int) -> None:
        nonlocal high, low
        h = t >> 12
        if h != high:
            if high >= 0:
                words.extend(0x8000 | v & 0xFFF for v in range(high + 512, h, 512))
            words.append(0x8000 | h & 0xFFF)
            high, low = h, -1
        if t & 0xFFF != low:
            low = t & 0xFFF
            words.append(0x6000 | low)

    t, x, y, p = (a.tolist() for a in (e.t, e.x, e.y, e.p))
    et, rising = edges.t.tolist(), edges.rising.tolist()
    while k < len(t) or j < len(et):
        if j < len(et) and (k == len(t) or et[j] < t[k]):
            tell(et[j])
            words.append(0xA000 | channel << 8 | int(rising[j]))
            j += 1
            continue
        tell(t[k])
        if y[k] != row:
            row = y[k]
            words.append(row)
        end = k + 1
        while (
            vectors and end < len(t) and (t[end], y[end], p[end]) == (t[k], y[k], p[k]) and x[end] > x[end - 1]
        ):
            end += 1
        if end - k < 3:
            words.append(0x2000 | p[k] << 11 | x[k])
            k += 1
            continue
        base = x[k]
        words.append(0x3000 | p[k] << 11 | base)
        while k < end:
            # Short ones too, so that both kinds occur.
            width, kind = (8, 0x5000) if (k + base) % 3 == 0 else (12, 0x4000)
            mask = 0
            while k < end and x[k] < base + width:
                mask |= 1 << (x[k] - base)
                k += 1
            words.append(kind | mask)
            base += width
    return np.array(words, np.uint16)
