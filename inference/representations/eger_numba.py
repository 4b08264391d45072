"""EGER on one CPU core. See `eger`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.packets import Events
from inference.representations.coding import Columns
from inference.representations.eger import AFTER, BEFORE, WITHIN, Region, Spans, edges, runs
from inference.representations.scatter_numba import count_runs

Span = tuple[float, float]


def eger(
    events: Events | Columns, spans: Spans, region: Region | None = None, *,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """EGER of one image and target.

    Args:
        events: whole µs; may reach beyond the blur span.
        spans: blur, target, bins, mode.
        region: part of the event grid; the whole of it when None.
        out: (6 N, h, w) float32 to fill, so that one allocation (pinned, say) serves many calls. New memory is
            not slower: the system hands it out cleared.

    Returns:
        (6 N, h, w) float32 counts.

    Raises:
        UsageError: spans or sizes that make no sense.
    """
    r = region or Region(0, 0, events.height, events.width)
    shape = (6 * spans.bins, r.height, r.width)
    if out is None:
        out = np.zeros(shape, np.float32)
    elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise UsageError(f"EGER: out must be C-contiguous float32 {shape}, got {out.dtype} {out.shape}")
    else:
        out.fill(0)
    part = runs(events.t, spans)
    count_runs(events.x, events.y, events.p, part.lo, part.hi, part.channel, out, left=r.left, top=r.top)
    return out


class Eger:
    """EGER of one blur span that grows as packets come, for any number of targets.

    Every event is counted once, into its bin. A target then only moves whole bins to a group, and counts anew
    the one or two bins that it cuts. The same numbers as `eger` over all packets together.
    """

    def __init__(self, width: int, height: int, blur: Span, *, bins: int = 16) -> None:
        self._counts = np.zeros((2 * bins, height, width), np.float32)
        self.restart(blur)

    def restart(self, blur: Span) -> None:
        """Begin another blur span in the same memory."""
        self._blur = (int(blur[0]), int(blur[1]))
        self._edges = edges(Spans(self._blur, (self._blur[0], self._blur[0]), len(self._counts) // 2))
        self._packets: list[Events] = []
        self._counts.fill(0)

    def push(self, events: Events) -> None:
        """Add what of a packet lies inside the blur span. The packet's arrays are kept until `restart`.

        Raises:
            UsageError: the packet is of a sensor of another size.
        """
        height, width = self._counts.shape[1:]
        if (events.height, events.width) != (height, width):
            raise UsageError(f"packet of a {events.width}×{events.height} sensor, the span is {width}×{height}")
        inside = events.between(*self._blur)
        if not len(inside):
            return
        self._packets.append(inside)
        at = np.searchsorted(inside.t, self._edges, side="left").astype(np.int64)
        channel = 2 * np.arange(len(at) - 1, dtype=np.int64)
        count_runs(inside.x, inside.y, inside.p, at[:-1], at[1:], channel, self._counts)

    def result(self, target: Span, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """EGER of what has come so far, for one target; more packets and more targets may follow."""
        bins = len(self._counts) // 2
        spans = Spans(self._blur, target, bins)
        shape = (6 * bins, *self._counts.shape[1:])
        if out is None:
            out = np.zeros(shape, np.float32)
        else:
            out.fill(0)
        grouped = out.reshape(bins, 3, 2, *shape[1:])
        counted = self._counts.reshape(bins, 2, *shape[1:])
        for k in range(bins):
            first, end = int(self._edges[k]), int(self._edges[k + 1])
            group = _group(first, end, target)
            if group is not None:
                grouped[k, group] = counted[k]
                continue
            for packet in self._packets:
                part = packet.between(first, end)
                if len(part):
                    r = runs(part.t, spans)
                    count_runs(part.x, part.y, part.p, r.lo, r.hi, r.channel, out)
        return out

    def results(self, targets: Sequence[Span]) -> NDArray[np.float32]:
        """(L, 6 N, h, w): one EGER for each target."""
        bins, plane = len(self._counts) // 2, self._counts.shape[1:]
        out = np.zeros((len(targets), 6 * bins, *plane), np.float32)
        for one, target in zip(out, targets, strict=True):
            self.result(target, one)
        return out


def _group(first: int, end: int, target: Span) -> int | None:
    """The one group that all events of a bin [first, end) belong to, or None when a target's end cuts it."""
    t0, t1 = target
    if end <= t0:
        return BEFORE
    if first >= t1:
        return AFTER
    return WITHIN if t0 <= first and end <= t1 else None
