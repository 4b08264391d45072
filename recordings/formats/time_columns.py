"""Which columns of a table are a picture's name, its time, or the start, the end or the length of its exposure.

A heading that names them decides. Without one a single number is the time and two are start and end, behind a
number that counts the pictures; what can be read in two ways, or makes no exposures, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from recordings.formats.text_table import Table, separator_of, split
from recordings.formats.units import UNITS, is_unit, unit_in, words_in
from recordings.sandbox_child import Refused

# Exposures that overlap by more than this part of their length are none.
OVERLAP = 0.1
_SAY = (
    "name the columns in a first line, such as: frame_id,timestamp_us or start_us,end_us or start_us,length_us"
)


class Role(Enum):
    """What a column holds, by its heading."""

    START, END, MIDDLE, TIME, LENGTH, NUMBER, NAME, OTHER = range(8)


_ROLES = (
    (Role.END, {"end", "ends", "stop", "until", "close", "closed"}),
    (Role.START, {"start", "starts", "begin", "begins", "beginning", "open", "opened"}),
    (Role.MIDDLE, {"mid", "middle", "center", "centre"}),
    (Role.TIME, {"timestamp", "timestamps", "stamp", "stamps", "ts", "t"}),
    (Role.LENGTH, {"exposure", "exposures", "duration", "length", "integration", "shutter", "exp"}),
    (Role.TIME, {"time", "times"}),
)
LENGTH_WORDS = next(words for role, words in _ROLES if role is Role.LENGTH)
TIME_WORDS = {"exposures"}.union(*(words for role, words in _ROLES if role is not Role.LENGTH))
_TOLD = {role for role, _ in _ROLES} | {Role.NUMBER}
_NUMBERS = {
    "frame", "frames", "frameid", "framenumber", "id", "index", "idx", "no", "nr", "num", "number", "seq",
    "sequence", "image", "img", "picture", "count", "counter",
}  # fmt: skip
# With one of these at its end a comment is as likely a title, such as: # exposure times
_MANY = {"times", "timestamps", "stamps", "exposures"}
_NAMES = {"file", "filename", "name", "path"}


@dataclass(frozen=True, slots=True)
class Columns:
    """What was found.

    Attributes:
        rows: (n, 1) times, or (n, 2) starts and ends, in the file's unit.
        names: the column of the pictures' names, None where there is none.
        unit: as the heading of these columns says, "" where it does not.
        note: how it was read, "" where a heading tells.
        lengths: of exposures stand in it, which cameras like to give in another unit than times.
    """

    rows: NDArray[np.float64]
    names: int | None
    unit: str
    note: str = ""
    lengths: bool = False


def role_of(heading: str) -> Role:
    """What a column's heading says."""
    words = set(words_in(heading))
    for role, known in _ROLES:
        if words & known:
            return role
    if words and words <= _NUMBERS:
        return Role.NUMBER
    return Role.NAME if words & _NAMES else Role.OTHER


def find_columns(table: Table, name: str, pictures: frozenset[str]) -> Columns:
    """Which columns are what.

    Args:
        table: its rows.
        name: of the file, for messages.
        pictures: endings of pictures' names, `.png`.

    Raises:
        Refused: it cannot be told; says what to write instead.
    """
    numeric = _numeric(table, name)
    headings, sure = _headings(table, name)
    roles = [role_of(h) for h in headings] if headings else [Role.OTHER] * table.width
    names = _names(table, numeric, roles, bool(headings) and sure, name, pictures)
    values = {k: np.array([r[k] for r in table.rows], np.float64) for k in numeric}
    if headings:
        found = _by_heading(headings, roles, values, sure, name)
        if found is not None:
            _in_order(values, roles, name)
            return Columns(found[0], names, found[1], found[2], Role.LENGTH in roles and found[0].shape[1] == 2)
    rows, note = _without_heading([values[k] for k in numeric], name)
    return Columns(rows, names, "", note)


def _numeric(table: Table, name: str) -> list[int]:
    found = []
    for k in range(table.width):
        texts = [i for i, r in enumerate(table.rows) if isinstance(r[k], str)]
        if not texts:
            found.append(k)
        elif len(texts) != len(table.rows):
            i = texts[0]
            raise Refused(
                f"{name}, line {table.lines[i]}: {str(table.rows[i][k])[:40]!r} is no number; expected a time, "
                "or the start and the end of an exposure"
            )
    return found


def _headings(table: Table, name: str) -> tuple[list[str], bool]:
    """What stands above each column, and whether it surely does; empty where nothing does."""
    width = table.width
    for line in reversed(table.above):
        between = separator_of(line.text)
        cells = split(line.text, between) if between else [line.text]
        # "exposures of the frames, start and end in µs" is of one column less than its commas say.
        both = line.comment and any(_names_both(c) for c in cells)
        if (
            between
            and len(cells) == width > 1
            and not both
            and any(role_of(c) is not Role.OTHER for c in cells)
        ):
            return cells, True
        words = [w for w in line.text.split() if not is_unit(w) and w.lower() != "in"]
        title = width == 1 and line.comment
        if between in ("", "\t") and len(words) == width and not title and set(map(role_of, words)) & _TOLD:
            return words, False
        if table.separator and not line.comment and words and len(cells) != width:
            raise Refused(
                f"{name}: its heading {line.text[:40]!r} names {len(cells)} columns, line {table.lines[0]} has "
                f"{width}; give each a name (and write decimals with a point)"
            )
    return [], False


def _names_both(cell: str) -> bool:
    found = {role for role, known in _ROLES if not known.isdisjoint(words_in(cell))}
    return {Role.START, Role.END} <= found


def _names(
    table: Table, numeric: list[int], roles: list[Role], sure: bool, name: str, pictures: frozenset[str]
) -> int | None:
    texts = [k for k in range(table.width) if k not in numeric]
    like = [k for k in texts if all(str(r[k]).lower().endswith(tuple(pictures)) for r in table.rows)]
    named = [k for k in texts if roles[k] in (Role.NAME, Role.NUMBER)]
    found = like or named or ([] if sure else texts)
    if len(found) > 1 or (len(texts) > 1 and not table.separator):
        hint = "; put names with spaces between commas" if not table.separator else ""
        raise Refused(
            f"{name}, line {table.lines[0]}: expected a time, or the start and the end of an exposure, and one "
            f"name at most{hint}"
        )
    return found[0] if found else None


def _by_heading(
    headings: list[str], roles: list[Role], values: dict[int, NDArray[np.float64]], sure: bool, name: str
) -> tuple[NDArray[np.float64], str, str] | None:
    """Rows, unit and note; None where the heading names none of the columns."""
    at = {role: [k for k in values if roles[k] is role] for role in Role}
    starts, ends, lengths, middles = (at[r] for r in (Role.START, Role.END, Role.LENGTH, Role.MIDDLE))
    begins = starts or at[Role.TIME]
    if len(values) == 1 and not sure and not any("_" in h for h in headings):
        return None  # as likely a title of the file
    if not sure and any(roles[k] is Role.OTHER for k in values):
        return None
    if not sure and _is_title(headings) and _are_exposures(*list(values.values())[-2:]):
        return None
    if not (begins or ends or lengths or middles):
        others = [k for k in values if roles[k] is not Role.NUMBER]
        if not at[Role.NUMBER] or len(others) != 1:
            return None
        begins = others
    listed = ", ".join(h[:30] for h in headings)
    if len(starts) == len(ends) == 1:
        unit = _one_unit([headings[starts[0]], headings[ends[0]]], name)
        return np.stack([values[starts[0]], values[ends[0]]], 1), unit, ""
    if not sure and len(values) == 2 and _are_exposures(*values.values()):
        raise Refused(
            f"{name}: its heading ({listed}) does not tell whether a line is the start and the end of an "
            f"exposure; {_SAY}"
        )
    if len(begins) == 1 and not ends and not lengths:
        return values[begins[0]].reshape(-1, 1), unit_in(headings[begins[0]]), ""
    if len(middles) == 1 and not begins and not ends and not lengths:
        note = f"{name} gives the middles of exposures; --exposure-us counts from them on: give starts instead"
        return values[middles[0]].reshape(-1, 1), unit_in(headings[middles[0]]), note
    from_ = begins or middles
    if len(from_) == len(lengths) == 1 and not ends:
        unit, length = _lengths(headings[from_[0]], headings[lengths[0]], values[lengths[0]], name)
        start = values[from_[0]] - (0 if begins else length / 2)
        return np.stack([start, start + length], 1), unit, ""
    raise Refused(f"{name}: its columns ({listed}) do not tell each exposure once; {_SAY}")


def _is_title(words: list[str]) -> bool:
    """Words above columns are as likely what the file holds: the last one a plural, no other a time."""
    others = {role_of(w) for w in words[:-1]}
    return (
        words[-1].lower() in _MANY and others <= {Role.NUMBER, Role.LENGTH} and not any("_" in w for w in words)
    )


def _in_order(values: dict[int, NDArray[np.float64]], roles: list[Role], name: str) -> None:
    """Pictures are paired with rows by place, which their numbers must not speak against."""
    numbers = [values[k] for k in values if roles[k] in (Role.NUMBER, Role.NAME)]
    if numbers and not any((np.diff(n) > 0).all() for n in numbers):
        raise Refused(
            f"{name}: the pictures' numbers in it do not increase; sort its lines by them, or give names"
        )


def _one_unit(headings: list[str], name: str) -> str:
    told = {u for h in headings if (u := unit_in(h))}
    if len(told) > 1:
        raise Refused(f"{name}: its starts and ends ({', '.join(headings)}) are in two units; give both in one")
    return next(iter(told), "")


def _lengths(
    begin: str, length: str, values: NDArray[np.float64], name: str
) -> tuple[str, NDArray[np.float64]]:
    """The unit of the times, and lengths in it."""
    units = unit_in(begin), unit_in(length)
    if bool(units[0]) != bool(units[1]):
        lacking = length if units[0] else begin
        raise Refused(
            f"{name}: nothing tells the unit of {lacking[:30]!r}; write it behind the name, as in time_us"
        )
    return units[0], values * (UNITS[units[1]] / UNITS[units[0]]) if units[0] != units[1] else values


def _without_heading(columns: list[NDArray[np.float64]], name: str) -> tuple[NDArray[np.float64], str]:
    """Rows and note, by the numbers alone."""
    if not 1 <= len(columns) <= 3:
        raise Refused(
            f"{name}: expected a time, or the start and the end of an exposure, in each line, not "
            f"{len(columns)} numbers; {_SAY}"
        )
    first = columns[0]
    if len(columns) == 1:
        return first.reshape(-1, 1), ""
    note = f"the first column of {name} is taken as the pictures' number"
    one = len(first) == 1
    counts = any(np.array_equal(first, np.arange(len(first)) + begin) for begin in (0, 1))
    if len(columns) == 3:
        counts = counts if one else bool((first % 1 == 0).all() and (np.diff(first) > 0).all())
        if counts and (one or not _are_exposures(*columns[:2])) and _may_be_exposures(*columns[1:]):
            return np.stack(columns[1:], 1), note
        raise Refused(f"{name}: nothing tells which of three numbers in a line is what; {_SAY}")
    if counts and not one:
        if _are_exposures(*columns):
            raise Refused(
                f"{name}: its first column may be the pictures' number or the start of an exposure; {_SAY}"
            )
        return columns[1].reshape(-1, 1), note
    if not _may_be_exposures(*columns):
        raise Refused(
            f"{name}: as starts and ends of exposures its two columns overlap or run back; if the first is a "
            f"number, or the second a length, {_SAY}"
        )
    return np.stack(columns, 1), ""


def _are_exposures(start: NDArray[np.float64], end: NDArray[np.float64]) -> bool:
    """Each ends behind its start, and before the next one begins."""
    return bool((end > start).all()) and _may_be_exposures(start, end)


def _may_be_exposures(start: NDArray[np.float64], end: NDArray[np.float64]) -> bool:
    """Most have a length, and those do not overlap the next one by more than a little."""
    long = end > start
    order = np.argsort(start[long], kind="stable")
    a, b = start[long][order], end[long][order]
    return bool(2 * long.sum() > len(start) and (b[:-1] - a[1:] <= OVERLAP * (b - a)[:-1]).all())
