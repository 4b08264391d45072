"""Rolling or global: told by the pictures, written into the rig file, and said where a rig file is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.check import check
from calibration.nominal import nominal
from calibration.time.result import Verdict
from calibration.time.shutter import with_rolling
from calibration.time.solve import calibrate_time, calibrated_clock, calibrated_image
from calibration.time.streams import Streams
from calibration.time.trigger import place
from capture.packets import EventPacket, TriggerEdges
from tests.calibration.time.rigs import arrived


@pytest.mark.parametrize(("rolling", "triggers"), [(15_000, True), (30_000, False), (-15_000, False)])
def test_a_rolling_shutter_is_measured(rolling: int, triggers: bool) -> None:
    a = arrived(rolling_us=rolling, triggers=triggers)
    r = calibrate_time(lambda: a.items, with_rolling(a.rig, 0.0))
    assert r.clock is not None, [t.text for t in r.troubles]
    assert r.rolling_us == pytest.approx(rolling, abs=max(r.rolling_uncertainty_us, 1_500))
    assert r.rolling_uncertainty_us < 2_000
    assert calibrated_image(r, with_rolling(a.rig, 0.0)).rolling_us == r.rolling_us
    which = "after" if rolling > 0 else "before"
    assert f"ms {which} the first" in r.summary()
    # The clock is that of the first row, not of the middle one.
    assert abs(a.errors_us(r.clock)).max() < 2_000


def test_a_strobe_that_is_high_until_the_last_row_is_closed_is_understood() -> None:
    a = arrived(rolling_us=15_000)
    packets = [i for i in a.items if isinstance(i, EventPacket)]
    rising = np.concatenate([p.triggers.rising for p in packets])
    t = np.concatenate([p.triggers.t for p in packets]) + np.where(rising, 0, 15_000)
    items, before = [], -1
    for i in a.items:
        if isinstance(i, EventPacket):
            now = (t >= before) & (t < i.complete_until_us)
            before, i = i.complete_until_us, replace(i, triggers=TriggerEdges(t[now], rising[now]))
        items.append(i)
    rig = with_rolling(a.rig, 0.0)
    r = calibrate_time(lambda: items, rig)
    assert r.clock is not None
    assert r.relation == "trigger", [t.text for t in r.troubles]
    assert r.longer_us == pytest.approx(15_000, abs=5)
    assert r.rolling_us == pytest.approx(15_000, abs=5)  # the signal tells it better than pictures
    assert np.abs(a.errors_us(r.clock)).max() < 30
    made = rig.model_copy(update={"clock": calibrated_clock(r, rig), "image": calibrated_image(r, rig)})
    placed, _ = place(Streams.of(items), made)
    found = [p.exposure for p in placed if p.exposure is not None]
    assert len(found) > 0.9 * len(placed)
    assert all(abs(x.duration_us - 25_000) < 100 for x in found)


def test_a_global_shutter_is_not_taken_for_a_rolling_one() -> None:
    a = arrived()
    r = calibrate_time(lambda: a.items, a.rig)
    assert r.rolling_us == 0.0
    assert "rolling" not in r.summary()
    assert r.shutter().startswith("global shutter")


def test_what_a_rig_file_says_rightly_stays() -> None:
    a = arrived(rolling_us=15_000)
    r = calibrate_time(lambda: a.items, a.rig)
    assert r.rolling_us == 15_000
    assert calibrated_image(r, a.rig) == a.rig.image


def test_without_motion_nothing_is_said_of_the_shutter() -> None:
    a = arrived(speed=0.0, reach=0.0)
    r = calibrate_time(lambda: a.items, with_rolling(a.rig, 12_000.0))
    assert r.rolling_us is None
    assert calibrated_image(r, with_rolling(a.rig, 12_000.0)).rolling_us == 12_000.0


def test_a_check_names_a_rig_file_that_does_not_tell_of_it() -> None:
    a = arrived(rolling_us=30_000)
    said = {t.name: t for t in check(lambda: a.items, with_rolling(a.rig, 0.0)).troubles}
    assert said["shutter"].verdict is Verdict.WARN
    assert "the rig file says a global shutter: set image.rolling_us = " in said["shutter"].text
    assert "shutter" not in {t.name for t in check(lambda: a.items, a.rig).troubles}


def test_a_calibration_from_scratch_knows_of_no_shutter() -> None:
    a = arrived(rolling_us=15_000)
    assert nominal(a.rig).image.rolling_us == 0.0
