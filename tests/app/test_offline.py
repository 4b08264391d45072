"""The offline pipeline: every exposure answered, at its own time, in order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.offline import NothingRestored, deblur
from app.offline_input import Item, open_input, until
from capture.errors import UsageError
from capture.packets import EventPacket, Events, Frame, Rejected, TriggerEdges
from inference.models import create
from recordings.recording import NotARecording, RecordingError
from sync.exposure import RefusedExposure
from sync.synchroniser import Synchroniser
from tests.app.offline_source import (
    EXPOSURE_US,
    Plain,
    Recorder,
    exposure_of,
    items,
    rig,
    source,
)
from tests.app.offline_source import START_US as ITEMS_START_US
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.sample import START_US, sample_events, sample_frames

AT = (0.0, 0.25, 1.0)
EXPOSED_US = 60_000


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_count_and_times_match_the_exposures(lag: int) -> None:
    sink = Recorder()
    result = deblur(source(items(10)), Plain(lag), AT, sink)
    expected = [round(exposure_of(k)[0] + v * EXPOSURE_US) for k in range(10) for v in AT]
    assert [s.time_us for s in sink.stamps] == expected
    assert [s.sequence for s in sink.stamps] == [100 + k for k in range(10) for _ in AT]
    assert [int(p[0, 0]) for p in sink.pictures] == [10 + k for k in range(10) for _ in AT]
    assert (result.frames_in, result.restored, result.pictures, result.dropped) == (10, 10, 30, 0)
    assert result.refused == []
    assert result.flags == {"saturated … %": 10}
    assert result.figures == {"contrast_on": 0.2}
    assert (result.first_us, result.last_us) == (expected[0], expected[-1])


def test_refused_exposures_are_listed_and_give_no_picture() -> None:
    sink = Recorder()
    result = deblur(source(items(10, unexposed=(3, 4))), Plain(), (0.5,), sink)
    assert [(r.ordinal, r.sequence, r.reason) for r in result.refused] == [
        (3, 103, "no_exposure"), (4, 104, "no_exposure"),
    ]  # fmt: skip
    assert [s.ordinal for s in sink.stamps] == [0, 1, 2, 5, 6, 7, 8, 9]
    assert result.frames_in == result.restored + len(result.refused) + result.dropped
    assert result.refusals() == {"no_exposure": 2}
    assert "103" in result.refused[0].detail


def test_what_came_in_and_what_was_lost_of_it_is_reported() -> None:
    def damaged() -> Iterator[Item]:
        for n, i in enumerate(items(10)):
            if isinstance(i, EventPacket):
                if n == 20:
                    i = replace(i, dropped=7, rejected=Rejected(2, 3))
                if n == 3:
                    i = replace(i, triggers=TriggerEdges(i.events.t[:3].copy(), np.array([True, False, True])))
            elif i.sequence in (105, 106):
                continue
            yield i

    whole = [i for i in damaged() if isinstance(i, EventPacket)]
    lost_us = next(i.events.t[0] for i in whole if i.dropped)
    result = deblur(source(damaged()), Plain(), (0.5,), Recorder())
    assert (result.frames_in, result.frames_missing, result.restored) == (8, 2, 8)
    assert result.events_in == sum(len(p.events) for p in whole)
    assert (result.events_dropped, result.events_rejected, result.edges_in) == (7, 5, 3)
    # Those whose window holds the moment of the loss.
    near = [
        k for k in range(10) if exposure_of(k)[0] < lost_us <= exposure_of(k)[1] + 5_000 and k not in (5, 6)
    ]
    assert result.incomplete == len(near) == 1
    assert deblur(source(items(10)), Plain(), (0.5,), Recorder()).incomplete == 0


def test_events_that_were_written_late_are_waited_for() -> None:
    """A machine short of breath wrote events half a second behind the frames: they are there all the same."""
    events = [i for i in items(40) if isinstance(i, EventPacket)]
    order = [(e.complete_until_us, e) for e in events]
    order = [(at + (500_000 if 200_000 < at - ITEMS_START_US < 900_000 else 0), e) for at, e in order]
    late = np.maximum.accumulate([at for at, _ in order])
    frames = [(exposure_of(k)[1], f) for k, f in enumerate(i for i in items(40) if isinstance(i, Frame))]
    mixed = sorted([*zip(late, events, strict=True), *frames], key=lambda v: v[0])
    sink = Recorder()
    result = deblur(source((i for _, i in mixed), 40), Plain(), (0.5,), sink)
    assert (result.restored, result.refused) == (40, [])
    # Live nobody knows whether they will come at all.
    sync, live = Synchroniser(rig()), []
    for _, item in mixed:
        (sync.push_events if isinstance(item, EventPacket) else sync.push_frame)(item)  # type: ignore[arg-type]
        live += sync.take()
    assert sum(isinstance(o, RefusedExposure) for o in live) > 5


def test_all_refused_is_an_error_with_the_reason() -> None:
    with pytest.raises(NothingRestored, match=r"none of 4 exposures.*4 × no exposure: frame 100 carries no"):
        deblur(source(items(4, unexposed=range(4))), Plain(), (0.5,), Recorder())


def test_no_frames_is_an_error() -> None:
    packets = (i for i in items(5) if not isinstance(i, Frame))
    with pytest.raises(NothingRestored, match="no frames came"):
        deblur(source(packets), Plain(), (0.5,), Recorder())


def test_jump_of_the_time_axis_keeps_ordinals_apart() -> None:
    sink, restorer = Recorder(), Plain(1)
    both = itertools.chain(items(3), items(3, epoch=1))
    result = deblur(source(both), restorer, (0.5,), sink)
    assert [s.ordinal for s in sink.stamps] == sorted({s.ordinal for s in sink.stamps})
    assert len({(s.ordinal, s.latent) for s in sink.stamps}) == result.pictures
    assert result.frames_in == 6 == result.restored + len(result.refused) + result.dropped
    assert "reset" in restorer.calls


def test_fixed_instants_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"'plain' gives only the instants 0\.5"):
        deblur(source(items(3)), Plain(fixed=(0.5,)), (0.25,), Recorder())
    assert deblur(source(items(3)), Plain(fixed=(0.5,)), (0.5,), Recorder()).restored == 3


def test_more_instants_than_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.offline.MAX_BYTES", 40 * 32 * 24 * 12)
    at = [k / 100 for k in range(41)]
    with pytest.raises(UsageError, match="at most 40"):
        deblur(source(items(3)), Plain(), at, Recorder())
    assert deblur(source(items(3)), Plain(), at[:40], Recorder()).pictures == 120


def test_error_of_the_sink_passes_through() -> None:
    class Full:
        def add(self, *_: object) -> None:
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        deblur(source(items(3)), Plain(), (0.5,), Full())


def test_progress_grows_to_one() -> None:
    shares: list[float] = []
    deblur(source(items(10)), Plain(), (0.5,), Recorder(), lambda share, _: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) > 10


def test_same_input_same_bytes() -> None:
    def run() -> list[np.ndarray]:
        sink = Recorder()
        deblur(source(items(8, rgb=True)), create("edi", rig(), None, "cpu"), AT, sink)
        return sink.pictures

    a, b = run(), run()
    assert len(a) == 24
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_until_cuts_by_event_time() -> None:
    got = [i for i in until(items(10), 100_000) if isinstance(i, Frame)]
    assert [f.sequence for f in got] == [100, 101, 102]


def test_a_recording(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "a.aedat4", sample_events(), sample_frames())
    with open_input(str(path)) as s:
        sink = Recorder()
        result = deblur(s, create("none", s.rig), (0.5,), sink)
    frames = sample_frames()
    assert result.frames_in == len(frames)
    whole = {f.start_us + 30_000: f.image for f in frames}
    for stamp, image in zip(sink.stamps, sink.pictures, strict=True):
        assert np.array_equal(image, whole[stamp.time_us])
    with open_input(str(path), seconds=0.35) as s:
        assert deblur(s, create("none", s.rig), (0.5,), Recorder()).frames_in < len(frames)


def test_inputs_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty.aedat4").write_bytes(b"")
    (tmp_path / "noise.aedat4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "rig.toml").write_text("")
    no_frames = write_aedat4(tmp_path / "events.aedat4", sample_events())
    e = sample_events()
    dot = Events(e.t, 0 * e.x, 0 * e.y, e.p, 2, 1)
    tiny = write_aedat4(tmp_path / "dot.aedat4", dot, [WrittenFrame(START_US, 9, np.zeros((1, 2), np.uint8))])
    cases = [
        ("nowhere.aedat4", UsageError, "does not exist"),
        (str(tmp_path / "empty.aedat4"), NotARecording, "empty"),
        (str(tmp_path / "noise.aedat4"), NotARecording, "damaged or of another format"),
        (str(tmp_path / "rig.toml"), UsageError, "never end"),
        (str(tmp_path), NotARecording, "folder"),
        (str(no_frames), RecordingError, "no frames"),
        (str(tiny), RecordingError, "events of 2×1 pixels"),
    ]
    for text, kind, words in cases:
        with pytest.raises(kind, match=words), open_input(text):
            pass
    for stated, option in (({"exposure_us": 5000}, "--exposure-us"), ({"geometry": (64, 48)}, "--geometry")):
        with pytest.raises(UsageError, match=f"{option} is for recordings"), open_input("simulated", **stated):  # type: ignore[arg-type]
            pass


def test_frames_without_exposure_go_to_networks_that_need_no_events() -> None:
    sink = Recorder()
    result = deblur(source(items(6, unexposed=(2, 3))), create("none", rig()), (0.25, 0.75), sink)
    assert (result.frames_in, result.restored, result.pictures) == (6, 6, 12)
    assert result.refused == []
    assert result.alone == 2
    assert result.flags == {"frame alone: no exposure": 2}
    assert [s.ordinal for s in sink.stamps] == [k for k in range(6) for _ in range(2)]
    odd = sink.stamps[4]
    assert (odd.exposure_start_us, odd.exposure_end_us, odd.uncertainty_us) == (None, None, None)
    assert odd.source == "unknown"
    times = [s.time_us for s in sink.stamps]
    assert times == sorted(times), "it stands where it came"


@pytest.mark.parametrize("exposed", [True, False])
def test_a_recording_of_frames_only(tmp_path: Path, exposed: bool) -> None:
    frames = sample_frames(exposure_us=EXPOSED_US if exposed else None)
    path = write_aedat4(tmp_path / "frames.aedat4", frames=frames)
    with open_input(str(path)) as s:
        assert not s.rig.has_events
        with pytest.raises(UsageError, match="'edi' needs events and the source has frames only"):
            deblur(s, create("edi", s.rig, None, "cpu"), (0.5,), Recorder())
    with open_input(str(path)) as s:
        sink = Recorder()
        result = deblur(s, create("none", s.rig), (0.5,), sink)
    assert (result.frames_in, result.restored, result.dropped) == (len(frames), len(frames), 0)
    for got, frame in zip(sink.pictures, frames, strict=True):
        np.testing.assert_array_equal(got, frame.image)
    if exposed:
        assert [x.time_us for x in sink.stamps] == [f.start_us + EXPOSED_US // 2 for f in frames]
        assert result.flags == {}
    else:
        assert result.flags == {"frame alone: no exposure": len(frames)}


@pytest.mark.usefixtures("one_thread")
def test_frames_and_no_events_are_all_that_cdvd_tsp_needs(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "frames.aedat4", frames=sample_frames(colour=True)[:2])
    with open_input(str(path)) as s:
        restorer = create("cdvd-tsp", s.rig, {"random_weights": True}, "cpu")
        result = deblur(s, restorer, (0.5,), Recorder())
    assert (result.frames_in, result.restored, result.dropped) == (2, 2, 0)


@pytest.mark.usefixtures("one_thread")
def test_pictures_of_random_weights_say_so() -> None:
    restorer = create("s-sdm-ldn", rig(), {"random_weights": True, "contrast": 0.2}, "cpu")
    sink = Recorder()
    result = deblur(source(items(1, rgb=True)), restorer, (0.5,), sink)
    assert result.flags["random weights: not a result"] == 1
    corner = sink.pictures[0][:12].astype(int)
    assert (corner.max(axis=2) - corner.min(axis=2) < 3).any(), "gray letters on a coloured picture"
    assert np.ptp(corner) > np.ptp(sink.pictures[0][14:].astype(int)) + 50, "white with a black outline"


def test_cut_recording_uses_what_is_there_and_says_so(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "a.aedat4", sample_events(), sample_frames())
    data = path.read_bytes()
    cut = tmp_path / "cut.aedat4"
    cut.write_bytes(data[: len(data) * 6 // 10])
    with open_input(str(cut)) as s:
        result = deblur(s, create("none", s.rig), (0.5,), Recorder())
        assert 0 < result.restored < 10
        assert any("missing" in p or "cut" in p for p in s.problems()), s.problems()


def test_simulated_rig_offline() -> None:
    with open_input("simulated:davis", seconds=0.3) as s:
        sink = Recorder()
        result = deblur(s, create("none", s.rig), (0.5,), sink)
    assert result.frames_in == result.restored + len(result.refused)
    assert result.restored >= 5
    times = [stamp.time_us for stamp in sink.stamps]
    assert times == sorted(times)
