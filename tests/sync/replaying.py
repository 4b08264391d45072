"""Simulated streams through the synchroniser, and what the tests ask of the outcome."""

from __future__ import annotations

from capture.packets import EventPacket
from sync.exposure import AlignedExposure, Refusal, RefusedExposure
from sync.synchroniser import Outcome, Synchroniser
from tests.sync.exposures_sim import Setup, simulate, small_rig

LOSSES = {"edge_loss": 0.02, "frame_loss": 0.02}


def balanced(y: Synchroniser) -> bool:
    c = y.counters
    return c.frames_in == c.aligned + sum(c.refused.values()) + c.superseded + c.waiting


def refused(o: Outcome) -> Refusal:
    assert isinstance(o, RefusedExposure), o
    assert o.detail
    assert "\n" not in o.detail
    return o.reason


def aligned(o: Outcome) -> AlignedExposure:
    assert isinstance(o, AlignedExposure), o
    return o


def replay(
    setup: Setup, *, each: bool = True, **rig: object
) -> tuple[Synchroniser, list[Outcome], dict[int, tuple[float, float]]]:
    sim = simulate(setup)
    y = Synchroniser(small_rig(active_high=setup.active_high, **rig))
    out: list[Outcome] = []
    for item in sim.items:
        if isinstance(item, EventPacket):
            y.push_events(item)
        else:
            y.push_frame(item)
        if each:
            out += y.take()
    out += y.finish()
    assert balanced(y)
    assert y.counters.waiting == 0
    assert y.counters.edges_in == sim.edges
    # At the end those of an exposure that never became a frame may still be held, in case the frame comes.
    c, held = y.counters, y._finder.matcher.edges_held
    assert c.edges_matched + c.edges_unmatched + held == sim.edges
    assert [o.ordinal for o in out] == list(range(len(out)))
    return y, out, sim.truth


def errors_us(out: list[Outcome], truth: dict[int, tuple[float, float]]) -> list[float]:
    found = []
    for o in out:
        if isinstance(o, AlignedExposure):
            a, b = truth[o.frame.sequence]
            found.append(max(abs(o.exposure.start_us - a), abs(o.exposure.end_us - b)))
    return found
