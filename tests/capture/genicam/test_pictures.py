"""The simulated Blackfly S as the frame camera of a simulated rig: its pictures, its clock, its exposures."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from capture.packets import PixelLayout
from capture.simulated.gige.pictures import RigPictures
from capture.simulated.loops import event_loop, exposure_in_loop, frame_loop
from capture.simulated.sources import EventSource, device_ns
from inference.restorers.picture import picture_of
from tests.capture.genicam import wire
from tests.capture.genicam.test_bad_wire import frames, running
from tests.capture.simulated_small import small

BAYER = {"frame_sensor": {"layout": "bayer_rggb"}}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path_factory.getbasetemp() / "simulated-cache"))


def test_frames_are_the_rigs_at_the_rigs_times(tmp_path: Path) -> None:
    """Over the wire with losses: the rig's own pictures and stamps, in step with its epoch."""
    config = small(**BAYER)
    loop = frame_loop(config)
    epoch = time.monotonic_ns() - 10_000_000_000
    pictures = RigPictures(config, epoch)
    with wire.device(pictures) as d:  # type: ignore[arg-type]
        d.faults.loss = 0.01
        with running(d, packet_size=1400) as c:
            got = frames(c, 12)
    for f in got:
        start = f.device_start_ns
        assert start is not None
        k = round((start - device_ns(config, 0)) / 1000 / config.period_us - 0.25)
        a, b = exposure_in_loop(config, k)
        assert (start, f.exposure_ns) == (device_ns(config, a), device_ns(config, b) - device_ns(config, a))
        assert np.array_equal(f.image, loop[k % len(loop)])
        # It arrives when its exposure has ended, by the epoch that the event camera has too.
        assert 0 <= f.host_ns - (epoch + 1000 * b) < 500_000_000
    assert got[0].layout is PixelLayout.BAYER_RGGB


def test_conversion_to_rgb_comes_after_the_capture_process() -> None:
    """A frame of the camera is Bayer; the picture made of it has the colours of the rig's RGB frame."""
    mosaic, plain = small(**BAYER, noise=False), small(noise=False)
    want = frame_loop(plain)
    with wire.device(RigPictures(mosaic)) as d, running(d) as c:  # type: ignore[arg-type]
        f = frames(c, 1)[0]
    assert f.image.ndim == 2
    picture = picture_of(f).astype(int)
    errors = [float(np.abs(picture - w.astype(int)).mean()) for w in want]
    assert min(errors) < 5
    swapped = min(float(np.abs(picture[..., ::-1] - w.astype(int)).mean()) for w in want)
    assert swapped > 2 * min(errors)


def test_a_new_exposure_is_rendered_and_says_when_it_holds() -> None:
    config = small(**BAYER)
    with wire.device(RigPictures(config)) as d, running(d) as c:  # type: ignore[arg-type]
        assert frames(c, 1)[0].exposure_ns == 20_000_000 + 360  # by the device's clock, 18 ppm fast
        now = c.command("set", {"exposure_us": 10_000.0})
        assert now["exposure_us"] == 10_000.0
        control = c.command("controls", {})["rate_hz"]
        assert (control["minimum"], control["maximum"]) == (25.0, 25.0)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            f = frames(c, 1)[0]
            if f.exposure_ns != 20_000_360:
                break
    assert f.exposure_ns == 10_000_180
    want = frame_loop(config.model_copy(update={"exposure_us": 10_000}))
    assert any(np.array_equal(f.image, w) for w in want)


def test_a_new_exposure_does_not_bring_past_faults_again() -> None:
    config = small(**BAYER, faults=[{"kind": "drop_frame", "at_s": 0.05, "count": 2}])
    told: list[int] = []
    pictures = RigPictures(config, exposed=lambda _exposure_us, first: told.append(first))
    starts = [pictures.take().start_ns for _ in range(3)]
    pictures.set_exposure_us(10_000)
    deadline = time.monotonic() + 60
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    starts += [pictures.take().start_ns for _ in range(8)]
    gaps = np.rint(np.diff(starts) / 1e3 / config.period_us)
    assert pictures.exposure_us == 10_000
    assert sorted(gaps.tolist()) == [1.0] * 9 + [3.0]


def test_trigger_edges_follow_a_new_exposure() -> None:
    """Every frame's exposure is what the event camera's edges say, before the change and after it."""
    config = small(**BAYER, trigger_jitter_us=0)
    told: list[tuple[int, int]] = []
    events = EventSource(config, event_loop(config))

    def exposed(exposure_us: int, first: int) -> None:
        told.append((exposure_us, first))
        events.expose(exposure_us, first)

    pictures = RigPictures(config, exposed=exposed)
    pictures.begin()
    got = [pictures.take() for _ in range(3)]
    for wanted in (10_000, 14_000):  # the second one before the first holds
        pictures.set_exposure_us(wanted)
        deadline = time.monotonic() + 60
        while (not told or told[-1][0] != wanted) and time.monotonic() < deadline:
            time.sleep(0.01)
    got += [pictures.take() for _ in range(8)]
    lengths = [round((p.end_ns - p.start_ns) / 1000) for p in got]
    assert lengths == [20_000] * 6 + [14_000] * 5
    edges = [events.take().triggers.t for _ in range(300)]
    up_down = np.concatenate(edges)[:22].reshape(-1, 2)
    assert [b - a for a, b in up_down.tolist()] == lengths
