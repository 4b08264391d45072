"""Folders of pictures with events: HS-ERGB and BS-ERGB, DSEC, and any folder of pictures, events and times.

What is looked for, up to three folders deep:

* pictures: the one folder that holds them (sharp ones, truth for training, do not count);
* events: one file that this program reads by itself, one text file, or a folder of `.npz` files, one for each
  interval between pictures;
* times: a text file whose name speaks of times, stamps or exposures (`stamps`).

Of a left and a right side the left is read, and that is said. HS-ERGB and BS-ERGB keep events on the pictures'
own pixels, BS-ERGB in 32nds of one. Where no text file gives the pictures' times, and there is one `.npz` an
interval between them, they follow from where the intervals begin.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import Found, FrameTime, Source, SourceFacts, in_order, remark, scaled
from recordings.formats.event_files import NpzEvents
from recordings.formats.event_text import TextEvents
from recordings.formats.names import files_with, is_hidden, skipped
from recordings.formats.pictures import (
    SUFFIXES,
    find_pictures,
    first_size,
    read_picture,
)
from recordings.formats.stamps import LengthsAlone, frame_times, read_stamps, tell_missing
from recordings.recording import Remark
from recordings.sandbox_child import Refused

DEPTH, MAX_FOLDERS = 3, 500
# Fixed-point coordinates: so many to a pixel.
FIXED = 32
# Events that reach so much of both sides of a picture lie on its pixels.
REACHED = 0.9
_NO_FRAMES = {
    "sharp",
    "sharp_images",
    "sharp_data",
    "gt",
    "truth",
    "depth",
    "disparity",
    "flow",
    "mask",
    "masks",
}
_TIMES = re.compile(r"time|stamp|exposure|images")
_RECORDED = {".h5", ".hdf5", ".raw", ".dat", ".aedat", ".aedat4"}


@dataclass(slots=True)
class Parts:
    """What a folder holds, each in order of names.

    Attributes:
        pictures: folders with pictures.
        intervals: folders with `.npz` files.
        recorded: files that are read by themselves.
        texts: text files with events.
        times: text files with times.
    """

    pictures: list[Path] = field(default_factory=list)
    intervals: list[Path] = field(default_factory=list)
    recorded: list[Path] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)
    times: list[Path] = field(default_factory=list)


def has_pictures(folder: Path) -> bool:
    """Pictures lie in a folder or in one below it."""
    for n, (root, folders, files) in enumerate(os.walk(folder)):
        if any(Path(f).suffix.lower() in SUFFIXES and not is_hidden(f) for f in files):
            return True
        deep = len(Path(root).relative_to(folder).parts)
        folders[:] = sorted(f for f in folders if deep < DEPTH and not is_hidden(f))
        if n >= MAX_FOLDERS:
            break
    return False


def look(folder: Path) -> Parts:
    """What is in a folder, by names alone.

    Raises:
        Refused: more folders than a recording has.
    """
    parts = Parts()
    for n, (root, folders, files) in enumerate(os.walk(folder)):
        if n >= MAX_FOLDERS:
            raise Refused(f"holds more than {MAX_FOLDERS} folders, which is no single recording")
        here = Path(root)
        deep = len(here.relative_to(folder).parts)
        wanted = (f for f in folders if deep < DEPTH and f.lower() not in _NO_FRAMES)
        folders[:] = sorted(f for f in wanted if not is_hidden(f))
        paths = [here / f for f in sorted(files) if not is_hidden(f)]
        kinds = {p.suffix.lower() for p in paths}
        if kinds & SUFFIXES:
            parts.pictures.append(here)
        if ".npz" in kinds:
            parts.intervals.append(here)
        for p in paths:
            kind, name = p.suffix.lower(), p.stem.lower()
            if kind in _RECORDED and not name.startswith("rectify_map"):
                parts.recorded.append(p)
            elif kind in (".txt", ".csv") and "event" in name and "time" not in name:
                parts.texts.append(p)
            elif kind in (".txt", ".csv") and _TIMES.search(name):
                parts.times.append(p)
    return parts


class PictureFolder:
    """One folder; see `Source` and the module.

    Args:
        path: the folder.
        stated: size of the event sensor where the person gave it.
        open_file: opens an events file that is read by itself.
    """

    def __init__(
        self,
        path: Path,
        stated: tuple[int, int] | None,
        open_file: Callable[[Path, tuple[int, int] | None], Source],
    ) -> None:
        parts, problems = look(path), list[str]()
        pictures = _one(path, parts.pictures, "folders of pictures", problems)
        if pictures is None:
            raise Refused("is a folder without pictures or recordings that are known")
        self._pictures = find_pictures(pictures)
        image = first_size(self._pictures, problems)
        self._events = self._open_events(path, parts, stated, open_file, problems)
        span = None if self._events is None else _span(self._events)
        times = _stamps_for(path, parts.times, pictures, problems)
        if times is not None:
            try:
                stamps = read_stamps(times)
            except LengthsAlone:
                others = [p for p in parts.times if _sideless(p) != _sideless(times)]
                instead = _stamps_for(path, others, pictures, problems)
                if instead is None:
                    raise
                stamps = read_stamps(instead)
                remark(
                    problems,
                    f"{times.name} holds lengths of exposures alone and is left out; --exposure-us"
                    " states one for all frames",
                )
            found = frame_times(stamps, self._pictures, span, problems)
            tell_missing(stamps, self._pictures, problems)
        elif isinstance(self._events, NpzEvents):
            found = self._by_intervals(self._events, problems)
        else:
            raise Refused(
                "has no text file with the times of its pictures; write timestamps.txt, a line START END for "
                "each picture, in µs on the events' clock (docs/formats.md)"
            )
        size = self._grid(image, stated, problems)
        covered = [*(span or ()), *(int(v) for f in found for v in f)]
        source = self._events if isinstance(self._events, Recorded) else None
        self.facts = SourceFacts(
            format="pictures" if source is None else f"pictures+{source.source.facts.format}",
            event_size=size, image_size=image, start_us=min(covered), end_us=max(covered),
            camera="" if source is None else source.source.facts.camera,
            has_triggers=source is not None and source.source.facts.has_triggers, problems=problems,
            image_from_event=scaled(size, image) if size == image else None, assumed=True,
            note="events taken to lie on the frame's own pixels: both have one size", stamp_in_middle=False,
        )  # fmt: skip
        if size is not None and size != image:
            self.facts.unplaced = (
                f"nothing tells how events of {size[0]}×{size[1]} lie on pictures of {image[0]}×{image[1]}"
            )
        order = in_order(found, self.facts)
        self.frames = [found[i] for i in order]
        self._order = order

    def _open_events(
        self,
        path: Path,
        parts: Parts,
        stated: tuple[int, int] | None,
        open_file: Callable[[Path, tuple[int, int] | None], Source],
        problems: list[str],
    ) -> Recorded | NpzEvents | TextEvents | None:
        recorded = _one(path, parts.recorded, "files of events", problems)
        if recorded is not None:
            source = open_file(recorded, stated)
            if source.facts.event_size is None:
                raise Refused(f"{recorded.name} holds no events")
            problems += source.facts.problems
            return Recorded(source)
        folder = _one(path, parts.intervals, "folders of event files", problems)
        events: NpzEvents | TextEvents
        if folder is not None:
            files = files_with(folder, ".npz")
            events = NpzEvents(files)
            events.lack(skipped(files))
            problems += events.losses()
        else:
            text = _one(path, parts.texts, "text files of events", problems)
            if text is None:
                remark(problems, "no events are in the folder, only frames")
                return None
            events = TextEvents(text)
        if events.note:
            remark(problems, events.note)
        return events

    def _by_intervals(self, events: NpzEvents, problems: list[str]) -> list[FrameTime]:
        """Times of pictures between which one event file lies each."""
        n = len(self._pictures)
        starts = [*events.firsts, events.last_us + 1]
        if n not in (len(events.firsts), len(starts)):
            raise Refused(
                f"has no text file with the times of its {n} pictures, and {len(events.firsts)} event files, "
                "which is not one for each interval between them"
            )
        if events.damaged or skipped(events.paths):
            why = next(iter(events.damaged.values()), "numbers are left out in the names of its event files")
            raise Refused(
                f"has no text file with the times of its pictures, and event files do not tell them: {why}"
            )
        remark(
            problems, "no text file gives the pictures' times: they are where the events of each interval begin"
        )
        return [FrameTime(t, t) for t in starts[:n]]

    def _grid(
        self, image: tuple[int, int], stated: tuple[int, int] | None, problems: list[str]
    ) -> tuple[int, int] | None:
        events = self._events
        if events is None:
            return None
        if isinstance(events, Recorded):
            return events.source.facts.event_size
        reach = events.reach
        if (
            stated is None
            and isinstance(events, NpzEvents)
            and any(r > i for r, i in zip(reach, image, strict=True))
        ):
            cells = tuple(-(-r // FIXED) for r in reach)
            if _fills(cells, image):
                events.divisor = FIXED
                remark(
                    problems,
                    f"coordinates reach {reach[0]}×{reach[1]}, {FIXED} times the picture: they are read as "
                    f"{FIXED}nds of a pixel, as BS-ERGB has them",
                )
                return image
        if stated is not None:
            return stated
        if _fills(reach, image):
            remark(
                problems,
                f"the event files do not tell the sensor's size: events reach {reach[0]}×{reach[1]} and are "
                "taken to lie on the pictures' own pixels; --geometry states another size",
            )
            return image
        raise Refused(
            f"nothing tells the event sensor's size, and events that reach {reach[0]}×{reach[1]} do not fill "
            f"the pictures of {image[0]}×{image[1]}; state it: --geometry 640x480"
        )

    def image(self, index: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        return read_picture(self._pictures[self._order[index]])

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`."""
        return iter(()) if self._events is None else self._events.events(start_us)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Events of a file that is a recording by itself."""

    source: Source

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`."""
        return self.source.events(start_us)


def _span(events: Recorded | NpzEvents | TextEvents) -> tuple[int, int]:
    if isinstance(events, Recorded):
        return events.source.facts.start_us, events.source.facts.end_us
    return events.first_us, events.last_us


def _fills(reach: tuple[int, ...], image: tuple[int, int]) -> bool:
    """Events that reach so far lie on the picture's own pixels."""
    return all(REACHED * i <= r <= i for r, i in zip(reach, image, strict=True))


def _one(path: Path, found: list[Path], what: str, problems: list[str]) -> Path | None:
    """The only one, or the left one of a left and a right; None when there is none.

    Raises:
        Refused: several.
    """
    if len(found) < 2:
        return found[0] if found else None
    left = [p for p in found if re.search(r"left", str(p.relative_to(path)).lower())]
    right = [p for p in found if re.search(r"right", str(p.relative_to(path)).lower())]
    if len(left) == 1 and len(left) + len(right) == len(found):
        note = Remark("two sensors are in it, left and right; the left is read")
        problems += [] if note in problems else [note]
        return left[0]
    names = ", ".join(str(p.relative_to(path)) or "." for p in found[:6])
    raise Refused(
        f"holds {len(found)} {what} ({names}{', …' if len(found) > 6 else ''}); one recording has one"
    )


def _sideless(path: Path) -> str:
    return re.sub(r"left|right", "", path.stem.lower())


def _stamps_for(path: Path, found: list[Path], pictures: Path, problems: list[str]) -> Path | None:
    """The text file of the pictures' times: exposures before stamps, near the pictures before far from them."""
    near = [p for p in found if p.parent == pictures or p.parent in pictures.parents]
    ranked: dict[tuple[bool, int], list[Path]] = {}
    for p in near:
        key = ("exposure" not in p.stem.lower(), -len(p.parent.parts))
        ranked.setdefault(key, []).append(p)
    return _one(path, ranked[min(ranked)], "text files of times", problems) if ranked else None
