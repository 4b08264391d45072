"""Replay: the items of the recording, at the asked pace, with pause, step, seek, speed and loop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.camera import EndOfStream
from capture.errors import CameraError, UsageError
from capture.packets import EventPacket, Frame
from capture.registry import open_driver
from recordings.open import open_recording
from recordings.recording import NotARecording
from recordings.replay import DRIVER
from tests.capture.simulated_small import small
from tests.recordings.own_sample import rig_of_config, write_own
from tests.recordings.sample import EXPOSURE_US, FRAMES, PERIOD_US, START_US, sample_events

Item = EventPacket | Frame
LONG = 20.0  # a hang guard, not an expectation


class Pair:
    """Both cameras of a replayed recording, read in turns as a worker does."""

    def __init__(self, path: Path, **settings: Any) -> None:
        driver, config = open_driver(f"replay:{path}", settings)
        both = driver.pair(config)
        assert both is not None
        self.events, self.frames = both
        self.cameras = both
        for c in self.cameras:
            c.open()
        self.begun_ns = time.monotonic_ns()
        for c in self.cameras:
            c.start(self.begun_ns)

    def command(self, verb: str, **arguments: Any) -> dict[str, Any]:
        return self.frames.command(verb, arguments)

    def turn(self, timeout_s: float = 0.01) -> list[Item]:
        """What one read of each camera gives; the end counts as nothing."""
        got: list[Item] = []
        for c in self.cameras:
            with contextlib.suppress(EndOfStream):
                item = c.read(timeout_s)
                got += [] if item is None else [item]
        return got

    def shown(self) -> list[Item]:
        """What comes up to one frame, and a little longer to see that nothing follows."""
        got: list[Item] = []
        guard = time.monotonic() + LONG
        while not frames(got):
            assert time.monotonic() < guard
            got += self.turn()
        return got + self.some(0.1)

    def some(self, quiet_s: float = 0.3) -> list[Item]:
        """What comes until nothing comes for a while; the end counts as nothing."""
        got: list[Item] = []
        until = time.monotonic() + quiet_s
        while time.monotonic() < until:
            now = self.turn(0.005)
            got += now
            if now:
                until = time.monotonic() + quiet_s
        return got

    def all(self) -> list[Item]:
        """Everything until both are at the end."""
        got: list[Item] = []
        waiting = set(self.cameras)
        guard = time.monotonic() + LONG
        while waiting:
            assert time.monotonic() < guard
            for c in list(waiting):
                try:
                    item = c.read(0.005)
                except EndOfStream:
                    waiting.discard(c)
                    continue
                if item is not None:
                    got.append(item)
        return got

    def close(self) -> None:
        for c in self.cameras:
            c.close()


@pytest.fixture
def opened(sample: Path) -> Iterator[Any]:
    pairs: list[Pair] = []

    def make(path: Path = sample, **settings: Any) -> Pair:
        pairs.append(Pair(path, **settings))
        return pairs[-1]

    yield make
    for p in pairs:
        p.close()


def frames(items: list[Item]) -> list[Frame]:
    return [i for i in items if isinstance(i, Frame)]


def packets(items: list[Item]) -> list[EventPacket]:
    return [i for i in items if isinstance(i, EventPacket)]


def same(a: list[Item], b: list[Item]) -> bool:
    """The same items, host time and epoch aside."""

    def key(i: Item) -> tuple[Any, ...]:
        if isinstance(i, Frame):
            return (i.sequence, i.device_start_ns, i.device_end_ns, i.image.tobytes(), i.kind, i.layout)
        e = i.events
        return (
            i.complete_until_us, i.gap, i.rejected, e.t.tobytes(), e.x.tobytes(), e.y.tobytes(), e.p.tobytes(),
            i.triggers.t.tobytes(), i.triggers.rising.tobytes(),
        )  # fmt: skip

    return [key(i) for i in packets(a)] == [key(i) for i in packets(b)] and [key(i) for i in frames(a)] == [
        key(i) for i in frames(b)
    ]


@pytest.mark.parametrize("speed", [0, 8, 2.5])
def test_replay_gives_the_recordings_items_at_any_speed(sample: Path, opened: Any, speed: float) -> None:
    with open_recording(sample) as r:
        expected = list(r.items())
    got = opened(speed=speed).all()
    assert same(got, expected)
    assert {i.epoch for i in got} == {0}
    assert all(i.host_ns > 0 for i in got)


@pytest.mark.parametrize("speed", [1.5, 4])
def test_items_come_no_sooner_than_they_are_due(opened: Any, speed: float) -> None:
    p = opened(speed=speed)
    waiting = set(p.cameras)
    while waiting:
        for c in list(waiting):
            try:
                i = c.read(0.005)
            except EndOfStream:
                waiting.discard(c)
                continue
            if i is None:
                continue
            axis = i.complete_until_us if isinstance(i, EventPacket) else int(i.device_end_ns or 0) // 1000
            due = p.begun_ns + (axis - sample_events().t[0]) * 1000 / speed
            assert time.monotonic_ns() >= i.host_ns >= due - 1000


def test_paused_nothing_is_delivered_and_play_loses_nothing(sample: Path, opened: Any) -> None:
    p = opened(speed=4)
    got: list[Item] = []
    while not frames(got):
        got += p.turn()
    assert p.command("pause")["paused"]
    assert p.some(0.2) == []
    assert p.command("status")["time_us"] < START_US + 1_000_000
    p.command("play")
    got += p.all()
    with open_recording(sample) as r:
        assert same(got, list(r.items()))


def test_step_shows_exactly_one_frame_and_stands(opened: Any) -> None:
    p = opened(speed=4)
    p.command("pause")
    p.command("seek", time_us=START_US + 20_000 + 3 * PERIOD_US + 5)
    assert [f.sequence for f in frames(p.shown())] == [3]
    p.command("step", n=1)
    forward = p.shown()
    assert [f.sequence for f in frames(forward)] == [4]
    # No jump: the same epoch, and the events lead up to just this exposure's end.
    assert {i.epoch for i in forward} == {1}
    assert packets(forward)[-1].complete_until_us == START_US + 20_000 + 4 * PERIOD_US + EXPOSURE_US
    p.command("step", n=-1)
    back = p.shown()
    assert [f.sequence for f in frames(back)] == [3]
    assert {i.epoch for i in back} == {2}
    # The events of the whole exposure are there again.
    assert packets(back)[0].events.t[0] < START_US + 20_000 + 3 * PERIOD_US
    p.command("step", n=-2)
    assert [f.sequence for f in frames(p.shown())] == [1]
    p.command("step", n=-5)
    assert [f.sequence for f in frames(p.shown())] == [0]
    p.command("step", n=-1)
    assert p.some(0.15) == []
    p.command("step", n=99)
    assert [f.sequence for f in frames(p.shown())] == [FRAMES - 1]
    assert p.command("step", n=1)["paused"]
    assert p.some(0.15) == []
    p.command("step", n=-1)
    assert [f.sequence for f in frames(p.shown())] == [FRAMES - 2]


def test_the_camera_stays_open_at_the_end_and_a_seek_begins_a_new_epoch(sample: Path, opened: Any) -> None:
    p = opened(speed=0)
    p.all()
    with pytest.raises(EndOfStream):
        p.events.read(0.1)
    assert p.command("status")["at_end"]
    start = START_US + 20_000 + 6 * PERIOD_US
    assert p.command("seek", time_us=start + 30_000)["epoch"] == 1
    got = p.all()
    assert [f.sequence for f in frames(got)] == [6, 7, 8, 9]
    assert {i.epoch for i in got} == {1}
    with open_recording(sample) as r:
        rest = list(r.items(start - 100_000))
    assert same(packets(got), packets(rest))
    p.command("play")
    assert len(frames(p.all())) == FRAMES


def test_seeking_again_and_again_ends_where_asked(opened: Any) -> None:
    p = opened(speed=0)
    rng = np.random.default_rng(5)
    for k in rng.integers(0, FRAMES, 30).tolist():
        epoch = p.command("seek", time_us=START_US + 20_000 + k * PERIOD_US)["epoch"]
        got = p.turn() + p.turn()
        assert all(i.epoch == epoch for i in got)
    got = p.all()
    assert {i.epoch for i in got} <= {epoch}


def test_each_lap_of_a_loop_is_a_new_epoch_in_order(sample: Path, opened: Any) -> None:
    with open_recording(sample) as r:
        expected = list(r.items())
    p = opened(speed=0, loop=True)
    got: list[Item] = []
    while not any(i.epoch == 3 for i in got):
        got += p.turn()
    for epoch in (0, 1):
        assert same([i for i in got if i.epoch == epoch], expected)
    p.command("loop", on=False)
    epochs = max(i.epoch for i in p.all())
    p.command("loop", on=True)
    again: list[Item] = []
    while not frames(again):
        again += p.turn()
    assert frames(again)
    assert min(i.epoch for i in again) > epochs


def test_a_loop_switched_on_at_the_end_keeps_the_pace(sample: Path, opened: Any) -> None:
    p = opened(speed=8)
    p.all()
    time.sleep(0.5)
    assert p.command("loop", on=True)["loop"]
    begun = time.monotonic()
    again: list[Item] = []
    while len(frames(again)) < FRAMES:
        again += p.turn()
    # From the end's last item to the last frame: nine periods and two parts of one, eight times as fast.
    assert time.monotonic() - begun > 0.9 * (FRAMES - 1) * PERIOD_US / 1e6 / 8


def test_speed_can_change_while_it_runs(sample: Path, opened: Any) -> None:
    p = opened(speed=0.5)
    got = p.turn(0.05)
    assert p.command("speed", factor=8)["speed"] == 8
    got += p.all()
    with open_recording(sample) as r:
        assert same(got, list(r.items()))


@pytest.mark.parametrize("factor", [-1, 0.05, 9, "fast", None, float("nan")])
def test_a_speed_out_of_range_is_refused(opened: Any, factor: object) -> None:
    p = opened(speed=0)
    with pytest.raises(CameraError, match=r"speed .* is out of range"):
        p.command("speed", factor=factor)


def test_unknown_requests_and_arguments_are_refused(opened: Any) -> None:
    p = opened(speed=0)
    with pytest.raises(CameraError, match="does not know the request 'fly'"):
        p.command("fly")
    with pytest.raises(CameraError, match="time_us must be a number"):
        p.command("seek")
    with pytest.raises(CameraError, match="unknown setting spede; known: loop, speed"):
        p.command("set", spede=2)


def test_after_a_stop_it_goes_on_without_a_loss(sample: Path, opened: Any) -> None:
    p = opened(speed=4)
    got: list[Item] = []
    while len(frames(got)) < 2:
        got += p.turn()
    for c in p.cameras:
        c.stop()
    assert p.turn() == []
    time.sleep(0.2)
    for c in p.cameras:
        c.start()
    got += p.all()
    with open_recording(sample) as r:
        assert same(got, list(r.items()))
    assert {i.epoch for i in got} == {0}


def test_a_late_start_on_the_common_axis_begins_where_the_others_are(sample: Path) -> None:
    driver, config = open_driver(f"replay:{sample}", {"speed": 1.0})
    camera = driver.frame_camera(config)
    with camera:  # type: ignore[attr-defined]
        camera.start(time.monotonic_ns() - 700_000_000)
        first = camera.read(LONG)
        assert first is not None
        assert first.sequence >= 6


def test_read_latest_gives_the_newest_and_counts_the_rest(sample: Path) -> None:
    driver, config = open_driver(f"replay:{sample}", {"speed": 0})
    camera = driver.frame_camera(config)
    with camera:  # type: ignore[attr-defined]
        camera.start()
        time.sleep(0.5)
        frame = camera.read_latest(10.0, 10.0)
        assert frame.sequence == camera.superseded > 0


def test_one_camera_alone_works(events_only: Path) -> None:
    driver, config = open_driver(f"replay:{events_only}", {"speed": 0})
    camera = driver.event_camera(config)
    with camera:  # type: ignore[attr-defined]
        camera.start()
        n = 0
        with pytest.raises(EndOfStream):
            while (p := camera.read(LONG)) is not None:
                n += len(p.events)
        assert n == len(sample_events())
        assert camera.info.width == 64


def test_a_pair_wants_both_streams(events_only: Path, frames_only: Path) -> None:
    for path, lack in ((events_only, "has no frames"), (frames_only, "has no events")):
        driver, config = open_driver(f"replay:{path}")
        pair = driver.pair(config)
        assert pair is not None
        with pytest.raises(CameraError, match=lack):
            pair[0].open()
        for c in pair:
            c.close()


def test_configure_refuses_what_cannot_be_replayed(tmp_path: Path, sample: Path) -> None:
    with pytest.raises(UsageError, match="which recording"):
        DRIVER.configure("", {})
    with pytest.raises(NotARecording, match="no such file"):
        DRIVER.configure(str(tmp_path / "absent.aedat4"), {})
    with pytest.raises(UsageError, match="setting sped; known: deadline_s, exposure_us, geometry, loop, speed"):
        DRIVER.configure(str(sample), {"sped": 1})
    with pytest.raises(UsageError, match="speed 20 is out of range"):
        DRIVER.configure(str(sample), {"speed": 20})
    with pytest.raises(UsageError, match="deadline_s"):
        DRIVER.configure(str(sample), {"deadline_s": -1})


def test_the_rig_of_one_sensor_is_known(sample: Path) -> None:
    facts = DRIVER.rig_facts(DRIVER.configure(str(sample), {}))
    assert facts is not None
    assert facts.one_sensor
    assert (facts.event_size, facts.image_size) == ((64, 48), (64, 48))


def test_camera_info_tells_who_and_how_fast(opened: Any) -> None:
    p = opened(speed=0)
    assert (p.frames.info.width, p.frames.info.height, p.frames.info.rate_hz) == (64, 48, 10.0)
    assert (p.events.info.model, p.events.info.serial) == ("DAVIS346", "TEST")
    assert p.events.info.capabilities.triggers
    assert p.events.info.capabilities.seekable


def test_as_fast_as_possible_both_cameras_keep_the_order_of_the_file(made: Path) -> None:
    """Frames of two cameras tell by their place among the events when they came."""
    with open_recording(made) as r:
        want = [i.complete_until_us if isinstance(i, EventPacket) else -i.sequence for i in r.items()]
    driver, config = open_driver(f"replay:{made}", {"speed": 0})
    pair = driver.pair(config)
    assert pair is not None
    for c in pair:
        c.open()
    for c in pair:
        c.start(0)
    got: list[int] = []
    ended = set()
    guard = time.monotonic() + LONG
    while len(ended) < 2:
        assert time.monotonic() < guard
        for c, wait in zip(pair, (0.004, 0.0), strict=True):  # as the worker reads them
            try:
                item = c.read(wait)
            except EndOfStream:
                ended.add(c)
                continue
            if item is not None:
                got.append(item.complete_until_us if isinstance(item, EventPacket) else -item.sequence)
    for c in pair:
        c.close()
    assert got == want


def test_a_frame_comes_as_long_after_the_events_before_it_as_it_came_when_it_was_recorded(
    given_items: list[Item], tmp_path: Path
) -> None:
    """Between two packets of events: given with the first of them, it would come before its exposure's end."""
    base_ns, part = 5_000_000_000, 0.6
    came: list[Item] = []
    last = step = 0
    for item in given_items:
        if isinstance(item, EventPacket):
            step, last = item.complete_until_us - last, item.complete_until_us
            came.append(replace(item, host_ns=base_ns + 1000 * last))
        else:
            came.append(replace(item, host_ns=base_ns + 1000 * last + round(1000 * part * step)))
    write_own(tmp_path / "recording", rig_of_config(small(paced=False)), came)
    pair = Pair(tmp_path / "recording")
    got = pair.all()
    pair.close()
    at = {p.complete_until_us: p.host_ns for p in packets(got)}
    before: dict[int, tuple[int, int]] = {}
    last = step = 0
    for item in came:
        if isinstance(item, EventPacket):
            step, last = item.complete_until_us - last, item.complete_until_us
        else:
            before[item.sequence] = last, step
    shares = [(f.host_ns - at[before[f.sequence][0]]) / 1e3 / before[f.sequence][1] for f in frames(got)]
    assert len(shares) > 5
    assert np.median(shares) == pytest.approx(part, abs=0.15), shares


def test_a_name_that_begins_like_a_home_is_a_name(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("~cups.aedat4").symlink_to(sample)
    _, config = open_driver("replay:~cups.aedat4", {})
    assert config.path.name == "~cups.aedat4"
