"""Where events and image lie apart, place by place: the edges of ordinary scenes, summed over many frames.

As `inference.alignment` for one frame; here the correlation surfaces of many frames are added up before their
peak is taken, in each cell of a lattice. Cells in which nothing moved stay empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.time.result import AffineClock
from calibration.whole_field import WholeField, WholeShift
from capture.packets import EventPacket, Events, Frame, FrameClock, FrameKind
from inference.alignment import event_edges, image_edges
from inference.restorers.picture import picture_of
from sync.rig import Rig
from sync.rolling import moved
from sync.windows import EventStore

F64 = NDArray[np.float64]

CELLS = (3, 4)
REACH_PX = 5
FRAMES = 24
MIN_EVENTS = 300
MIN_PEAK, MIN_RISE = 0.1, 0.08
"""Correlation at the peak, and by how much it stands above the middle of its surface: edges that are recognised
rise by 0.15 and more, a scene in which everything runs along its own lines by 0.05."""
MIN_FRAMES = 3

Items = Callable[[], Iterable[EventPacket | Frame]]


@dataclass(frozen=True, slots=True, eq=False)
class Exposed:
    """A frame, when its shutter was open, and the events meanwhile."""

    frame: Frame
    start_us: int
    end_us: int
    events: Events


@dataclass(frozen=True, slots=True, eq=False)
class FieldShift:
    """Shift of the picture's edges against the events', event pixels.

    Attributes:
        cells: (R, C, 2) float64 shift (x, y) in each cell; nan where nothing moved or no edge was recognised.
        quality: (R, C) float64 correlation at the peak.
        dx, dy: of the whole field.
        rms_px: root mean square of the cells' shifts.
        worst_px: the largest of them.
        frames: how many took part.
    """

    cells: F64
    quality: F64
    dx: float
    dy: float
    rms_px: float
    worst_px: float
    frames: int


def exposed(items: Iterable[EventPacket | Frame], clock: AffineClock, rig: Rig) -> Iterator[Exposed]:
    """Every frame for which a clock holds, with its events. Frames on the event clock need none."""
    store = EventStore(rig.events.width, rig.events.height, retain_us=6_000_000, retain_bytes=768 << 20)
    stamped = AffineClock(0, rig.clock.stamp_delay_us, 0.0)
    waiting: list[tuple[Frame, int, int]] = []
    epoch, place = 0, -1

    def ready(final: bool) -> Iterator[Exposed]:
        mark = store.complete_until_us
        while waiting and mark is not None and (mark >= waiting[0][2] or final):
            frame, a, b = waiting.pop(0)
            if b > a and store.gap_in(a, b) is None and (store.start_us or 0) <= a and mark >= b:
                yield Exposed(frame, a, b, store.cut(a, b))

    for item in moved(items, rig):
        if item.epoch != epoch:
            epoch = item.epoch
            store.clear()
            waiting.clear()
        if isinstance(item, EventPacket):
            store.push(item)
            yield from ready(False)
            continue
        place += 1
        its = stamped if item.clock is FrameClock.EVENT else clock
        if item.kind is not FrameKind.SENSOR or not its.holds(place):
            continue
        if item.device_start_ns is not None and item.device_end_ns is not None:
            a, b = (its.event_us(v) for v in (item.device_start_ns, item.device_end_ns))
            waiting.append((item, round(a), round(b)))
        yield from ready(False)
    yield from ready(True)


class FieldMeter:
    """Adds up frames, under one rig.

    Args:
        rig: the geometry that is looked at.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._r = min(REACH_PX, rig.events.width // 16, rig.events.height // 12)
        rows, columns = CELLS
        side = 2 * self._r + 1
        self._sums = np.zeros((rows, columns, side, side))
        self._weights = np.zeros((rows, columns))
        self._n = np.zeros((rows, columns), np.int64)
        self._whole = WholeField()
        self.frames = 0

    def add(self, e: Exposed) -> bool:
        """One frame; False when too little moved."""
        drawn = event_edges(e.events)
        if int(drawn.sum()) < MIN_EVENTS:
            return False
        seen = image_edges(picture_of(e.frame), self._rig)
        self._whole.add(drawn, seen)
        a: Any = cv2.GaussianBlur(drawn, (0, 0), 1.0)
        b: Any = cv2.GaussianBlur(np.minimum(seen, 4.0 * float(seen.mean()) + 1e-6), (0, 0), 1.0)
        h, w = seen.shape
        r, (rows, columns) = self._r, CELLS
        for i in range(rows):
            for j in range(columns):
                y0, y1 = max(r, i * h // rows), min(h - r, (i + 1) * h // rows)
                x0, x1 = max(r, j * w // columns), min(w - r, (j + 1) * w // columns)
                part = np.ascontiguousarray(a[y0:y1, x0:x1])
                around = np.ascontiguousarray(b[y0 - r : y1 + r, x0 - r : x1 + r])
                if float(part.std()) < 1e-3 or float(around.std()) < 1e-6 or (around == 0).mean() > 0.5:
                    continue
                weight = float(drawn[y0:y1, x0:x1].sum())
                if weight < MIN_EVENTS / (rows * columns):
                    continue
                found: Any = cv2.matchTemplate(around, part, cv2.TM_CCOEFF_NORMED)
                self._sums[i, j] += weight * found
                self._weights[i, j] += weight
                self._n[i, j] += 1
        self.frames += 1
        return True

    @property
    def moved(self) -> int:
        """In how many cells enough moved, in enough frames."""
        return int((self._n >= MIN_FRAMES).sum())

    def whole(self) -> WholeShift | None:
        """Where the field as a whole agrees, however far away."""
        return self._whole.result()

    def result(self) -> FieldShift | None:
        """What they say together; None when no edges were recognised anywhere."""
        shape = CELLS
        cells, quality = np.full((*shape, 2), np.nan), np.full(shape, np.nan)
        for i, j in np.ndindex(*shape):
            if self._n[i, j] < MIN_FRAMES:
                continue
            surface = self._sums[i, j] / self._weights[i, j]
            peak = _peak(surface)
            rise = float(surface.max() - np.median(surface))
            if peak is not None and peak[2] >= MIN_PEAK and rise >= MIN_RISE:
                cells[i, j], quality[i, j] = peak[:2], peak[2]
        good = np.isfinite(quality)
        if not good.any():
            return None
        weights = self._weights[good]
        dx, dy = (float(np.average(cells[good][:, k], weights=weights)) for k in range(2))
        size = np.hypot(cells[good][:, 0], cells[good][:, 1])
        rms = float(np.sqrt(np.mean(size**2)))
        return FieldShift(cells, quality, dx, dy, rms, float(size.max()), self.frames)


def _peak(surface: F64) -> tuple[float, float, float] | None:
    r = surface.shape[0] // 2
    y, x = divmod(int(surface.argmax()), surface.shape[1])
    best = float(surface[y, x])
    if not (0 < x < 2 * r and 0 < y < 2 * r):
        return None
    along, down = surface[y, x - 1 : x + 2], surface[y - 1 : y + 2, x]
    return x - r + _vertex(along), y - r + _vertex(down), best


def _vertex(v: F64) -> float:
    bend = float(v[0] - 2 * v[1] + v[2])
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (v[0] - v[2]) / bend, -0.5, 0.5))


def chosen(frames: int, most: int = FRAMES) -> set[int]:
    """Which frames of a recording are looked at: evenly over it."""
    return set(np.unique(np.linspace(0, max(0, frames - 1), min(frames, most)).round().astype(int)).tolist())
