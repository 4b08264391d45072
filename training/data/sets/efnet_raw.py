"""EFNet's HDF5 files with raw events (L. Sun et al., ECCV 2022): GoPro and REBlur, with `sharp_images`.

REBlur's frames carry `exposure_start` and `exposure_end`: the window of their events. GoPro's carry a stamp:
the window goes from the midpoint to the stamp before to the midpoint to the stamp behind, and the first and
the last frame have none. Nor has a frame beside one that is missing, which the numbers of the images tell.
Windows are found in the stored times by the published bisection (`scer.find`).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from inference.representations.coding import Columns, columns
from inference.representations.scer import find
from recordings.formats.dataset_source import times
from recordings.sandbox_child import Refused
from training.data.sets import hdf5
from training.data.sets.facts import (
    EVENTS,
    EXPOSURE,
    STREAM,
    TRUTH,
    U8,
    VIDEO,
    SequenceFacts,
    Span,
    Unread,
    Window,
    reads,
    sized,
)
from training.data.sets.frame_names import in_a_row, told_gaps

# A recording that would last longer in seconds than this (11 days) is in microseconds.
_LONGEST_S = 1e6


class RawReader(Unread):
    """One file; see `SequenceReader`."""

    @reads
    def __init__(self, facts: SequenceFacts) -> None:
        self.facts = facts
        self._file = hdf5.opened(facts.files[0])
        self._keys = hdf5.keys(self._file, "images", "image")
        self._columns = {k: hdf5.array(self._file, f"events/{k}s") for k in "txyp"}
        self._scale = _unit(self._columns["t"])
        self._stamps = [_stored_times(self._file, k) for k in self._keys]
        self._known: dict[int, int] = {}

    @reads
    def blurred(self, index: int) -> U8:
        """See `SequenceReader`."""
        return sized(hdf5.rgb(self._file, f"images/{self._keys[index]}", planes_first=False), self.facts)

    @reads
    def truth(self, index: int) -> U8:
        """See `SequenceReader`."""
        return sized(hdf5.rgb(self._file, f"sharp_images/{self._keys[index]}", planes_first=False), self.facts)

    @reads
    def window(self, index: int) -> Window:
        """See `SequenceReader`."""
        span = self.facts.spans[index]
        if span is None:
            raise ValueError("has no window of events")
        limits = stored_window(self._stamps, index)
        a, b = (find(self._columns["t"], v) for v in limits)
        stored, cut = self._cut(a, b)
        return Window(cut, *span, stored)

    @reads
    def between(self, start_us: int, end_us: int) -> Columns:
        """See `SequenceReader`."""
        a, b = (self._index(v) for v in (start_us, end_us))
        return self._cut(a, b)[1]

    def _cut(self, a: int, b: int) -> tuple[Any, Columns]:
        part = slice(a, max(a, b))
        t, x, y, p = (self._columns[k][part] for k in "txyp")
        width, height = self.facts.grid or self.facts.size
        kept = columns(times(t, self._scale), x, y, p, width, height, drop_outside=True)
        if len(kept) != len(t):
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            t = t[inside]
        return t, kept

    def _index(self, t_us: int) -> int:
        """The first event at `t_us` or later, by halving. Kept: ends of exposures are asked for again."""
        if (known := self._known.get(t_us)) is not None:
            return known
        low, high = 0, len(self._columns["t"])
        while low < high:
            middle = (low + high) // 2
            at = int(times(np.asarray([self._columns["t"][middle]]), self._scale)[0])
            low, high = (middle + 1, high) if at < t_us else (low, middle)
        self._known[t_us] = low
        return low


def stored_window(stamps: list[tuple[float | None, float | None, float | None]], index: int) -> tuple[Any, Any]:
    """The window of a frame in the file's own unit: its exposure, else from midpoint to midpoint."""
    start, end, stamp = stamps[index]
    if start is not None and end is not None:
        return start, end
    before, after = stamps[index - 1][2], stamps[index + 1][2]
    assert before is not None
    assert stamp is not None
    assert after is not None
    return (before + stamp) / 2, (stamp + after) / 2


def probe(path: str, name: str, split: str) -> SequenceFacts:
    """What a file holds.

    Raises:
        Refused: no sequence; says why.
    """
    file = hdf5.opened(path)
    keys = hdf5.keys(file, "images", "image")
    if not keys:
        raise Refused("holds no images")
    lists = {k: hdf5.array(file, f"events/{k}s") for k in "txyp"}
    if len({c.shape for c in lists.values()}) != 1 or lists["t"].ndim != 1:
        raise Refused("its events are no four lists of one length")
    carries = {EVENTS, STREAM, VIDEO}
    shapes = {k: hdf5.array(file, f"images/{k}").shape[:2] for k in keys}
    sharp = hdf5.keys(file, "sharp_images", "image")
    if sharp:
        if missing := sorted(set(keys) - set(sharp)):
            raise Refused(f"has {len(keys)} images and no sharp one for {len(missing)}, such as {missing[0]}")
        carries.add(TRUTH)
        shapes |= {f"sharp {k}": hdf5.array(file, f"sharp_images/{k}").shape[:2] for k in keys}
    height, width = next(iter(shapes.values()))
    for key, (h, w) in shapes.items():
        if (h, w) != (height, width):
            raise Refused(f"{key} is {w}×{h} and {keys[0]} {width}×{height}: not one sequence")
    scale = _unit(lists["t"])
    stamps = [_stored_times(file, k) for k in keys]
    if all(s[0] is not None for s in stamps):
        carries.add(EXPOSURE)
    row = in_a_row(keys)
    return SequenceFacts(
        "efnet-h5", (path,), name, split, (width, height), (width, height), spans(stamps, scale, row),
        frozenset(carries), hdf5.digest(path), row, told_gaps(name, keys, row),
    )  # fmt: skip


def spans(
    stamps: list[tuple[float | None, float | None, float | None]], scale: float, row: tuple[int, ...] | None
) -> tuple[Span | None, ...]:
    """The windows of all frames in µs.

    None where a frame lacks an exposure that others have, or, where none has one, both neighbours' stamps.

    Args:
        stamps: see `_stored_times`.
        scale: µs in one unit of them.
        row: frames that the next one in the list follows; None: all.
    """
    exposed = any(start is not None for start, _, _ in stamps)
    out: list[Span | None] = []
    for i, (start, _, stamp) in enumerate(stamps):
        around = [s[2] for s in stamps[max(i - 1, 0) : i + 2]]
        between = not exposed and 0 < i < len(stamps) - 1 and stamp is not None and None not in around
        between = between and (row is None or {i - 1, i} <= set(row))
        if start is None and not between:
            out.append(None)
            continue
        a, b = times(np.array(stored_window(stamps, i), np.float64), scale)
        out.append((int(a), int(b)) if b > a else None)
    return tuple(out)


def _stored_times(file: Any, key: str) -> tuple[float | None, float | None, float | None]:
    """Start and end of an exposure and the stamp, each where it is there."""
    found: list[float | None] = []
    attributes = hdf5.array(file, f"images/{key}").attrs
    for name in ("exposure_start", "exposure_end", "timestamp"):
        value = np.asarray(attributes[name]) if name in attributes else None
        if value is not None and (value.dtype.kind not in "biuf" or value.size != 1 or not np.isfinite(value)):
            raise Refused(f"images/{key}: its {name} is no number")
        found.append(None if value is None else float(value.reshape(())))
    start, end, stamp = found
    if start is None or end is None or end <= start:
        return None, None, stamp if stamp is not None else start
    return start, end, stamp


def _unit(t: Any) -> float:
    """Microseconds in one unit of the file's times, which it does not state."""
    if t.dtype.kind != "f":
        return 1.0
    ends = [float(t[i]) for i in (0, -1)] if len(t) else []
    if any(b < a for a, b in itertools.pairwise(ends)):
        raise Refused("its events do not lie in order of time")
    return 1e6 if not ends or ends[1] - ends[0] < _LONGEST_S else 1.0
