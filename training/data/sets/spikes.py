"""A spike camera's data set as S-SDM reads it: blurred pictures, spikes around each exposure, sharp pictures.

`spike_data/VIDEO/NUMBER.dat` (or `.npz` with `spk`, `spikes` or `spike`), `blur_data/VIDEO/NUMBER.png` and,
where there is truth, `sharp_data/VIDEO/NUMBER.png`, below `train` and `test` (spike GoPro) or without splits
(real data). Items are the spike files; pictures without spikes are ignored. Spikes lie on a grid of a quarter
of the picture's height and width and are 137 frames, of which 20…116 are the exposure.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inference.representations.spikes import FRAMES
from recordings.formats.names import files_with
from recordings.formats.npy_members import Archive
from recordings.formats.spike_files import SPIKE_NAMES, SpikeSource
from recordings.sandbox_child import Refused
from training.data.sets.facts import SPIKES, TRUTH, U8, SequenceFacts, Span, Unread, reads, sized
from training.data.sets.hdf5 import digest
from training.data.sets.pictures import SUFFIXES, png_size, read_rgb, refuse_dark

CELL = 4
"""Image pixels along one side of a spike pixel."""
SPIKE_DATA, BLUR_DATA, SHARP_DATA = "spike_data", "blur_data", "sharp_data"
_KINDS = frozenset({".dat", ".npz"})


class SpikesReader(Unread):
    """One video; `facts.files` are the set's folder, the video's own name and its spike files' names.

    See `SequenceReader`.
    """

    def __init__(self, facts: SequenceFacts) -> None:
        self.facts = facts
        root, video, *names = facts.files
        self._root, self._video = Path(root), video
        self._spikes = [Path(root) / SPIKE_DATA / video / name for name in names]

    @reads
    def blurred(self, index: int) -> U8:
        """See `SequenceReader`."""
        return self._picture(BLUR_DATA, index)

    @reads
    def truth(self, index: int) -> U8:
        """See `SequenceReader`."""
        return self._picture(SHARP_DATA, index)

    @reads
    def spikes(self, index: int) -> U8:
        """See `SequenceReader`."""
        return read_spikes(self._spikes[index], grid_of(self.facts.size))

    def _picture(self, part: str, index: int) -> U8:
        stem = self._spikes[index].stem
        return sized(read_rgb(_picture_of(self._root / part / self._video, stem)), self.facts)


def read_spikes(path: Path, grid: Span) -> U8:
    """(137, h, w) 0 and 1 of one file.

    Args:
        path: `.dat` or `.npz`.
        grid: (w, h); a `.dat` does not tell it.

    Raises:
        Refused: damaged, of another size, or not 137 frames.
    """
    if path.suffix.lower() == ".dat":
        source = SpikeSource.of_dat(path, grid)
    else:
        with Archive(path, path.name) as archive:
            name = next((n for n in SPIKE_NAMES if n in archive.names), None)
        if name is None:
            raise Refused(f"{path.name} has no array {', '.join(SPIKE_NAMES)}")
        source = SpikeSource.of_npz(path, name)
    if source.facts.image_size != grid:
        w, h = source.facts.image_size or (0, 0)
        raise Refused(f"{path.name} is {w}×{h}, a quarter of its picture is {grid[0]}×{grid[1]}")
    parts = list(source.spikes(0, FRAMES + 1))
    count = sum(map(len, parts))
    if count != FRAMES:
        raise Refused(f"{path.name} holds {'more' if count > FRAMES else count} spike frames, not {FRAMES}")
    return np.concatenate(parts)


def grid_of(size: Span) -> Span:
    """(width, height) of the spikes of a picture."""
    return size[0] // CELL, size[1] // CELL


def is_spikes(folder: Path) -> bool:
    """The folder has spikes and blurred pictures."""
    return (folder / SPIKE_DATA).is_dir() and (folder / BLUR_DATA).is_dir()


def sequences(folder: Path) -> dict[str, list[str]]:
    """Names of the spike files of each video, in order."""
    out: dict[str, list[str]] = {}
    for video in sorted(p for p in (folder / SPIKE_DATA).iterdir() if p.is_dir() and p.name[0] != "."):
        if names := [p.name for p in files_with(video, *_KINDS)]:
            out[video.name] = names
    return out


def probe(folder: str, names: tuple[str, ...], name: str, split: str) -> SequenceFacts:
    """What is there of a video.

    Raises:
        Refused: it cannot be used; says why.
    """
    root = Path(folder)
    stems = [Path(n).stem for n in names]
    blurred = [_picture_of(root / BLUR_DATA / name, s) for s in stems]
    known = (root / SHARP_DATA / name).is_dir()
    sharp = [_picture_of(root / SHARP_DATA / name, s) for s in stems] if known else []
    size = png_size(blurred[0])
    for path in [*blurred, *sharp]:
        if (own := png_size(path)) != size:
            raise Refused(
                f"{path.parent.parent.name}/{path.name} is {own[0]}×{own[1]}, "
                f"{blurred[0].name} {size[0]}×{size[1]}"
            )
    for pictures in (blurred, sharp):
        if pictures:
            refuse_dark(pictures)
    if size[0] % CELL or size[1] % CELL:
        raise Refused(f"its pictures are {size[0]}×{size[1]}; both sides must be multiples of {CELL}")
    files = [root / SPIKE_DATA / name / n for n in names]
    # One that is damaged is named and replaced when its turn comes; where none fits, nothing does.
    faults = []
    for path in files:
        try:
            _look(path, grid_of(size))
            break
        except (Refused, OSError) as error:
            faults.append(error)
    else:
        raise Refused(f"none of its {len(files)} spike files can be used: {faults[0]}")
    return SequenceFacts(
        "spikes", (folder, name, *names), name, split, size, None, (None,) * len(names),
        frozenset({SPIKES} | ({TRUTH} if sharp else set())), digest(*files, *blurred, *sharp),
    )  # fmt: skip


def _look(path: Path, grid: Span) -> None:
    """Whether a file can hold what it should, by its size where that tells it.

    Raises:
        Refused: it cannot.
    """
    if path.suffix.lower() != ".dat":
        read_spikes(path, grid)
        return
    wanted = FRAMES * grid[0] * grid[1]
    if wanted % 8 or path.stat().st_size != wanted // 8:
        raise Refused(
            f"{path.name} has {path.stat().st_size} bytes; {FRAMES} spike frames of {grid[0]}×{grid[1]} "
            f"take {wanted / 8:g}"
        )


def _picture_of(folder: Path, stem: str) -> Path:
    # PNG first: its size is told without decoding it.
    for suffix in (".png", *sorted(SUFFIXES - {".png"})):
        if (path := folder / f"{stem}{suffix}").is_file():
            return path
    raise Refused(f"{folder.parent.name} has no picture {folder.name}/{stem}.png")
