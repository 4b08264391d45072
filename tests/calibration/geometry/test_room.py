"""Both cameras in the room, from boards that two true pinholes with a known distance see."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from calibration.geometry.room import Room, look_round, validity
from calibration.geometry.targets import Board
from calibration.geometry.views import View

IMAGE, EVENT = (1152, 768), (346, 260)
K_IMAGE = np.array([[1500.0, 0, 570], [0, 1500.0, 390], [0, 0, 1]])
K_EVENT = np.array([[420.0, 0, 176], [0, 420.0, 127], [0, 0, 1]])
TURN = cv2.Rodrigues(np.radians([1.0, -1.5, 2.0]))[0]


def views(
    eye: tuple[float, float, float] = (0.0, 0.0, 0.0), *, count: int = 12, tilt: float = 25.0,
    noise: float = 0.05, mirrored: bool = False, seed: int = 0, spread: float = 0.35,
) -> list[View]:  # fmt: skip
    """Boards some 600 mm away; `eye` is the event camera's in the image camera's frame, mm."""
    rng = np.random.default_rng(seed)
    board = Board().corners_mm
    flat = np.column_stack([board - board.mean(axis=0), np.zeros(len(board))])
    out = []
    for k in range(count):
        turn = cv2.Rodrigues(np.radians([*rng.uniform(-tilt, tilt, 2), rng.uniform(-10, 10)]))[0]
        z = 600 * (1 + rng.uniform(-spread, spread))
        place = flat @ turn.T + [rng.uniform(-0.1, 0.1) * z, rng.uniform(-0.06, 0.06) * z, z]
        seen = []
        for camera, points in ((K_IMAGE, place), (K_EVENT, (place - eye) @ TURN.T)):
            q = points @ camera.T
            seen.append(q[:, :2] / q[:, 2:])
        image, event = (p + rng.normal(0, noise * s, p.shape) for p, s in zip(seen, (3.0, 1.0), strict=True))
        if mirrored:
            image[:, 0] = IMAGE[0] - 1 - image[:, 0]
        out.append(View(image, event, np.arange(len(board)), board_points=board, name=f"board {k + 1}"))
    return out


def found(*args: Any, **more: Any) -> Room:
    room = look_round(views(*args, **more), IMAGE, EVENT)
    assert isinstance(room, Room), room
    return room


@pytest.mark.parametrize("mirrored", [False, True])
def test_focal_lengths_eyes_and_parallax(mirrored: bool) -> None:
    room = found((8.0, -3.0, 4.0), mirrored=mirrored)
    assert room.image.mirrored is mirrored
    assert not room.event.mirrored
    assert room.image.focal == pytest.approx(1500, rel=0.02)
    assert room.event.focal == pytest.approx(420, rel=0.02)
    assert room.event.rms_px < 0.1
    true = float(np.hypot(8, 3))
    assert abs(room.baseline_mm - true) < 3 * room.baseline_sigma_mm + 0.2
    assert room.baseline_sigma_mm < 1.0
    assert room.plane_mm == pytest.approx(600, rel=0.15)
    # Half as far away, things lie focal · baseline / plane further apart.
    assert room.parallax_px == pytest.approx(420 * true / room.plane_mm, rel=0.4)
    assert room.parallax_px > 420 * true / room.plane_mm * 0.95
    v = room.validity()
    assert v.baseline_mm == room.baseline_mm
    assert "apart" in v.note
    assert "event pixels off" in v.note


def test_one_eye_is_told_as_a_bound() -> None:
    misses = 0
    for seed in range(6):
        room = found(seed=seed)
        misses += room.baseline_mm > 3 * room.baseline_sigma_mm
        assert room.baseline_mm < 1.5
    assert misses <= 1
    assert "less than" in Room(room.image, room.event, 0.1, 0.2, 0.0, 600.0, 0.3).validity().note


def test_boards_that_face_the_camera_tell_no_focal_length() -> None:
    said = look_round(views(tilt=0.2, spread=0.01, noise=0.3), IMAGE, EVENT)
    assert "tilt it by 20°" in str(said)
    said = look_round(views(count=5, tilt=16, spread=0.01, noise=1.5), IMAGE, EVENT)
    assert "tilt the board more" in str(said)


def test_too_few_views_and_views_without_a_board() -> None:
    assert "4 views of a board; 5 are needed" in str(look_round(views(count=4), IMAGE, EVENT))
    v = validity(views(count=4), IMAGE, EVENT)
    assert v.parallax_px is None
    assert "was not measured: 4 views" in v.note
    plain = [View(v.image_points, v.event_points, v.ids) for v in views()]
    assert "0 views of a board" in str(look_round(plain, IMAGE, EVENT))
