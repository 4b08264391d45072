"""The targets: a ChArUco board, on paper or on a screen, and the same board blinking against its negative.

A plain chessboard looks the same upside down and in part; a ChArUco board does not: every marker has a number,
so that a corner keeps its own whatever is hidden. Event cameras see change only, so for them the board is
shown on a
screen and swapped with its negative: each swap makes every square of the board fire.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

_DICTIONARY = cv2.aruco.DICT_4X4_50
_MARKERS = 50
_MODULES = 6  # of a marker: 4 × 4 bits and a border


@dataclass(frozen=True, slots=True)
class Board:
    """A ChArUco board: a chessboard with a marker of the dictionary 4X4_50 in every white square.

    Coordinates on the board are mm from its upper left corner, x to the right, y down.

    Attributes:
        columns, rows: squares; both at least 3, and no more markers than the dictionary has (50).
        square_mm: side of a square. On a screen it is what the screen makes of it; the map between the cameras
            does not depend on it, distances do.
        marker: side of a marker as a share of a square.
    """

    columns: int = 7
    rows: int = 5
    square_mm: float = 34.0
    marker: float = 0.76

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 3 or self.columns * self.rows // 2 > _MARKERS:
            raise UsageError(
                f"a board of {self.columns}×{self.rows} squares: give at least 3×3, at most "
                f"{2 * _MARKERS} squares"
            )
        if not 0.5 <= self.marker <= 0.9 or not 0 < self.square_mm < 10_000:
            raise UsageError(
                f"a board of {self.square_mm:g} mm squares and markers {self.marker:g} is out of range"
            )

    @property
    def corners_mm(self) -> F64:
        """(N, 2) float64 mm: the inner corners, by id."""
        return np.array(_charuco(self).getChessboardCorners(), np.float64)[:, :2]

    @property
    def size_mm(self) -> tuple[float, float]:
        """(width, height) of the printed squares."""
        return self.columns * self.square_mm, self.rows * self.square_mm

    def picture(self, square_px: int) -> U8:
        """(rows · square_px, columns · square_px) uint8, white 255: the squares alone, without a margin."""
        size = (self.columns * square_px, self.rows * square_px)
        return np.asarray(_charuco(self).generateImage(size, marginSize=0, borderBits=1), np.uint8)

    def opencv(self) -> Any:
        """OpenCV's own board of the same layout."""
        return _charuco(self)

    def rectangles_mm(self) -> list[tuple[float, float, float, float, bool]]:
        """(x, y, width, height, black) in the order in which they are painted over each other."""
        s = self.square_mm
        out = [
            (c * s, r * s, s, s, True)
            for r in range(self.rows)
            for c in range(self.columns)
            if (r + c) % 2 == _dark_parity(self)
        ]
        board = _charuco(self)
        dictionary = board.getDictionary()
        for number, corners in zip(board.getIds().reshape(-1), board.getObjPoints(), strict=True):
            x, y = float(corners[:, 0].min()), float(corners[:, 1].min())
            side = float(np.ptp(corners[:, 0]))
            bits = dictionary.generateImageMarker(int(number), _MODULES, borderBits=1)
            out.append((x, y, side, side, True))
            m = side / _MODULES
            out += [
                (x + j * m, y + i * m, m, m, False)
                for i in range(_MODULES)
                for j in range(_MODULES)
                if bits[i, j] > 127
            ]
        return out


@lru_cache(maxsize=16)
def _charuco(board: Board) -> Any:
    return cv2.aruco.CharucoBoard(
        (board.columns, board.rows), board.square_mm, board.square_mm * board.marker,
        cv2.aruco.getPredefinedDictionary(_DICTIONARY),
    )  # fmt: skip


def _dark_parity(board: Board) -> int:
    """0 where the upper left square is black."""
    return 0 if board.picture(12)[6, 6] < 128 else 1


@dataclass(frozen=True, slots=True)
class BlinkingBoard:
    """A board on a screen, shown in turn with its negative.

    Attributes:
        board: what is shown.
        phase_ms: how long each of both pictures stands. Long against the screen's own switching (some 20 ms)
            and against the exposure of the frame camera, so that frames show one picture alone.
    """

    board: Board = Board()
    phase_ms: float = 400.0

    def __post_init__(self) -> None:
        if not 60 <= self.phase_ms <= 10_000:
            raise UsageError(f"phases of {self.phase_ms:g} ms are out of range; give 60 to 10000")

    def phase_at(self, seconds: float) -> int:
        """0: the board; 1: its negative."""
        return int(seconds * 1000.0 // self.phase_ms) % 2


def screen(board: Board, width: int, height: int, *, negative: bool = False, fill: float = 0.92) -> U8:
    """The board as large as fits into a screen, on its white margin, which the negative turns black as well.

    Args:
        board: to draw.
        width, height: of the screen, pixels.
        negative: the other phase.
        fill: share of the screen that the squares may take.

    Returns:
        (height, width) uint8.

    Raises:
        UsageError: the screen is too small.
    """
    side = int(min(width * fill / board.columns, height * fill / board.rows))
    if side < 2 * _MODULES:
        raise UsageError(
            f"a screen of {width}×{height} pixels is too small for a board of "
            f"{board.columns}×{board.rows} squares"
        )
    squares, side = _drawn(board, side)
    out = np.full((height, width), 255, np.uint8)
    x, y = (width - side * board.columns) // 2, (height - side * board.rows) // 2
    out[y : y + side * board.rows, x : x + side * board.columns] = squares
    return 255 - out if negative else out


def _drawn(board: Board, side: int) -> tuple[U8, int]:
    """The squares, as large as asked for or the next smaller size, and that size.

    OpenCV draws the last marker beyond the edge of some boards' pictures at one size in 25, by rounding, and
    then gives up.
    """
    for smaller in range(side, _MODULES, -1):
        try:
            return board.picture(smaller), smaller
        except cv2.error:
            continue
    raise UsageError(f"a board of {board.columns}×{board.rows} squares cannot be drawn")
