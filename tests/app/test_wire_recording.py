"""A running recording whose frame camera, over GigE Vision, is switched off and on again."""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from app.recorder import RecordRequest
from app.recording import record
from app.sources import SourceRequest
from capture.errors import CameraError
from capture.genicam import aravis
from capture.packets import Frame
from capture.simulated.loops import event_loop
from capture.simulated.rig import SimulatedRig
from recordings.formats.own import OwnRecording
from recordings.recorder.take import Limits
from sync.rig import Clock, ImageEntry, Rig
from tests.capture.genicam import wire
from tests.capture.simulated_small import SMALL, small


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path_factory.getbasetemp() / "simulated-cache"))
    try:
        aravis.load()
    except CameraError as e:
        pytest.skip(str(e))


def test_the_break_is_marked_in_the_recording(tmp_path: Path) -> None:
    facts = SimulatedRig(small()).facts()
    event_loop(small())  # into the cache, so that both cameras are there at once
    with wire.device() as device:
        entry = ImageEntry(camera=f"genicam:{device.address}", width=320, height=240)
        rig = Rig.from_facts("simulated", facts).model_copy(update={"image": entry, "clock": Clock()})
        rig = rig.model_copy(update={"events": rig.events.model_copy(update={"settings": SMALL})})
        rig.save(tmp_path / "rig.toml")
        seen: dict[str, float] = {}

        def watch(figures: dict[str, Any], waiting: str) -> None:
            """Off when frames are there, on again a second later."""
            frames, now = int(figures.get("frames", 0)), time.monotonic()
            if frames > 20 and "off" not in seen:
                seen["off"] = now
                threading.Thread(target=device.stop).start()
            elif "off" in seen and "on" not in seen and now - seen["off"] > 1.0:
                seen["on"] = now
                device.start()

        what = RecordRequest(tmp_path / "take", limits=Limits(seconds=9.0))
        result = record(SourceRequest.of(tmp_path / "rig.toml"), what, said=print, watch=watch)
    assert "on" in seen
    assert not result.interrupted
    health = json.loads((tmp_path / "take" / "health.json").read_text())
    assert [g["cause"] for g in health["frame_gaps"]] == ["interrupted"]
    assert not health["time_jumps"]  # a camera that comes back counts anew
    with OwnRecording(tmp_path / "take") as recording:
        frames = [i for i in recording.items() if isinstance(i, Frame)]
    stamps = [f.device_start_ns for f in frames]
    assert len(stamps) == health["frames"]
    # Before, a break of a second or more, after.
    steps = [(b or 0) - (a or 0) for a, b in itertools.pairwise(stamps)]
    breaks = [k + 1 for k, step in enumerate(steps) if step > 1_000_000_000]
    assert [k for k, f in enumerate(frames) if f.gap] == breaks
    assert len(breaks) == 1
