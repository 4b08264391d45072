"""Text files of rows and columns, as people and spreadsheets write them: cells, and what stands above them.

A line's columns lie between tabs, semicolons or commas, whichever of these comes first in this list, else
between spaces; quotes hold a cell together. Between tabs or semicolons a number may have a decimal comma.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from dataclasses import dataclass

from recordings.sandbox_child import Refused

_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_OR_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
# The rest of a number that was parted at its decimal comma.
_BROKEN = re.compile(r"(?:^|,)\s*\d+,0\d+\b(?!\.)")
_SEPARATORS = ("\t", ";", ",")
Cell = float | str


@dataclass(frozen=True, slots=True)
class Line:
    """A line before the rows: its text without `#`, and whether it is a comment (begins with `#`)."""

    text: str
    comment: bool


@dataclass(frozen=True, slots=True)
class Table:
    """Rows, all with the same number of cells.

    Attributes:
        above: the lines above the first row that are not empty.
        rows: numbers, and text where a cell is none.
        lines: of the rows in the file, from 1 on.
        separator: of the first row; "" for spaces.
    """

    above: list[Line]
    rows: list[list[Cell]]
    lines: list[int]
    separator: str

    @property
    def width(self) -> int:
        """Cells of a row."""
        return len(self.rows[0])


def decoded_text(data: bytes) -> str:
    """A text file's content: UTF-8, or what its byte-order mark says."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8-sig", errors="replace")


def read_table(text: str, name: str) -> Table:
    """The rows of a text.

    Args:
        text: of the file.
        name: of the file, for messages.

    Raises:
        Refused: no rows, or of different lengths, or a number that may be two; says where.
    """
    above, rows, lines = list[Line](), list[list[Cell]](), list[int]()
    commas, broken, separator = list[str](), "", ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare:
            continue
        comment = bare.startswith("#")
        here = separator_of(bare)
        row = [] if comment else [_cell(c, here, commas) for c in split(line, here)]
        if comment or all(isinstance(c, str) for c in row):
            if rows and not comment:
                raise Refused(f"{name}, line {number}: {bare[:40]!r} holds no time")
            if not rows:
                above.append(Line(bare.lstrip("#").strip(), comment))
            continue
        if rows and len(row) != len(rows[0]):
            raise Refused(
                f"{name}, line {number}: has {len(row)} columns, line {lines[0]} has {len(rows[0])}; "
                "each line needs the same ones"
            )
        separator = separator if rows else here
        if here == "," and not broken and _BROKEN.search(bare):
            broken = f"line {number}: {bare[:40]!r}"
        rows.append(row)
        lines.append(number)
    if not rows:
        raise Refused(f"{name} is no list of times, one line for each picture")
    if broken and not any("," in line.text for line in above):
        raise Refused(f"{name}, {broken} has decimal commas, or numbers with zeros in front; write 1.010000")
    if commas and all(_OR_THOUSANDS.fullmatch(c) for c in commas):
        plain = commas[0].replace(",", "")
        raise Refused(
            f"{name}: {commas[0]} may be {commas[0].replace(',', '.')} or {plain}; write it with a point, or "
            "without a comma"
        )
    return Table(above, rows, lines, separator)


def separator_of(line: str) -> str:
    """What lies between a line's columns, outside of quotes; "" for spaces."""
    bare = re.sub(r'"[^"]*"', "", line)
    return next((s for s in _SEPARATORS if s in bare), "")


def split(line: str, separator: str) -> list[str]:
    """The cells of a line, without the empty ones at its end."""
    try:
        if separator:
            packed = re.sub(r"\t+", "\t", line.strip()) if separator == "\t" else line.strip()
            cells = [c.strip() for c in next(csv.reader([packed], delimiter=separator, skipinitialspace=True))]
        else:
            cells = [w.strip('"') for w in re.findall(r'"[^"]*"|\S+', line)]
    except csv.Error:  # a line that is too long for a row
        return []
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _cell(text: str, separator: str, commas: list[str]) -> Cell:
    """A number where the text is one."""
    if separator in ("\t", ";") and _DECIMAL_COMMA.fullmatch(text):
        commas.append(text)
        return float(text.replace(",", "."))
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        return text
    return value if math.isfinite(value) else text
