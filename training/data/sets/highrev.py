"""HighREV (NTIRE 2025, single image): `blur`, `sharp` and `event` or `voxel` in one folder, matched by name.

`blur/NAME_00001.png`, `sharp/…` alike; `event/NAME_00001_00.npz` … with `x`, `y`, `timestamp`, `polarity`, each
(n, 1), of which the last file of a frame lies behind its exposure and is not used, and in which **x is the row
and y the column**; or `voxel/NAME_00001.npz`, (H, W, 6), the time-bilinear grid. Blurred and sharp pictures are
matched by name here; the authors match them by place in the sorted list.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.representations.coding import columns
from inference.representations.voxel import from_stored
from recordings.formats.dataset_source import times
from recordings.formats.event_files import unit_us
from recordings.formats.names import files_with, natural
from recordings.formats.npy_members import Archive
from recordings.sandbox_child import Refused
from training.data.sets.facts import (
    EVENTS,
    FAULTS,
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
from training.data.sets.pictures import numbered, png_size, read_rgb, refuse_dark

VOXEL = "stored voxel grids"


class HighRevReader(Unread):
    """One sequence; `facts.files` are the folder and the stems of its frames. See `SequenceReader`."""

    def __init__(self, facts: SequenceFacts) -> None:
        self.facts = facts
        self._folder = Path(facts.files[0])
        self._stems = facts.files[1:]

    @reads
    def blurred(self, index: int) -> U8:
        """See `SequenceReader`."""
        return sized(read_rgb(self._folder / "blur" / f"{self._stems[index]}.png"), self.facts)

    @reads
    def truth(self, index: int) -> U8:
        """See `SequenceReader`."""
        return sized(read_rgb(self._folder / "sharp" / f"{self._stems[index]}.png"), self.facts)

    @reads
    def window(self, index: int) -> Window:
        """See `SequenceReader`. The set does not say the unit of its times; see `unit_us`."""
        files = self._event_files[self._stems[index]][:-1]
        parts = []
        for file in files:
            with Archive(file, file.name) as archive:
                found = [archive.whole(k).reshape(-1) for k in ("timestamp", "y", "x", "polarity")]
            parts.append(found)
        t, x, y, p = (np.concatenate([part[k] for part in parts]) for k in range(4))
        width, height = self.facts.size
        kept = columns(times(t, self._unit_us), x, y, np.where(p > 0, 1, 0), width, height)
        span = (int(kept.t[0]), int(kept.t[-1]) + 1) if len(kept) else (0, 1)
        return Window(kept, *span, t)

    @functools.cached_property
    def _event_files(self) -> dict[str, list[Path]]:
        return _event_files(self._folder, self._stems)

    @functools.cached_property
    def _unit_us(self) -> float:
        return _unit_of(self._event_files)

    @reads
    def stored(self, index: int) -> tuple[NDArray[np.float32], U8 | None]:
        """The voxel grid where it is stored; see `SequenceReader`."""
        path = self._folder / "voxel" / f"{self._stems[index]}.npz"
        if not path.is_file():
            raise Refused(f"has no {path.name} in voxel")
        with Archive(path, path.name) as archive:
            grid = from_stored(archive.whole("voxel"))
        if (grid.shape[2], grid.shape[1]) != self.facts.size:
            raise Refused(f"its voxel grid is {grid.shape[2]}×{grid.shape[1]}")
        return grid, None


def unit_of(facts: SequenceFacts) -> float:
    """µs of one unit of a sequence's times, told by its first file with events that can be read."""
    return _unit_of(_event_files(Path(facts.files[0]), facts.files[1:]))


def _unit_of(files_of: dict[str, list[Path]]) -> float:
    for files in files_of.values():
        for file in files[:-1]:
            try:
                with Archive(file, file.name) as archive:
                    t = archive.whole("timestamp").reshape(-1)
            except FAULTS:
                continue  # told where its own frame is asked for; the others are none the worse
            if len(t):
                return unit_us(t)
    return 1.0


def is_highrev(folder: Path) -> bool:
    """The folder has the three parts, pictures lying flat in them."""
    return (folder / "blur").is_dir() and any((folder / part).is_dir() for part in ("event", "voxel"))


def probe(folder: str, stems: tuple[str, ...], name: str, split: str) -> SequenceFacts:
    """What is there of a sequence.

    Raises:
        Refused: no sequence; says why.
    """
    root = Path(folder)
    size: Span | None = None
    sharp = all((root / "sharp" / f"{s}.png").is_file() for s in stems)
    if not sharp and any((root / "sharp" / f"{s}.png").is_file() for s in stems):
        missing = next(s for s in stems if not (root / "sharp" / f"{s}.png").is_file())
        raise Refused(f"has no sharp picture {missing}.png, others are there")
    for stem in stems:
        for part in ("blur", "sharp") if sharp else ("blur",):
            own = png_size(root / part / f"{stem}.png")
            size = size or own
            if own != size:
                raise Refused(f"{part}/{stem}.png is {own[0]}×{own[1]}, the others {size[0]}×{size[1]}")
    assert size is not None
    refuse_dark([root / "blur" / f"{s}.png" for s in stems])
    voxels = all((root / "voxel" / f"{s}.npz").is_file() for s in stems)
    files_of = _event_files(root, stems)
    events = all(len(files) > 1 for files in files_of.values())
    torn = _torn(files_of) if events and not voxels else []
    if not voxels and not events:
        raise Refused("has neither voxel grids nor two event files for each frame")
    carries = {TRUTH} if sharp else set()
    carries |= ({EVENTS} if events else set()) | ({VOXEL} if voxels else set())
    files = [root / part / f"{s}.png" for s in stems for part in ("blur", "sharp")]
    # Times of the windows are in the event files; here only that each frame has some.
    return SequenceFacts(
        "highrev", (folder, *stems), name, split, size, size,
        tuple(None if s in torn else (0, 1) for s in stems), frozenset(carries), digest(*files),
        problems=_told(name, torn, len(stems)),
    )  # fmt: skip


def _told(name: str, torn: list[str], frames: int) -> tuple[str, ...]:
    if not torn:
        return ()
    count = f"{len(torn)} of {frames} frames"
    return (f"{name}: {count} left out, whose event files are not all there (the first: {torn[0]})",)


def _torn(files_of: dict[str, list[Path]]) -> list[str]:
    """Frames whose event files are not numbered one after another, from the number with which most begin."""
    numbers = {stem: [numbered(f.stem)[1] for f in files] for stem, files in files_of.items()}
    begin = statistics.mode(n[0] for n in numbers.values())
    return [stem for stem, n in numbers.items() if n != list(range(begin, begin + len(n)))]


def sequences(folder: Path) -> dict[str, list[str]]:
    """Stems of the frames of each sequence, in order."""
    out: dict[str, list[str]] = {}
    for path in files_with(folder / "blur", ".png"):
        out.setdefault(numbered(path.stem)[0], []).append(path.stem)
    return out


def _event_files(folder: Path, stems: Sequence[str]) -> dict[str, list[Path]]:
    """The event files of each frame, in order; none where there are none.

    All frames of all sequences have theirs in one folder, of ten thousand files and more: it is listed once.
    """
    files: dict[str, list[Path]] = {stem: [] for stem in stems}
    for file in sorted((folder / "event").glob("*.npz"), key=natural):
        stem = file.stem.rpartition("_")[0]
        if stem in files:
            files[stem].append(file)
    return files
