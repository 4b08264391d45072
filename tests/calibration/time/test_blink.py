"""A light that blinks before both cameras says where exposures lie."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.time.blink import blink_check
from calibration.time.solve import calibrate_time, calibrated_clock
from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from sync.rig import EventEntry, ImageEntry, Rig

W, H = 64, 48
PERIOD, EXPOSURE, HALF = 40_000, 12_000, 23_700  # frames, exposure, time from switch to switch
RIG = Rig(
    events=EventEntry(camera="test", width=W, height=H), image=ImageEntry(camera="test", width=W, height=H)
)


def stream(seconds: float = 4.0, delay_us: float = 0.0, *, board: bool = False, seed: int = 0):
    """A lamp of 20×16 pixels (or two fields in turn) that switches every 23.7 ms; frames of 12 ms exposures.

    The strobe comes `delay_us` before the shutter opens.
    """
    rng = np.random.default_rng(seed)
    end = int(seconds * 1e6)
    switches = np.arange(100_000, end, HALF)
    ys, xs = np.mgrid[10:26, 20:40]
    ys, xs = ys.ravel(), xs.ravel()
    side = (xs < 30) if board else np.ones(len(xs), bool)
    t, x, y, p = [], [], [], []
    for k, s in enumerate(switches):
        for step in range(6):  # a big step: several thresholds within half a millisecond
            t.append(s + rng.uniform(5 + 60 * step, 90 + 60 * step, len(xs)))
            x.append(xs)
            y.append(ys)
            p.append(side == (k % 2 == 0))
    noise = 400 * int(seconds)
    t.append(rng.uniform(0, end, noise))
    x.append(rng.integers(0, W, noise))
    y.append(rng.integers(0, H, noise))
    p.append(rng.random(noise) < 0.5)
    tt = np.concatenate(t).astype(np.int64)
    order = np.argsort(tt, kind="stable")
    ev = Events(
        tt[order], np.concatenate(x)[order].astype(np.uint16), np.concatenate(y)[order].astype(np.uint16),
        np.concatenate(p)[order], W, H,
    )  # fmt: skip
    fine = np.arange(0, end, 100)
    lit = np.searchsorted(switches, fine, side="right") % 2 == 1
    starts = np.arange(150_000, end - 60_000, PERIOD)
    items: list[EventPacket | Frame] = []
    for until in range(5_000, end + 1, 5_000):
        edges = [(int(s), True) for s in starts if until - 5_000 <= s < until]
        edges += [(int(s) + EXPOSURE, False) for s in starts if until - 5_000 <= s + EXPOSURE < until]
        edges.sort()
        triggers = TriggerEdges(
            np.array([e[0] for e in edges], np.int64), np.array([e[1] for e in edges], np.bool_)
        )
        items.append(EventPacket(ev.between(until - 5_000, until), triggers, until))
        for n, s in enumerate(starts):
            if not until - 5_000 < s + EXPOSURE <= until:
                continue
            a = s + delay_us
            share = lit[(fine >= a) & (fine < a + EXPOSURE)].mean()
            image = np.full((H, W), 40.0)
            image[ys[side], xs[side]] = 40 + 160 * share
            image[ys[~side], xs[~side]] = 40 + 160 * (1 - share)
            image += rng.normal(0, 2, image.shape)
            d = int(s) * 1000 + 7_000_000
            items.append(
                Frame(np.clip(np.rint(image), 0, 255).astype(np.uint8), PixelLayout.GRAY, n, d,
                      d + EXPOSURE * 1000, FrameClock.DEVICE)
            )  # fmt: skip
    return items, starts


@pytest.mark.parametrize("board", [False, True], ids=["lamp", "board"])
@pytest.mark.parametrize("wrong_us", [0.0, 700.0, -1_900.0])
def test_the_shift_is_found(wrong_us: float, board: bool) -> None:
    items, starts = stream(board=board)
    assumed = {k: (float(s) - wrong_us, float(s) - wrong_us + EXPOSURE) for k, s in enumerate(starts)}
    found = blink_check(items, assumed, RIG)
    assert found is not None
    assert found.shift_us == pytest.approx(wrong_us, abs=found.uncertainty_us)
    assert found.uncertainty_us < 150
    assert found.rate_hz == pytest.approx(1e6 / HALF, rel=0.01)


def test_a_strobe_delay_is_measured_and_stored() -> None:
    items, _ = stream(delay_us=900.0)
    r = calibrate_time(lambda: items, RIG)
    assert r.shift_by == "blinking light"
    assert r.shift_us == pytest.approx(900, abs=r.shift_uncertainty_us)
    assert "strobe delay" in {t.name for t in r.troubles}
    clock = calibrated_clock(r, RIG)
    assert clock.delay_measured_us == pytest.approx(900, abs=100)
    assert (clock.delay_us == clock.delay_measured_us) == (r.shift_uncertainty_us <= 100)


def test_nothing_blinks() -> None:
    items, starts = stream()
    dark = [
        EventPacket(Events.empty(W, H), i.triggers, i.complete_until_us) if isinstance(i, EventPacket) else i
        for i in items
    ]
    assumed = {k: (float(s), float(s) + EXPOSURE) for k, s in enumerate(starts)}
    assert blink_check(dark, assumed, RIG) is None
