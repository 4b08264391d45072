"""Replays of two cameras, each on a clock of its own: what a pause, a seek and a step give can be restored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Frame
from capture.simulated.presets import SimulatedConfig
from sync.exposure import AlignedExposure
from sync.synchroniser import Synchroniser
from tests.app.live_watch import TWO_SENSORS
from tests.recordings.own_sample import Item, items_of, rig_of_config, write_own
from tests.recordings.test_replay import Pair

CONFIG = SimulatedConfig(**TWO_SENSORS, clock_offset_ms=370.0, clock_drift_ppm=20.0, paced=False)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "recording"
    write_own(folder, rig_of_config(CONFIG), items_of(CONFIG, 1.2))
    return folder


def exposures(sync: Synchroniser, items: list[Item]) -> list[AlignedExposure]:
    for item in items:
        (sync.push_events if isinstance(item, EventPacket) else sync.push_frame)(item)  # type: ignore[operator]
    return [o for o in sync.take() if isinstance(o, AlignedExposure)]


def test_paused_a_seek_and_each_step_give_a_frame_whose_exposure_is_known(recording: Path) -> None:
    sync = Synchroniser(rig_of_config(CONFIG))
    pair = Pair(recording, speed=4.0)
    try:
        assert exposures(sync, pair.some()), "its clock is found while it plays"
        pair.command("pause")
        pair.command("seek", time_us=500_000)
        sought = exposures(sync, pair.shown())
        assert len(sought) == 1
        assert sought[0].exposure.duration_us == pytest.approx(20_000, abs=200)
        for n, way in ((1, 1), (1, 1), (-1, -1)):
            pair.command("step", n=n)
            stepped = exposures(sync, pair.shown())
            assert len(stepped) == 1
            moved = stepped[0].exposure.start_us - sought[0].exposure.start_us
            assert moved == pytest.approx(way * 50_000, abs=200)
            sought = stepped
    finally:
        pair.close()


def test_without_a_wire_a_replay_at_any_pace_finds_the_exposures_by_the_arrivals_of_the_recording(
    tmp_path: Path,
) -> None:
    """Those of the replay are of another pace, and a frame may lie far before its events in the file."""
    base_ns, came, number = 7_000_000_000, [], 0
    for item in items_of(CONFIG, 1.2):
        if isinstance(item, EventPacket):
            came.append(replace(item, host_ns=base_ns + 1000 * item.complete_until_us))
        else:
            end_us = number * 50_000 + 35_000  # exposures lie in the middle of their periods
            number += 1
            came.append(replace(item, host_ns=base_ns + 1000 * end_us + 500_000))
    came.sort(key=lambda i: i.host_ns - 15_000_000 * isinstance(i, Frame))
    rig = rig_of_config(CONFIG)
    rig = rig.model_copy(update={"clock": rig.clock.model_copy(update={"relation": "host"})})
    write_own(tmp_path / "recording", rig, came)
    starts = [e.exposure.start_us for e in exposures(Synchroniser(rig), came)]
    assert len(starts) > 20
    assert np.array(starts) == pytest.approx(15_500 + 50_000 * np.arange(len(starts)), abs=60)
    for speed in (8.0, 2.0):
        sync = Synchroniser(rig)
        pair = Pair(tmp_path / "recording", speed=speed)
        try:
            assert [e.exposure.start_us for e in exposures(sync, pair.some())] == pytest.approx(starts, abs=60)
            pair.command("seek", time_us=615_500)
            sought = [e.exposure.start_us for e in exposures(sync, pair.some())]
            assert len(sought) > 5
            assert np.array(sought) == pytest.approx(starts[-len(sought) :], abs=60)
        finally:
            pair.close()
