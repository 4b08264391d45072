"""Focus read-outs fall when a lens is turned away from where it is sharp, whatever else changes."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from calibration.focus import EVENTS_A_PIXEL, PeakHold, event_sharpness, frame_sharpness
from capture.packets import Events, PixelLayout

W, H = 120, 90
BLURS = (0.4, 0.8, 1.5, 3.0)


def scene(seed: int = 0, width: int = 3 * W) -> np.ndarray:
    """Light of rectangles, 0.05 to 1."""
    rng = np.random.default_rng(seed)
    out = np.full((H, width), 0.5, np.float32)
    for _ in range(110):
        x, y = rng.integers(0, width), rng.integers(0, H)
        w, h = rng.integers(4, 40, 2)
        out[y : y + h, x : x + w] = rng.uniform(0.05, 1.0)
    return out


def picture(blur: float, exposure: float = 1.0) -> np.ndarray:
    light = cv2.GaussianBlur(scene(width=W), (0, 0), blur)
    return np.round(200 * exposure * light).clip(0, 255).astype(np.uint8)


def moving(blur: float, speed: float, noise_hz: float = 0.0, way: float = 30.0) -> Events:
    """What a sensor of threshold 0.2 says of the scene passing by at pixels/s, for so many pixels."""
    rng = np.random.default_rng(1)
    log = np.log(cv2.GaussianBlur(scene(), (0, 0), blur))
    level, parts = np.zeros((H, W), np.float32), []
    for ms in range(round(1000 * way / speed)):
        shift = np.array([[1, 0, -10 - speed * ms / 1e3], [0, 1, 0]], np.float32)
        now = cv2.warpAffine(log, shift, (W, H))
        if ms == 0:
            level = now.copy()
        for sign in (1, -1):
            n = np.floor(sign * (now - level) / 0.2).clip(0).astype(int)
            for j in range(int(n.max())):
                y, x = np.nonzero(n > j)
                parts.append((ms * 1000 + rng.integers(0, 1000, len(y)), x, y, np.full(len(y), sign > 0)))
            level += 0.2 * sign * n
        k = rng.poisson(noise_hz * W * H / 1e3)
        at = rng.integers(0, 1000, k) + ms * 1000
        parts.append((at, rng.integers(0, W, k), rng.integers(0, H, k), rng.random(k) > 0.5))
    t, x, y, p = (np.concatenate([q[i] for q in parts]) for i in range(4))
    o = np.argsort(t, kind="stable")
    return Events.checked(t[o], x[o], y[o], p[o], W, H)


def mean_sharpness(e: Events) -> float:
    n = round(EVENTS_A_PIXEL * W * H)
    values = [event_sharpness(e[a : a + n]) for a in range(0, len(e) - n, n)]
    return float(np.mean([v for v in values if v is not None]))


@pytest.mark.parametrize("layout", [PixelLayout.GRAY, PixelLayout.BAYER_RGGB, PixelLayout.RGB])
def test_a_frame_is_sharpest_in_focus(layout: PixelLayout) -> None:
    def of(blur: float) -> float:
        p = picture(blur)
        return frame_sharpness(np.repeat(p[:, :, None], 3, 2) if layout is PixelLayout.RGB else p, layout)

    values = [of(b) for b in BLURS]
    assert all(a > 1.1 * b for a, b in itertools.pairwise(values)), values


def test_exposure_matters_little() -> None:
    a, b = (frame_sharpness(picture(0.8, e), PixelLayout.GRAY) for e in (0.4, 1.0))
    assert a == pytest.approx(b, rel=0.05)


def test_events_are_sharpest_in_focus_at_any_speed() -> None:
    table = [[mean_sharpness(moving(blur, speed)) for speed in (150.0, 500.0)] for blur in BLURS]
    for sharper, softer in itertools.pairwise(table):
        assert min(sharper) > 1.2 * max(softer), f"speed outweighs focus: {table}"


def test_noise_does_not_change_the_order() -> None:
    values = [mean_sharpness(moving(b, 500.0, noise_hz=5.0)) for b in BLURS]
    assert values == sorted(values, reverse=True)


def test_hot_pixels_are_not_edges() -> None:
    e = moving(1.5, 500.0)
    n = 3000
    hot = Events.checked(
        np.sort(np.r_[e.t[-n:], np.linspace(e.t[-n], e.t[-1], 300).astype(np.int64)]),
        np.r_[e.x[-n:], np.full(300, 7)], np.r_[e.y[-n:], np.full(300, 7)], np.r_[e.p[-n:], np.full(300, True)],
        W, H,
    )  # fmt: skip
    with_hot, without = event_sharpness(hot), event_sharpness(e)
    assert with_hot is not None
    assert without is not None
    assert with_hot < 2 * without + 10


def test_nothing_to_measure() -> None:
    assert event_sharpness(Events.empty(W, H)) is None
    assert event_sharpness(moving(1.0, 300.0)[:50]) is None
    with pytest.raises(ValueError, match="6×6"):
        frame_sharpness(np.zeros((4, 9), np.uint8), PixelLayout.GRAY)
    assert frame_sharpness(np.zeros((20, 20), np.uint8), PixelLayout.GRAY) == 0


def test_the_peak_is_held() -> None:
    p = PeakHold()
    assert p.share is None
    for v in (1.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        p.add(v)
    p.add(None)
    assert p.peak > 2.7
    assert p.value == pytest.approx(1.0, abs=0.3)
    assert p.share == pytest.approx(p.value / p.peak)
    p.reset()
    assert (p.value, p.peak, p.share) == (None, 0.0, None)
