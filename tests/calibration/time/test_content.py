"""The clock without a wire: by what both cameras saw, with an uncertainty that holds."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.nominal import nominal
from calibration.run import Options, calibrate
from calibration.take import Take
from calibration.time.arrival import by_arrival
from calibration.time.content import pair_of
from calibration.time.result import Verdict
from calibration.time.solve import calibrate_time, calibrated_clock
from calibration.time.streams import Streams
from capture.packets import Events
from sync.geometry import project
from tests.calibration.time.rigs import arrived


@pytest.mark.parametrize("host", [True, False], ids=["live", "recorded"])
def test_exposures_are_found_without_a_wire(host: bool) -> None:
    a = arrived(host=host, triggers=False, speed=260.0)
    r = calibrate_time(lambda: a.items, a.rig)
    assert r.clock is not None, [t.text for t in r.troubles]
    error = np.abs(a.errors_us(r.clock))
    assert np.median(error) <= 300
    assert error.max() <= r.uncertainty_us
    assert r.relation == "host"
    assert {t.name for t in r.troubles} == {"no triggers"}
    assert r.verdict is Verdict.WARN
    c = calibrated_clock(r, a.rig)
    assert c.relation == "host"
    if host:
        # The least late of the frames: 14 ms after the end of its exposure, events 0.3 ms.
        assert c.host_latency_ms == pytest.approx(13.8, abs=0.8)
        assert c.host_latency_spread_ms < 2


def test_a_rig_that_has_no_wire_can_pass() -> None:
    a = arrived(triggers=False, speed=260.0)
    rig = a.rig.model_copy(update={"clock": a.rig.clock.model_copy(update={"relation": "host"})})
    r = calibrate_time(lambda: a.items, rig)
    assert r.relation == "host"
    assert r.verdict is Verdict.PASS, [t.text for t in r.troubles]


def test_arrivals_alone_are_as_good_as_they_say() -> None:
    for latency in ((3_000.0, 7_000.0), (33_000.0, 39_000.0)):
        a = arrived(triggers=False, latency_us=latency)
        found = by_arrival(Streams.of(a.items), a.rig.clock)
        assert found is not None
        assert found.by == "host"
        assert np.abs(a.errors_us(found.clock)).max() <= found.reach_us


def test_the_pictures_check_the_triggers() -> None:
    a = arrived()
    r = calibrate_time(lambda: a.items, a.rig)
    assert r.relation == "trigger"
    assert r.verdict is Verdict.PASS, [t.text for t in r.troubles]
    assert np.abs(a.errors_us(r.clock)).max() <= r.uncertainty_us + 1
    assert r.shift_us is not None
    assert abs(r.shift_us) <= r.shift_uncertainty_us


def test_a_strobe_that_comes_late_is_measured() -> None:
    a = arrived()
    late = a.rig.model_copy(update={"clock": a.rig.clock.model_copy(update={"delay_us": 2_000.0})})
    r = calibrate_time(lambda: a.items, late)
    assert r.shift_us == pytest.approx(-2_000, abs=r.shift_uncertainty_us)
    assert "strobe delay" in {t.name for t in r.troubles}
    c = calibrated_clock(r, late)
    assert c.delay_measured_us == pytest.approx(0.0, abs=r.shift_uncertainty_us)
    assert c.delay_us == c.delay_measured_us  # surely nearer than it was


def test_a_strobe_delay_that_was_found_is_in_what_is_checked_with_it() -> None:
    a = arrived()
    late = a.rig.model_copy(update={"clock": a.rig.clock.model_copy(update={"delay_us": 3_000.0})})
    c = calibrate(late, [Take("late", lambda: a.items)], Options(keep_geometry=True))
    assert c.rig.clock.delay_us == pytest.approx(0.0, abs=c.time.shift_uncertainty_us)
    assert np.abs(a.errors_us(c.time.clock)).min() > 2_900, "the measurement itself is told as it was made"
    assert c.check is not None
    assert np.abs(a.errors_us(c.check.time.clock)).max() <= c.time.shift_uncertainty_us + 30
    # The least late of the frames, 14 ms after the true end of its exposure, events 0.3 ms.
    assert c.rig.clock.host_latency_ms == pytest.approx(13.8, abs=0.8)


@pytest.mark.parametrize("delay_us", [9_000.0, 15_000.0])
def test_a_strobe_delay_beyond_the_search_is_not_stored(delay_us: float) -> None:
    a = arrived()
    late = a.rig.model_copy(update={"clock": a.rig.clock.model_copy(update={"delay_us": delay_us})})
    r = calibrate_time(lambda: a.items, late)
    assert r.shift_us is None
    (told,) = [t for t in r.troubles if t.name == "out of reach"]
    assert told.verdict is Verdict.WARN
    assert "±6 ms" in told.text
    assert calibrated_clock(r, late).delay_us == delay_us


def test_a_delay_at_the_end_of_the_search_is_found() -> None:
    a = arrived()
    late = a.rig.model_copy(update={"clock": a.rig.clock.model_copy(update={"delay_us": 5_900.0})})
    r = calibrate_time(lambda: a.items, late)
    assert r.shift_us == pytest.approx(-5_900, abs=r.shift_uncertainty_us)


def test_a_small_delay_by_content_changes_nothing() -> None:
    a = arrived()
    late = a.rig.model_copy(update={"clock": a.rig.clock.model_copy(update={"delay_us": 700.0})})
    r = calibrate_time(lambda: a.items, late)
    assert calibrated_clock(r, late).delay_us == 700.0  # content alone is not sure enough to change it


def test_no_motion_is_named() -> None:
    a = arrived(triggers=False, speed=0.0, reach=0.0)
    r = calibrate_time(lambda: a.items, a.rig)
    assert r.clock is None
    assert "no motion" in {t.name for t in r.troubles}
    assert r.verdict is Verdict.FAIL
    assert calibrated_clock(r, a.rig) == a.rig.clock


def test_no_motion_does_not_fail_a_wire() -> None:
    a = arrived(speed=0.0, reach=0.0)
    r = calibrate_time(lambda: a.items, a.rig)
    assert r.clock is not None
    assert r.verdict is Verdict.PASS
    assert "no motion" in {t.name for t in r.troubles}


def test_other_events_do_not_fit() -> None:
    a = arrived(triggers=False)
    b = arrived(triggers=False, seed=1, scene="street", **{"roll_deg": -3.0})
    frames = {f.sequence: f for f in b.items if not hasattr(f, "events")}
    mixed = [i if hasattr(i, "events") else frames.get(i.sequence, i) for i in a.items]
    r = calibrate_time(lambda: mixed, a.rig)
    assert r.clock is None
    assert {t.name for t in r.troubles} & {"no fit", "ambiguous", "no motion"}


def test_integrals_of_a_known_ramp() -> None:
    """One threshold every 2 ms: the light grows as exp(c t / 2 ms), which both exposures then tell."""
    w, h, c, dt = 16, 16, 0.02, 2_000
    n = 40
    t = np.repeat(np.arange(n) * dt, w * h)
    y, x = np.mgrid[0:h, 0:w]
    # Half of the pixels brighten, half darken: a picture that changes everywhere alike tells nothing.
    on = (x.ravel() + y.ravel()) % 2 == 0
    events = Events(
        t.astype(np.int64), np.tile(x.ravel(), n).astype(np.uint16), np.tile(y.ravel(), n).astype(np.uint16),
        np.tile(on, n), w, h,
    )  # fmt: skip
    rate = np.where(on.reshape(h, w), c / dt, -c / dt)
    a, b = (10_000.0, 20_000.0), (40_000.0, 55_000.0)

    def mean_light(s: float, e: float) -> np.ndarray:
        return (0.1 * (np.exp(rate * e) - np.exp(rate * s)) / (rate * (e - s))).astype(np.float32)

    shifts = np.array([-1_000.0, 0.0, 1_000.0])
    p = pair_of(mean_light(*a), mean_light(*b), a, b, events, shifts, contrast=(c, c), groups=1)
    assert p is not None
    xx, xy, yy = p.sums[0, 1, :3]
    assert xy / xx == pytest.approx(1.0, abs=0.01)  # the gain: thresholds are right
    assert xy * xy / (xx * yy) == pytest.approx(1.0, abs=1e-4)


def test_a_map_from_the_scene_is_made_with_the_clock_that_was_found() -> None:
    """Frames that come sooner than the rig says are looked at some 15 ms too early at first."""
    a = arrived(triggers=False, speed=260.0, latency_us=(3_000.0, 6_000.0))
    begun = nominal(a.rig).model_copy(update={"clock": a.rig.clock})
    c = calibrate(begun, [Take("scene", lambda: a.items)])
    assert "the scene itself" in c.geometry_by
    w, h = a.rig.events.width - 1, a.rig.events.height - 1
    corners = np.array([[0, 0], [w, 0], [0, h], [w, h]])
    off = project(corners, c.rig.image_from_event) - project(corners, a.rig.image_from_event)
    assert np.linalg.norm(off, axis=1).max() / a.rig.scale < 0.2
