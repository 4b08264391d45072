"""The simulated rig's two clocks, put together: its truth is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from capture.packets import EventPacket, Frame
from capture.simulated.presets import configure
from capture.simulated.rig import SimulatedRig
from sync.exposure import AlignedExposure, ExposureSource
from sync.rig import Rig
from sync.synchroniser import Outcome, Synchroniser

SMALL = {
    "image_width": 64, "image_height": 48, "event_width": 32, "event_height": 24, "scale": 2.0, "loop_s": 0.4,
    "exposure_us": 9_000, "clock_offset_ms": 812.0, "clock_drift_ppm": -90.0, "trigger_jitter_us": 5.0,
    "shift_x": 0.0, "shift_y": 0.0, "speed": 60.0, "cache": False,
}  # fmt: skip


@pytest.mark.parametrize("rate_hz", [25.0, 60.0])
@pytest.mark.parametrize(("live_from_s", "latency_ms"), [(None, 0), (0.0, 0), (0.7, 0), (0.7, 15), (0.7, 40)])
def test_frames_and_events_meet(rate_hz: float, live_from_s: float | None, latency_ms: int) -> None:
    """Recorded order without host times; and as live cameras give it, from the beginning or joined midway."""
    config = configure("", {**SMALL, "rate_hz": rate_hz})
    simulated = SimulatedRig(config)
    facts = dataclasses.replace(simulated.facts(), host_latency_ms=float(latency_ms))
    y = Synchroniser(Rig.from_facts("simulated", facts))
    out: list[Outcome] = []
    for item in simulated.items(2.5):
        if isinstance(item, EventPacket):
            at = item.complete_until_us
        else:
            at = simulated.exposure_truth(item.sequence)[1] + 1_000 * latency_ms
        host_ns = 0 if live_from_s is None else 10**12 + at * 1000
        if live_from_s is not None and at < live_from_s * 1e6:
            continue
        if isinstance(item, Frame):
            y.push_frame(
                Frame(item.image, item.layout, item.sequence, item.device_start_ns, item.device_end_ns,
                      item.clock, host_ns)
            )  # fmt: skip
        else:
            y.push_events(EventPacket(item.events, item.triggers, item.complete_until_us, host_ns))
        out += y.take()
    out += y.finish()
    good = [o for o in out if isinstance(o, AlignedExposure)]
    # Joined midway, the first frames' exposures began before the first event.
    early = 1 + latency_ms * rate_hz / 1e3 if live_from_s else 0
    assert len(out) - len(good) <= early
    errors = []
    for o in good:
        a, b = simulated.exposure_truth(o.frame.sequence)
        assert o.exposure.source is not ExposureSource.ESTIMATED
        errors.append(max(abs(o.exposure.start_us - a), abs(o.exposure.end_us - b)))
    assert np.median(errors) <= 10
    assert max(errors) <= 30
