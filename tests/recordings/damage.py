"""Damages copies of our own recordings, each in a way that happens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from recordings.formats.own_about import HEALTH, INDEX_FILE, STREAMS
from recordings.formats.own_chunks import EVENTS, FRAME, HEADER, INDEX
from recordings.formats.own_index import Rows


def copied(made: Path, to: Path) -> Path:
    return Path(shutil.copytree(made, to))


def rows_of(folder: Path) -> Rows:
    return np.fromfile(folder / INDEX_FILE, INDEX)


def nth(rows: Rows, kind: int, n: int) -> int:
    """Place of the nth chunk of a kind."""
    return int(np.flatnonzero(rows["kind"] == kind)[n])


def flip(folder: Path, at: int) -> None:
    data = bytearray((folder / STREAMS).read_bytes())
    data[at] ^= 0x40
    (folder / STREAMS).write_bytes(data)


def wrong_data(folder: Path, number: int) -> None:
    """One wrong byte in a chunk's body."""
    row = rows_of(folder)[number]
    flip(folder, int(row["offset"]) + HEADER.size + int(row["meta"]) + 3)


def wrong_header(folder: Path, number: int) -> None:
    """One wrong byte in a chunk's header."""
    flip(folder, int(rows_of(folder)["offset"][number]) + 40)


def cut(folder: Path, share: float) -> None:
    """The end of the streams is gone."""
    data = (folder / STREAMS).read_bytes()
    (folder / STREAMS).write_bytes(data[: int(len(data) * share)])


def killed(folder: Path, chunks: int, torn: int = 50) -> None:
    """As a killed recorder leaves it: so many whole chunks, some bytes of the next one, the index of these."""
    rows = rows_of(folder)
    data = (folder / STREAMS).read_bytes()
    (folder / STREAMS).write_bytes(data[: int(rows["offset"][chunks]) + torn])
    rows[:chunks].tofile(folder / INDEX_FILE)
    kept = rows[:chunks]
    change_health(
        folder, state="recording", frames=int((kept["kind"] == FRAME).sum()),
        event_packets=int((kept["kind"] == EVENTS).sum()),
        events=int(kept["amount"][kept["kind"] == EVENTS].sum()), edges=int(kept["edges"].sum()),
        disk={"chunks": chunks},
    )  # fmt: skip


def change_health(folder: Path, **changes: Any) -> None:
    health = json.loads((folder / HEALTH).read_text())
    (folder / HEALTH).write_text(json.dumps({**health, **changes}))
