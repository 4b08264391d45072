"""A rig with a wire of which not one edge comes: exposures are estimated, counted and named."""

from __future__ import annotations

from dataclasses import replace

from sync.exposure import ExposureSource, doubtful
from sync.synchroniser import Synchroniser
from tests.sync.exposures_sim import Setup
from tests.sync.replaying import aligned, replay

SILENT = Setup(frames=60, edge_loss=1.0, vary_exposure=0.2)


def test_frames_without_the_edges_that_the_rig_promises_are_counted_and_said() -> None:
    y, out, _ = replay(SILENT)
    exposures = [aligned(o) for o in out]
    assert {e.exposure.source for e in exposures} == {ExposureSource.ESTIMATED}
    assert (y.counters.frames_matched, y.counters.frames_unmatched) == (0, len(out))
    assert y.status.why == "no edges yet"
    for e in exposures:
        first, second = e.doubts
        assert first.startswith("no trigger edges: exposure estimated ±2")
        assert second.startswith("exposure less sure than it is long: ±2")
        assert second.endswith(f" of {e.exposure.duration_us / 1e3:.1f} ms")
        assert doubtful((first,))
        assert doubtful(("saturated 2 %", second))
    assert not doubtful(("saturated 2 %",))


def test_a_rig_without_a_wire_promises_nothing() -> None:
    y, out, _ = replay(SILENT, relation="host", host_latency_spread_ms=1.0)
    assert y.counters.frames_unmatched == 0
    assert y.status.why == ""
    assert all(aligned(o).doubts == () for o in out)
    vague = replace(aligned(out[0]).exposure, uncertainty_us=9_999.0)
    assert replace(aligned(out[0]), exposure=vague).doubts[0].startswith("exposure less sure than it is long")


def test_edges_that_come_leave_no_doubt() -> None:
    y, out, _ = replay(Setup(frames=60, vary_exposure=0.2))
    assert all(e.doubts == () for e in map(aligned, out))
    assert y.status.why == ""
    assert Synchroniser(aligned(out[0]).rig).status.why == ""
