"""HighREV's files read back in the order of their frames, however many there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from capture.packets import Events, TriggerEdges
from recordings.export import highrev
from recordings.export.content import compare

SIZE = (8, 8)
BEFORE = 99_997


class _Late(list[Any]):
    """Rows that begin behind very many others."""

    def __len__(self) -> int:
        return super().__len__() + BEFORE

    def __bool__(self) -> bool:
        return super().__len__() > 0


def test_numbers_of_five_and_of_six_digits_read_back_in_order(tmp_path: Path) -> None:
    writer = highrev.HighRevWriter(tmp_path, SIZE, "n")
    writer._rows = _Late()
    for k in range(4):
        t = np.arange(k * 1000, k * 1000 + 1000, 100, dtype=np.int64)
        x, y = np.zeros(len(t), np.uint16), np.full(len(t), k, np.uint16)
        writer.add(Events(t, x, y, np.ones(len(t), bool), *SIZE), TriggerEdges.empty())
        writer.add_frame(np.zeros((8, 8, 3), np.uint8), k * 1000, k * 1000 + 500)
    writer.finish()
    assert sorted(p.name for p in (tmp_path / "blur").iterdir())[0] == "n_100000.png"
    compare(tmp_path, highrev.read_back(tmp_path, SIZE), writer.content)
