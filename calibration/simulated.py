"""Calibration in simulation: boards seen through a simulated rig, with the truth beside.

Both cameras look through one eye (the beam splitter), so a board anywhere in the room obeys the rig's map
exactly.
What they see goes through the same sensors as every simulated scene: `EventSensor` and `Developer`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.geometry.targets import Board
from calibration.simulated_truth import SimulatedTruth, gathered, rows
from capture.packets import Events
from capture.simulated.event_sensor import EventSensor, RawEvents
from capture.simulated.rgb_sensor import Developer
from sync.lens import apply, common_field, distort, undistort
from sync.rig import Lens

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

Kind = Literal["blinking", "charuco", "moved"]

WHITE, BLACK, ROOM = 0.85, 0.035, 0.16
_TEXEL = 48  # texture pixels along a square
_SPOT = 0.45  # the lens's spot, in sensor pixels, as in every simulated view
_PHASE_US = 200_000
_SWAP_US = 16_000
_EXPOSURE_US = 8_000


@dataclass(frozen=True, slots=True, eq=False)
class BoardShot:
    """A board at one place, as both cameras saw it, and the truth.

    Attributes:
        frames: (start_us, end_us, picture) of the frame camera, (H, W) uint8.
        events: of the event camera (none of a "charuco" shot).
        event_frames: (start_us, end_us, picture) of the event camera's own frames ("charuco": a DAVIS).
        image_corners, event_corners: (N, 2) float64, true places of all corners of the board by id, of a
            "moved" shot at the middle of the middle frame.
        start_us, end_us: of the shot.
    """

    frames: tuple[tuple[int, int, U8], ...]
    events: Events
    event_frames: tuple[tuple[int, int, U8], ...]
    image_corners: F64
    event_corners: F64
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a board is: `matrix` takes mm on the board to undistorted image pixels."""

    matrix: tuple[tuple[float, float, float], ...] = field(default_factory=lambda: rows(np.eye(3)))

    @property
    def array(self) -> F64:
        """(3, 3) float64."""
        return np.array(self.matrix, np.float64)


def pose(
    truth: SimulatedTruth,
    board: Board,
    centre: tuple[float, float],
    width_px: float,
    turn: tuple[float, float, float],
) -> Pose:
    """A board in the room.

    Args:
        truth: the rig.
        board: its size.
        centre: of the board, image pixels (undistorted).
        width_px: of the board, image pixels.
        turn: rotation in degrees about x, y (tilts) and the line of sight.
    """
    w, h = board.size_mm
    f = 1.3 * truth.config.image_width
    rx, ry, rz = (math.radians(v) for v in turn)
    about_x = np.array([[1, 0, 0], [0, math.cos(rx), -math.sin(rx)], [0, math.sin(rx), math.cos(rx)]])
    about_y = np.array([[math.cos(ry), 0, math.sin(ry)], [0, 1, 0], [-math.sin(ry), 0, math.cos(ry)]])
    about_z = np.array([[math.cos(rz), -math.sin(rz), 0], [math.sin(rz), math.cos(rz), 0], [0, 0, 1.0]])
    r = about_z @ about_y @ about_x
    distance = f * w / width_px
    cx, cy = (truth.config.image_width - 1) / 2, (truth.config.image_height - 1) / 2
    t = np.array([(centre[0] - cx) * distance / f, (centre[1] - cy) * distance / f, distance])
    k = np.array([[f, 0, cx], [0, f, cy], [0, 0, 1.0]])
    middle = np.array([[1, 0, -w / 2], [0, 1, -h / 2], [0, 0, 1.0]])
    m = k @ np.column_stack([r[:, 0], r[:, 1], t]) @ middle
    return Pose(rows(m))


def random_poses(truth: SimulatedTruth, board: Board, count: int, seed: int) -> list[Pose]:
    """Boards all over the field that both cameras share: near its corners, its sides, its middle, in turn."""
    rng = np.random.default_rng([seed, 5])
    _, seen = common_field(truth.pixel_map, truth.event_size, truth.image_size)
    low, high = seen.min(axis=0), seen.max(axis=0)
    order = [(0, 0), (2, 2), (1, 1), (2, 0), (0, 2), (1, 0), (1, 2), (0, 1), (2, 1)]
    out = []
    for k in range(count):
        column, row = order[k % 9]
        share = np.array([0.3 + 0.2 * column, 0.3 + 0.2 * row]) + rng.uniform(-0.05, 0.05, 2)
        at = low + share * (high - low)
        width = float(rng.uniform(0.52, 0.68) * (high - low)[0])
        turn = (float(rng.uniform(-22, 22)), float(rng.uniform(-22, 22)), float(rng.uniform(-12, 12)))
        out.append(pose(truth, board, (float(at[0]), float(at[1])), width, turn))
    return out


class BoardRenderer:
    """Light of a board on both sensors.

    Args:
        truth: the rig.
        board: what is shown.
    """

    def __init__(self, truth: SimulatedTruth, board: Board) -> None:
        self.truth, self.board = truth, board
        squares = board.picture(_TEXEL).astype(np.float32) / 255.0
        # A white margin of half a square, beyond it the room (marked by NaN until it is mixed in).
        m = _TEXEL // 2
        paper = cv2.copyMakeBorder(squares, m, m, m, m, cv2.BORDER_CONSTANT, value=1.0)
        self._white = np.ascontiguousarray(paper, np.float32)
        self._cover = np.ones_like(self._white)
        self._margin = m
        self._undistorted: dict[tuple[str, int], F32] = {}

    def light(
        self, camera: Literal["image", "event"], place: Pose, *, negative: bool = False, n: int | None = None
    ) -> F32:
        """(H, W) float32 light on a sensor, 1 = white paper in full light; n × n samples to a pixel."""
        n = n or (2 if camera == "image" else 4)
        size = self.truth.image_size if camera == "image" else self.truth.event_size
        at = self._rays(camera, n)
        texture_from_image = self._texture_from_board() @ np.linalg.inv(place.array)
        q = np.asarray(cv2.perspectiveTransform(at, texture_from_image), np.float32)
        q = q.reshape(size[1] * n, size[0] * n, 2)
        white, cover = _sampled(self._white, q), _sampled(self._cover, q)
        if negative:
            white = cover - white
        light = BLACK * cover + (WHITE - BLACK) * white + ROOM * (1 - cover)
        soft = cv2.GaussianBlur(light, (0, 0), _SPOT * n)
        return np.asarray(cv2.resize(soft, size, interpolation=cv2.INTER_AREA), np.float32)

    def corners(self, place: Pose) -> tuple[F64, F64]:
        """(image, event): true places of the board's corners, (N, 2) raw pixels each."""
        m = self.truth.pixel_map
        ideal = apply(self.board.corners_mm, place.array)
        image = distort(ideal, m.image_lens)
        return image, m.to_event(image)

    def _texture_from_board(self) -> F64:
        s = _TEXEL / self.board.square_mm
        o = self._margin - 0.5
        return np.array([[s, 0, o], [0, s, o], [0, 0, 1.0]])

    def _rays(self, camera: str, n: int) -> F32:
        """(N, 1, 2) undistorted image pixels that the samples of every pixel look at; they stay with the
        rig."""
        if (camera, n) not in self._undistorted:
            w, h = self.truth.image_size if camera == "image" else self.truth.event_size
            lens = self.truth.image_lens if camera == "image" else self.truth.event_lens
            ideal = undistorted_samples(w, h, n, lens).reshape(-1, 1, 2)
            if camera == "event":
                ideal = np.asarray(cv2.perspectiveTransform(ideal, self.truth.pixel_map.homography), np.float32)
            self._undistorted[camera, n] = ideal
        return self._undistorted[camera, n]


def _sampled(texture: F32, at: F32) -> F32:
    """Texture at (H, W, 2) places; 0 beyond its rim."""
    none: Any = None
    out = cv2.remap(texture, at, none, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0.0)
    return np.asarray(out, np.float32)


def undistorted_samples(width: int, height: int, n: int, lens: Lens | None) -> F32:
    """(height · n, width · n, 2) float32: undistorted places of n × n samples in every pixel of a sensor.

    A lens is smooth: its bend is taken every four pixels and interpolated, to 0.001 pixels.
    """
    y, x = np.mgrid[0 : height * n, 0 : width * n].astype(np.float32)
    raw = (np.dstack([x, y]) + np.float32(0.5)) / np.float32(n) - np.float32(0.5)
    if lens is None:
        return np.ascontiguousarray(raw, np.float32)
    step = 4.0
    cy, cx = np.mgrid[-step : height + 2 * step : step, -step : width + 2 * step : step]
    at = np.stack([cx.ravel(), cy.ravel()], axis=1)
    bend = (undistort(at, lens) - at).reshape(*cx.shape, 2).astype(np.float32)
    where = (raw + np.float32(step)) / np.float32(step)
    moved = _sampled(bend, np.ascontiguousarray(where, np.float32))
    return np.ascontiguousarray(raw + moved, np.float32)


def board_shots(
    truth: SimulatedTruth, kind: Kind, count: int = 12, seed: int = 0, board: Board | None = None,
    poses: list[Pose] | None = None,
) -> Iterator[BoardShot]:  # fmt: skip
    """Boards at places all over the field, one shot each, one after another in time.

    Args:
        truth: the rig.
        kind: "blinking": three swaps on a screen, a frame in each phase; "charuco": frames of both cameras;
            "moved": the board is swung by hand, frames with short exposures.
        count: shots.
        seed: of places and noise.
        board: the default board without one.
        poses: where the board is; all over the field without.
    """
    b = board or Board()
    renderer = BoardRenderer(truth, b)
    sensor_config = truth.config.effective_events()
    start = 1_000_000
    for k, place in enumerate(poses or random_poses(truth, b, count, seed)):
        rng = np.random.default_rng([seed, 31, k])
        if kind == "moved":
            yield _moved_shot(truth, renderer, place, rng, seed + k, start)
        elif kind == "charuco":
            yield _frames_shot(truth, renderer, place, rng, start)
        else:
            sensor = EventSensor(sensor_config, *truth.event_size, seed=seed)
            yield _blinking_shot(truth, renderer, place, rng, sensor, start)
        start += 1_500_000


def _developed(truth: SimulatedTruth, light: F32, rng: np.random.Generator) -> U8:
    config = truth.config.effective_frames()
    return Developer(config).develop(light, rng if truth.config.noise else None)


def _frames_shot(
    truth: SimulatedTruth, renderer: BoardRenderer, place: Pose, rng: np.random.Generator, start: int
) -> BoardShot:
    image, event = renderer.corners(place)
    frames, own = [], []
    for j in range(2):
        a = start + j * 66_000
        frames.append((a, a + _EXPOSURE_US, _developed(truth, renderer.light("image", place), rng)))
        own.append((a, a + _EXPOSURE_US, _developed(truth, renderer.light("event", place), rng)))
    none = Events.empty(*truth.event_size)
    return BoardShot(tuple(frames), none, tuple(own), image, event, start, start + 200_000)


def _blinking_shot(
    truth: SimulatedTruth, renderer: BoardRenderer, place: Pose, rng: np.random.Generator, sensor: EventSensor,
    start: int,
) -> BoardShot:  # fmt: skip
    phases = [renderer.light("event", place, negative=n) for n in (False, True)]
    sensor.begin(float(start), phases[0])
    parts: list[RawEvents] = []
    for k in range(3):
        before, after = phases[k % 2], phases[(k + 1) % 2]
        swap = start + (k + 1) * _PHASE_US
        parts += [sensor.step(float(t), before) for t in np.linspace(swap - _PHASE_US + _SWAP_US, swap, 5)[1:]]
        for t in np.linspace(0, _SWAP_US, 17)[1:]:
            share = np.float32(1 - math.exp(-t / 3000.0))
            parts.append(sensor.step(float(swap + t), before + share * (after - before)))
    end = start + 4 * _PHASE_US
    parts.append(sensor.step(float(end), phases[1]))
    frames = []
    for k in range(4):
        a = start + k * _PHASE_US + _PHASE_US // 2
        frames.append(
            (a, a + _EXPOSURE_US, _developed(truth, renderer.light("image", place, negative=k % 2 == 1), rng))
        )
    image, event = renderer.corners(place)
    return BoardShot(tuple(frames), gathered(truth, parts), (), image, event, start, end)


def _moved_shot(
    truth: SimulatedTruth, renderer: BoardRenderer, place: Pose, rng: np.random.Generator, seed: int, start: int
) -> BoardShot:
    """The board is swung on a curve of about a square and a half, 0.6 s long."""
    sensor = EventSensor(truth.config.effective_events(), *truth.event_size, seed=seed)
    image0, _ = renderer.corners(place)
    side = float(np.linalg.norm(image0[1] - image0[0]))
    turn = rng.uniform(0, 2 * math.pi)

    def at(t_us: float) -> Pose:
        a = 2 * math.pi * (t_us - start) / 600_000 + turn
        dx, dy = 0.75 * side * math.cos(a), 0.75 * side * math.sin(1.0 * a)
        return Pose(rows(np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]]) @ place.array))

    end = start + 700_000
    # Half an event pixel of motion between two looks.
    speed = 2 * math.pi * 0.75 * side / truth.config.scale / 0.6
    times = np.linspace(start, end, max(50, int(0.7 * speed / 0.5)))
    sensor.begin(float(times[0]), renderer.light("event", at(times[0]), n=2))
    parts = [sensor.step(float(t), renderer.light("event", at(t), n=2)) for t in times[1:]]
    frames = []
    for k in range(3):
        a = start + 250_000 + 150_000 * k
        looks = [renderer.light("image", at(a + (j + 0.5) / 6 * 2000)) for j in range(6)]
        frames.append((a, a + 2000, _developed(truth, np.mean(looks, axis=0).astype(np.float32), rng)))
    image, event = renderer.corners(at(frames[1][0] + 1000))
    return BoardShot(tuple(frames), gathered(truth, parts), (), image, event, start, end)
