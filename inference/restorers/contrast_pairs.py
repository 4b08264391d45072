"""Both contrast thresholds, found from two exposures in a row: no sharp picture and no edge is needed.

The light at the end of one exposure and at the start of the next differ by what the events between say, and
each follows from its own frame by the double integral:

    log B₂ − log B₁ = M₂ − M₁ + S₁ + S_gap,      S = on · n_on − off · n_off

with B the frames in linear light, M = log mean exp S(t) over each exposure since its start, S₁ over the whole
first exposure and S_gap over the time between. Which instants are compared is the same: S only moves from one
side to the other. The unknowns are ln on, ln off and the logarithm of a common gain (exposure time, flicker).
They are found by Gauss-Newton steps over all usable pixels, each a pass over the events; differences count as
values of the picture rather than as logarithms, since noise in the dark is loud, and large ones by their size
rather than its square.

Where the events of the gap are not at hand, only pixels count that were silent for half as long as the gap on
either side of it; what did not move just before and just after has hardly moved between.

The thresholds so found are too small for a picture. Events that are noise, light that turns back within a
threshold and pixels slower than the light all lower them, and the more so the less of the frames' difference
they explain; and the double integral is asked for the fast changes, which events tell least of. On synthetic
sequences, the factor that serves the picture best is exp(a − b · explained share); see `Neighbours`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.restorers.contrast import HIGHEST, LOWEST, active_box, cut
from inference.tone import Tone
from sync.exposure import AlignedExposure

DARK, BRIGHT = 0.03, 0.93  # light outside tells nothing of ratios
KNEE = 0.05  # differences of values beyond count by their size, not its square
ROUNDS = 6
CLOSE = 0.01  # steps in ln c below end the search
LEAST_PIXELS = 200
LEAST_EXPLAINED = 0.1
SILENT = 0.5  # of the gap, on either side of it
GAP_MOST = 4.0  # exposures; behind a longer one other things are in view
GAP_MOST_UNSEEN = 1.0  # the same where the events of the gap are not at hand
MOST_EVENTS_PER_PIXEL = 200
MARGIN_US = 40_000
"""Events that a restorer asks for before each exposure, so that those of the gap are at hand; of frame rates
from some 15 a second on."""
DEPENDENT = 16.0  # so many pixels count as one: edges cross many, and errors of the model are common to all
SEEN, UNSEEN = (1.05, 1.2), (0.85, 1.1)
"""a and b of the factor, where the events of the gap are at hand, and where not. Best of a grid on the
synthetic suite; a factor without b loses 0.2 dB, none 0.7 dB."""
FACTOR_MOST = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """What two exposures in a row say.

    Attributes:
        contrast: that serves the picture, ON and OFF.
        measured: that explains the frames' difference best.
        information: (2, 2) inverse covariance of (ln on, ln off).
        explained: share of the frames' difference that events explain, 0…1.
        pixels: that had a say.
        evaluations: passes over the events of both exposures.
    """

    contrast: Contrast
    measured: Contrast
    information: NDArray[np.float64]
    explained: float
    pixels: int
    evaluations: int


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """An exposure as it is kept until the next.

    Attributes:
        exposure: with its events.
        light: (h, w) float32, its frame in linear light on the event sensor's pixels.
    """

    exposure: AlignedExposure
    light: NDArray[np.float32]


def follows(before: AlignedExposure, after: AlignedExposure) -> bool:
    """Whether two exposures are neighbours between which no event is known to be lost."""
    gap = after.exposure.start_us - before.exposure.end_us
    return (
        before.complete and after.complete and not after.frame.gap
        and before.frame.epoch == after.frame.epoch and after.ordinal == before.ordinal + 1
        and (before.events.width, before.events.height) == (after.events.width, after.events.height)
        and 0 <= gap <= GAP_MOST * min(before.exposure.duration_us, after.exposure.duration_us)
    )  # fmt: skip


def compare(before: Seen, after: Seen, tone: Tone, start: Contrast) -> Neighbours | None:
    """What two exposures in a row say of the thresholds; None when they do not tell.

    Args:
        before, after: exposures that `follows` each other, on one rig.
        tone: of the frames.
        start: where the search begins.
    """
    if before.light.shape != after.light.shape:
        return None
    a, b = before.exposure, after.exposure
    busier = max(a.exposure_events(), b.exposure_events(), key=len)
    box = active_box(before.light.shape, busier)
    first, second = (_moments_of(s.exposure, box) for s in (before, after))
    y, x, h, w = box
    light = [np.ascontiguousarray(s.light[y : y + h, x : x + w]).reshape(-1) for s in (before, after)]
    gap, usable, line = _between(a, b, box), np.ones(h * w, np.bool_), SEEN
    if gap is None:
        shorter = min(a.exposure.duration_us, b.exposure.duration_us)
        if b.exposure.start_us - a.exposure.end_us > GAP_MOST_UNSEEN * shorter:
            return None
        usable = _silent(first.events, second.events, a.exposure.end_us, b.exposure.start_us)
        gap, line = np.zeros((2, h * w)), UNSEEN
    return _fitted(first, second, light, gap, usable, tone, start, line)


def compiled(light: NDArray[np.float32], events: Events, end_us: int) -> None:
    """Compile what `compare` runs; see `contrast_learner.rehearse`."""
    same = _Moments(events, 0, end_us)
    flat, n = np.ascontiguousarray(light).reshape(-1), light.size
    _fitted(same, same, [flat, flat], np.zeros((2, n)), np.ones(n, np.bool_), "srgb", Contrast(0.2, 0.2), SEEN)


def _fitted(
    first: _Moments, second: _Moments, light: list[NDArray[np.float32]], gap: NDArray[np.float64],
    usable: NDArray[np.bool_], tone: Tone, start: Contrast, line: tuple[float, float],
) -> Neighbours | None:  # fmt: skip
    theta = np.log([start.on, start.off])
    low, high = math.log(LOWEST / 2), math.log(HIGHEST * 1.5)
    gain, rounds = 0.0, 0
    while True:
        on, off = (float(v) for v in np.exp(theta))
        normal, right, sums = _normal(
            first(on, off), second(on, off), *light, gap, usable, on, off, gain, tone == "srgb"
        )
        rounds += 1
        pixels = int(sums[0])
        if pixels < LEAST_PIXELS:
            return None
        try:
            step = np.linalg.solve(normal + 1e-6 * np.eye(3), right)
        except np.linalg.LinAlgError:
            return None
        if rounds == ROUNDS or float(np.abs(step[:2]).max()) < CLOSE:
            break
        theta = np.clip(theta + np.clip(step[:2], -0.7, 0.7), low, high)
        gain += float(step[2])
    explained = 1 - sums[1] / max(sums[2], 1e-12)
    if explained < LEAST_EXPLAINED:
        return None
    # The gain is not asked for: what is left of the information about the others.
    own = normal[:2, :2] - np.outer(normal[:2, 2], normal[2, :2]) / max(normal[2, 2], 1e-12)
    information = own * pixels / max(sums[3], 1e-12) / DEPENDENT
    factor = min(max(math.exp(line[0] - line[1] * explained), 1.0), FACTOR_MOST)
    return Neighbours(
        Contrast(on * factor, off * factor), Contrast(on, off), information, float(explained), pixels, rounds
    )  # fmt: skip


class _Moments:
    """M of one exposure and its derivatives, at any thresholds."""

    def __init__(self, events: Events, start_us: int, end_us: int) -> None:
        self.events = events
        self._span = (int(start_us), int(end_us))
        n = events.width * events.height
        self._state, self._out = np.empty((n, 7)), np.empty((5, n))

    def __call__(self, on: float, off: float) -> NDArray[np.float64]:
        """(5, pixels): M, ∂M/∂on, ∂M/∂off, ON events, OFF events. Overwritten by the next call."""
        e = self.events
        _moments(e.t, e.x, e.y, e.p, e.width, *self._span, on, off, self._state, self._out)
        return self._out


def _moments_of(a: AlignedExposure, box: tuple[int, int, int, int]) -> _Moments:
    return _Moments(cut(a.exposure_events(), box), a.exposure.start_us, a.exposure.end_us)


@njit(nogil=True)
def _moments(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_], width: int,
    start: int, end: int, on: float, off: float, state: NDArray[np.float64], out: NDArray[np.float64],
) -> None:  # fmt: skip
    """One pass over the events, as `double_integral_numba` with the integrals of exp(S) times the counts."""
    # Of a pixel: exp(S), when it last changed, ∫ exp(S), ∫ exp(S)·n_on, ∫ exp(S)·n_off, n_on, n_off.
    factor = np.array([math.exp(-off), math.exp(on)])
    for i in range(len(state)):
        state[i, 0] = 1.0
        for k in range(1, 7):
            state[i, k] = 0.0
    for i in range(len(t)):
        row = state[int(y[i]) * width + int(x[i])]
        now = float(t[i] - start)
        part = (now - row[1]) * row[0]
        row[1] = now
        row[2] += part
        row[3] += part * row[5]
        row[4] += part * row[6]
        sign = np.uint8(p[i])
        row[0] = min(max(row[0] * factor[sign], 1e-12), 1e12)
        row[6 - sign] += 1.0
    length = float(end - start)
    for i in range(len(state)):
        row = state[i]
        part = (length - row[1]) * row[0]
        whole = row[2] + part
        out[0, i] = math.log(whole / length)
        out[1, i] = (row[3] + part * row[5]) / whole
        out[2, i] = -(row[4] + part * row[6]) / whole
        out[3, i] = row[5]
        out[4, i] = row[6]


@njit(nogil=True)
def _normal(
    a: NDArray[np.float64], b: NDArray[np.float64], first: NDArray[np.float32], second: NDArray[np.float32],
    gap: NDArray[np.float64], usable: NDArray[np.bool_], on: float, off: float, gain: float, coded: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Normal equations of (ln on, ln off, gain) and (pixels, Σ left, Σ before, Σ weight · difference²)."""
    normal, right, sums = np.zeros((3, 3)), np.zeros(3), np.zeros(4)
    j = np.zeros(3)
    for i in range(len(first)):
        n = a[3, i] + a[4, i] + b[3, i] + b[4, i] + gap[0, i] + gap[1, i]
        low, high = min(first[i], second[i]), max(first[i], second[i])
        if not usable[i] or n == 0 or n > MOST_EVENTS_PER_PIXEL or low <= DARK or high >= BRIGHT:
            continue
        # A value of an sRGB picture is near the square root of light.
        value = math.sqrt(low) if coded else float(low)
        change = math.log(second[i] / first[i])
        told_on, told_off = a[3, i] + gap[0, i], a[4, i] + gap[1, i]
        e = change - gain - (b[0, i] - a[0, i]) - on * told_on + off * told_off
        # How the prediction grows with each unknown.
        j[0] = (b[1, i] - a[1, i] + told_on) * on
        j[1] = (b[2, i] - a[2, i] - told_off) * off
        j[2] = 1.0
        left = abs(e) * value
        weight = value * value / max(left, KNEE)
        for k in range(3):
            right[k] += weight * j[k] * e
            for m in range(3):
                normal[k, m] += weight * j[k] * j[m]
        sums[0] += 1
        sums[1] += min(left, 1.0)
        sums[2] += min(abs(change) * value, 1.0)
        sums[3] += weight * e * e
    return normal, right, sums


def _between(
    a: AlignedExposure, b: AlignedExposure, box: tuple[int, int, int, int]
) -> NDArray[np.float64] | None:
    """(2, pixels) ON and OFF events of the gap; None when the windows leave some of it out."""
    begin, end = a.exposure.end_us, b.exposure.start_us
    reach = max(begin, min(a.window_end_us, end))
    if b.window_start_us > reach:
        return None
    parts = [a.events.between(begin, reach), b.events.between(reach, end)]
    return sum((_counts(cut(e, box)) for e in parts), np.zeros((2, box[2] * box[3])))


def _silent(first: Events, second: Events, end_us: int, start_us: int) -> NDArray[np.bool_]:
    """(pixels,) of which no event is known near the gap."""
    near = max(1, round(SILENT * (start_us - end_us)))
    around = _counts(first.between(end_us - near, end_us)) + _counts(second.between(start_us, start_us + near))
    silent: NDArray[np.bool_] = around.sum(0) == 0
    return silent


def _counts(events: Events) -> NDArray[np.float64]:
    """(2, pixels) ON and OFF."""
    n = events.width * events.height
    flat = events.y.astype(np.int64) * events.width + events.x
    return np.stack([np.bincount(flat[p], minlength=n).astype(np.float64) for p in (events.p, ~events.p)])
