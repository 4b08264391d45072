"""A take is searched for the board packet by packet; what did not become a view says why."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from calibration.from_scene import MOST_EVENTS, from_scene, liveliest
from calibration.geometry.collect import Missed
from calibration.geometry.targets import Board
from calibration.geometry.views import Source
from calibration.nominal import nominal
from calibration.report import report_html
from calibration.run import calibrate, commonest, shown_by
from calibration.simulated import board_shots
from calibration.simulated_truth import random_truth
from calibration.take import Take
from calibration.target_views import views_of
from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from sync.lens import PixelMap
from sync.rig import EventEntry, ImageEntry, Rig
from tests.calibration.geometry.made_views import board_view, homography
from tests.calibration.small import streamed
from tests.calibration.time.rigs import arrived

W, H = 64, 48
RIG = nominal(
    Rig(
        events=EventEntry(camera="test", width=W, height=H),
        image=ImageEntry(camera="test", width=2 * W, height=2 * H),
    )
)


def blinking(seconds: float = 4.0, begin_us: int = 0) -> Iterator[EventPacket | Frame]:
    """Something that blinks and is no board: a field that turns into its negative every 0.4 s."""
    rng = np.random.default_rng(1)
    white = rng.random((H, W)) < 0.5
    ys, xs = (a.ravel() for a in np.mgrid[0:H, 0:W])
    for k in range(int(seconds / 0.005)):
        t, p = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        n = 0
        if k % 80 == 40:
            n = 3
            t = np.sort(rng.integers(5_000 * k, 5_000 * (k + 1), n * W * H))
            p = np.tile(white.ravel() == (k % 160 == 40), n)
        t += begin_us
        events = Events(t, np.tile(xs, n).astype(np.uint16), np.tile(ys, n).astype(np.uint16), p, W, H)
        yield EventPacket(events, TriggerEdges.empty(), begin_us + 5_000 * (k + 1))
        if k % 8 == 7:
            gray = np.full((2 * H, 2 * W), 90, np.uint8)
            ns = tuple(1_000 * (begin_us + 5_000 * j) for j in (k - 2, k))
            yield Frame(gray, PixelLayout.GRAY, k // 8, *ns, FrameClock.EVENT)


def test_neither_events_nor_frames_of_a_take_are_held() -> None:
    given: list[weakref.ref[np.ndarray]] = []
    most = 0

    def items() -> Iterator[EventPacket | Frame]:
        nonlocal most
        for i in blinking():
            most = max(most, sum(r() is not None for r in given))
            given.append(weakref.ref(i.image if isinstance(i, Frame) else i.events.t))
            yield i

    views, missed = views_of(Take("long", items), RIG, Board())
    assert views == []
    assert [m.swaps for m in missed] == [10], "one stretch of ten swaps, in which no board was found"
    assert len(given) > 2_000
    assert most < 8


def test_events_behind_a_step_back_in_time_end_nothing() -> None:
    def items() -> Iterator[EventPacket | Frame]:
        yield from blinking(2.0, 60_000_000)
        yield from blinking(2.0)

    _, missed = views_of(Take("twice", items), RIG, Board())
    assert [m.swaps for m in missed] == [5], "those before it"


def elsewhere(items: list[EventPacket | Frame]) -> list[EventPacket | Frame]:
    """The same times once more, with frames of something else."""
    return [
        replace(i, image=np.roll(i.image, (31 * k, 17 * k), (0, 1))) if isinstance(i, Frame) else i
        for k, i in enumerate(items)
    ]  # fmt: skip


def test_events_before_a_step_back_in_time_are_not_paired_with_frames_behind_it() -> None:
    truth = random_truth(5)
    (shot,) = board_shots(truth, "blinking", 1, 3)
    items = streamed(shot)
    rig = nominal(truth.rig())
    rig = rig.model_copy(update={"clock": rig.clock.model_copy(update={"relation": "same"})})
    (view,), missed = views_of(Take("twice", lambda: [*items, *elsewhere(items)]), rig, Board())
    assert missed == []
    off = truth.pixel_map.to_event(view.image_points) - view.event_points
    assert np.sqrt(np.mean(off**2)) < 0.1


def test_a_scene_ends_where_event_time_runs_back() -> None:
    a = arrived(4.5, host=False, triggers=False, speed=260.0)
    items: list[EventPacket | Frame] = []
    for i in a.items:
        if isinstance(i, Frame):
            start, end = (1_000 * t for t in a.simulated.exposure_truth(i.sequence))
            i = replace(i, device_start_ns=start, device_end_ns=end, clock=FrameClock.EVENT)
        items.append(i)
    later = next(
        k for k, i in enumerate(items) if isinstance(i, EventPacket) and i.complete_until_us > 1_500_000
    )
    begun = items[:later]  # much more comes behind the step
    scene = from_scene(Take("twice", lambda: [*begun, *elsewhere(items)]), nominal(a.rig), "none")
    assert scene is not None
    assert scene.result.geometry.verdict != "fail", scene.result.geometry.problems


def test_why_views_were_refused_is_told_where_geometry_fails() -> None:
    c = calibrate(RIG, [Take("board", blinking)])
    assert c.geometry is None
    (m,) = c.missed
    assert f"1 of 1 that did not become views: {m.why} (event camera)" in c.geometry_by
    assert any(m.why in text for _, text, _ in c.problems())
    assert f"events: {m.why}" in report_html(c)


def test_the_commonest_reason_is_told_whatever_its_figures() -> None:
    lost = [
        Missed(0, "image", "the board moved by 3.1 image pixels"), Missed(1, "events", "no marker was found"),
        Missed(2, "image", "the board moved by 12.0 image pixels"),
    ]  # fmt: skip
    told = "; 2 of 3 that did not become views: the board moved by 3.1 image pixels (frame camera)"
    assert commonest(lost) == told
    assert commonest([]) == ""


def test_views_of_both_kinds_are_called_both() -> None:
    truth, rng = PixelMap(homography()), np.random.default_rng(0)
    still, swung = (
        board_view(truth, (144.0, 96.0), rng, source=s) for s in (Source.BLINKING, Source.RECONSTRUCTED)
    )
    assert shown_by([still, swung]) == "blinking board and board swung by hand"
    assert shown_by([still]) == "blinking board"
    assert shown_by([swung]) == "board swung by hand"


def arrivals(rate_of_frame: np.ndarray, period_us: int = 40_000) -> tuple[list[tuple[int, int]], np.ndarray]:
    spans = [(k * period_us, k * period_us + 10_000) for k in range(len(rate_of_frame))]
    return spans, np.concatenate([[0], np.cumsum(rate_of_frame)])


def test_the_scene_is_looked_at_where_it_moves() -> None:
    """Half a minute of a board that blinks in bursts, three seconds of motion, and rest."""
    rate = np.full(900, 100)
    rate[:750:10] = 500_000
    rate[760:835] = 40_000
    spans, events = arrivals(rate)
    first, end = liveliest(spans, np.arange(len(events)) * 40_000, events)
    assert end - first == 60
    assert first >= 760
    assert end <= 836
    assert liveliest(spans[:1], np.arange(2), events[:2]) == (0, 0)


@pytest.mark.parametrize("each", [MOST_EVENTS // 10, MOST_EVENTS])
def test_no_more_frames_are_looked_at_than_events_can_be_held(each: int) -> None:
    spans, events = arrivals(np.full(100, each))
    first, end = liveliest(spans, np.arange(len(events)) * 40_000, events)
    assert end - first == max(2, MOST_EVENTS // each + 1)
