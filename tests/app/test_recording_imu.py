"""Inertial samples of a DAVIS on the wire: into the ring, into a recording, and out as AEDAT4."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.export_formats import ExportRequest, export, open_export
from app.recorder import RecordRequest
from app.recording import record
from app.sources import SourceRequest
from capture.packets import EventPacket
from capture.simulated.davis_server import IMU_PERIOD_US, DavisServer, example
from capture.simulated.rig import facts_of
from recordings.open import open_recording
from recordings.recorder.take import Limits
from recordings.recording import OpenOptions
from recordings.survey import survey
from sync.rig import Rig
from tests.capture.simulated_small import small_davis


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path_factory.getbasetemp() / "simulated-cache"))


def test_they_are_kept_with_the_events_and_exported(tmp_path: Path) -> None:
    config = small_davis()
    places = {k: str(tmp_path / f"{k.lower()}.sock") for k in ("EVTS", "TRIG", "IMUS", "FRME")}
    server = DavisServer(config, places)
    try:
        opened = example(server.addresses)
        rig = Rig.from_facts("wire", facts_of(config))
        entry = {"camera": opened["camera"], "settings": opened["settings"]}
        rig = rig.model_copy(
            update={
                "events": rig.events.model_copy(update=entry), "image": rig.image.model_copy(update=entry)
            }
        )  # fmt: skip
        rig.save(tmp_path / "rig.toml")
        server.start()
        take = tmp_path / "take"
        record(
            SourceRequest.of(tmp_path / "rig.toml"), RecordRequest(take, limits=Limits(seconds=1.0)),
            said=print, watch=lambda f, w: None,
        )  # fmt: skip
    finally:
        server.close()
    health = json.loads((take / "health.json").read_text())
    with open_recording(take) as r:
        found = [i.imu for i in r.items() if isinstance(i, EventPacket) and i.imu is not None]
        told = survey(r)
    t = np.concatenate([s.t for s in found])
    assert health["imu_samples"] == told.imu_samples == len(t)
    recorded_us = health["until_us"] - health["first_us"]
    assert recorded_us >= 1_000_000
    assert len(t) * IMU_PERIOD_US == pytest.approx(recorded_us, abs=100_000)
    assert set(np.diff(t)) == {IMU_PERIOD_US}  # not one is missing
    # Lying still, on the events' clock.
    values = np.concatenate([s.values for s in found])
    assert np.allclose(values, [0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 25.0])
    with open_recording(take) as r:
        assert r.info.start_us - 50_000 < t[0] < t[-1] < r.info.end_us + 50_000
    with open_export(str(take), None, OpenOptions()) as source:
        result, _ = export("aedat4", source, ExportRequest(tmp_path / "take.aedat4", "take"))
    assert result.facts.imu == len(t)
    with open_recording(tmp_path / "take.aedat4") as r:
        list(r.items())
        assert r.report.ignored["imu"] == len(t)
