"""MS-RBD style `.npz` with truth (X. Zhang et al., ICCV 2023): `sharp_imgs`, `sharp_timestamps`.

A file holds two frames in a row; files of one sequence are named alike up to their number. Both exposures and
all events lie on one clock. The truth of a frame's middle is the sharp picture that is nearest to it; where
none lies within a tenth of the exposure, the sequence has none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inference.representations.coding import Columns, columns
from recordings.formats.dataset_source import MAX_PICTURE_BYTES, Piece, picture, times
from recordings.formats.msrbd import MsRbdSource
from recordings.formats.npy_members import Archive
from training.data.sets.facts import (
    EVENTS,
    EXPOSURE,
    INSTANTS,
    STREAM,
    TRUTH,
    U8,
    SequenceFacts,
    Span,
    Unread,
    Window,
    reads,
    sized,
)
from training.data.sets.hdf5 import digest

_NEAR = 0.1
_LIMIT = 32 * MAX_PICTURE_BYTES


class PairsReader(Unread):
    """One sequence of files; see `SequenceReader`."""

    @reads
    def __init__(self, facts: SequenceFacts) -> None:
        self.facts = facts
        self._source = MsRbdSource([Path(p) for p in facts.files], None)
        self._sharp = {path: _sharp_times(path) for path in self._source.paths}

    @reads
    def blurred(self, index: int) -> U8:
        """See `SequenceReader`."""
        return sized(self._source.image(index), self.facts)

    @reads
    def truth(self, index: int) -> U8:
        """See `SequenceReader`."""
        start, end = self._span(index)
        near = _nearest(self._sharp, (start + end) / 2, (end - start) * _NEAR)
        if near is None:
            raise ValueError("has no sharp picture of its middle")
        path, k = near
        return self._picture(path, k)

    @reads
    def instants(self, index: int) -> list[tuple[int, U8]]:
        """See `SequenceReader`. An instant between two exposures belongs to the second, as published."""
        span = self._span(index)
        out = []
        for path, stamps in self._sharp.items():
            first, second = _exposures(path)
            for k, t in enumerate(stamps):
                if span == (first if t <= first[1] else second):
                    out.append((t, self._picture(path, k)))
        return out

    @reads
    def window(self, index: int) -> Window:
        """See `SequenceReader`."""
        start, end = self._span(index)
        kept = self.between(start, end)
        return Window(kept, start, end, kept.t)

    @reads
    def between(self, start_us: int, end_us: int) -> Columns:
        """See `SequenceReader`."""
        parts: list[list[np.ndarray]] = []
        for found in self._source.events(start_us):
            if isinstance(found, str):
                raise ValueError(found)
            if not isinstance(found, Piece):  # nothing that pairs have
                continue
            keep = (found.t >= start_us) & (found.t < end_us)
            parts.append([np.asarray(c)[keep] for c in found])
            if len(found.t) and found.t[-1] >= end_us:
                break
        grid = self.facts.grid
        assert grid is not None
        none = [np.empty(0, k) for k in (np.int64, np.int16, np.int16, np.bool_)]
        joined = [np.concatenate([p[k] for p in parts]) if parts else none[k] for k in range(4)]
        t, x, y, p = joined
        return columns(t, x, y, p, grid[0], grid[1], drop_outside=True)

    def _span(self, index: int) -> Span:
        span = self.facts.spans[index]
        if span is None:
            raise ValueError("has no exposure")
        return span

    def _picture(self, path: Path, k: int) -> U8:
        with Archive(path, path.name) as archive:
            sharp = archive.whole("sharp_imgs", _LIMIT)
        return sized(picture(sharp[k], planes_first=True, bgr=True), self.facts)


def probe(files: tuple[str, ...], name: str, split: str) -> SequenceFacts:
    """What the files of a sequence hold.

    Raises:
        Refused: no sequence; says why.
    """
    source = MsRbdSource([Path(f) for f in files], None)
    paths = source.paths
    spans = tuple((f.start_us, f.end_us) if f.known else None for f in source.frames)
    carries = {EVENTS, STREAM} | ({EXPOSURE} if all(spans) else set())
    sharp = {path: _sharp_times(path) for path in paths}
    if any(sharp.values()):
        carries.add(INSTANTS)
    middles = [_nearest(sharp, (s[0] + s[1]) / 2, (s[1] - s[0]) * _NEAR) for s in spans if s is not None]
    if middles and all(m is not None for m in middles):
        carries.add(TRUTH)
    # Frames of two files that do not overlap follow one another, but nobody knows what was between them.
    starts = {spans.index(first) for first, second in map(_exposures, paths) if {first, second} <= set(spans)}
    assert source.facts.image_size is not None
    return SequenceFacts(
        "msrbd", files, name, split, source.facts.image_size, source.facts.event_size, spans,
        frozenset(carries), digest(*files), tuple(sorted(starts)),
        tuple(f"{name}: {p}" for p in source.facts.problems if "left out" in p),
    )  # fmt: skip


def _exposures(path: Path) -> tuple[Span, Span]:
    """Those of a file's two frames."""
    with Archive(path, path.name) as a:
        return (
            (_time(a, "exp_start1"), _time(a, "exp_end1")), (_time(a, "exp_start2"), _time(a, "exp_end2")),
        )  # fmt: skip


def _time(archive: Archive, key: str) -> int:
    name = f"{key}_us" if f"{key}_us" in archive.names else key
    return int(times(np.asarray([archive.scalar(name)]))[0])


def _sharp_times(path: Path) -> list[int]:
    with Archive(path, path.name) as archive:
        if not {"sharp_imgs", "sharp_timestamps"} <= archive.names:
            return []
        return [int(t) for t in times(archive.whole("sharp_timestamps"))]


def _nearest(sharp: dict[Path, list[int]], at: float, within: float) -> tuple[Path, int] | None:
    found = [(abs(t - at), path, k) for path, stamps in sharp.items() for k, t in enumerate(stamps)]
    best = min(found, key=lambda f: f[0], default=None)
    return (best[1], best[2]) if best is not None and best[0] <= within else None
