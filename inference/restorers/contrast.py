"""The contrast threshold, found from the pictures themselves: what EDI needs and no recording states.

Pan et al. (CVPR 2019, §4) choose c by minimising φ_TV(L) + λ·φ_edge(L): total variation against agreement of
the sharp picture's edges with the edges that events draw at that instant. Too small a c leaves ghosts of the
blur where no edge is *now*; too large a c draws ghosts of the other sign there. λ must be tuned by hand, so
here the same two terms stand as a quotient, which knows no scale of light and needs no weight:

    E(c) = −ln( Σ |∇L|·M  /  Σ |∇L| ) + PULL · c

summed over pixels that have events at all. ∇ is Sobel's, in linear light; M (0…1) is the map of events around
the instant, exp(−|t − f| / τ) summed and capped at 1. The small pull downwards stands for the noise that a
larger c amplifies; without it the search ends some 10 % too high on scenes whose c is known, and higher on real
recordings with sluggish pixels.

The search is a golden-section search over ln c on a crop of bounded size, so it costs a bounded time; the
result over several exposures is their median. It depends on nothing but the exposures and their order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.representations.double_integral_numba import DoubleIntegral

# Chosen on panning scenes with thresholds 0.12…0.5, spread and noise (found within 15 %), on the simulated
# rig's presets, and by eye on a real DAVIS346 recording.
PULL = 0.2
EDGE_TIME = 0.03  # τ as a share of the exposure
INSTANTS = (0.3, 0.5, 0.7)
LOWEST, HIGHEST = 0.05, 1.0
AROUND = 1.75
TOLERANCE = 0.06  # in ln c: 6 %
MAX_PIXELS = 40_000
MAX_EVENTS = 120_000
MIN_EVENTS_PER_PIXEL = 0.05
MAX_BALANCE = 2.0  # the thresholds differ by this factor at most when the event balance decides
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Sample:
    """One exposure's share of the search.

    Attributes:
        contrast: the c that minimises the energy, one for both polarities.
        returning_on, returning_off: events in pixels that saw several of both polarities; where light comes
            back to its level, Σ on · c_on = Σ off · c_off.
        evaluations: how often the energy was computed.
    """

    contrast: float
    returning_on: int
    returning_off: int
    evaluations: int


@njit(nogil=True)
def _edge_share(
    light: NDArray[np.float32], ratio: NDArray[np.float32], edges: NDArray[np.float32],
    usable: NDArray[np.bool_],
) -> float:  # fmt: skip
    """Σ|∇L|·M / Σ|∇L| with Sobel gradients of L = light · ratio, over usable pixels."""
    h, w = light.shape
    near, every = 0.0, 0.0
    top = np.float32(1.5)
    rows = np.empty((3, w), np.float32)
    for y in range(h):
        for x in range(w):
            rows[y % 3, x] = min(light[y, x] * ratio[y, x], top)
        if y < 2:
            continue
        a, b, c = rows[(y - 2) % 3], rows[(y - 1) % 3], rows[y % 3]
        for x in range(1, w - 1):
            if not usable[y - 1, x]:
                continue
            gx = (a[x + 1] - a[x - 1]) + 2 * (b[x + 1] - b[x - 1]) + (c[x + 1] - c[x - 1])
            gy = (c[x - 1] - a[x - 1]) + 2 * (c[x] - a[x]) + (c[x + 1] - a[x + 1])
            g = math.sqrt(gx * gx + gy * gy)
            near += g * edges[y - 1, x]
            every += g
    return near / every if every > 0 else 0.0


def active_box(shape: tuple[int, ...], events: Events) -> tuple[int, int, int, int]:
    """(y, x, height, width) of the most active window of bounded size.

    Args:
        shape: (h, w) of the event sensor.
        events: of one exposure.
    """
    h, w = shape[:2]
    shrink = min(1.0, math.sqrt(MAX_PIXELS / (h * w)), math.sqrt(MAX_EVENTS / max(len(events), 1)))
    if shrink >= 1.0:
        return 0, 0, h, w
    flat = events.y.astype(np.int32) * w + events.x
    counts = np.bincount(flat, minlength=h * w).reshape(h, w)
    total = cv2.integral(counts.astype(np.float32), sdepth=cv2.CV_64F)
    while True:
        ch, cw = min(h, max(8, int(h * shrink))), min(w, max(8, int(w * shrink)))
        inside = total[ch:, cw:] - total[:-ch, cw:] - total[ch:, :-cw] + total[:-ch, :-cw]
        y0, x0 = divmod(int(np.argmax(inside)), inside.shape[1])
        # The most active window holds more than its share; shrink on until it is cheap enough.
        if inside[y0, x0] <= 1.5 * MAX_EVENTS or (ch <= 8 and cw <= 8):
            return y0, x0, ch, cw
        shrink *= 0.8


def cut(events: Events, box: tuple[int, int, int, int]) -> Events:
    """The events inside a window of `active_box`, on its own pixels."""
    y, x, h, w = box
    if (h, w) == (events.height, events.width):
        return events
    keep = (events.x >= x) & (events.x < x + w) & (events.y >= y) & (events.y < y + h)
    return Events(
        events.t[keep], (events.x[keep] - x).astype(np.uint16), (events.y[keep] - y).astype(np.uint16),
        events.p[keep], w, h,
    )  # fmt: skip


def _edge_map(events: Events, at_us: float, tau_us: float) -> NDArray[np.float32]:
    weights = np.exp(-np.abs(events.t - at_us) / tau_us)
    flat = events.y.astype(np.int32) * events.width + events.x
    m = np.bincount(flat, weights=weights, minlength=events.width * events.height)
    return np.minimum(m, 1.0).astype(np.float32).reshape(events.height, events.width)


class Energy:
    """E(c) of one exposure.

    Args:
        light: (height, width) float32, the blurred picture in linear light 0…1 on the event sensor's pixels.
        events: events of the exposure, on the same pixels.
        start_us, end_us: the exposure.
    """

    def __init__(self, light: NDArray[np.float32], events: Events, start_us: int, end_us: int) -> None:
        inside = events.between(start_us, end_us)
        box = active_box(light.shape, inside)
        y, x, h, w = box
        self._light, self._events = np.ascontiguousarray(light[y : y + h, x : x + w]), cut(inside, box)
        self._start, self._end = start_us, end_us
        self._times = [round(start_us + f * (end_us - start_us)) for f in INSTANTS]
        tau = max(1.0, EDGE_TIME * (end_us - start_us))
        self._edges = [_edge_map(self._events, t, tau) for t in self._times]
        # Clipped and black pixels say nothing about ratios. Pixels without events do not change with c, but
        # their edges would stand in the denominator and hide the ghosts: a still background would drive c up.
        hit = np.zeros(self._light.shape, np.bool_)
        hit[self._events.y, self._events.x] = True
        self._usable = hit & (self._light > 0.04) & (self._light < 0.96)
        self._integral = DoubleIntegral()
        self.evaluations = 0

    @property
    def telling(self) -> bool:
        """Whether any pixel is neither clipped nor black."""
        return bool(self._usable.any())

    def __call__(self, contrast: float) -> float:
        """The energy at this c, ON and OFF alike."""
        self.evaluations += 1
        both = Contrast(contrast, contrast)
        ratios = self._integral.ratios(self._events, self._start, self._end, self._times, both)
        shares = [
            _edge_share(self._light, r, m, self._usable) for r, m in zip(ratios, self._edges, strict=True)
        ]
        return -math.log(max(sum(shares) / len(shares), 1e-12)) + PULL * contrast


def golden_section(f: Energy, low: float, high: float, tolerance: float) -> float:
    """The minimum of `f` over ln x in low…high, to `tolerance` in ln x; one evaluation a step."""
    a, b = math.log(low), math.log(high)
    c, d = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
    fc, fd = f(math.exp(c)), f(math.exp(d))
    while b - a > 2 * tolerance:
        if fc <= fd:
            b, d, fd = d, c, fc
            c = b - _GOLDEN * (b - a)
            fc = f(math.exp(c))
        else:
            a, c, fc = c, d, fd
            d = a + _GOLDEN * (b - a)
            fd = f(math.exp(d))
    return math.exp(c if fc <= fd else d)


def _returning(events: Events) -> tuple[int, int]:
    """ON and OFF events in pixels that saw at least three of each."""
    flat = events.y.astype(np.int32) * events.width + events.x
    n = events.width * events.height
    on = np.bincount(flat[events.p], minlength=n)
    off = np.bincount(flat[~events.p], minlength=n)
    both = (on >= 3) & (off >= 3)
    return int(on[both].sum()), int(off[both].sum())


def search(
    light: NDArray[np.float32], events: Events, start_us: int, end_us: int, about: Contrast | None = None
) -> Sample | None:
    """Search c on one exposure; None when it has too few events to tell.

    Args: as `Energy`, and
        about: thresholds that are roughly known; the search stays within a factor `AROUND` of them.
    """
    inside = events.between(start_us, end_us)
    if len(inside) < max(500, MIN_EVENTS_PER_PIXEL * light.size):
        return None
    energy = Energy(light, inside, start_us, end_us)
    if not energy.telling:
        return None
    low, high = LOWEST, HIGHEST
    if about is not None:
        middle = math.sqrt(about.on * about.off)
        low, high = middle / AROUND, middle * AROUND
    c = golden_section(energy, low, high, TOLERANCE)
    return Sample(c, *_returning(inside), energy.evaluations)


def combine(samples: list[Sample], off_over_on: float | None = None) -> Contrast:
    """One pair of thresholds out of several exposures: the median c, split by the ratio of OFF to ON.

    Args:
        samples: at least one.
        off_over_on: c_off / c_on when known; else from the balance of returning events (Σ on / Σ off, limited
            to 1/MAX_BALANCE…MAX_BALANCE; 1 when there are too few).
    """
    logs = sorted(math.log(s.contrast) for s in samples)
    n = len(logs)
    middle = logs[n // 2] if n % 2 else 0.5 * (logs[n // 2 - 1] + logs[n // 2])
    if off_over_on is None:
        on, off = sum(s.returning_on for s in samples), sum(s.returning_off for s in samples)
        off_over_on = on / off if min(on, off) >= 1000 else 1.0
        off_over_on = min(max(off_over_on, 1 / MAX_BALANCE), MAX_BALANCE)
    half = 0.5 * math.log(off_over_on)
    return Contrast(on=math.exp(middle - half), off=math.exp(middle + half))
