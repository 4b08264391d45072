"""Events half-way to their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.errors import UsageError
from capture.packets import EventPacket, Events
from capture.simulated.presets import configure
from capture.simulated.rig import SimulatedRig
from inference import models
from inference.engine import Engine
from inference.quality import psnr
from inference.representations.halfway_numba import MOST_US, halfway
from sync.exposure import AlignedExposure
from sync.rig import Rig
from sync.synchroniser import Synchroniser


def _events(n: int, seed: int, span_us: int) -> Events:
    rng = np.random.default_rng(seed)
    return Events(
        np.sort(rng.integers(0, span_us, n)).astype(np.int64), rng.integers(0, 4, n).astype(np.uint16),
        rng.integers(0, 3, n).astype(np.uint16), rng.random(n) < 0.5, 4, 3,
    )  # fmt: skip


@given(n=st.integers(0, 120), seed=st.integers(0, 30), span=st.sampled_from([200, 20_000, 2_000_000]))
def test_each_goes_half_the_way_to_the_nearer_neighbour(n: int, seed: int, span: int) -> None:
    events = _events(n, seed, span)
    expected = []
    for y in range(3):
        for x in range(4):
            mine = np.flatnonzero((events.x == x) & (events.y == y))
            t = events.t[mine]
            for k, i in enumerate(mine):
                gaps = [2 * MOST_US]
                gaps += [int(t[k] - t[k - 1])] if k else []
                gaps += [int(t[k + 1] - t[k])] if k + 1 < len(t) else []
                expected.append((int(t[k]) - min(gaps) // 2, int(i), x, y, bool(events.p[i])))
    got = halfway(events)
    assert np.array_equal(halfway(events, 150).t, np.maximum(got.t, 150))
    found = list(zip(got.t.tolist(), got.x.tolist(), got.y.tolist(), got.p.tolist(), strict=True))
    assert found == [(t, x, y, p) for t, _, x, y, p in sorted(expected)]
    assert np.all(np.diff(got.t) >= 0)


def test_a_pixels_events_keep_their_order() -> None:
    events = _events(3_000, 1, 100_000)
    got = halfway(events)
    for y in range(3):
        for x in range(4):
            a, b = ((e.x == x) & (e.y == y) for e in (events, got))
            assert np.array_equal(events.p[a], got.p[b])


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
