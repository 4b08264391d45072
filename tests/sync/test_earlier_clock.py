"""A jump of the time axis (a seek, a lap of a loop): the clock that was measured before it is asked first."""

from __future__ import annotations

from dataclasses import replace

from capture.packets import EventPacket, Frame
from sync.exposure import AlignedExposure, ExposureSource
from sync.synchroniser import Outcome, Synchroniser
from tests.sync.exposures_sim import Setup, simulate, small_rig

# A constant rate and exposure: nothing but arrivals tells which edges are whose, and that takes frames.
PERIODIC = Setup(frames=60, period_us=40_000.0, exposure_us=20_000.0)


def push(y: Synchroniser, item: EventPacket | Frame, epoch: int) -> None:
    item = replace(item, epoch=epoch)
    if isinstance(item, EventPacket):
        y.push_events(item)
    else:
        y.push_frame(item)


def after_a_seek(second: Setup, *, frames: int) -> tuple[list[Outcome], dict[int, tuple[float, float]]]:
    """All of `PERIODIC`, then the first frames of another stream, from its middle on, and 20 ms beyond."""
    y = Synchroniser(small_rig())
    for item in simulate(PERIODIC).items:
        push(y, item, 0)
    y.take()
    sim = simulate(second)
    came = 0
    first = 20
    begin = sim.truth[first][0] - 100_000  # µs, as far as a replay reads before the frame that is sought
    end = sim.truth[first + frames - 1][1] + 20_000
    for item in sim.items:
        if isinstance(item, EventPacket):
            if begin < item.complete_until_us <= end:
                push(y, item, 1)
        elif item.sequence >= first and came < frames:
            came += 1
            push(y, item, 1)
    return y.take(), sim.truth


def test_after_a_seek_the_first_frame_is_answered_by_its_edges_at_once() -> None:
    """A paused replay gives one frame, so to find the clock anew would show nothing."""
    out, truth = after_a_seek(PERIODIC, frames=1)
    assert len(out) == 1
    found = out[0]
    assert isinstance(found, AlignedExposure)
    assert found.exposure.source is ExposureSource.TRIGGER
    start, end = truth[found.frame.sequence]
    assert abs(found.exposure.start_us - start) < 40
    assert abs(found.exposure.end_us - end) < 40


def test_where_the_frame_camera_began_another_count_the_clock_of_before_is_not_believed() -> None:
    """By whole periods as well: then edges lie where it says, but the frame comes at another time."""
    for offset_us in (37_000.0 + 7_300.0, 37_000.0 + 5 * PERIODIC.period_us):
        out, truth = after_a_seek(replace(PERIODIC, offset_us=offset_us), frames=12)
        for o in out:
            if isinstance(o, AlignedExposure):
                start, _ = truth[o.frame.sequence]
                assert abs(o.exposure.start_us - start) < 40, offset_us
