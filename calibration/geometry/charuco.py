"""The ChArUco board in a picture: corners to a fraction of a pixel, how much is hidden, how blurred it is.

Pictures of a few hundred pixels (DAVIS frames, event images) are enlarged first, since a marker's module must
be some pixels wide to be read. A mirror turns markers into ones that no dictionary has, so a picture in which
nothing is read is tried again as its mirror image; the corners go back to the picture's own pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.geometry.corner_fit import fit_corners
from calibration.geometry.targets import Board
from calibration.geometry.views import BadView, Corners, thin
from sync.lens import apply

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

MIN_CORNERS = 6
_SMALL = 640
"""Pictures with fewer rows are enlarged to about as many."""
_PLAIN = 400
"""Rows of the picture in which a plain chessboard is looked for, at most."""
_OUTLIER = 0.12  # of a square: a corner further from where the others foretell it is another one
_OWN_SMEAR_PX = 1.7
"""Width of a sharp edge: a lens's spot and the pixel itself."""


def detect(picture: NDArray[Any], board: Board, *, when_us: int = -1, mirrored: bool | None = None) -> Corners:
    """The corners of the board in a picture.

    Args:
        picture: (H, W) or (H, W, 3) RGB, uint8; or (H, W) float in any range.
        board: what to look for; its negative is found as well.
        when_us: stored with the corners.
        mirrored: whether the picture is a mirror image; None: try both.

    Raises:
        BadView: no board, a plain chessboard, too little of it; the message says which.
    """
    gray = as_gray(picture)
    factor = max(1, round(_SMALL / min(gray.shape)))
    large = gray if factor == 1 else enlarged(gray, factor)
    hands = (False, True) if mirrored is None else (mirrored,)
    best: tuple[F64, NDArray[np.int64], bool] | None = None
    for hand in hands:
        seen = np.ascontiguousarray(large[:, ::-1]) if hand else large
        points, ids = _raw(seen, board)
        if len(ids) and (best is None or len(ids) > len(best[1])):
            best = points, ids, hand
        # In the wrong hand a few markers may be read by chance.
        if best is not None and 2 * len(best[1]) >= len(board.corners_mm):
            break
    if best is None or len(best[1]) < MIN_CORNERS:
        raise BadView(_why_nothing(large, 0 if best is None else len(best[1]), board))
    points, ids, hand = best
    order = np.argsort(ids)
    points, ids = points[order], ids[order]
    on_board = board.corners_mm[ids]
    if hand:
        points[:, 0] = large.shape[1] - 1 - points[:, 0]
    if thin(on_board):
        raise BadView("the corners seen lie on one line; show more rows of the board")
    points = (points + 0.5) / factor - 0.5
    points, keep = _refined(picture_of(picture), points, on_board, board)
    points, ids, on_board = points[keep], ids[keep], on_board[keep]
    if len(ids) < MIN_CORNERS or thin(on_board):
        raise BadView(
            f"only {len(ids)} corners agree with a flat board; hold it flat, in sharp focus, without glare"
        )
    blur = smear(gray, points, on_board, board)
    seen_share = _seen(points, ids, board, (gray.shape[1], gray.shape[0]))
    return Corners(points, ids, on_board, when_us, hand, seen_share, blur)


def as_gray(picture: NDArray[Any]) -> U8:
    """(H, W) uint8 of a gray, RGB or float picture (stretched between its 1st and 99th percentile)."""
    if picture.ndim == 3:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), np.uint8)
    if picture.dtype == np.uint8:
        return np.ascontiguousarray(picture)
    low, high = np.percentile(picture, (1, 99))
    stretched = np.clip((picture - low) * (255.0 / max(high - low, 1e-9)), 0, 255)
    return np.asarray(stretched, np.uint8)


def picture_of(picture: NDArray[Any]) -> F32:
    """(H, W) float32 brightness, unstretched."""
    return np.asarray(as_gray(picture) if picture.ndim == 3 else picture, np.float32)


def enlarged(gray: U8, factor: int) -> U8:
    """`factor` times the size, cubic; pixel centres at integers in both: large = factor · small + (factor -
    1)/2."""
    h, w = gray.shape
    return np.asarray(cv2.resize(gray, (w * factor, h * factor), interpolation=cv2.INTER_CUBIC), np.uint8)


def _raw(gray: U8, board: Board) -> tuple[F64, NDArray[np.int64]]:
    parameters = cv2.aruco.DetectorParameters()
    # The negative of a blinking board has white borders.
    parameters.detectInvertedMarker = True
    parameters.adaptiveThreshWinSizeMax = 63
    parameters.adaptiveThreshWinSizeStep = 10
    parameters.minMarkerPerimeterRate = 0.04
    # Three pixels to a module, and the outer ones are half their neighbours': read the middle of it alone.
    # Wrong readings cost nothing, since their corners do not lie in the board's plane.
    parameters.perspectiveRemovePixelPerCell = 10
    parameters.perspectiveRemoveIgnoredMarginPerCell = 0.3
    parameters.errorCorrectionRate = 1.0
    at_corners = cv2.aruco.CharucoParameters()
    at_corners.minMarkers = 1  # what a single marker foretells wrongly, the fit to the picture throws out
    detector: Any = cv2.aruco.CharucoDetector(board.opencv(), at_corners, parameters)
    corners, ids, _, _ = detector.detectBoard(gray)
    if ids is None or not len(ids):
        return np.zeros((0, 2)), np.zeros(0, np.int64)
    return np.array(corners, np.float64).reshape(-1, 2), np.array(ids, np.int64).reshape(-1)


def _why_nothing(gray: U8, found: int, board: Board) -> str:
    if found:
        return (
            f"the board is half hidden: {found} of {len(board.corners_mm)} corners are readable; "
            "take away what covers it, or move it into the field"
        )
    # A small picture shows as well whether there is one; it is looked for in every view without a board.
    factor = _PLAIN / min(gray.shape)
    small = gray if factor >= 1 else cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    for pattern in ((board.columns - 1, board.rows - 1), (9, 6), (8, 6), (7, 5), (6, 4)):
        ok: Any = cv2.findChessboardCorners(small, pattern, flags=cv2.CALIB_CB_FAST_CHECK)[0]
        if ok:
            return (
                "a plain chessboard is seen: it looks the same upside down, so its corners cannot be "
                "told apart; "
                "use the board of `halfmirror calibrate show-target`"
            )
    return "no board is seen; show all of it, sharp, evenly lit, at least a third of the field wide"


def _refined(picture: F32, points: F64, on_board: F64, board: Board) -> tuple[F64, NDArray[np.bool_]]:
    """Corners fitted to the picture itself, and which of them agree with a flat board."""
    square = _square_px(points, on_board, board)
    m: Any = cv2.findHomography(on_board, points, cv2.RANSAC, 0.1 * square)[0]
    if m is None:
        return points, np.zeros(len(points), np.bool_)
    # Twice: the first time straightens out the starts, which lie off by half a pixel in small pictures.
    for _ in range(2):
        m = np.asarray(m, np.float64)
        across, side = _edges(m, on_board, board)
        fine, ok = fit_corners(picture, apply(on_board, m), across, side, 0.5 * (1 - board.marker))
        if ok.sum() < MIN_CORNERS:
            return fine, ok
        m = cv2.findHomography(on_board[ok], fine[ok], cv2.RANSAC, 0.05 * square)[0]
        if m is None:
            return fine, np.zeros(len(points), np.bool_)
    off = np.linalg.norm(apply(on_board, np.asarray(m, np.float64)) - fine, axis=1)
    return fine, np.asarray(ok & (off < _OUTLIER * square), np.bool_)


def _edges(m: F64, on_board: F64, board: Board) -> tuple[F64, F64]:
    """Of each corner: (2, 2) pixel offset → distances from both edges in pixels, and the side of a square."""
    step = 0.25 * board.square_mm
    x, y = np.array([step, 0.0]), np.array([0.0, step])
    right = (apply(on_board + x, m) - apply(on_board - x, m)) / (2 * step)
    down = (apply(on_board + y, m) - apply(on_board - y, m)) / (2 * step)
    to_board = np.linalg.inv(np.stack([right, down], axis=2))
    # A row of it grows by 1 mm across an edge; to pixels: divide by its length.
    across = to_board / np.linalg.norm(to_board, axis=2, keepdims=True)
    side = board.square_mm * np.sqrt(np.abs(right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]))
    return across, side


def _square_px(points: F64, on_board: F64, board: Board) -> float:
    """Side of a square in the picture: the median over pairs of neighbours."""
    d = np.linalg.norm(on_board[:, None] - on_board[None], axis=2)
    i, j = np.nonzero(np.abs(d - board.square_mm) < 0.01 * board.square_mm)
    if not len(i):
        return float(np.ptp(points, axis=0).max() / max(board.columns, board.rows))
    return float(np.median(np.linalg.norm(points[i] - points[j], axis=1)))


def _seen(points: F64, ids: NDArray[np.int64], board: Board, size: tuple[int, int]) -> float:
    m: Any = cv2.findHomography(board.corners_mm[ids], points, 0)[0]
    if m is None:
        return 0.0
    everywhere = apply(board.corners_mm, np.asarray(m, np.float64))
    # At the rim of the field a corner has no markers around it to be told by.
    rim = _square_px(points, board.corners_mm[ids], board)
    inside = np.all((everywhere >= rim) & (everywhere <= np.array(size) - 1 - rim), axis=1)
    expected = set(np.flatnonzero(inside).tolist()) | set(ids.tolist())
    return float(len(ids) / len(expected))


def smear(gray: U8, points: F64, on_board: F64, board: Board) -> float:
    """How far edges are smeared in the worse of both directions, pixels beyond those of a sharp picture.

    Across the edge between two neighbouring corners the brightness runs from black to white; its whole rise
    over its steepest slope is the width of the edge. The median of all edges of one direction stands for it.
    """
    widths: dict[bool, list[float]] = {True: [], False: []}
    where = {
        (round(x / board.square_mm), round(y / board.square_mm)): p
        for (x, y), p in zip(on_board, points, strict=True)
    }
    for (c, r), p in where.items():
        for dc, dr in ((1, 0), (0, 1)):
            q = where.get((c + dc, r + dr))
            if q is None:
                continue
            along = q - p
            length = float(np.linalg.norm(along))
            if length < 8:
                continue
            across = np.array([-along[1], along[0]]) / length
            # Only the strip beside the edge that no marker reaches.
            reach = max(3.0, 0.5 * (1 - board.marker) * length)
            t = np.linspace(-reach, reach, 2 * int(np.ceil(2 * reach)) + 1)
            u = np.linspace(0.3, 0.7, 9)
            at = p + u[:, None, None] * along + t[None, :, None] * across
            values: Any = cv2.remap(
                gray.astype(np.float32),
                at[..., 0].astype(np.float32),
                at[..., 1].astype(np.float32),
                cv2.INTER_LINEAR,
            )
            profile = np.asarray(values).mean(axis=0)
            slope = float(np.abs(np.gradient(profile, t)).max())
            if slope > 0:
                widths[dc == 1].append(float(np.ptp(profile)) / slope)
    medians = [float(np.median(v)) for v in widths.values() if v]
    if not medians:
        return 0.0
    return float(np.sqrt(max(0.0, max(medians) ** 2 - _OWN_SMEAR_PX**2)))
