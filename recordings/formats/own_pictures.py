"""The table of times that this program itself writes beside pictures: `timestamps.csv`, by its heading.

A row tells the picture's file, its time, and the exposure where that is known. Pictures that a network restored
show one instant: the exposure that they were made of is not theirs, so they have their time alone. The report
beside them (`report.json`, `export.json`) names the network.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from recordings.sandbox_child import Refused

_FILE, _TIME, _START, _END = "file", "time_us", "exposure_start_us", "exposure_end_us"
_REPORTS = ("report.json", "export.json")
_MAX_REPORT_BYTES = 16 << 20

Rows = dict[str, tuple[float, float]]


def own_rows(path: Path, text: str) -> tuple[Rows, str] | None:
    """Start and end (µs) by the picture's name; both are its time where no exposure is known.

    Args:
        path: of the table, beside which a report may lie.
        text: its content.

    Returns:
        the rows and how they were read, "" where there is nothing to be said; None: it is no such table.

    Raises:
        Refused: a row that is none.
    """
    lines = text.splitlines()
    heading = _cells(lines[0]) if lines else []
    if not {_FILE, _TIME, _START, _END} <= set(heading):
        return None
    name, time, start, end = (heading.index(c) for c in (_FILE, _TIME, _START, _END))
    network = _restored_by(path.parent)
    rows: Rows = {}
    reader = csv.reader(lines)
    next(reader)
    try:
        for line in reader:
            own = not network and bool(line[start])
            # As whole numbers: a cell may hold nothing else.
            values = [float(int(line[k])) for k in ((start, end) if own else (time, time))]
            rows[line[name]] = values[0], values[1]
    except (csv.Error, ValueError, OverflowError, IndexError):
        expected = f"expected {_FILE}, {_TIME}, {_START}, {_END}"
        raise Refused(f"{path.name}, line {reader.line_num}: {expected}") from None
    instants = f"pictures were restored by {network}: each shows one instant, and has no exposure"
    return rows, instants if network else ""


def _cells(line: str) -> list[str]:
    """Of one line; none where it is too long for a heading of ours."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _restored_by(folder: Path) -> str:
    """The network that made a folder's pictures, by the report in it; "" where they are as they came."""
    for report in _REPORTS:
        path = folder / report
        if not path.is_file() or path.stat().st_size > _MAX_REPORT_BYTES:
            continue
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):  # not a report of ours
            continue
        network = told.get("network") if isinstance(told, dict) else None
        if isinstance(network, str) and network != "none":
            return network[:40]
    return ""
