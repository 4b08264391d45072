"""The time axis of a device with several streams: pauses, resets, and what is still on the way then."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from capture.axis import Axis

S, HOUR = 1_000_000, 3_600_000_000
STEP = 10_000
HOST_NS = 5 * 10**12
_NAMES = (f"axis-{k}" for k in itertools.count())

# When an item's first and last stamps lie before the moment in which it is looked at: (µs, µs, latency µs).
ITEM = {"events": (10_000, 1, 2_000), "edges": (8_000, 3_000, 5_000), "frames": (40_000, 10_000, 25_000)}


class Device:
    """A device whose clock stands at `clock` µs while the host's goes on by itself."""

    def __init__(self, clock: int = S) -> None:
        self.axis = Axis(next(_NAMES))
        self.clock, self.host_us = clock, 0

    def item(self, stream: str, clock: int | None = None) -> tuple[int, bool]:
        """Place one; `clock`: what the device's clock said when it was made."""
        first, last, late = ITEM[stream]
        now = self.clock if clock is None else clock
        return self.axis.place(stream, now - first, now - last, HOST_NS + (self.host_us + late) * 1000)

    def go(self, seconds: float, *streams: str, step: int = STEP) -> Iterator[dict[str, tuple[int, bool]]]:
        """Time goes on; each step gives what was added to the stamps of each stream, and whether it jumped."""
        for _ in range(round(seconds * S / step)):
            self.clock += step
            self.host_us += step
            yield {s: self.item(s) for s in streams}

    def run(self, seconds: float, *streams: str, step: int = STEP) -> None:
        for _ in self.go(seconds, *streams, step=step):
            pass


def shifts(placed: dict[str, tuple[int, bool]]) -> set[int]:
    return {shift for shift, _ in placed.values()}


@pytest.mark.parametrize(
    ("goes_on", "pauses"),
    [
        (("events",), ("edges",)), (("events",), ("frames",)), (("frames",), ("events",)),
        (("events",), ("edges", "frames")), (("frames",), ("events", "edges")),
        (("events", "frames"), ("edges",)),
    ],
)  # fmt: skip
def test_a_stream_that_pauses_for_hours_comes_back_to_where_the_others_are(
    goes_on: tuple[str, ...], pauses: tuple[str, ...]
) -> None:
    device = Device()
    device.run(1, *pauses, *goes_on)
    device.run(7300, *goes_on, step=S // 2)
    for placed in device.go(5, *pauses, *goes_on):
        assert placed == dict.fromkeys((*pauses, *goes_on), (0, False))
    assert device.axis.resets == 0


@pytest.mark.parametrize("streams", [("events", "frames"), ("frames", "events"), ("edges", "events", "frames")])
@pytest.mark.parametrize("leap", [-20 * HOUR, -10 * S, -5 * S, 2 * HOUR, 10**15])
def test_a_clock_that_leaps_takes_all_streams_along(streams: tuple[str, ...], leap: int) -> None:
    device = Device(clock=24 * HOUR)
    device.run(2, *streams)
    at = device.clock
    device.clock += leap
    placed = list(device.go(5, *streams))
    assert [jumped for _, jumped in placed[0].values()] == [True] + [False] * (len(streams) - 1)
    assert not any(jumped for p in placed[1:] for _, jumped in p.values())
    assert all(shifts(p) == {device.axis.shift_us} for p in placed)
    assert device.axis.resets == 1
    assert abs(device.clock + device.axis.shift_us - (at + 5 * S)) < 100_000


@pytest.mark.parametrize("leap", [-20 * HOUR, -10 * S, 2 * HOUR])
def test_what_is_still_on_the_way_when_the_clock_leaps_keeps_its_place(leap: int) -> None:
    device = Device(clock=24 * HOUR)
    device.run(2, "events", "edges", "frames")
    before = device.clock
    device.clock += leap
    for k, placed in enumerate(device.go(0.3, "events"), 1):
        assert placed["events"][1] is (k == 1)
        late = [device.item(s, before + k * STEP // 2) for s in ("edges", "frames")]
        assert late == [(0, False)] * 2
    placed = list(device.go(0.5, "frames", "edges", "events"))
    assert all(shifts(p) == {device.axis.shift_us} for p in placed)
    assert device.axis.resets == 1


def test_a_stream_that_paused_has_a_last_item_on_the_way_when_the_clock_is_reset() -> None:
    device = Device(clock=12 * HOUR)
    device.run(1, "events", "edges")
    device.run(3 * 3600, "events", step=S)
    before = device.clock
    device.clock = 14 * HOUR  # nearer to that item than what the edges said hours ago
    device.run(0.1, "events")
    assert device.item("edges", before) == (0, False)
    device.run(0.1, "events")
    assert device.item("edges") == (device.axis.shift_us, False)


@pytest.mark.parametrize("pause", [6 * HOUR, 9 * HOUR, 11 * HOUR])
def test_a_stream_that_paused_over_a_reset_comes_over_whenever_it_comes_back(pause: int) -> None:
    """Also where the clock, counting from 0 again, is nearer to where it was than to its beginning."""
    device = Device(clock=10 * HOUR)
    device.run(2, "events", "edges", "frames")
    device.clock = 0
    device.run(pause / S, "events", step=S)
    for placed in device.go(2, "edges", "frames", "events"):
        assert placed == dict.fromkeys(("edges", "frames", "events"), (device.axis.shift_us, False))
    assert device.axis.resets == 1


@pytest.mark.parametrize("pause", [0, 50_000, 100_000, 200_000, 300_000])
@pytest.mark.parametrize("back", [150_000, 200_000, 500_000])
def test_streams_agree_soon_after_a_small_step_back(back: int, pause: int) -> None:
    """Also where the others come back just when the clock says again what it said at the last of them."""
    device = Device(clock=10 * S)
    device.run(2, "events", "edges", "frames")
    device.clock -= back
    device.run(pause / S, "events")
    placed = list(device.go(2, "edges", "events", "frames"))
    assert all(shifts(p) == {device.axis.shift_us} for p in placed[100:])
    assert device.axis.resets == 1


def test_one_stream_after_a_pause_of_all() -> None:
    """Nobody knows then whether the clock leapt; what matters is that all streams are on one axis."""
    device = Device()
    device.run(1, "events", "frames")
    device.clock += 2 * HOUR
    device.host_us += 2 * HOUR
    for placed in device.go(2, "frames", "events"):
        assert shifts(placed) == {device.axis.shift_us}
    assert abs(device.axis.shift_us) < 100_000
