"""A rig put together on the page: what becomes of choices and settings in the rig file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.rig_setup import RigSetup, as_settings
from capture.camera import CameraRole
from capture.errors import CameraError, UsageError
from capture.registry import open_driver
from capture.simulated.presets import configure
from capture.simulated.rig import facts_of
from sync.rig import Lens, Rig

E, F = CameraRole.EVENTS, CameraRole.FRAMES


def told(setup: RigSetup, events: tuple[int, int] = (1280, 720), frames: tuple[int, int] = (1152, 768)) -> None:
    """Both cameras have told who they are."""
    setup.infos = {
        "events": {"width": events[0], "height": events[1], "serial": "E1"},
        "frames": {"width": frames[0], "height": frames[1], "serial": "F1"},
    }


def chosen() -> RigSetup:
    setup = RigSetup()
    setup.pick(E, "evk4:50423")
    setup.pick(F, "genicam:10.0.0.2")
    told(setup)
    return setup


def test_two_new_cameras_become_a_rig_that_is_not_calibrated(tmp_path: Path) -> None:
    setup = chosen()
    assert setup.source() is None, "it must be written first"
    rig = setup.save(tmp_path / "new" / "rig.toml")
    again = Rig.load(tmp_path / "new" / "rig.toml")
    assert again == rig
    assert (again.events.camera, again.events.serial, again.image.camera) == (
        "evk4:50423", "E1", "genicam:10.0.0.2",
    )  # fmt: skip
    assert again.geometry.mirrored, "a beam splitter mirrors one view"
    assert "not calibrated" in again.geometry.measured
    # The middle of one sensor is the middle of the other.
    q = again.image_from_event @ [(1280 - 1) / 2, (720 - 1) / 2, 1]
    assert q[:2] / q[2] == pytest.approx([(1152 - 1) / 2, (768 - 1) / 2])
    assert setup.source() == tmp_path / "new" / "rig.toml"


def test_the_mirror_can_be_chosen_where_nothing_was_measured() -> None:
    setup = chosen()
    setup.mirrored = False
    plain = setup.build()
    setup.mirrored = True
    mirrored = setup.build()
    assert (plain.geometry.mirrored, mirrored.geometry.mirrored) == (False, True)
    left, right = plain.image_from_event @ [0, 9, 1], mirrored.image_from_event @ [1279, 9, 1]
    assert left == pytest.approx(right)
    middle = [(1280 - 1) / 2, 9, 1]
    assert plain.image_from_event @ middle == pytest.approx(mirrored.image_from_event @ middle)


def test_settings_that_were_changed_are_in_the_file(tmp_path: Path) -> None:
    setup = chosen()
    setup.note(F, "exposure_us", {"exposure_us": 8000.0, "gain_db": 3.0})
    setup.note(E, "bias_diff_on", {"bias_diff_on": 10, "bias_pr": 0, "events_per_s": 0})
    setup.note(E, "events_per_s", {"bias_diff_on": 10, "bias_pr": 0, "events_per_s": 2e7})
    rig = setup.save(tmp_path / "rig.toml")
    assert rig.image.settings == {"exposure_us": 8000.0}, "only what was changed"
    assert rig.events.settings == {"biases": {"diff_on": 10}, "events_per_s": 20_000_000}
    open_driver(rig.events.camera, rig.events.settings)
    # And once more, on top of the file's own.
    setup.note(E, "bias_pr", {"bias_diff_on": 10, "bias_pr": 5, "events_per_s": 0})
    setup.note(E, "events_per_s", {"bias_diff_on": 10, "bias_pr": 5, "events_per_s": 0})
    assert setup.build().events.settings == {"biases": {"diff_on": 10, "pr": 5}}


def test_biases_of_a_davis_come_in_pairs() -> None:
    values = {"bias_on_coarse": 6, "bias_on_fine": 80, "exposure_us": 9}
    assert as_settings("davis346:1", {"bias_on_fine": 80}, values) == {"biases": {"on": [6, 80]}}
    setup = RigSetup.of("davis346:00000123")
    assert setup.one_camera
    setup.note(F, "exposure_us", {"exposure_us": 9000})
    setup.note(E, "bias_on_coarse", values)
    events, frames = setup.picks()
    assert events == frames, "one camera is opened with one configuration"
    assert events.settings == {"exposure_us": 9000, "biases": {"on": [6, 80]}}


def test_a_setting_that_no_file_can_hold_is_refused_in_one_line() -> None:
    setup = chosen()
    setup.note(F, "rate_hz", {"rate_hz": 0})
    with pytest.raises(UsageError, match="rate_hz") as e:
        setup.build()
    assert "\n" not in str(e.value)


def test_one_camera_only() -> None:
    setup = RigSetup()
    setup.pick(E, "evk4")
    with pytest.raises(CameraError, match="image camera"):
        setup.build()
    assert setup.matrix() is None
    setup = RigSetup()
    setup.pick(F, "webcam:0")
    with pytest.raises(CameraError, match="start the cameras"):
        setup.build()
    setup.infos = {"frames": {"width": 640, "height": 480}}
    rig = setup.build()
    assert not rig.has_events
    assert (rig.image.width, rig.image.height) == (640, 480)
    assert setup.matrix() is None


def test_a_simulated_rig_is_opened_by_its_name_until_it_is_changed() -> None:
    setup = RigSetup.of("simulated:davis")
    setup.learn_facts(facts_of(configure("davis")))
    assert setup.source() == "simulated:davis"
    assert setup.measured
    setup.note(E, "packet_us", {"packet_us": 2000})
    assert setup.source() is None
    setup.infos = {}
    assert setup.build().events.settings == setup.build().image.settings == {"packet_us": 2000}
    other = RigSetup()
    other.pick(E, "simulated:handheld")
    other.pick(F, "simulated:handheld")
    other.learn_facts(facts_of(configure("handheld")))
    assert other.source() == "simulated:handheld"


def example(tmp_path: Path, **image: object) -> Path:
    rig = Rig.from_facts("simulated:handheld", facts_of(configure("handheld")))
    rig = rig.model_copy(
        update={
            "events": rig.events.model_copy(update={"camera": "evk4:1", "serial": "E9"}),
            "image": rig.image.model_copy(update={"camera": "genicam:10.0.0.2", "serial": "F1", **image}),
            "geometry": rig.geometry.model_copy(update={"measured": "with a board"}),
        }
    )
    rig.save(tmp_path / "old.toml")
    return tmp_path / "old.toml"


def test_a_loaded_file_keeps_its_map_and_says_whose_it_is(tmp_path: Path) -> None:
    path = example(tmp_path)
    setup = RigSetup()
    setup.load(path)
    told(setup, (288, 192))
    assert setup.source() == path
    assert setup.measured
    assert np.array_equal(setup.matrix(), Rig.load(path).image_from_event)
    (line,) = setup.warnings()
    assert line.startswith("the rig file is of the event camera E9, but E1 is there")
    # Another camera in one place: the map is of other cameras.
    assert setup.pick(E, "evk4:2")
    assert not setup.measured
    assert setup.warnings() == []
    assert setup.pick(E, "evk4:1")
    assert setup.measured
    assert not setup.pick(E, "evk4:1")


BY_HAND = """
[events]
camera = "evk4"
width = 1280
height = 720
[image]
camera = "webcam:0"
width = {width}
height = 720
[clock]
relation = "host"
"""


@pytest.mark.parametrize("width", [1280, 960])
def test_a_file_without_a_map_is_not_calibrated_and_its_mirror_is_free(tmp_path: Path, width: int) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(BY_HAND.format(width=width), encoding="utf-8")
    setup = RigSetup.of(path)
    assert not setup.measured
    assert not setup.mirrored
    assert setup.source() == path
    plain = setup.build()
    setup.mirrored = True
    assert setup.source() is None, "the file says otherwise"
    mirrored = setup.save(tmp_path / "turned.toml")
    assert plain.image_from_event @ [0, 9, 1] == pytest.approx(mirrored.image_from_event @ [1279, 9, 1])
    again = RigSetup.of(tmp_path / "turned.toml")
    assert (again.measured, again.mirrored) == (False, True)
    assert again.build() == mirrored


@pytest.mark.parametrize("mirrored", [False, True])
def test_cameras_of_one_size_that_were_chosen_stay_uncalibrated_in_the_file(
    tmp_path: Path, mirrored: bool
) -> None:
    setup = chosen()
    told(setup, (640, 480), (640, 480))
    setup.mirrored = mirrored
    setup.save(tmp_path / "rig.toml")
    again = RigSetup.of(tmp_path / "rig.toml")
    assert not again.measured
    assert again.mirrored == mirrored


def test_another_region_takes_map_and_lens_along(tmp_path: Path) -> None:
    lens = Lens(focal=(1000.0, 1000.0), centre=(570.0, 380.0))
    path = example(tmp_path, settings={"offset_x": 100, "offset_y": 16}, lens=lens)
    setup = RigSetup()
    setup.load(path)
    told(setup, (288, 192), (640, 480))
    setup.note(F, "width", {"width": 640})
    setup.note(F, "offset_x", {"offset_x": 164})
    rig = setup.build()
    before, now = (r.image_from_event @ [100.0, 50.0, 1.0] for r in (Rig.load(path), rig))
    assert now[:2] / now[2] == pytest.approx(before[:2] / before[2] - [64, 0])
    assert rig.image.lens is not None
    assert rig.image.lens.centre == (506.0, 380.0)
    assert (rig.image.width, rig.image.height) == (640, 480)
    assert rig.image.settings == {"offset_x": 164, "offset_y": 16, "width": 640}


def test_a_region_of_fewer_rows_is_read_sooner(tmp_path: Path) -> None:
    path = example(tmp_path)
    file = Rig.load(path)
    file.model_copy(update={"image": file.image.model_copy(update={"rolling_us": -15_340.0})}).save(path)
    setup = RigSetup()
    setup.load(path)
    told(setup, (288, 192), (file.image.width, file.image.height))
    assert setup.build().image.rolling_us == -15_340.0
    told(setup, (288, 192), (file.image.width, (file.image.height - 1) // 2 + 1))
    rolling = setup.build().image.rolling_us
    assert rolling == pytest.approx(-7_670.0, abs=25)


def test_a_rolling_shutter_that_the_file_does_not_tell_of_is_said(tmp_path: Path) -> None:
    setup = RigSetup()
    setup.load(example(tmp_path))
    told(setup, (288, 192), (1152, 768))
    setup.infos[F.value] |= {"capabilities": {"shutter": "rolling"}}
    said = setup.warnings()
    assert any("the frame camera has a rolling shutter" in line for line in said)
    setup.infos[F.value] |= {"capabilities": {"shutter": "global"}}
    assert setup.warnings() == said[:-1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("not = [toml", "not valid TOML"),
        ("version = 9", "version 9"),
        ("name = 'x'", "events"),
        ("", "events"),
        (
            "[events]\ncamera='evk9'\nwidth=64\nheight=64\n[image]\ncamera='webcam:0'\nwidth=64\nheight=64",
            "evk9",
        ),
    ],
)
def test_an_unreadable_file_changes_nothing(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    setup = chosen()
    with pytest.raises(UsageError, match=why) as e:
        setup.load(path)
    assert "\n" not in str(e.value)
    assert setup.events.camera == "evk4:50423"
    with pytest.raises(UsageError, match="does not exist"):
        setup.load(tmp_path / "nothing.toml")


def test_what_is_no_rig() -> None:
    with pytest.raises(UsageError, match="is a recording"):
        RigSetup.of("replay:x.aedat4")
    with pytest.raises(UsageError, match="no preset"):
        RigSetup.of("simulated:nobody")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    setup = chosen()
    target = tmp_path / "rig.toml"
    target.mkdir()  # a folder of that name
    with pytest.raises(UsageError, match="cannot be written"):
        setup.save(target)
    assert list(tmp_path.iterdir()) == [target]
    assert setup.path is None
