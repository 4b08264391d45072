"""PNG sequence, labels, contact sheet, even sample, JSON."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.output.contact import EvenSample, Pair, contact_sheet
from app.output.labels import as_rgb, draw_text, side_by_side, stamped
from app.output.png import COLUMNS, PngSequence, Stamp, encode_png, write_png
from app.output.report import plain, write_json
from inference.restorers.base import RANDOM_FLAG


def rgb(h: int, w: int, colour: tuple[int, int, int]) -> np.ndarray:
    out = np.empty((h, w, 3), np.uint8)
    out[:] = colour
    return out


@pytest.mark.parametrize("shape", [(7, 5, 3), (7, 5)])
def test_png_is_lossless_and_rgb(shape: tuple[int, ...], tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    write_png(tmp_path / "a.png", image)
    back = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert back is not None
    assert np.array_equal(back if image.ndim == 2 else back[..., ::-1], image)


def test_png_of_a_read_only_view() -> None:
    image = np.zeros((8, 8, 3), np.uint8)[:, ::2]
    image.flags.writeable = False
    assert encode_png(image)[1:4] == b"PNG"


def test_sequence_names_and_stamps(tmp_path: Path) -> None:
    s = PngSequence(tmp_path)
    s.add(rgb(4, 4, (1, 2, 3)), Stamp(12, 90, 0.5, 1_500, 1_000, 2_000, "chunk", 1.0))
    s.add(rgb(4, 4, (1, 2, 3)), Stamp(12, 90, 0.0125, 1_012, 1_000, 2_000, "chunk", 1.0))
    s.close()
    rows = list(csv.DictReader((tmp_path / "timestamps.csv").open()))
    assert tuple(rows[0]) == COLUMNS
    assert [r["file"] for r in rows] == ["exposure-000012-0.5000.png", "exposure-000012-0.0125.png"]
    assert all((tmp_path / r["file"]).is_file() for r in rows)
    assert (rows[0]["time_us"], rows[0]["source"], rows[0]["sequence"]) == ("1500", "chunk", "90")
    assert s.count == 2


def test_side_by_side() -> None:
    out = side_by_side(np.full((4, 6), 9, np.uint8), rgb(4, 6, (1, 2, 3)))
    assert out.shape == (4, 12, 3)
    assert (out[:, :6] == 9).all()
    assert (out[:, 6:] == (1, 2, 3)).all()


def test_refused_side_says_why() -> None:
    out = side_by_side(rgb(60, 200, (9, 9, 9)), None, "no events…")
    assert (out[:, :200] == 9).all()
    assert out[:, 200:].max() > 200


def test_text_of_any_alphabet_is_drawn() -> None:
    for text in ("µs ×2 → ±5…", "日本語", ""):
        draw_text(np.zeros((30, 100, 3), np.uint8), text)
    plain_, accent = (np.zeros((30, 100, 3), np.uint8) for _ in range(2))
    draw_text(plain_, "4 us")
    draw_text(accent, "4 µs")
    assert np.array_equal(plain_, accent)


@pytest.mark.parametrize("shape", [(48, 64, 3), (48, 64), (260, 346), (768, 1152, 3), (16, 24)])
def test_pictures_of_random_weights_carry_the_words(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 120, np.uint8)
    assert stamped(image, ("saturated 2 %",)) is image
    out = stamped(image, ("saturated 2 %", RANDOM_FLAG))
    assert (image == 120).all()
    words = np.flatnonzero((out != 120).reshape(*shape[:2], -1).any(axis=(0, 2)))
    assert words[0] < 12
    if shape[1] > 100:  # the words end within the picture
        assert words[-1] < shape[1] - 1


def test_as_rgb_keeps_colour() -> None:
    image = rgb(2, 2, (1, 2, 3))
    assert as_rgb(image) is image


@given(size=st.integers(1, 9), n=st.integers(0, 300))
def test_even_sample(size: int, n: int) -> None:
    sample: EvenSample[int] = EvenSample(size)
    for i in range(n):
        sample.add(i)
    got = sample.items()
    assert len(got) == min(size, n)
    assert got == sorted(set(got))
    if n:
        assert got[0] == 0
    if n > size > 1:
        gaps = np.diff(got)
        assert gaps.max() <= 2 * gaps.min() + 1
        # The sample reaches into the last part of the run: the tail it may miss is less than two strides.
        assert n - 1 - got[-1] < 2 * gaps.max()


def test_even_sample_asks_only_for_what_it_keeps() -> None:
    sample: EvenSample[int] = EvenSample(4)
    asked = 0
    for i in range(1000):
        if sample.wants():
            asked += 1
            sample.add(i)
        else:
            sample.skip()
    assert asked < 60
    assert len(sample.items()) == 4


def test_contact_sheet_shows_every_pair_once() -> None:
    colours = [(200, 10, 10), (10, 200, 10), (10, 10, 200)]
    pairs = [Pair(rgb(20, 30, c), rgb(20, 30, c), f"#{i}") for i, c in enumerate(colours)]
    pairs.append(Pair(rgb(20, 30, (90, 90, 90)), None, "refused: no events"))
    page = contact_sheet(pairs, title="simulated", columns=2)
    for c in colours:
        assert (page == c).all(axis=2).sum() == 2 * 20 * 30
    assert 20 * 30 <= (page == 90).all(axis=2).sum() < 20 * 30 + 20  # a few pixels of text are as gray


def test_contact_sheet_scales_large_pictures_and_takes_one() -> None:
    page = contact_sheet([Pair(np.full((768, 1152), 77, np.uint8), np.full((768, 1152), 77, np.uint8), "a")])
    assert page.shape[1] == 800 + 16
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


class _Colour(StrEnum):
    RED = "red"


@dataclass
class _Thing:
    path: Path
    values: tuple[float, ...]


def test_json_is_plain(tmp_path: Path) -> None:
    thing = {
        "a": _Thing(Path("x"), (1.0, float("nan"))),
        3: np.float32(0.5),
        "n": np.arange(2),
        "c": _Colour.RED,
    }
    write_json(tmp_path / "r.json", thing)
    assert json.loads((tmp_path / "r.json").read_text()) == {
        "a": {"path": "x", "values": [1.0, None]},
        "3": 0.5,
        "n": [0, 1],
        "c": "red",
    }
    with pytest.raises(TypeError, match="object"):
        plain(object())


def test_a_report_takes_names_that_are_no_utf_8(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"output": "a\udcff"})
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == {"output": "a\udcff"}
