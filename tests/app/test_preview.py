"""The preview of a rig: real workers on the simulated rig, looked at through the ring of views."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from app.preview import Pick, Preview, View, controls_of, faulted
from app.preview_worker import JOINED, WIDEST, NewestEvents, reduced
from capture.camera import CameraRole, CameraState
from capture.errors import CameraError
from capture.packets import Events
from capture.simulated.rig import facts_of
from sync.rig import Rig
from sync.trigger_monitor import Finding
from tests.capture.simulated_small import SMALL, SMALL_DAVIS, small

START_S = 40.0
CLOCK = Rig.from_facts("small", facts_of(small())).clock


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path_factory.getbasetemp() / "simulated-cache"))


Open = Callable[..., Preview]


@pytest.fixture
def opened() -> Iterator[Open]:
    made: list[Preview] = []

    def make(events: Pick | None = None, frames: Pick | None = None) -> Preview:
        p = Preview(events or Pick(), frames or Pick(), CLOCK)
        made.append(p)
        p.start()
        return p

    yield make
    for p in made:
        began = time.monotonic()
        p.stop()
        assert time.monotonic() - began < 4.0


def until(p: Preview, good: Callable[[View], Any], limit_s: float = START_S) -> View:
    """The first view that is good."""
    deadline = time.monotonic() + limit_s
    last: Any = None
    while time.monotonic() < deadline:
        assert not p.problem, p.problem
        view = p.poll()
        if view is not None:
            last = view.figures
            if good(view):
                return view
        time.sleep(0.01)
    raise AssertionError(f"nothing good within {limit_s} s: {last}")


RIG = Pick("simulated:handheld", SMALL)


def test_both_cameras_are_seen_and_measured(opened: Open) -> None:
    p = opened(RIG, RIG)
    v = until(p, lambda v: v.figures["trigger"]["finding"] == Finding.GOOD and v.figures["events"]["sharpness"])
    assert v.image is not None
    assert v.events is not None
    assert v.image.shape == (96, 128, 3)
    assert v.events.shape == (48, 64)
    assert (v.events != 128).any()
    assert v.counts.shape == (3, 256)
    assert v.counts.sum() == v.image.size
    f = v.figures
    assert f["frames"]["hz"] == pytest.approx(25.0, rel=0.2)
    assert f["events"]["hz"] > 1000
    assert f["frames"]["exposure_us"] == pytest.approx(20_000, rel=0.01)
    assert f["frames"]["sharpness"] > 0
    assert f["trigger"]["matched"] > 0.9
    assert p.infos["events"]["width"] == 64
    assert p.infos["frames"]["serial"] == "handheld-0"
    looking = p.looking()
    assert looking is not None
    assert looking.state is CameraState.RUNNING


def test_the_overlay_lies_where_the_map_says(opened: Open) -> None:
    p = opened(RIG, RIG)
    until(p, lambda v: v.image is not None and v.events is not None)
    p.overlay(small().image_from_event)
    v = until(p, lambda v: v.overlay is not None and (v.overlay != 128).any())
    assert v.overlay is not None
    assert v.events is not None
    assert v.overlay.shape == (96, 128)
    # The mirror is in the map: what is at the left of the events is at the right of the image.
    inner = v.events[4:-4, 4:-4]  # what lies on the rim may fall outside the image
    seen = np.argwhere(inner == inner.max())[0] + 4
    x, y, w = small().image_from_event @ [seen[1], seen[0], 1.0]
    assert v.overlay[round(y / w), round(x / w)] == inner.max()
    p.overlay(None)
    until(p, lambda v: v.overlay is None)


def test_settings_are_read_back_and_errors_told(opened: Open) -> None:
    p = opened(RIG, RIG)
    until(p, lambda v: v.image is not None)
    answer = p.set(CameraRole.FRAMES, {"readout_us": 1500}).result(10.0)
    assert answer == {"readout_us": 1500}
    (control,) = controls_of(p.controls(CameraRole.FRAMES).result(10.0))
    assert (control.value, control.minimum, control.maximum, control.unit) == (1500, 0, 1_000_000, "µs")
    with pytest.raises(CameraError, match="readout_us"):
        p.set(CameraRole.FRAMES, {"readout_us": 5_000_000}).result(10.0)
    with pytest.raises(CameraError, match="no setting"):
        p.set(CameraRole.EVENTS, {"gain_db": 3}).result(10.0)


def test_a_camera_that_goes_and_comes_back(opened: Open) -> None:
    own = Pick("simulated:handheld", {**SMALL, "clock_offset_ms": 4711.0})
    p = opened(own, own)
    until(p, lambda v: v.figures["frames"]["hz"] > 0 and v.figures["events"]["hz"] > 0)
    p._ask("frames", "fault", {"kind": "unplug", "seconds": 2.0}, "frames").result(10.0)
    deadline = time.monotonic() + 20
    while not faulted(p.status(CameraRole.FRAMES)) and time.monotonic() < deadline:
        p.poll()
        time.sleep(0.02)
    assert "unplugged" in faulted(p.status(CameraRole.FRAMES))
    v = until(p, lambda v: v.figures["frames"]["hz"] == 0)
    assert v.figures["events"]["hz"] > 0, "the other one goes on"
    until(p, lambda v: v.figures["frames"]["hz"] > 0)
    status = p.status(CameraRole.FRAMES)
    assert status is not None
    assert status.state is CameraState.RUNNING


def test_one_camera_alone(opened: Open) -> None:
    p = opened(events=RIG)
    v = until(p, lambda v: v.figures["events"]["hz"] > 0)
    assert v.image is None
    assert v.counts.shape == (0, 256)
    assert p.status(CameraRole.FRAMES) is None
    with pytest.raises(CameraError, match="no camera is open"):
        p.set(CameraRole.FRAMES, {"readout_us": 0}).result(1.0)
    q = opened(frames=RIG)
    v = until(q, lambda v: v.figures["frames"]["hz"] > 0)
    assert v.events is None
    assert v.figures["trigger"]["finding"] in (Finding.WAITING, Finding.NO_FRAMES)


def test_one_sensor_needs_no_wire(opened: Open) -> None:
    davis = Pick("simulated:davis", SMALL_DAVIS)
    p = opened(davis, davis)
    v = until(p, lambda v: v.figures["trigger"]["finding"] == Finding.ONE_CLOCK)
    assert v.counts.shape[0] in (0, 1)


@pytest.mark.parametrize(
    ("events", "frames", "why"),
    [
        (Pick(), Pick(), "choose an event camera"),
        (Pick("simulated:nobody"), Pick(), "no preset"),
        (Pick("nonsense:1"), Pick(), "unknown camera"),
        (Pick("simulated", {"rate_hz": -1}), Pick(), "rate_hz"),
        (Pick(), Pick("webcam:x"), "webcam"),
    ],
)
def test_a_choice_that_cannot_be(opened: Open, events: Pick, frames: Pick, why: str) -> None:
    p = opened(events, frames)
    deadline = time.monotonic() + 10
    while not p.problem and time.monotonic() < deadline:
        time.sleep(0.01)
    assert why in p.problem
    assert "\n" not in p.problem
    assert p.poll() is None


def test_a_camera_that_is_not_there_says_so(opened: Open) -> None:
    p = opened(frames=Pick("webcam:97"))
    deadline = time.monotonic() + START_S
    while not faulted(p.status(CameraRole.FRAMES)) and time.monotonic() < deadline:
        p.poll()
        time.sleep(0.02)
    assert "webcam:97" in faulted(p.status(CameraRole.FRAMES))


def test_large_frames_are_halved() -> None:
    image, scale = reduced(np.zeros((2048, 2448, 3), np.uint8))
    assert image.shape == (1024, 1224, 3)
    assert scale == 0.5
    image, scale = reduced(np.zeros((3000, 100), np.uint8))
    assert max(image.shape) <= WIDEST
    assert scale == 0.25


@pytest.mark.parametrize("size", [1, 5, 300, 5000])
def test_the_newest_events_are_kept_in_few_parts_however_small_packets_are(size: int) -> None:
    wanted, n = 20_000, 60_000 // size
    rng, recent = np.random.default_rng(0), NewestEvents()
    recent.start(wanted)
    sent = []
    for k in range(n):
        few = int(rng.integers(1, 2 * size + 1))
        t = np.sort(rng.integers(k * 1000, (k + 1) * 1000, few))
        x, y = (rng.integers(0, 64, few).astype(np.uint16) for _ in range(2))
        sent.append(Events(t, x, y, rng.random(few) < 0.5, 64, 64))
        recent.add(sent[-1])
        assert (recent.all() is None) == (recent.count < wanted)
        assert len(recent._parts) < 12 + 4 * wanted / JOINED
    kept, every = recent.all(), Events.concatenate(sent)
    assert kept is not None
    assert wanted <= len(kept) == recent.count <= wanted + max(2 * size, 4 * JOINED)
    for column in "txyp":
        np.testing.assert_array_equal(getattr(kept, column), getattr(every, column)[-len(kept) :])
    recent.start(wanted)
    assert recent.all() is None
