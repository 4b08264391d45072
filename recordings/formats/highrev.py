"""HighREV, as the NTIRE 2025 single-image set has it: `blur/NAME_00001.png`, `event/NAME_00001_00.npz`.

An event file has x, y, timestamp, polarity, each (n, 1). The names of x and y are exchanged: the column is in
`y`. A frame has several event files; all but the last lie in its exposure, the last one behind it, so the
exposure is from the first event to the first of the last file. Events lie on the picture's own pixels. An event
belongs to the frame whose files hold it, up to where those of the next frame begin.

An `exposures.csv` beside (our export writes one; `stamps` has its form) tells the exposures themselves, also
those behind which no event came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import Found, FrameTime, SourceFacts, in_order, remark, scaled
from recordings.formats.event_files import NpzEvents
from recordings.formats.names import files_with
from recordings.formats.pictures import (
    find_pictures,
    first_size,
    read_picture,
)
from recordings.formats.stamps import LIKE, frame_times, read_stamps, tell_missing
from recordings.sandbox_child import Refused

_EVENTS = re.compile(r"(.+)_(\d+)_(\d+)")
_PICTURE = re.compile(r"(.+)_(\d+)")
_TABLE = "exposures.csv"


def is_highrev(folder: Path) -> bool:
    """The folder has pictures in `blur` and event files in `event` whose names belong together."""
    if not (folder / "blur").is_dir() or not (folder / "event").is_dir():
        return False
    files = files_with(folder / "event", ".npz")
    return any(_EVENTS.fullmatch(f.stem) for f in files)


class HighRevSource:
    """One sequence; see `Source`.

    Args:
        path: the folder that holds `blur` and `event`.
        stated: size of the event grid where the person gave it.
    """

    def __init__(self, path: Path, stated: tuple[int, int] | None) -> None:
        pictures = find_pictures(path / "blur")
        names = sorted({m.group(1) for p in pictures if (m := _PICTURE.fullmatch(p.stem))})
        if len(names) != 1:
            listed = ", ".join(names[:6]) or "none that is numbered"
            raise Refused(f"holds {len(names)} sequences ({listed}); put one into a folder of its own")
        files, problems = files_with(path / "event", ".npz"), list[str]()
        # `NAME_00001_02 (1).npz`, as copying leaves it, is no part of a frame.
        other = [f.name for f in files if not _EVENTS.fullmatch(f.stem)]
        if other:
            remark(
                problems,
                f"{len(other)} event files are not named as NAME_00001_02.npz and left out (the first: "
                f"{other[0][:60]})",
            )
        files = [f for f in files if _EVENTS.fullmatch(f.stem)]
        per_frame = {p.stem: [f for f in files if f.stem.rpartition("_")[0] == p.stem] for p in pictures}
        lacking = [name for name, own in per_frame.items() if len(own) < 2]
        if lacking:
            problems.append(
                f"{len(lacking)} frames lack a second event file and so an exposure (the first: {lacking[0]})"
            )
        kept = [p for p in pictures if per_frame[p.stem]]
        if not kept:
            raise Refused("holds no event files that belong to its pictures")
        own = [per_frame[p.stem] for p in kept]
        self._events = NpzEvents([f for group in own for f in group], exchanged=True)
        missing, untold = _missing([per_frame[p.stem] for p in pictures])
        self._events.missing = missing
        problems += self._events.losses()
        image = first_size(kept, problems)
        self._check_exchange(image, problems)
        size = stated or image
        found, at, begins = [], 0, list[int]()
        for group in own:
            firsts = self._events.firsts[at : at + len(group)]
            # Without an event in the last file nothing tells the end.
            tells = len(group) > 1 and not self._events.empty[at + len(group) - 1]
            tells = tells and at not in self._events.damaged and at not in untold
            found.append(FrameTime(firsts[0], max(firsts[0], firsts[-1]) if tells else firsts[0]))
            begins += [firsts[0]] * len(group)
            at += len(group)
        self._until = [next((b for b in begins[k:] if b > begins[k]), 1 << 62) for k in range(len(begins))]
        told, unit = self._told(path / _TABLE, kept, pictures, problems)
        if told is None or not unit or not self._like_events(told):
            remark(problems, self._events.note)
        if told is None:
            remark(problems, "exposures reach from a frame's first event to the first of its last event file")
        found = told or found
        self.facts = SourceFacts(
            format="highrev", event_size=size, image_size=image, camera="HighREV",
            start_us=min(self._events.first_us, *(f.start_us for f in found)),
            end_us=max(self._events.last_us, *(f.end_us for f in found)),
            image_from_event=scaled(size, image),
            note="events on the frame's own pixels; tone curve not stated",
            problems=problems, stamp_in_middle=False,
        )  # fmt: skip
        order = in_order(found, self.facts)
        self.frames = [found[i] for i in order]
        self._pictures = [kept[i] for i in order]

    def _told(
        self, table: Path, kept: list[Path], pictures: list[Path], problems: list[str]
    ) -> tuple[list[FrameTime] | None, str]:
        """The exposures of the table and the unit that its heading says; None where none can be read."""
        if not table.is_file():
            return None, ""
        try:
            stamps = read_stamps(table)
            events = self._events.first_us, self._events.last_us
            found = frame_times(stamps, kept, events, problems)
            tell_missing(stamps, pictures, problems)
            return found, stamps.unit
        except Refused as e:
            remark(problems, f"{e}; it is left out")
            return None, ""

    def _like_events(self, told: list[FrameTime]) -> bool:
        """Exposures lie among the events and cover about the same time, so that both have one unit.

        Lying among them is not enough: events in ns that are read as µs reach a thousand times as far.
        """
        first, last = self._events.first_us, self._events.last_us
        among = 2 * sum(first <= f.end_us and f.start_us <= last for f in told) > len(told)
        span = max(f.end_us for f in told) - min(f.start_us for f in told)
        return among and max(1, last - first) <= LIKE * max(1, span)

    def _check_exchange(self, image: tuple[int, int], problems: list[str]) -> None:
        """Whether x and y are exchanged in these files as in the published ones."""
        reach = self._events.reach
        fits = all(r <= i for r, i in zip(reach, image, strict=True))
        fits_plain = all(r <= i for r, i in zip(reach[::-1], image, strict=True))
        if not fits and fits_plain:
            self._events.exchanged = False
            remark(problems, "x and y are not exchanged in these files, as they are in the published ones")
        elif not fits:
            problems.append(f"events reach {reach[0]}×{reach[1]}, beyond pictures of {image[0]}×{image[1]}")

    def image(self, index: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        return read_picture(self._pictures[index])

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`."""
        return self._events.events(start_us, self._until)


def _missing(groups: list[list[Path]]) -> tuple[dict[int, str], set[int]]:
    """What is not there, by the place of the event file behind it, and which frames' exposures it would tell.

    Args:
        groups: each picture's event files, in order.

    Returns:
        a line by the place among all files, and places of the first files of such frames.
    """
    parts = [[int(f.stem.rpartition("_")[2]) for f in group] for group in groups]
    lowest = min((p[0] for p in parts if p), default=0)
    ends = [p[-1] for p in parts if p]
    usual = max(set(ends), key=ends.count) if ends else 0
    # Only where most have the same number of files, and none has more, are those that have fewer known to lack
    # their last.
    alike = len(ends) > 2 and 3 * ends.count(usual) >= 2 * len(ends) and max(ends) == usual
    found, untold, at, lost = dict[int, str](), set[int](), 0, ""
    for group, own in zip(groups, parts, strict=True):
        if not group:
            lost = lost or "a frame's event files are missing"
            continue
        stem = group[0].stem.rpartition("_")[0]
        if own[0] != lowest:
            lost = f"event files of {stem} before {group[0].name} are missing"
            untold.add(at)
        if lost and at:
            found[at] = lost
        for i in range(1, len(own)):
            if own[i] != own[i - 1] + 1:
                found[at + i] = f"event files between {group[i - 1].name} and {group[i].name} are missing"
        lost = ""
        if alike and own[-1] < usual:
            lost = f"event files of {stem} behind {group[-1].name} are missing"
            untold.add(at)
        at += len(group)
    if lost:
        found[at] = lost  # behind all others
    return found, untold
