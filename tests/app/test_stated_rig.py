"""`--rig`: a recording of two cameras that does not tell how their pixels lie, and the rig file that does."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w

import halfmirror
from app.adapting import pairs, rig_of_all
from app.cli.program import execute
from app.offline_input import open_input
from app.sources import SourceRequest, resolve
from calibration.nominal import nominal
from capture.camera import CameraRole
from capture.errors import UsageError
from recordings.open import open_recording
from recordings.recording import OpenOptions
from sync.rig import NO_CAMERA, Clock, EventEntry, Geometry, ImageEntry, Rig
from tests.capture.simulated_small import small
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.make_datasets import FRAMES, exposure
from tests.recordings.make_folders import write_intervals, write_pictures
from tests.recordings.own_sample import items_of, rig_of_config, write_own
from tests.recordings.reading import events_and_frames
from tests.recordings.sample import EXPOSURE_US, PERIOD_US, START_US, sample_events, sample_frames
from tests.recordings.test_picture_folders import full

MIRRORED = ((-2.0, 0.0, 127.0), (0.0, 2.0, 0.5), (0.0, 0.0, 1.0))


def rig(path: Path, events: tuple[int, int] = (64, 48), image: tuple[int, int] = (128, 96)) -> Path:
    made = Rig(
        name="two cameras",
        events=EventEntry(camera="evk4:1", serial="1", width=events[0], height=events[1], threshold_on=0.3,
                          threshold_off=0.4, settings={"bias_fo": 3}),
        image=ImageEntry(camera="flir:2", serial="2", width=image[0], height=image[1], tone="srgb"),
        geometry=Geometry(image_from_event=MIRRORED, mirrored=True, measured="by hand"),
        clock=Clock(relation="host", drift_ppm=40.0, delay_us=900.0),
    )  # fmt: skip
    made.save(path)
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    frames = [
        WrittenFrame(START_US + 20_000 + k * PERIOD_US, EXPOSURE_US, rng.integers(0, 256, (96, 128), np.uint8))
        for k in range(4)
    ]
    return write_aedat4(tmp_path_factory.mktemp("in") / "two.aedat4", sample_events(), frames)


def test_its_map_scale_mirror_and_cameras_hold_and_its_clock_does_not(two: Path, tmp_path: Path) -> None:
    with open_input(str(two), rig=rig(tmp_path / "rig.toml")) as source:
        r = source.rig
        assert r.geometry == Rig.load(tmp_path / "rig.toml").geometry
        assert (r.scale, r.image.tone, r.events.threshold_off) == (2.0, "srgb", 0.4)
        assert r.clock == Clock()
        # A live rig's cameras are not there; nothing may compare with them.
        assert (r.events.serial, r.image.serial, r.events.settings) == ("", "", {})


def test_deblur_restores_with_it(two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    line = ["deblur", str(two), "-n", "edi", "--contrast", "0.2", "--device", "cpu", "-o", str(out)]
    assert execute(line) == 2
    assert "give --rig RIG.toml" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    assert execute([*line, "--rig", str(rig(tmp_path / "rig.toml"))]) == 0
    assert len(list(out.glob("exposure-*.png"))) == 4


def test_an_export_lies_as_it_says(two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a mirrored rig the exported events lie on the picture as its map puts them."""
    out = tmp_path / "out.h5"
    line = ["export", str(two), "--to", "efnet-h5", "-o", str(out)]
    assert execute(line) == 2
    assert "give --rig RIG.toml" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    assert execute([*line, "--rig", str(rig(tmp_path / "rig.toml"))]) == 0
    with open_recording(out) as r:
        got, frames = events_and_frames(r)
    assert len(frames) == 4
    first = (frames[0].device_start_ns or 0) // 1000
    with open_recording(two) as r:
        given, before = events_and_frames(r)
    shift = (before[0].device_start_ns or 0) // 1000 - first
    inside = np.isin(given.t, got.t + shift)
    x, y = 127.0 - 2.0 * given.x[inside], 2.0 * given.y[inside] + 0.5
    assert len(got) == inside.sum() > 1000
    assert np.abs(got.x - x).max() <= 0.5
    assert np.abs(got.y - y).max() <= 0.5


@pytest.mark.parametrize(("to", "frames"), [("msrbd", 4), ("highrev", 4), ("evt3", 0), ("png", 4)])
def test_every_kind_of_export_takes_it(two: Path, tmp_path: Path, to: str, frames: int) -> None:
    out = tmp_path / ("out.raw" if to == "evt3" else "out")
    line = ["export", str(two), "--to", to, "-o", str(out), "--rig", str(rig(tmp_path / "rig.toml"))]
    assert execute(line) == 0
    if to == "png":
        assert len(list(out.glob("*.png"))) == frames
        return
    with open_recording(out / "train" if to == "msrbd" else out) as r:
        events, found = events_and_frames(r)
    assert len(events) > 1000
    assert len(found) == frames


def test_pictures_and_events_of_one_size_may_be_two_cameras(tmp_path: Path) -> None:
    """A folder of both says nothing of pixels; equal sizes count as one grid until a rig file says more."""
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", full())
    (tmp_path / "images" / "timestamp.txt").write_text("".join(f"{exposure(k)[0]}\n" for k in range(FRAMES)))
    with open_input(str(tmp_path), exposure_us=20_000) as source:
        assert source.rig.identity
        size = (source.rig.image.width, source.rig.image.height)
    said = rig(tmp_path / "rig.toml", size, size)
    with open_input(str(tmp_path), exposure_us=20_000, rig=said) as source:
        assert source.rig.geometry == Rig.load(said).geometry
        assert source.rig.clock == Clock()


def test_replay_gives_its_workers_the_rig_and_its_camera_what_it_knows(two: Path, tmp_path: Path) -> None:
    settings = {"rig": rig(tmp_path / "rig.toml"), "exposure_us": 5}
    source = resolve(SourceRequest(str(two), two, settings))
    assert source.rig.geometry.mirrored
    (camera,) = source.cameras
    assert set(camera.settings) == {"exposure_us", "speed", "loop"}
    assert source.rig.image.camera == camera.camera


def test_replay_by_a_network_that_takes_no_events_needs_none(
    two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of events that lie nobody knows where nothing can be shown: the frames are replayed alone."""
    source = resolve(SourceRequest.of(two), placed=False)
    assert not source.rig.has_events
    assert source.cameras[0].roles == (CameraRole.FRAMES,)
    assert any("events are left out" in p for p in source.problems)
    with_one = resolve(SourceRequest.of(two, {"rig": rig(tmp_path / "rig.toml")}), placed=False)
    assert with_one.rig.has_events
    line = ["replay", str(two), "--headless", "--as-fast-as-possible", "-o"]
    assert execute([*line, str(tmp_path / "edi"), "-n", "edi"]) == 2
    assert "give --rig RIG.toml" in " ".join(capsys.readouterr().err.split())
    assert execute([*line, str(tmp_path / "none"), "-n", "none"]) == 0
    assert "in 4 = out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"events": (32, 48)}, "is for events of 32×48, .*two.aedat4 has 64×48"),
        ({"image": (128, 95)}, "is for pictures of 128×95, .*two.aedat4 has 128×96"),
    ],
)
def test_a_rig_of_other_cameras(
    two: Path, tmp_path: Path, sizes: dict[str, tuple[int, int]], says: str
) -> None:
    with pytest.raises(UsageError, match=says), open_input(str(two), rig=rig(tmp_path / "rig.toml", **sizes)):
        pass


def test_a_rig_without_events(two: Path, tmp_path: Path) -> None:
    Rig.frames_only("one", (128, 96)).save(tmp_path / "rig.toml")
    assert Rig.load(tmp_path / "rig.toml").events.camera == NO_CAMERA
    with (
        pytest.raises(UsageError, match="has no event camera"),
        open_input(str(two), rig=tmp_path / "rig.toml"),
    ):
        pass


@pytest.mark.parametrize("verb", ["replay", "deblur", "export"])
def test_refusals_are_one_line(
    two: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = rig(tmp_path / "rig.toml")
    (tmp_path / "bad.toml").write_text("version = 2\n")
    one = write_aedat4(tmp_path / "one.aedat4", sample_events(2000), sample_frames())
    alone = write_aedat4(tmp_path / "alone.aedat4", frames=sample_frames())
    more = {"replay": ["--headless"], "deblur": ["-n", "none"], "export": ["--to", "msrbd"]}[verb]
    for source, file, says in (
        (two, tmp_path / "none.toml", "none.toml"),
        (two, tmp_path / "bad.toml", "bad.toml"),
        (one, good, "tells itself how event pixels lie on its pictures; leave --rig out"),
        (alone, good, "has no events that --rig could place; leave --rig out"),
    ):
        line = [verb, str(source), "-o", str(tmp_path / "out"), "--rig", str(file), *more]
        assert execute(line) == 2, line
        err = capsys.readouterr().err
        assert says in " ".join(err.split())
        assert sum(x.startswith("halfmirror:") for x in err.splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_an_export_of_events_alone_has_no_use_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = write_aedat4(tmp_path / "alone.aedat4", sample_events(2000))
    line = ["export", str(alone), "--to", "evt3", "-o", str(tmp_path / "out.raw")]
    assert execute([*line, "--rig", str(rig(tmp_path / "rig.toml"))]) == 2
    assert "has no frames on which --rig could place events" in " ".join(capsys.readouterr().err.split())
    assert execute(line) == 0


def test_a_simulated_rig_knows_its_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--rig is for recordings"), open_input("simulated", rig=tmp_path):
        pass


def test_reading_alone_needs_no_rig(two: Path) -> None:
    with open_recording(two) as r:
        assert any("a rig file is needed (--rig)" in p for p in r.info.problems)


def test_where_one_is_stated_none_is_asked_for(two: Path, tmp_path: Path) -> None:
    with open_recording(two, rig=rig(tmp_path / "rig.toml")) as r:
        assert not any("rig" in p for p in r.info.problems)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of two cameras whose rig nobody had calibrated."""
    path = tmp_path_factory.mktemp("ours") / "ours"
    config = small(paced=False)
    write_own(path, nominal(rig_of_config(config)), items_of(config, 1.0))
    about = tomllib.loads((path / "recording.toml").read_text())
    about["events"]["serial"] = about["frames"]["serial"] = "this one"
    (path / "recording.toml").write_text(tomli_w.dumps(about))
    return path


def test_a_rig_that_was_calibrated_later_takes_the_place_of_the_one_in_our_recording(
    ours: Path, tmp_path: Path
) -> None:
    truth = rig_of_config(small(paced=False))
    later = tmp_path / "rig.toml"
    clock = truth.clock.model_copy(update={"delay_us": 30.0, "residual_us": 1.0})
    events = truth.events.model_copy(update={"camera": "evk4:1", "threshold_on": 0.31})
    truth.model_copy(update={"clock": clock, "events": events}).save(later)
    with open_input(str(ours)) as before, open_input(str(ours), rig=later) as source:
        assert before.rig.geometry != truth.geometry
        assert source.rig.geometry == truth.geometry
        assert source.rig.clock == clock
        assert source.rig.events.threshold_on == 0.31
        # Whose the recording is does not change.
        assert source.rig.events.camera == before.rig.events.camera
    line = ["deblur", str(ours), "-n", "edi", "--contrast", "0.2", "--device", "cpu", "--rig", str(later)]
    assert execute([*line, "-o", str(tmp_path / "out")]) == 0
    assert resolve(SourceRequest(str(ours), ours, {"rig": later})).rig.geometry == truth.geometry


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"events": {"serial": "other"}}, "is of the event camera other, the recording of"),
        ({"image": {"serial": "other"}}, "is of the frame camera other, the recording of"),
        ({"clock": {"relation": "same"}}, "the recording's have a clock of their own"),
        ({"image": {"width": 50}}, "is for pictures of 50×"),
    ],
)
def test_another_rig_does_not_take_it(
    ours: Path, tmp_path: Path, change: dict[str, dict[str, object]], says: str
) -> None:
    truth = rig_of_config(small(paced=False))
    part = {k: getattr(truth, k).model_copy(update=v) for k, v in change.items()}
    truth.model_copy(update=part).save(tmp_path / "rig.toml")
    with pytest.raises(UsageError, match=says), open_input(str(ours), rig=tmp_path / "rig.toml"):
        pass


def test_programs_of_ones_own_need_none_without_events_and_may_name_it(two: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --rig"):
        next(halfmirror.deblur(two, "edi"))
    assert len(list(halfmirror.deblur(two, "none"))) == 4  # as `halfmirror deblur -n none`
    named = {"rig": str(rig(tmp_path / "rig.toml"))}  # as `halfmirror.live` hands it on
    assert resolve(SourceRequest.of(two, named)).rig.scale == 2.0


def test_a_network_is_adapted_with_it(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = OpenOptions(rig=rig(tmp_path / "rig.toml"))
    assert rig_of_all([str(two)], said).scale == 2.0
    assert pairs(str(two), 10.0, lambda *a: None, said).usable == 4
    seen: list[OpenOptions] = []

    def asked(sources: object, said: OpenOptions) -> Rig:
        seen.append(said)
        raise UsageError("enough")

    monkeypatch.setattr("app.adapting.rig_of_all", asked)
    line = ["train", "adapt", "-n", "glint", "--data", str(two), "--rig", str(said.rig)]
    assert execute([*line, "--exposure-us", "8000", "--geometry", "64x48"]) == 2
    assert seen == [OpenOptions(exposure_us=8000, geometry=(64, 48), rig=said.rig)]
    assert execute(["train", "efnet", "--rig", str(said.rig)]) == 2
    assert "belong to train adapt" in " ".join(capsys.readouterr().err.split())


def test_exposures_that_are_stated_serve_to_adapt(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", full())
    (tmp_path / "images" / "timestamp.txt").write_text("".join(f"{exposure(k)[0]}\n" for k in range(FRAMES)))
    with pytest.raises(UsageError, match="no exposure"):
        pairs(str(tmp_path), 10.0, lambda *a: None)
    assert pairs(str(tmp_path), 10.0, lambda *a: None, OpenOptions(exposure_us=20_000)).usable > 2
