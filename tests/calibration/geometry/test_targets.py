"""Targets as pictures, SVG and PDF: the same board each time, in true scale."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.geometry.charuco import detect
from calibration.geometry.print_target import PAPERS_MM, pdf, svg, write_target
from calibration.geometry.targets import BlinkingBoard, Board, screen
from calibration.geometry.views import BadView
from capture.errors import UsageError

BOARD = Board()
PER_MM = 4


def painted(rectangles: list[tuple[float, ...]], page: tuple[float, float]) -> np.ndarray:
    out = np.full((round(page[1] * PER_MM), round(page[0] * PER_MM)), 255, np.uint8)
    for x, y, w, h, level in rectangles:
        a, b = round(x * PER_MM), round(y * PER_MM)
        out[b : round((y + h) * PER_MM), a : round((x + w) * PER_MM)] = int(level)
    return out


def assert_true_scale(picture: np.ndarray) -> None:
    found = detect(picture, BOARD)
    assert len(found.ids) == 24
    # Distances on the paper are those on the board, to 0.1 mm.
    d = found.points / PER_MM
    np.testing.assert_allclose(d - d[0], found.board - found.board[0], atol=0.1)


def test_svg_is_in_true_scale() -> None:
    text = svg(BOARD, PAPERS_MM["a4"])
    assert 'width="297mm" height="210mm" viewBox="0 0 297 210"' in text
    found = re.findall(
        r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" fill="(#\w+)"/>', text
    )
    assert_true_scale(
        painted([(*map(float, f[:4]), 0.0 if f[4] == "#000" else 255.0) for f in found], PAPERS_MM["a4"])
    )


def test_pdf_is_in_true_scale_and_its_table_is_right() -> None:
    data = pdf(BOARD, PAPERS_MM["a4"])
    start = int(re.search(rb"startxref\n(\d+)", data)[1])
    assert data[start : start + 4] == b"xref"
    for n, place in enumerate(re.findall(rb"(\d{10}) 00000 n", data), 1):
        assert data[int(place) :].startswith(b"%d 0 obj" % n)
    length = int(re.search(rb"/Length (\d+)", data)[1])
    body = data[data.index(b"stream\n") + 7 :][:length].decode()
    assert data[data.index(b"stream\n") + 7 + length :].startswith(b"\nendstream")
    mm = 25.4 / 72
    page = PAPERS_MM["a4"]
    rects = [
        (float(x) * mm, page[1] - (float(y) + float(h)) * mm, float(w) * mm, float(h) * mm, 255.0 * int(level))
        for level, x, y, w, h in re.findall(r"([01]) g ([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) re f", body)
    ]
    assert_true_scale(painted(rects, page))


def test_what_cannot_be_printed_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not fit on a4; give squares of 34 mm"):
        write_target(Board(square_mm=40.0, columns=8), tmp_path / "t.svg")
    with pytest.raises(UsageError, match=r"\.svg or \.pdf"):
        write_target(BOARD, tmp_path / "t.png")
    with pytest.raises(UsageError, match="paper 'a9'"):
        write_target(BOARD, tmp_path / "t.pdf", "a9")
    with pytest.raises(UsageError, match="cannot be written"):
        write_target(BOARD, tmp_path / "no" / "t.pdf")
    assert not list(tmp_path.iterdir())
    write_target(BOARD, tmp_path / "t.pdf")
    assert [p.name for p in tmp_path.iterdir()] == ["t.pdf"]


@pytest.mark.parametrize("size", [(1920, 1080), (1280, 1024), (800, 480)])
def test_full_screen_and_its_negative(size: tuple[int, int]) -> None:
    board, negative = screen(BOARD, *size), screen(BOARD, *size, negative=True)
    assert board.shape == (size[1], size[0])
    np.testing.assert_array_equal(255 - board, negative)
    a, b = detect(board, BOARD), detect(negative, BOARD)
    assert len(a.ids) == len(b.ids) == 24
    np.testing.assert_allclose(a.points, b.points, atol=0.02)


@pytest.mark.parametrize("squares", [(9, 6), (5, 3), (4, 9)])
def test_every_board_can_be_shown_on_every_screen(squares: tuple[int, int]) -> None:
    # OpenCV refuses some sizes of a picture; on a screen where they are the largest, nothing was shown.
    board = Board(*squares)
    for height in range(300, 420):
        shown = screen(board, 1280, height)
        assert shown.shape == (height, 1280)
        assert 0 < (shown == 0).mean() < 0.7


def test_a_screen_that_is_too_small() -> None:
    with pytest.raises(UsageError, match="too small"):
        screen(BOARD, 80, 60)


def test_boards_out_of_range() -> None:
    with pytest.raises(UsageError, match="at least 3×3"):
        Board(columns=2)
    with pytest.raises(UsageError, match="at most 100"):
        Board(columns=20, rows=20)
    with pytest.raises(UsageError, match="60 to 10000"):
        BlinkingBoard(phase_ms=5)
    assert [BlinkingBoard(phase_ms=100).phase_at(t) for t in (0.05, 0.15, 0.25)] == [0, 1, 0]


def test_a_plain_chessboard_is_refused_by_name() -> None:
    squares = (np.indices((5, 7)).sum(axis=0) % 2 * 255).astype(np.uint8)
    board = cv2.copyMakeBorder(
        np.kron(squares, np.ones((80, 80), np.uint8)), 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=255
    )
    with pytest.raises(BadView, match=r"plain chessboard.*upside down"):
        detect(board, BOARD)


def test_nothing_and_half_a_board_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(BadView, match="no board is seen"):
        detect(rng.integers(0, 255, (480, 640), dtype=np.uint8), BOARD)
    part = screen(BOARD, 1280, 960)
    part[:, 420:] = 128
    assert detect(part, BOARD).seen < 0.6
    part[500:] = 128
    with pytest.raises(BadView, match=r"half hidden: . of 24 corners"):
        detect(part, BOARD)
    # Two thirds hidden in the middle of the field: found, but its share of corners tells.
    middle = screen(BOARD, 1280, 960, fill=0.7)
    middle[480:, :] = 90
    assert detect(middle, BOARD).seen < 0.6
    assert detect(screen(BOARD, 1280, 960), BOARD).seen == 1.0
