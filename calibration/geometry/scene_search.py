"""Laying one picture of change on the other: a search over rotation, scale and both hands, then refinement.

The search correlates by Fourier transform, which tries all shifts at once; the refinement is Lucas and
Kanade's, with the eight numbers of a homography, over all pairs of frames together and from coarse to fine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.geometry.change import Change, told_change

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

Told = Callable[[float], None]
"""Takes the share of a search that is done, 0…1."""

_COARSE = 2
_LEVELS = (4.0, 2.0, 1.0)
"""Blur of both pictures at each stage of the refinement, event pixels."""


@dataclass(frozen=True, slots=True)
class Guesses:
    """What is tried with each hand.

    Attributes:
        scales: times the scale that is expected.
        turns_deg: rotations. Half a turn is in the hands.
        pairs: so many pictures of change are laid on each other.
    """

    scales: tuple[float, ...]
    turns_deg: tuple[float, ...]
    pairs: int


NEAR = Guesses((0.86, 0.93, 1.0, 1.07, 1.14), (-5.0, -2.5, 0.0, 2.5, 5.0), 10)
WIDE = Guesses((0.5, 0.57, 0.66, 0.76, 0.87, 1.0, 1.15, 1.32, 1.52, 1.75, 2.0), (-10, 0, 10, 80, 90, 100), 4)


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A map and how well the two pictures of change agree under it.

    Attributes:
        image_from_event: (3, 3).
        likeness: correlation of both pictures over the common field, -1…1.
        gain: told change over seen change: true thresholds over those that were assumed.
    """

    image_from_event: F64
    likeness: float
    gain: float

    def scale(self, event_size: tuple[int, int]) -> float:
        """Image pixels per event pixel, over the field of events (width, height)."""
        w, h = event_size[0] - 1.0, event_size[1] - 1.0
        p = np.array([[0, 0, 1], [w, 0, 1], [0, h, 1]]) @ self.image_from_event.T
        q = p[:, :2] / p[:, 2:]
        return float(np.sqrt(abs(np.linalg.det(np.stack([(q[1] - q[0]) / w, (q[2] - q[0]) / h])))))


def search(
    pairs: Sequence[Change], event_size: tuple[int, int], image_size: tuple[int, int], scale: float,
    guesses: Guesses = NEAR, told: Told = lambda share: None,
) -> list[F64]:  # fmt: skip
    """Candidates event → image, the best first: one for each hand.

    Args:
        pairs: pictures of change; the liveliest ones are used.
        event_size, image_size: (width, height).
        scale: image pixels per event pixel to search around.
        guesses: how far around it, and how turned.
        told: progress, after each guess.
    """
    chosen = sorted(pairs, key=lambda c: -c.activity)[: guesses.pairs]
    w, h = event_size[0] // _COARSE, event_size[1] // _COARSE
    shape = (cv2.getOptimalDFTSize(2 * h), cv2.getOptimalDFTSize(2 * w))
    spectra = []
    for c in chosen:
        small = cv2.resize(_soft(c.seen, 2.0), (w, h), interpolation=cv2.INTER_AREA)
        spectra.append(np.fft.rfft2(_flat(np.asarray(small, np.float32)), shape))
    found: list[tuple[float, F64]] = []
    hands = ((1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0))
    done, of = 0, len(hands) * len(guesses.scales) * len(guesses.turns_deg)
    for flip in hands:
        best: tuple[float, F64] | None = None
        for size in guesses.scales:
            for turn in guesses.turns_deg:
                guess = _similarity(event_size, image_size, scale * size, turn, flip)
                score, m = _shifted(chosen, spectra, guess, (w, h), shape)
                if best is None or score > best[0]:
                    best = score, m
                done += 1
                told(done / of)
        assert best is not None
        found.append(best)
    return [m for _, m in sorted(found, key=lambda f: -f[0])]


def _similarity(
    event_size: tuple[int, int],
    image_size: tuple[int, int],
    scale: float,
    turn: float,
    flip: tuple[float, float],
) -> F64:
    a = np.radians(turn)
    middle = np.array([[1, 0, -(event_size[0] - 1) / 2], [0, 1, -(event_size[1] - 1) / 2], [0, 0, 1.0]])
    r = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])
    back = np.array([[1, 0, (image_size[0] - 1) / 2], [0, 1, (image_size[1] - 1) / 2], [0, 0, 1.0]])
    return np.asarray(back @ np.diag([scale, scale, 1]) @ r @ np.diag([*flip, 1.0]) @ middle, np.float64)


def _shifted(
    pairs: Sequence[Change], spectra: Sequence[NDArray[np.complexfloating]], guess: F64, size: tuple[int, int],
    shape: tuple[int, int],
) -> tuple[float, F64]:  # fmt: skip
    """The best shift for a guess: its score, and the guess with it."""
    w, h = size
    o = (_COARSE - 1) / 2
    from_coarse = np.array([[_COARSE, 0, o], [0, _COARSE, o], [0, 0, 1.0]])
    total = np.zeros((shape[0], shape[1] // 2 + 1), np.complex128)
    energy = 0.0
    for c, spectrum in zip(pairs, spectra, strict=True):
        told, weight = told_change(c, guess @ from_coarse, size)
        flat = _flat(told * weight)
        total += spectrum * np.conj(np.fft.rfft2(flat, shape))
        energy += float(np.sum(flat * flat))
    surface = np.fft.irfft2(total, shape)
    # Shifts of up to a quarter of the field.
    y, x = np.meshgrid(
        np.fft.fftfreq(shape[0], 1 / shape[0]), np.fft.fftfreq(shape[1], 1 / shape[1]), indexing="ij"
    )
    surface = np.where((np.abs(x) <= w / 4) & (np.abs(y) <= h / 4), surface, -np.inf)
    k = int(np.argmax(surface))
    dy, dx = float(y.flat[k]), float(x.flat[k])
    # seen(p + d) looks like told(p): an event pixel e has its partner at guess(e - d).
    move = np.array([[1, 0, -dx * _COARSE], [0, 1, -dy * _COARSE], [0, 0, 1.0]])
    return float(surface.flat[k]) / max(np.sqrt(energy), 1e-9), np.asarray(guess @ move, np.float64)


def part(told: Told, first: float, last: float) -> Told:
    """Tells, of something that goes from `first` to `last` of a whole."""
    return lambda share: told(first + (last - first) * share)


def refine(
    pairs: Sequence[Change], start: F64, event_size: tuple[int, int], steps: int = 12,
    told: Told = lambda share: None,
) -> Aligned:  # fmt: skip
    """Coarse to fine from a start that is some pixels off; likeness 0 when it runs away.

    Args:
        pairs: pictures of change.
        start: (3, 3) event → image.
        event_size: (width, height).
        steps: most at each level; 0: say only how alike the pictures are.
        told: progress, after each step.
    """
    m = start / start[2, 2]
    for level, blur in enumerate(_LEVELS):
        parameters = 6 if blur == _LEVELS[0] else 8
        for k in range(steps):
            step, _ = _step(pairs, m, event_size, blur, parameters)
            told((level + (k + 1) / steps) / len(_LEVELS))
            m = m @ step
            m = m / m[2, 2]
            if not np.isfinite(m).all() or not _plausible(m, event_size):
                return Aligned(start, 0.0, 1.0)
            if _corner_motion(step, event_size) < 0.02:
                break
    _, last = _step(pairs, m, event_size, _LEVELS[-1], 8)
    return Aligned(m, last.likeness, last.gain)


def _plausible(m: F64, size: tuple[int, int]) -> bool:
    """The field keeps its shape: no side shrinks to a third of another."""
    w, h = size[0] - 1.0, size[1] - 1.0
    p = np.array([[0, 0], [w, 0], [w, h], [0, h]]) @ m[:, :2].T + m[:, 2]
    if (p[:, 2] <= 0).any():
        return False
    q = p[:, :2] / p[:, 2:]
    sides = np.linalg.norm(np.roll(q, -1, axis=0) - q, axis=1) / np.array([w, h, w, h])
    return bool(sides.min() > 0.4 * sides.max())


def _corner_motion(step: F64, size: tuple[int, int]) -> float:
    w, h = size[0] - 1.0, size[1] - 1.0
    c = np.array([[0, 0], [w, 0], [w, h], [0, h]])
    p = c @ step[:, :2].T + step[:, 2]
    return float(np.linalg.norm(p[:, :2] / p[:, 2:] - c, axis=1).max())


def _step(
    pairs: Sequence[Change], m: F64, size: tuple[int, int], blur: float, parameters: int
) -> tuple[F64, Aligned]:
    """One step of Gauss and Newton over all pairs: (3, 3) to put behind the map, and how well it fits now."""
    w, h = size
    unit = 2.0 / w
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    x, y = (xx - (w - 1) / 2) * np.float32(unit), (yy - (h - 1) / 2) * np.float32(unit)
    normal, gradient = np.zeros((9, 9)), np.zeros(9)
    columns: F32 = np.empty((9, w * h), np.float32)
    sums = np.zeros(3)
    for c in pairs:
        told, weight = told_change(c, m, size)
        weight = eroded(weight, blur)
        told, seen = centred(told, blur), centred(c.seen, blur)
        gain = float(np.sum(weight * told * seen) / max(float(np.sum(weight * seen * seen)), 1e-9))
        sums += (
            float(np.sum(weight * told * seen)), float(np.sum(weight * told * told)),
            float(np.sum(weight * seen * seen)),
        )  # fmt: skip
        miss = told - np.float32(gain) * seen
        spread = 1.5 * float(np.median(np.abs(miss[weight > 0]))) if (weight > 0).any() else 1.0
        robust = weight * np.minimum(1.0, 2.0 * max(spread, 1e-4) / np.maximum(np.abs(miss), 1e-6))
        gx, gy = (g / np.float32(unit) for g in gradients(told))
        along = -(x * gx + y * gy)
        for row, values in zip(
            columns, (gx, gy, gx * x, gx * y, gy * x, gy * y, along * x, along * y, seen), strict=True
        ):
            row[:] = values.reshape(-1)
        # What does not count has weight 0: choosing the others would copy all.
        weighted = columns * robust.reshape(-1)
        normal += weighted @ columns.T
        gradient += weighted @ miss.reshape(-1)
    keep = [*range(parameters), 8]
    n = normal[np.ix_(keep, keep)]
    n = n + 1e-6 * np.trace(n) / len(n) * np.eye(len(n))
    p = np.zeros(9)
    p[keep] = -np.linalg.solve(n, gradient[keep])
    p[:8] = np.clip(p[:8], -0.08, 0.08)
    inner = np.array([[1 + p[2], p[3], p[0]], [p[4], 1 + p[5], p[1]], [p[6], p[7], 1]])
    to_unit = np.array([[unit, 0, -unit * (w - 1) / 2], [0, unit, -unit * (h - 1) / 2], [0, 0, 1]])
    step = np.linalg.inv(to_unit) @ inner @ to_unit
    likeness = float(sums[0] / max(np.sqrt(sums[1] * sums[2]), 1e-12))
    return step, Aligned(m, likeness, float(sums[0] / max(sums[2], 1e-12)))


def gradients(a: F32) -> tuple[F32, F32]:
    """Slopes along x and y, per pixel."""
    return (
        np.asarray(cv2.Sobel(a, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8), np.float32),
        np.asarray(cv2.Sobel(a, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8), np.float32),
    )


def eroded(weight: F32, blur: float) -> F32:
    """A weight that is 0 wherever blurring has drawn in what is not to be trusted."""
    n = 2 * round(1.5 * blur) + 1
    return np.asarray(
        cv2.erode(weight, np.ones((n, n), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0), np.float32
    )


def centred(change: F32, blur: float) -> F32:
    """Blurred, without its slow part (a change of gain or of daylight is no structure), limited."""
    limited = np.clip(change, -2.0, 2.0)
    return _soft(limited, blur) - _soft(limited, 24.0)


def _soft(a: F32, sigma: float) -> F32:
    if sigma > 10:
        small = cv2.resize(a, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), sigma / 4)
        return np.asarray(
            cv2.resize(small, (a.shape[1], a.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32
        )
    return np.asarray(cv2.GaussianBlur(a, (0, 0), sigma), np.float32)


def _flat(a: F32) -> F32:
    limited = np.clip(a, -1.0, 1.0)
    return np.asarray(limited - cv2.GaussianBlur(limited, (0, 0), 8.0), np.float32)
