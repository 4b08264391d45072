"""Replays of two cameras, each on a clock of its own: what a pause, a seek and a step give can be restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.packets import EventPacket
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
