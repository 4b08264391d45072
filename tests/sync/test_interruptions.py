"""A camera that goes and comes back: what is refused meanwhile, by which name, and how soon edges match."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from capture.packets import EventPacket, Frame
from sync.acquisition import Evidence, Stamp, acquire
from sync.exposure import AlignedExposure, Refusal, RefusedExposure
from sync.synchroniser import Outcome, Synchroniser
from tests.sync.exposures_sim import Setup, packet, simulate, small_rig
from tests.sync.replaying import balanced

# A constant rate and exposure, and a latency that is known no better than that of a rig on the wire: nothing in
# the pattern itself tells one frame from the next.
SLOW = {"period_us": 66_667.0, "exposure_us": 30_000.0, "frames": 150, "packet_us": 5_000}
FAST = {"period_us": 16_667.0, "exposure_us": 8_000.0, "frames": 600, "packet_us": 5_000}
LATENCY = {"host_latency_ms": 10.0, "host_latency_spread_ms": 10.0}
# It goes in mid-exposure: one edge of a frame that will have no other stays behind.
AWAY = (4_010_000, 7_000_000)


def ends_us(outcome: Outcome, truth: dict[int, tuple[float, float]]) -> float:
    return truth[outcome.frame.sequence][1]


def interrupted(
    setup: Setup, of: str, event_shift_us: int = 0, device_shift_us: int = 0
) -> tuple[Synchroniser, list[Outcome], dict[int, tuple[float, float]]]:
    """Run while one camera is away; the clock that it comes back with may be another one.

    Returns:
        the synchroniser, its outcomes, and the true exposures by sequence as the event clock tells them then.
    """
    sim = simulate(setup)
    y = Synchroniser(small_rig(**LATENCY))
    out: list[Outcome] = []
    truth: dict[int, tuple[float, float]] = {}
    gap = False
    for item in sim.items:
        if isinstance(item, EventPacket):
            until = item.complete_until_us
            if of == "events" and AWAY[0] <= until < AWAY[1]:
                gap = True
                continue
            shift = event_shift_us if until >= AWAY[1] else 0
            e, edges = item.events, item.triggers
            y.push_events(
                packet(e.t + shift, edges.t + shift, edges.rising, until + shift, item.host_ns, gap=gap)
            )
            gap = False
        else:
            start, end = sim.truth[item.sequence]
            back = end >= AWAY[1]
            if of == "frames" and AWAY[0] <= end and not back:
                continue
            shift = event_shift_us if back else 0
            truth[item.sequence] = start + shift, end + shift
            y.push_frame(_stamped(item, 1000 * device_shift_us if back else 0))
        out += y.take(item.host_ns)
    out += y.finish()
    assert balanced(y)
    return y, out, truth


def _stamped(frame: Frame, shift_ns: int) -> Frame:
    assert frame.device_start_ns is not None
    assert frame.device_end_ns is not None
    return replace(
        frame, device_start_ns=frame.device_start_ns + shift_ns, device_end_ns=frame.device_end_ns + shift_ns
    )


@pytest.mark.parametrize("shift_us", [0, 250, -3_000, 20_000, 3_700_000])
@pytest.mark.parametrize("rate", [SLOW, FAST], ids=["slow", "fast"])
def test_events_that_were_away_are_matched_again_at_once(rate: dict[str, object], shift_us: int) -> None:
    _, out, truth = interrupted(Setup(**rate), "events", event_shift_us=shift_us)  # type: ignore[arg-type]
    for o in out:
        if isinstance(o, AlignedExposure):
            start, end = truth[o.frame.sequence]
            assert abs(o.exposure.start_us - start) < 60
            assert abs(o.exposure.end_us - end) < 60
    meanwhile, after = Counter[Refusal](), 0
    for o in out:
        if isinstance(o, RefusedExposure):
            end = ends_us(o, truth)
            assert end >= AWAY[0] - 5_000  # the last packet before
            if end < AWAY[1]:
                meanwhile[o.reason] += 1
            elif end > AWAY[1] + shift_us + 1_000_000:
                after += 1
    assert after == 0
    # While nothing comes that is the name; what came last of it may have found that out by its edges.
    assert meanwhile[Refusal.NO_EVENTS_YET] > 0.9 * meanwhile.total()


def test_a_clock_that_goes_on_survives_an_interruption() -> None:
    y, out, truth = interrupted(Setup(**SLOW), "events")  # type: ignore[arg-type]
    assert dict(y.status.resets) == {"events: interrupted": 1}
    refused = [o for o in out if isinstance(o, RefusedExposure)]
    assert {o.reason for o in refused} == {Refusal.NO_EVENTS_YET, Refusal.EVENT_GAP}
    assert max(ends_us(o, truth) for o in refused) < AWAY[1] + 100_000


@pytest.mark.parametrize("shift_us", [0, -10_000_000, 7_000_000, 250])
@pytest.mark.parametrize("rate", [SLOW, FAST], ids=["slow", "fast"])
def test_frames_that_were_away_are_matched_again_at_once(rate: dict[str, object], shift_us: int) -> None:
    _, out, truth = interrupted(Setup(**rate), "frames", device_shift_us=shift_us)  # type: ignore[arg-type]
    late = [ends_us(o, truth) - AWAY[1] for o in out if isinstance(o, RefusedExposure)]
    assert max(late, default=0) < 1_000_000
    for o in out:
        if isinstance(o, AlignedExposure):
            assert abs(o.exposure.end_us - ends_us(o, truth)) < 60


def test_edges_lost_in_a_hole_do_not_speak_against_a_match() -> None:
    """Half of the frames lie where the event stream was interrupted; the others have all their edges."""
    rng = np.random.default_rng(3)
    starts = 10_000 + np.cumsum(rng.integers(40_000, 60_000, 20))
    lengths = rng.integers(4_000, 9_000, 20)
    frames = [
        Stamp(k, 1000 * int(a), 1000 * int(a + n), k)
        for k, (a, n) in enumerate(zip(starts, lengths, strict=True))
    ]
    s, e = (starts[12:] + 7_000).astype(np.int64), (starts + lengths)[12:].astype(np.int64) + 7_000
    hole = (int(starts[1]), int(s[0]) - 1_000)
    cover = (0, int(e[-1]) + 30_000)
    assert not acquire(frames, s, e, Evidence(cover, final=True)).decided
    found = acquire(frames, s, e, Evidence(cover, ((0, hole[1]),), final=True))
    assert dict(found.pairs) == {1000 * int(t): int(t) + 7_000 for t in starts[12:]}
