"""Finds the sequences of a data set below files and folders, by their layout, and says what was left out.

Folders named `train` and `test` (or `val`, `valid`) are splits; where it is asked for, several paths of such
names are, too. A file that cannot be used is named and counted and the others go on; a path that holds nothing
of a known layout is an error.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capture.errors import UsageError
from recordings.formats.msrbd import sequences as pair_sequences
from recordings.formats.names import files_with
from training.data.sets import frames, highrev, spikes
from training.data.sets.facts import EXPOSURE, SequenceFacts
from training.data.sets.pictures import numbered
from training.data.sets.probing import probe, probe_apart

TRAIN, TEST = "train", "test"
_SPLITS = {"train": TRAIN, "training": TRAIN, "test": TEST, "val": TEST, "valid": TEST, "validation": TEST}
_HDF5 = frozenset({".h5", ".hdf5"})
_PAIRS = frozenset({".npz"})
# Of these the first of a sequence's files is the folder in which its parts lie.
_BY_FOLDER = ("highrev", "spikes")
_LAYOUTS = (
    "HDF5 files of EFNet (raw or SCER), HighREV's folders blur, sharp, event or voxel, MS-RBD style .npz, "
    "video folders blur/VIDEO and gt/VIDEO, or spike folders spike_data/VIDEO and blur_data/VIDEO"
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Something that may be a sequence: which module probes it, with which arguments."""

    where: str
    module: str
    arguments: tuple[Any, ...]
    alone: bool  # probed in a process of its own


@dataclass
class Found:
    """What is below the paths.

    Attributes:
        sequences: usable ones, in order of names.
        skipped: one line for each that was left out, with the reason.
        splits: the splits that are there, empty ones included.
        where: the paths, for messages.
    """

    where: str
    sequences: list[SequenceFacts] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    splits: set[str] = field(default_factory=set)

    @property
    def formats(self) -> str:
        """The formats that were found, for messages."""
        return ", ".join(sorted({s.format for s in self.sequences})) or "nothing"

    def having(self, needs: Iterable[str], who: str) -> Found:
        """Only sequences that carry all that is needed; the others are skipped by name.

        Raises:
            UsageError: none does; names the format and what it lacks.
        """
        wanted = tuple(needs)
        kept = Found(self.where, [], list(self.skipped), set(self.splits))
        for s in self.sequences:
            lacking = [n for n in wanted if n not in s.carries]
            if lacking:
                kept.skipped.append(f"{s.name} ({s.format}) has no {' and no '.join(lacking)}")
            else:
                kept.sequences.append(s)
        if self.sequences and not kept.sequences:
            lacks = sorted({n for s in self.sequences for n in wanted if n not in s.carries})
            raise UsageError(f"{who} needs {' and '.join(lacks)}; {self.where} ({self.formats}) has none")
        return kept

    def of(self, split: str) -> list[SequenceFacts]:
        """The sequences of a split; those without one belong to all."""
        return [s for s in self.sequences if s.split in ("", split)]


def find(paths: Sequence[str | Path], *, named: bool = False) -> Found:
    """All sequences below files and folders.

    Args:
        paths: files and folders.
        named: a path called like a split is one, as if the folder above it had been given. A path that is given
            alone, or beside none of another split, has no split by its name: it is what there is.

    Raises:
        UsageError: a path is not there, holds nothing of a known layout, or nothing that can be read.
    """
    out = Found(", ".join(str(p) for p in paths))
    for path in map(Path, paths):
        if not path.exists():
            raise UsageError(f"{path} does not exist; give a file or folder of a data set")
    inner = {path: _splits_in(path) for path in map(Path, paths)}
    own = _own_splits(inner) if named else {}
    out.splits = set(own.values()).union(*(splits.values() for splits in inner.values()))
    candidates: list[_Candidate] = []
    for path in map(Path, paths):
        parts = inner[path] or {path: own.get(path, "")}
        found = [c for part, split in parts.items() for c in _below(part, split)]
        if not found:
            raise UsageError(
                f"{path} holds no data set of a known layout; known are {_LAYOUTS}; a recording "
                "of one's own becomes such a set with: halfmirror export --to msrbd"
            )
        candidates += found
    for candidate, result in zip(candidates, _probed(candidates), strict=True):
        if isinstance(result, str):
            out.skipped.append(f"{candidate.where}: {result}")
        else:
            out.sequences.append(result)
            out.skipped += result.problems
            if untold := _without_window(result):
                out.skipped.append(f"{result.name}: {untold} of {result.frames} frames have no exposure")
    if candidates and not out.sequences:
        raise UsageError(f"none of {len(candidates)} sequences can be used; the first: {out.skipped[0]}")
    out.sequences = _named_apart(out.sequences)
    return out


def _splits_in(path: Path) -> dict[Path, str]:
    """The split folders directly below a path."""
    if not path.is_dir():
        return {}
    return {
        p: _SPLITS[p.name.lower()] for p in sorted(path.iterdir()) if p.name.lower() in _SPLITS and p.is_dir()
    }


def _own_splits(inner: dict[Path, dict[Path, str]]) -> dict[Path, str]:
    """Of paths that hold no splits, those that are one: by their name, of a file by its folder's."""
    own: dict[Path, str] = {}
    for path, splits in inner.items():
        whole = Path(os.path.abspath(path))
        name = (whole.parent if path.is_file() else whole).name.lower()
        if not splits and name in _SPLITS:
            own[path] = _SPLITS[name]
    return own if any(inner.values()) or len(set(own.values())) > 1 else {}


def _below(path: Path, split: str) -> list[_Candidate]:
    if path.is_file():
        return _file(path, split)
    if highrev.is_highrev(path):
        return [
            _Candidate(f"{path.name}/{name}", "highrev", (str(path), tuple(stems), name, split), False)
            for name, stems in highrev.sequences(path).items()
        ]
    if spikes.is_spikes(path):
        return [
            _Candidate(f"{path.name}/{name}", "spikes", (str(path), tuple(files), name, split), False)
            for name, files in spikes.sequences(path).items()
        ]
    out = [c for p in files_with(path, *_HDF5) for c in _file(p, split)]
    archives = files_with(path, *_PAIRS)
    for name in pair_sequences(archives):
        own = tuple(str(p) for p in archives if name in (numbered(p.stem)[0], p.stem))
        out.append(_Candidate(name, "pairs", (own, name, split), False))
    out += [
        _Candidate(name, "frames", (str(blurred), str(sharp) if sharp else "", name, split), False)
        for name, blurred, sharp in frames.videos(path)
    ]
    return out


def _file(path: Path, split: str) -> list[_Candidate]:
    if path.suffix.lower() in _HDF5:
        return [_Candidate(path.name, "hdf5", (str(path), path.stem, split), True)]
    if path.suffix.lower() in _PAIRS:
        return [_Candidate(path.name, "pairs", ((str(path),), path.stem, split), False)]
    return []


def _probed(candidates: list[_Candidate]) -> list[SequenceFacts | str]:
    """Facts of each, or why it is left out."""
    apart = [c.arguments for c in candidates if c.alone]
    done = iter(probe_apart(apart) if apart else ())
    return [next(done) if c.alone else probe(c.module, c.arguments) for c in candidates]


def _without_window(facts: SequenceFacts) -> int:
    """Frames that are no items for want of an exposure; the ends of a sequence without any are meant to be."""
    if facts.problems and facts.format != "msrbd":
        return 0  # for want of something else, which is told
    missing = facts.frames - len(facts.items)
    ends = facts.spans[0] is None and facts.spans[-1] is None
    return 0 if EXPOSURE not in facts.carries and ends and missing == 2 else missing


def _named_apart(found: list[SequenceFacts]) -> list[SequenceFacts]:
    """Names are unique: of those called alike, as much of their place goes in front as tells them apart."""
    alike: dict[str, list[int]] = {}
    for k, s in enumerate(found):
        alike.setdefault(s.name, []).append(k)
    out = list(found)
    for name, which in alike.items():
        if len(which) > 1:
            for k, own in zip(which, _apart([found[k] for k in which]), strict=True):
                out[k] = dataclasses.replace(found[k], name=f"{own}/{name}")
    return out


def _apart(alike: list[SequenceFacts]) -> list[str]:
    """Two folders above each, or as many more as it takes; numbers where one place was given twice."""
    ends_at = [None if s.format in _BY_FOLDER else -1 for s in alike]
    places = [Path(os.path.abspath(s.files[0])).parts[1:k] for s, k in zip(alike, ends_at, strict=True)]
    ends: list[str] = []
    for depth in range(2, max(3, *(len(p) + 1 for p in places))):
        ends = ["/".join(p[-depth:]) for p in places]
        if len(set(ends)) == len(set(places)):
            break
    return [e if (n := ends[:k].count(e)) == 0 else f"{e} ({n + 1})" for k, e in enumerate(ends)]
