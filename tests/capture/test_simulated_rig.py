"""The simulated rig as a whole: what it gives, in which order, and that it is the truth that it tells."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.packets import EventPacket, Frame, FrameClock, PixelLayout
from capture.registry import driver, open_driver
from capture.simulated.loops import event_view, scene_of
from capture.simulated.rig import SimulatedRig
from sync.rig import Rig
from tests.capture.simulated_small import small, small_davis


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path_factory.getbasetemp() / "simulated-cache"))


def fingerprint(rig: SimulatedRig, seconds: float = 0.6) -> str:
    h = hashlib.sha256()
    for item in rig.items(seconds):
        if isinstance(item, Frame):
            h.update(item.image.tobytes() + str((item.sequence, item.device_start_ns)).encode())
        else:
            for a in (item.events.t, item.events.x, item.events.y, item.events.p, item.triggers.t):
                h.update(a.tobytes())
    return h.hexdigest()


def test_the_same_seed_gives_the_same_bytes() -> None:
    one = fingerprint(SimulatedRig(small(cache=False)))
    assert one == fingerprint(SimulatedRig(small(cache=False)))
    assert one != fingerprint(SimulatedRig(small(cache=False, seed=1)))


def test_the_cache_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path))
    fresh, stored = fingerprint(SimulatedRig(small())), fingerprint(SimulatedRig(small()))
    assert len(list((tmp_path / "simulated").glob("*.npz"))) == 2
    assert fresh == stored == fingerprint(SimulatedRig(small(cache=False)))


@pytest.mark.parametrize("make", [small, small_davis])
def test_items_come_in_order_of_time(make: object) -> None:
    config = make()  # type: ignore[operator]
    rig = SimulatedRig(config)
    complete, last_event, frames = 0, -1, 0
    for item in rig.items(1.0):
        if isinstance(item, EventPacket):
            assert item.complete_until_us > complete
            if len(item.events):
                assert item.events.t[0] >= last_event
                assert item.events.t[0] >= complete
                assert item.events.t[-1] < item.complete_until_us
                assert np.all(np.diff(item.events.t) >= 0)
                last_event = int(item.events.t[-1])
            complete = item.complete_until_us
        else:
            end = rig.exposure_truth(item.sequence)[1]
            assert end <= complete < end + config.packet_us
            assert item.sequence == frames
            frames += 1
    assert frames == round(config.rate_hz)


def test_loops_join_without_a_seam() -> None:
    # Noise-free, so that every difference between laps would come from the seam.
    config = small_davis(noise=False)
    rig = SimulatedRig(config)
    frames = [i for i in rig.items(3 * config.loop_us / 1e6) if isinstance(i, Frame)]
    n = config.loop_frames
    assert np.array_equal(frames[0].image, frames[n].image)
    before = np.abs(frames[n].image.astype(int) - frames[n - 1].image)
    usual = [np.abs(frames[k + 1].image.astype(int) - frames[k].image).mean() for k in range(n - 1)]
    assert before.mean() < 1.5 * max(usual)
    truths = [rig.truth(t) for t in (0, config.loop_us, 5 * config.loop_us)]
    assert np.array_equal(truths[0], truths[1])
    assert np.array_equal(truths[0], truths[2])


def test_a_frame_is_the_mean_of_the_truth_over_its_exposure() -> None:
    config = small_davis(noise=False)
    rig = SimulatedRig(config)
    frame = next(i for i in rig.items(1.0) if isinstance(i, Frame))
    start, end = rig.exposure_truth(frame.sequence)
    mean = np.mean([rig.light(t) for t in np.linspace(start, end, 201)], axis=0)
    want = np.clip(mean, 0, 1) * 255
    off = frame.image - want
    # Rounding to 8 bits alone is 0.29 rms.
    assert np.sqrt(np.mean(off**2)) < 0.4
    assert np.abs(off).max() < 2.0


def test_stamps_of_a_single_sensor_are_on_the_event_clock() -> None:
    rig = SimulatedRig(small_davis())
    for f in (i for i in rig.items(0.5) if isinstance(i, Frame)):
        assert (f.clock, f.layout) == (FrameClock.EVENT, PixelLayout.GRAY)
        start, end = rig.exposure_truth(f.sequence)
        assert (f.device_start_ns, f.device_end_ns) == (start * 1000, end * 1000)


def test_the_frame_camera_has_a_clock_of_its_own() -> None:
    rig = SimulatedRig(small(clock_offset_ms=5000.0, clock_drift_ppm=100.0))
    frames = [i for i in rig.items(2.0) if isinstance(i, Frame)]
    for f in frames:
        start = rig.exposure_truth(f.sequence)[0]
        assert f.device_start_ns == 5_000_000_000 + round(start * 1000 * 1.0001)
        assert f.clock is FrameClock.DEVICE


def test_edges_mark_start_and_end_of_every_exposure() -> None:
    rig = SimulatedRig(small(trigger_jitter_us=3.0))
    t: list[int] = []
    rising: list[bool] = []
    for item in rig.items(2.0):
        if isinstance(item, EventPacket):
            t += item.triggers.t.tolist()
            rising += item.triggers.rising.tolist()
    assert rising == [True, False] * 50
    want = [e for k in range(50) for e in rig.exposure_truth(k)]
    off = np.array(t) - np.array(want)
    assert 0 < np.abs(off).max() <= 15
    assert np.std(off) == pytest.approx(3.0, rel=0.3)


def test_the_homography_maps_what_both_cameras_see() -> None:
    # Reference without the rig's own mapping of pictures: event pixel (x, y) averages the light around the
    # image point that image_from_event sends it to.
    config = small(noise=False)
    rig = SimulatedRig(config)
    seen = event_view(config, scene_of(config)).light(0.1)
    image = rig.light(100_000) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    m = config.image_from_event
    assert np.linalg.det(m[:2, :2]) < 0
    yy, xx = np.mgrid[4:44, 4:60]
    q = m @ np.stack([xx.ravel(), yy.ravel(), np.ones(xx.size)])
    soft = cv2.GaussianBlur(image, (0, 0), 1.0)
    at = cv2.remap(
        soft, (q[0] / q[2]).astype(np.float32), (q[1] / q[2]).astype(np.float32), cv2.INTER_LINEAR
    ).ravel()  # fmt: skip
    there = seen[yy, xx].ravel()
    inside = (q[0] / q[2] > 4) & (q[0] / q[2] < 124) & (q[1] / q[2] > 4) & (q[1] / q[2] < 92)
    assert np.corrcoef(at[inside], there[inside])[0, 1] > 0.98
    # The same with the flip left out must not fit.
    wrong = seen[:, ::-1][yy, xx].ravel()
    assert np.corrcoef(at[inside], wrong[inside])[0, 1] < 0.8


def test_facts_make_a_rig() -> None:
    rig = Rig.from_facts("simulated", SimulatedRig("handheld").facts())
    assert rig.geometry.mirrored
    assert rig.scale == pytest.approx(4.0, rel=0.01)
    assert rig.image.tone == "srgb"
    davis = Rig.from_facts("simulated:davis", SimulatedRig("davis").facts())
    assert davis.identity
    assert davis.clock.relation == "same"


def test_the_registry_knows_it() -> None:
    d, config = open_driver("simulated:davis", {"seed": 4})
    assert d is driver("simulated")
    facts = d.rig_facts(config)
    assert facts is not None
    assert facts.one_sensor
    assert d.pair(config) is None
    assert {i.name for i in d.discover()} >= {"simulated:handheld", "simulated:davis"}
