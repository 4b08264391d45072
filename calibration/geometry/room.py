"""Where both cameras stand: focal lengths, the distance between their eyes, and how far parallax can lead.

One homography holds at one plane only, unless both cameras share one eye, as behind a beam splitter that is
mounted well. How well is measured here from views of a board at several distances and tilts: each camera by
itself (`cv2.calibrateCamera`), then one against the other (`cv2.stereoCalibrate`). Nothing of it enters the
map; it says where the map holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.geometry.views import View
from sync.rig import Validity

F64 = NDArray[np.float64]

LEAST_VIEWS = 5
"""Of a board, tilted: fewer do not tell a focal length from a distance."""
FOCAL_SHARE = 0.05
"""Largest standard error of a focal length, as a share of it; beyond it distances mean nothing."""
LEAST_DEPTH = 0.04
"""From one end of a tilted board to the other, the distance must change by this share in half of the views:
facing boards do not tell near and long from far and wide, and a fit to them is sure of anything."""
_POINTS = 8
_FLAGS = cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3
_STEREO = cv2.CALIB_FIX_INTRINSIC


@dataclass(frozen=True, slots=True)
class Pinhole:
    """A camera as its own views of the board tell, with square pixels.

    Attributes:
        focal: pixels; `focal_sigma` its standard error.
        centre: of the picture, raw pixels (of a mirrored camera, as it is read out).
        coefficients: (k1, k2) of a Brown lens (`sync.rig.Lens`).
        mirrored: it sees the board's mirror image.
        rms_px: what remains between board and picture, in its own pixels.
    """

    focal: float
    focal_sigma: float
    centre: tuple[float, float]
    coefficients: tuple[float, float]
    mirrored: bool
    rms_px: float


@dataclass(frozen=True, slots=True)
class Room:
    """Both cameras and the board.

    Attributes:
        image, event: the cameras.
        baseline_mm, baseline_sigma_mm: how far the event camera's eye lies beside the image camera's line of
            sight; the error from leaving views out (jackknife).
        along_mm: how far it lies behind the image camera's (negative: before it).
        plane_mm: distance of the board, harmonic mean over views.
        parallax_px: see `sync.rig.Validity`, from the baseline and twice its error.
    """

    image: Pinhole
    event: Pinhole
    baseline_mm: float
    baseline_sigma_mm: float
    along_mm: float
    plane_mm: float
    parallax_px: float

    def validity(self) -> Validity:
        """As the rig file has it."""
        b, s = self.baseline_mm, self.baseline_sigma_mm
        eyes = f"eyes {b:.1f} ± {s:.1f} mm apart" if b > 2 * s else f"eyes less than {b + 2 * s:.1f} mm apart"
        return Validity(
            plane_mm=self.plane_mm, baseline_mm=b, parallax_px=self.parallax_px,
            note=f"measured on a board {self.plane_mm:.0f} mm away, {eyes}; from half that distance to "
            f"infinity things lie at most {self.parallax_px:.1f} event pixels off",
        )  # fmt: skip


def validity(views: Sequence[View], image_size: tuple[int, int], event_size: tuple[int, int]) -> Validity:
    """Where a map made from these views holds, as far as they tell; arguments as `look_round`."""
    room = look_round(views, image_size, event_size)
    if isinstance(room, Room):
        return room.validity()
    return Validity(note=f"at the board's distance; the eyes' distance was not measured: {room}")


def look_round(views: Sequence[View], image_size: tuple[int, int], event_size: tuple[int, int]) -> Room | str:
    """Both cameras from views of a board, or one line that says why they cannot be had.

    Args:
        views: good ones; those without `board_points` (mm) are passed over.
        image_size, event_size: (width, height).
    """
    boards = [v for v in views if v.board_points is not None and len(v) >= _POINTS]
    if len(boards) < LEAST_VIEWS:
        return f"{len(boards)} views of a board; {LEAST_VIEWS} are needed to tell distances"
    if float(np.median([_depth(v) for v in boards])) < LEAST_DEPTH:
        return "the board faces the cameras in most views: tilt it by 20° and more, to all sides"
    image = _camera(boards, image_size, event=False)
    event = _camera(boards, event_size, event=True)
    for name, camera, size in (("frame", image, image_size), ("event", event, event_size)):
        beside = np.any(np.abs(2 * np.array(camera.centre) / size - 1) > 0.5)
        if beside or not camera.focal_sigma < FOCAL_SHARE * camera.focal:
            return (
                f"the views do not tell the {name} camera's focal length ({camera.focal:.0f} ± "
                f"{camera.focal_sigma:.0f} px): tilt the board more, and show it near and far"
            )
    eye, plane = _eye(boards, image, event, image_size, event_size)
    jack = np.array(
        [
            _eye([*boards[:k], *boards[k + 1 :]], image, event, image_size, event_size)[0]
            for k in range(len(boards))
        ]
    )
    n = len(boards)
    sigma = float(np.sqrt((n - 1) / n * np.sum((jack[:, :2] - jack[:, :2].mean(axis=0)) ** 2)))
    baseline = float(np.hypot(eye[0], eye[1]))
    # 1/Z - 1/plane runs from -1/plane (far away) to 1/plane (at half the distance).
    parallax = event.focal * (baseline + 2 * sigma) / plane
    return Room(image, event, baseline, sigma, float(eye[2]), plane, parallax)


def _depth(view: View) -> float:
    """By what share the distance changes over the board in the frame camera, from its homography."""
    board = np.asarray(view.board_points, np.float64)
    m: Any = cv2.findHomography(board, view.image_points, 0)[0]
    if m is None:
        return 0.0
    far = np.column_stack([board, np.ones(len(board))]) @ m[2]
    return float(np.ptp(far) / np.abs(far.mean()))


def _camera(views: Sequence[View], size: tuple[int, int], event: bool) -> Pinhole:
    boards, points, mirrored = _points(views, size, event)
    w, h = size
    start = np.array([[1.2 * w, 0, (w - 1) / 2], [0, 1.2 * w, (h - 1) / 2], [0, 0, 1.0]])
    found: Any = cv2.calibrateCameraExtended(
        boards, points, size, start, np.zeros(5), flags=_FLAGS | cv2.CALIB_USE_INTRINSIC_GUESS
    )
    rms, k, c, sigma = found[0], found[1], found[2].reshape(-1), np.asarray(found[5]).reshape(-1)
    # With the ratio of both focal lengths fixed, OpenCV states the error of the second alone.
    return Pinhole(
        float(k[1, 1]), float(max(sigma[0], sigma[1])), (float(k[0, 2]), float(k[1, 2])),
        (float(c[0]), float(c[1])), mirrored, float(rms),
    )  # fmt: skip


def _points(
    views: Sequence[View], size: tuple[int, int], event: bool
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]], bool]:
    """Board (mm) and picture points as OpenCV takes them; a mirrored camera's are turned over."""
    seen = [np.asarray(v.event_points if event else v.image_points, np.float64) for v in views]
    boards = [np.asarray(v.board_points, np.float64) for v in views]
    hands: list[float] = []
    for board, points in zip(boards, seen, strict=True):
        m: Any = cv2.findHomography(board, points, 0)[0]
        hands.append(0.0 if m is None else float(np.linalg.det(m)) * float(np.sign(m[2, 2])))
    mirrored = float(np.median(np.sign(hands))) < 0
    if mirrored:
        seen = [np.column_stack([size[0] - 1 - p[:, 0], p[:, 1]]) for p in seen]
    flat = [np.column_stack([b, np.zeros(len(b))]).astype(np.float32) for b in boards]
    return flat, [p.astype(np.float32) for p in seen], mirrored


def _eye(
    views: Sequence[View], image: Pinhole, event: Pinhole, image_size: tuple[int, int],
    event_size: tuple[int, int],
) -> tuple[F64, float]:  # fmt: skip
    """The event camera's eye (x, y, z) in the image camera's frame, mm, and the board's distance."""
    boards, of_image, _ = _points(views, image_size, event=False)
    _, of_event, _ = _points(views, event_size, event=True)
    found: Any = cv2.stereoCalibrateExtended(
        boards, of_image, of_event, *_numbers(image), *_numbers(event), image_size, np.eye(3), np.zeros((3, 1)),
        flags=_STEREO,
    )  # fmt: skip
    turn, shift = np.asarray(found[5], np.float64), np.asarray(found[6], np.float64).reshape(3)
    away = []
    for board, r, t in zip(boards, found[9], found[10], strict=True):
        middle = cv2.Rodrigues(np.asarray(r))[0] @ board.mean(axis=0) + np.asarray(t).reshape(3)
        away.append(1.0 / float(middle[2]))
    return np.asarray(-turn.T @ shift, np.float64), float(1.0 / np.mean(away))


def _numbers(camera: Pinhole) -> tuple[F64, F64]:
    f, (x, y) = camera.focal, camera.centre
    return np.array([[f, 0, x], [0, f, y], [0, 0, 1.0]]), np.array([*camera.coefficients, 0, 0, 0])
