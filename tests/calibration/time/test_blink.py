"""A light that blinks before both cameras says where exposures lie."""

from __future__ import annotations

import math
import weakref
from dataclasses import replace

import numpy as np
import pytest

from calibration.time import solve
from calibration.time.blink import Blink, blink_check
from calibration.time.result import TimeResult
from calibration.time.solve import _agreeing, calibrate_time, calibrated_clock
from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from sync.rig import EventEntry, ImageEntry, Rig
from tests.calibration.time.rigs import arrived

W, H = 64, 48
PERIOD, EXPOSURE, HALF = 40_000, 12_000, 23_700  # frames, exposure, time from switch to switch
RIG = Rig(
    events=EventEntry(camera="test", width=W, height=H), image=ImageEntry(camera="test", width=W, height=H)
)


def stream(
    seconds: float = 4.0, delay_us: float = 0.0, *, turns: bool = False, seed: int = 0, half_us: int = HALF,
    unsteady: float = 0.0,
):  # fmt: skip
    """A lamp of 20×16 pixels (or two fields in turn) that switches every 23.7 ms; frames of 12 ms exposures.

    The strobe comes `delay_us` before the shutter opens. A switch within an exposure shines through `unsteady`
    times as brightly (standard deviation) as it should.
    """
    rng = np.random.default_rng(seed)
    end = int(seconds * 1e6)
    switches = np.arange(100_000, end, half_us)
    ys, xs = np.mgrid[10:26, 20:40]
    ys, xs = ys.ravel(), xs.ravel()
    side = (xs < 30) if turns else np.ones(len(xs), bool)
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
            share += rng.normal(0, unsteady) if unsteady and 0.05 < share < 0.95 else 0.0
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


@pytest.mark.parametrize("turns", [False, True], ids=["one lamp", "two in turn"])
@pytest.mark.parametrize("wrong_us", [0.0, 700.0, -1_900.0])
def test_the_shift_is_found(wrong_us: float, turns: bool) -> None:
    items, starts = stream(turns=turns)
    assumed = {k: (float(s) - wrong_us, float(s) - wrong_us + EXPOSURE) for k, s in enumerate(starts)}
    found = blink_check(lambda: items, assumed, RIG)
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
    assert blink_check(lambda: dark, assumed, RIG) is None


def screen(scan_us: float, rise_us: float, exposure_us: int, seconds: float = 6.0):
    """A field that turns bright and dark like a screen: line by line, and slowly; frames of its mean light."""
    rng = np.random.default_rng(3)
    end, half = int(seconds * 1e6), 47_300
    switches = np.arange(100_000, end, half)
    ys, xs = (a.ravel() for a in np.mgrid[8:40, 12:52])
    begins = (ys - ys.min()) / (ys.max() - ys.min()) * scan_us
    dark, bright, step = 40.0, 200.0, 0.2
    levels = np.arange(1, int(np.log(bright / dark) / step) + 1)
    up = (dark * np.exp(step * levels) - dark) / (bright - dark) * rise_us
    down = (bright - bright * np.exp(-step * levels)) / (bright - dark) * rise_us
    t, k, p = [], [], []
    for n, s in enumerate(switches):
        for late in up if n % 2 == 0 else down:
            t.append(s + begins + late + rng.uniform(5, 60, len(xs)))
            k.append(np.arange(len(xs)))
            p.append(np.full(len(xs), n % 2 == 0))
    tt, kk = np.concatenate(t).astype(np.int64), np.concatenate(k)
    order = np.argsort(tt, kind="stable")
    tt, kk, pp = tt[order], kk[order], np.concatenate(p)[order]
    events = Events(tt, xs[kk].astype(np.uint16), ys[kk].astype(np.uint16), pp, W, H)
    fine = np.arange(0, end, 100) + 50.0
    lit = np.zeros(len(fine))
    for b in np.unique(begins):
        ramp = np.interp(fine, np.ravel([[s + b, s + b + max(rise_us, 1)] for s in switches]),
                         np.ravel([[n % 2, (n + 1) % 2] for n in range(len(switches))]))  # fmt: skip
        lit += ramp / len(np.unique(begins))
    items: list[EventPacket | Frame] = [
        EventPacket(events.between(u - 5_000, u), TriggerEdges.empty(), u) for u in range(5_000, end + 1, 5_000)
    ]
    starts = np.arange(150_000, end - 60_000, PERIOD)
    for n, s in enumerate(starts):
        image = np.full((H, W), 40.0)
        image[8:40, 12:52] += 160 * lit[(fine >= s) & (fine < s + exposure_us)].mean()
        image += rng.normal(0, 1, image.shape)
        gray = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        items.append(
            Frame(gray, PixelLayout.GRAY, n, int(s) * 1000, int(s + exposure_us) * 1000, FrameClock.EVENT)
        )
    return items, {n: (float(s), float(s) + exposure_us) for n, s in enumerate(starts)}


@pytest.mark.parametrize(("scan_us", "rise_us", "exposure_us"), [(16_000, 3_000, 8_000), (8_000, 2_000, 15_000),
                                                                 (0, 3_000, 12_000)])  # fmt: skip
def test_a_screen_is_no_lamp(scan_us: float, rise_us: float, exposure_us: int) -> None:
    items, exposures = screen(scan_us, rise_us, exposure_us)
    assert blink_check(lambda: items, exposures, RIG) is None


@pytest.mark.parametrize("rise_us", [0, 200, 500, 900])
def test_a_light_that_takes_its_time_is_as_sure_as_it_says(rise_us: float) -> None:
    items, exposures = screen(0, rise_us, 12_000)
    found = blink_check(lambda: items, exposures, RIG)
    assert found is not None
    assert abs(found.shift_us) <= found.uncertainty_us


def test_a_shift_beyond_the_search_is_not_told() -> None:
    items, starts = stream()
    assumed = {k: (float(s) - 8_400, float(s) - 8_400 + EXPOSURE) for k, s in enumerate(starts)}
    found = blink_check(lambda: items, assumed, RIG)
    assert found is None


def test_only_frames_with_a_switch_inside_tell_how_sure_it_is() -> None:
    """Three of four frames see the lamp all on or all off, and lie on any line."""
    items, starts = stream(half_us=47_400, unsteady=0.1)
    assumed = {k: (float(s), float(s) + EXPOSURE) for k, s in enumerate(starts)}
    found = blink_check(lambda: items, assumed, RIG)
    assert found is not None
    assert found.uncertainty_us > 2 * 0.1 * EXPOSURE / np.sqrt(2 * found.frames)


def test_what_moves_has_a_say_where_a_light_blinks() -> None:
    r = TimeResult("host")
    near = Blink(500.0, 80.0, 10.0, 20)
    assert _agreeing(r, near, 600.0, 260.0) == (near, 260.0)
    assert r.troubles == []
    assert _agreeing(r, Blink(5_000.0, 80.0, 10.0, 20), 600.0, 260.0) == (None, 4_400.0)
    assert [t.name for t in r.troubles] == ["blinking light"]
    assert r.shift_uncertainty_us == math.inf, "of a shift that nothing told"


@pytest.mark.parametrize(("light_us", "taken"), [(500.0, False), (-7_000.0, True)])
def test_a_light_does_not_outvote_motion_that_is_out_of_reach(
    light_us: float, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = arrived()
    late = a.rig.model_copy(update={"clock": a.rig.clock.model_copy(update={"delay_us": 9_000.0})})
    monkeypatch.setattr(solve, "blink_check", lambda *_: Blink(light_us, 80.0, 10.0, 20))
    r = calibrate_time(lambda: a.items, late)
    assert r.shift_us == (light_us if taken else None)
    names = {"strobe delay"} if taken else {"blinking light", "out of reach"}
    assert names == {t.name for t in r.troubles}


def test_neither_stream_is_kept() -> None:
    items, starts = stream()
    assumed = {k: (float(s), float(s) + EXPOSURE) for k, s in enumerate(starts)}
    given: list[weakref.ref[np.ndarray]] = []
    most = 0

    def made():
        nonlocal most
        for i in items:
            most = max(most, sum(r() is not None for r in given))
            if isinstance(i, Frame):
                i = replace(i, image=i.image.copy())
                given.append(weakref.ref(i.image))
            else:
                e = i.events
                i = replace(i, events=Events(e.t.copy(), e.x, e.y, e.p, W, H))
                given.append(weakref.ref(i.events.t))
            yield i

    assert blink_check(made, assumed, RIG) is not None
    assert len(given) > 1000
    assert most < 6
