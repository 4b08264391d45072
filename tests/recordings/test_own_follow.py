"""Reading along while a recording is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.formats import own_follow
from recordings.formats.own_about import STREAMS
from recordings.formats.own_follow import follow
from recordings.recording import RecordingError
from tests.recordings.own_sample import Item, same


def test_everything_comes_up_to_the_end(copy: Path, given_items: list[Item]) -> None:
    got = list(follow(copy, lambda: True))
    assert len(got) == len(given_items)
    assert all(same(a, b) for a, b in zip(got, given_items, strict=True))


def test_its_end_is_looked_for_only_where_nothing_more_is_there(
    copy: Path, given_items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = copy / STREAMS, own_follow._ended
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    looks: list[bool] = []

    def ended(folder: Path) -> bool:
        looks.append(real(folder))
        path.write_bytes(data)  # the last of it comes with the end
        return looks[-1]

    monkeypatch.setattr(own_follow, "_ended", ended)
    assert len(list(follow(copy, lambda: True))) == len(given_items)
    assert looks == [True]


def test_a_head_that_is_no_head_is_an_error_of_the_recording(copy: Path) -> None:
    path = copy / STREAMS
    data = bytearray(path.read_bytes())
    data[:8] = b"nonsense"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="right after it was written"):
        list(follow(copy, lambda: True))
