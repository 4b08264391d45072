"""When pictures of a folder were taken, by the text file of times beside them.

A line of it has one time (the frame's stamp), or the start and the end of its exposure, or its start and its
length; which column is what `time_columns` tells. The unit is what a heading says (us, ns, ms, s); where none
does, it is the one in which pictures and events cover about the same time, and that is said. The table that
this program writes itself is known by its heading (`own_pictures`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recordings.formats.dataset_source import FrameTime, remark, times
from recordings.formats.own_pictures import own_rows
from recordings.formats.pictures import SUFFIXES
from recordings.formats.text_table import Table, decoded_text, read_table
from recordings.formats.time_columns import LENGTH_WORDS, TIME_WORDS, find_columns
from recordings.formats.units import UNITS, unit_told, words_in
from recordings.pickle_steps import megabytes
from recordings.recording import MAX_EXPOSURE_US
from recordings.sandbox_child import Refused

MAX_TEXT_BYTES = 64 << 20
# Pictures and events of one recording cover the same time within this factor; units lie a thousand apart.
LIKE = 30.0


@dataclass(frozen=True, slots=True)
class Stamps:
    """A text file of times.

    Attributes:
        name: of the file.
        rows: one or two numbers each, in the file's unit.
        names: of the pictures they belong to; empty where the lines do not say.
        unit: what a heading says, "" when none does.
        whole: all numbers are integers.
        own: it is this program's own table, in which a row without length is of an unknown exposure.
        note: how it was read, "" where there is nothing to be said.
    """

    name: str
    rows: list[tuple[float, ...]]
    names: list[str]
    unit: str
    whole: bool
    own: bool = False
    note: str = ""


class LengthsAlone(Refused):
    """A table holds lengths of exposures and no times, as some data sets have it beside one of times."""


def read_stamps(path: Path) -> Stamps:
    """Read a text file of times.

    Raises:
        LengthsAlone: it holds no times.
        Refused: it is none, or its columns cannot be told.
    """
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise Refused(f"{path.name} has {megabytes(size)}; at most {megabytes(MAX_TEXT_BYTES)} are read")
    text = decoded_text(path.read_bytes())
    if (own := own_rows(path, text)) is not None:
        return Stamps(path.name, list(own[0].values()), list(own[0]), "µs", True, True, own[1])
    table = read_table(text, path.name)
    if _lengths_alone(path.stem, table):
        raise LengthsAlone(
            f"{path.name} holds lengths of exposures and no times; write a line START LENGTH for each picture, "
            "below start_us,length_us"
        )
    columns = find_columns(table, path.name, SUFFIXES)
    rows = [tuple(r) for r in columns.rows.tolist()]
    names: list[str] = []
    if (k := columns.names) is not None:
        names = [re.split(r"[\\/]", str(r[k]))[-1] for r in table.rows]
        _told_once(path.name, names, rows, table.lines)
    unit = columns.unit or _unit(path.stem, [line.text for line in table.above])
    if columns.lengths and not unit:
        raise Refused(
            f"{path.name} does not say the unit of times and of lengths of exposures, which may be two; name "
            "columns with units in a first line, such as: timestamp_us,exposure_us"
        )
    whole = bool((columns.rows % 1 == 0).all())
    return Stamps(path.name, rows, names, unit, whole, note=columns.note)


def _lengths_alone(stem: str, table: Table) -> bool:
    """One number a line that does not increase, below (or without that, in a file of) exposures, not times."""
    if table.width != 1:
        return False
    values = np.array([r[0] for r in table.rows if isinstance(r[0], float)], np.float64)
    words = {w for line in table.above for w in words_in(line.text)} or set(words_in(stem))
    speaks = not words.isdisjoint(LENGTH_WORDS) and words.isdisjoint(TIME_WORDS - {"exposures"})
    return speaks and bool((np.diff(values) <= 0).any())


def _unit(stem: str, lines: list[str]) -> str:
    """The unit that a file's name or the lines above its rows tell.

    That of exposures counts where no line speaks of times: `exposure in ms` beside stamps is another column's.
    """
    lines = [re.sub(r"(?<=[a-z])[_-](us|µs|ns|ms|s)$", r" in \1", stem.lower()), *lines]
    told = [unit_told(line, TIME_WORDS) for line in lines]
    if not any(told) and all(TIME_WORDS.isdisjoint(words_in(line)) for line in lines[1:]):
        told = [unit_told(line, TIME_WORDS | LENGTH_WORDS) for line in lines]
    return next((u for u in told if u), "")


def _told_once(name: str, names: list[str], rows: list[tuple[float, ...]], lines: list[int]) -> None:
    known: dict[str, tuple[float, ...]] = {}
    for picture, row, line in zip(names, rows, lines, strict=True):
        if known.setdefault(picture, row) != row:
            raise Refused(f"{name}, line {line}: {picture[:40]} has another time already; each picture has one")


def tell_missing(stamps: Stamps, pictures: list[Path], problems: list[str]) -> None:
    """Say which pictures have a time and are not there.

    Args:
        stamps: of the text file.
        pictures: all of the folder.
        problems: a line is added.
    """
    there = {p.name for p in pictures} | {p.stem for p in pictures}
    missing = [n for n in dict.fromkeys(stamps.names) if n not in there]
    if missing:
        count = f"{len(missing)} pictures that are not there (the first: {missing[0][:40]})"
        problems.append(f"{stamps.name} has times of {count}")


def frame_times(
    stamps: Stamps, pictures: list[Path], events: tuple[int, int] | None, problems: list[str]
) -> list[FrameTime]:
    """When each picture was taken.

    Args:
        stamps: of the text file.
        pictures: in order.
        events: first and last time of the events, µs; None without events.
        problems: what was decided is added.

    Raises:
        Refused: counts or names do not agree, or no unit makes sense.
    """
    rows = stamps.rows
    if stamps.names:
        by_name = dict(zip(stamps.names, rows, strict=True))
        by_name |= {p.name: by_name[p.stem] for p in pictures if p.stem in by_name}
        missing = [p.name for p in pictures if p.name not in by_name]
        if missing:
            raise Refused(
                f"{stamps.name} has no time for {missing[0]} ({len(missing)} of {len(pictures)} pictures)"
            )
        rows = [by_name[p.name] for p in pictures]
    elif len(rows) != len(pictures):
        raise Refused(f"{stamps.name} has {len(rows)} times for {len(pictures)} pictures; they must agree")
    unit = stamps.unit or _likely_unit(stamps, events, problems)
    fitted = "" if stamps.unit or events is None else ", which fits the events,"
    values = times(np.array(rows, np.float64), UNITS[unit]).reshape(len(rows), -1)
    if stamps.note:
        remark(problems, stamps.note)
    bad = int(np.count_nonzero(values[:, -1] <= values[:, 0])) if values.shape[1] == 2 else 0
    if bad and not stamps.own:
        problems.append(
            f"{stamps.name}: {bad} exposures end where they start, or before; these lengths are not used"
        )
    longest = int((values[:, -1] - values[:, 0]).max())
    if longest > MAX_EXPOSURE_US and not stamps.own:
        raise Refused(
            f"{stamps.name}: in {unit}{fitted} an exposure lasts {longest / 1e6:.6g} s, which none does "
            f"({MAX_EXPOSURE_US // 1_000_000} s at most); name columns and units in first lines: "
            "start_us,end_us here, t_ns x y p for events in ns"
        )
    found = [FrameTime(int(r[0]), max(int(r[0]), int(r[-1]))) for r in values]
    if events is not None and not any(f.start_us <= events[1] and f.end_us >= events[0] for f in found):
        first, last = min(f.start_us for f in found), max(f.end_us for f in found)
        problems.append(
            f"{stamps.name}: no picture lies among the events, so none can be restored: pictures from "
            f"{first / 1e6:.3f} to {last / 1e6:.3f} s, events from {events[0] / 1e6:.3f} to "
            f"{events[1] / 1e6:.3f} s; give both on one clock and in one unit"
        )
    return found


def _likely_unit(stamps: Stamps, events: tuple[int, int] | None, problems: list[str]) -> str:
    """The unit in which pictures and events cover about the same time."""
    low, high = min(r[0] for r in stamps.rows), max(r[-1] for r in stamps.rows)
    if events is None:
        unit = "µs" if stamps.whole else "s"
        remark(problems, f"{stamps.name} does not say its unit; it is taken as {unit}")
        return unit
    span = max(1, events[1] - events[0])
    fitting = [
        u
        for u, us in UNITS.items()
        if high * us >= events[0] - span
        and low * us <= events[1] + span
        and (high == low or 1 / LIKE <= (high - low) * us / span <= LIKE)
    ]
    if len(fitting) != 1:
        why = "more than one fits" if fitting else "in none (µs, s, ns, ms) its pictures lie among the events"
        raise Refused(f"{stamps.name} does not say its unit, and {why}; write it into a first line: # µs")
    remark(problems, f"{stamps.name} does not say its unit; {fitting[0]} is the one that fits the events")
    return fitting[0]
