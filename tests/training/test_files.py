"""Files of the trainer: whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from training.errors import TrainingError
from training.files import replace_with


def test_a_buffer_can_be_closed_whatever_became_of_the_file(tmp_path: Path) -> None:
    buffer = io.BytesIO(b"some")
    replace_with(tmp_path / "a", buffer)
    assert (tmp_path / "a").read_bytes() == b"some"
    with pytest.raises(TrainingError, match="cannot write") as kept:
        replace_with(tmp_path / "a" / "b", buffer)
    buffer.close()  # the error, whose traceback holds what was written, is still there
    assert kept.tb is not None
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("resumable", "advice"), [(True, "go on with --resume"), (False, "give the command again")]
)
def test_only_a_run_is_told_to_be_resumed(tmp_path: Path, resumable: bool, advice: str) -> None:
    if resumable:
        (tmp_path / "run.json").touch()
    (tmp_path / "previews").touch()  # in the way
    with pytest.raises(TrainingError, match=f": free some space, then {advice}$"):
        replace_with(tmp_path / "previews" / "a.png", io.BytesIO(b"some"))
