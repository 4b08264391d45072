"""Events half-way to their neighbours."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from capture.errors import UsageError
from capture.packets import EventPacket, Events
from capture.simulated.presets import configure
from capture.simulated.rig import SimulatedRig
from inference import models
from inference.engine import Engine
from inference.quality import psnr
from inference.representations import double_integral_numba
from inference.representations.double_integral import Contrast
from inference.representations.double_integral_torch import DoubleIntegral
from inference.representations.halfway_torch import set_back
from inference.representations.pixel_runs_torch import bounds_of, pixel_runs, place, since_start
from sync.exposure import AlignedExposure
from sync.rig import Rig
from sync.synchroniser import Synchroniser
from tests.inference.representations.scenes import START, random_events


@pytest.mark.parametrize("integral", [double_integral_numba.DoubleIntegral(), DoubleIntegral("cpu")])
def test_steps_lie_half_way_to_the_nearer_neighbour(integral: DoubleIntegral) -> None:
    """And no farther than 2 ms, nor before the exposure: steps of one pixel at 0, 950, 1050 and 8000 µs."""
    t = np.array([10, 1000, 1100, 10_000])
    zero = np.zeros(4, np.int64)
    events = Events.checked(t + START, zero, zero, np.array([True, True, True, False]), 1, 1)
    edges = [0, 950, 1050, 8000, 20_000]
    light = np.exp([0.5, 1.0, 1.5, 1.1])
    mean = (light * np.diff(edges)).sum() / edges[-1]
    at = [0, 949, 950, 1049, 1050, 7999, 8000, 20_000]
    got = integral.ratios(events, START, START + edges[-1], [START + k for k in at], Contrast(0.5, 0.4), True)
    np.testing.assert_allclose(got[:, 0, 0], light[[0, 0, 1, 1, 2, 2, 3, 3]] / mean, rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_in_order_of_time_again_need_not_be_sorted_by_pixel(seed: int) -> None:
    start, end = START + 5_000, START + 30_000
    events = random_events(seed, 3000, (START, START + 40_000))
    e, since = place(events, torch.device("cpu")), torch.from_numpy(since_start(events.t, start))
    e = replace(e, seen=e.seen & (e.pixel % 7 != 3))
    at = np.linspace(start, end, 5).astype(np.int64)
    bounds = torch.from_numpy(bounds_of(events.t, start, end, at))
    moved, when, rows = set_back(e, since, bounds, torch.from_numpy(since_start(at, start)))
    assert moved.by_pixel is not None
    first, last = rows[0], rows[-1]
    found, sorted_ = (
        pixel_runs(m, when, first, last, float(end - start), torch.float64)
        for m in (moved, replace(moved, by_pixel=None))
    )
    for field in fields(found):
        assert torch.equal(getattr(found, field.name), getattr(sorted_, field.name)), field.name
    assert moved.without(torch.zeros(events.width * events.height, dtype=torch.bool)).by_pixel is None


@pytest.mark.parametrize(("preset", "gain"), [("davis", 0.6), ("handheld", 0.08)])
def test_edi_is_nearer_to_the_truth(preset: str, gain: float) -> None:
    small = {"davis": {}, "handheld": {"image_width": 576, "image_height": 384, "scale": 2.0, "speed": 390.0}}
    simulated = SimulatedRig(configure(preset, {**small[preset], "shift_x": 0.0, "shift_y": 0.0}))
    rig = Rig.from_facts(preset, simulated.facts())
    sync, found = Synchroniser(rig, margin_before_us=40_000), []
    for item in simulated.items(0.6):
        (sync.push_events if isinstance(item, EventPacket) else sync.push_frame)(item)  # type: ignore[arg-type]
        found += [o for o in sync.take() if isinstance(o, AlignedExposure)]
    db = []
    for halved in (False, True):
        contrast = rig.events.threshold_on
        engine = Engine(models.create("edi", rig, {"contrast": contrast, "halfway": halved}, "cpu"))
        each = []
        for a in found:
            (r,) = engine.push(a, (0.5,))
            each.append(psnr(r.images[0], simulated.truth(a.exposure.time_at(0.5))))
        db.append(float(np.mean(each)))
    assert db[1] > db[0] + gain


def test_the_option_is_a_switch() -> None:
    rig = Rig.from_facts("davis", SimulatedRig("davis").facts())
    with pytest.raises(UsageError, match="edi: halfway 2: give true or false"):
        models.create("edi", rig, {"halfway": 2}, "cpu")
