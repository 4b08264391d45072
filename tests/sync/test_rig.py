"""The rig file: read back as written, and refused in one line that names the file and the key."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from capture.errors import UsageError
from capture.registry import RigFacts
from sync.rig import VERSION, Clock, EventEntry, Geometry, ImageEntry, Lens, Rig, Validity

GOOD = """
version = 1
name = "bench"

[events]
camera = "davis346:00000123"
width = 346
height = 260
threshold_on = 0.2

[image]
camera = "flir:21345678"
width = 1152
height = 768
tone = "srgb"
settings = { gain = 3.0 }

[geometry]
image_from_event = [[-3.3, 0.0, 1145.0], [0.0, 3.3, 2.0], [0.0, 0.0, 1.0]]
mirrored = true
residual_px = 0.4

[clock]
relation = "trigger"
delay_us = 12.5
active_high = false
"""


def written(tmp_path: Path, text: str) -> Path:
    p = tmp_path / "rig.toml"
    p.write_text(text, encoding="utf-8")
    return p


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    rig = Rig.load(written(tmp_path, GOOD))
    assert rig.clock.delay_us == 12.5
    assert not rig.clock.active_high
    assert rig.image.settings == {"gain": 3.0}
    assert rig.scale == pytest.approx(3.3)
    assert not rig.identity
    rig.save(tmp_path / "again.toml")
    assert Rig.load(tmp_path / "again.toml") == rig
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_unwritable_place_is_named(tmp_path: Path) -> None:
    rig = Rig.load(written(tmp_path, GOOD))
    with pytest.raises(UsageError, match=r"nowhere.*cannot be written"):
        rig.save(tmp_path / "nowhere" / "rig.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("relation =", "relatoin =", ["clock.relatoin", "unknown key", "relation"]),
        ("[clock]", "[clok]", ["'clok'", "unknown key", "clock"]),
        ("width = 346", "widht = 346", ["events.widht", "width"]),
        ("delay_us = 12.5", 'delay_us = "much"', ["clock.delay_us", "number"]),
        ("width = 346", "width = 3", ["events.width", "8"]),
        ("width = 346", "width = 34.5", ["events.width", "integer"]),
        ('camera = "flir:21345678"\n', "", ["image.camera", "missing"]),
        ('relation = "trigger"', 'relation = "wire"', ["clock.relation", "'same'", "'host'"]),
        ("version = 1", "version = 7", ["version 7", "update"]),
        ("version = 1", 'version = "1"', ["version '1'"]),
        ("version = 1", "version = true", ["version True"]),
        ("version = 1", "version = 0", ["version 0"]),
        ("version = 1", "version = 3\nbrand_new = 1", [": version 3", "update"]),
        ("mirrored = true", "mirrored = false", ["geometry", "mirrored", "determinant"]),
        ("[0.0, 3.3, 2.0]", "[0.0, 0.0, 2.0]", ["geometry", "invertible"]),
        ("[0.0, 3.3, 2.0]", "[0.0, nan, 2.0]", ["geometry", "finite"]),
        ("[0.0, 3.3, 2.0]", "[0.0, 3.3]", ["geometry.image_from_event"]),
        ("[[-3.3, 0.0, 1145.0], [0.0, 3.3,", "[[-1e300, 0.0, 0.0], [0.0, 1e300,", ["geometry", "invertible"]),
        (
            "[[-3.3, 0.0, 1145.0], [0.0, 3.3,",
            "[[-1e9, 0.0, 0.0], [0.0, 1e9,",
            ["event pixel is 1e+09", "calibrate"],
        ),
        ("[0.0, 0.0, 1.0]]", "[1.0, 0.0, -172.5]]", ["geometry", "calibrate"]),
        ("residual_px = 0.4", "residual_px = -1", ["geometry.residual_px"]),
        ("delay_us = 12.5", "delay_us = nan", ["clock.delay_us"]),
        ("delay_us = 12.5", "delay_us = 1e300", ["clock.delay_us"]),
        ("[image]", "[events.lens]\nfocal = [inf, 1]\ncentre = [0, 0]\n[image]", ["events.lens.focal.0"]),
        ("[image]", "[events.lens]\nfocal = [1, 1]\ncentre = [nan, 0]\n[image]", ["events.lens.centre.0"]),
        (
            "[image]",
            "[events.lens]\nfocal = [1, 1]\ncentre = [0, 0]\ncoefficients = [nan]\n[image]",
            ["events.lens.coefficients.0"],
        ),
        ("threshold_on = 0.2", "threshold_on = 0", ["events.threshold_on"]),
        ("[image]", "[image", ["not valid TOML", "line"]),
        ("[image]", f"x = {'[' * 9999}\n[image]", ["not valid TOML", "nested too deep"]),
        ("version = 1", f"version = {'1' * 9999}", ["not valid TOML", "number in it is too long"]),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UsageError) as e:
        Rig.load(path)
    message = str(e.value)
    assert "\n" not in message
    for w in [str(path), *words]:
        assert w in message


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml does not exist"):
        Rig.load(tmp_path / "none.toml")
    p = tmp_path / "bytes.toml"
    p.write_bytes(bytes(range(128, 256)))
    with pytest.raises(UsageError, match=r"bytes\.toml cannot be read"):
        Rig.load(p)
    with pytest.raises(UsageError, match="is a folder; give the path of a file"):
        Rig.load(tmp_path)


@pytest.mark.timeout(20)
def test_a_pipe_that_is_called_like_a_rig_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rig.toml")
    with pytest.raises(UsageError, match=r"rig\.toml is not a regular file"):
        Rig.load(tmp_path / "rig.toml")


def test_rig_from_what_a_driver_knows() -> None:
    mirror = np.array([[-4.0, 0, 1150], [0, 4.0, 1.5], [0, 0, 1]])
    facts = RigFacts((288, 192), (1152, 768), mirror, tone="srgb", exact=True, threshold_on=0.25)
    rig = Rig.from_facts("simulated", facts)
    assert rig.geometry.mirrored
    assert rig.clock.relation == "trigger"
    assert np.array_equal(rig.image_from_event, mirror)
    assert rig.events.threshold_on == 0.25
    # A simulated frame's arrival is known well; a real one's has to be measured.
    assert rig.clock.host_latency_spread_ms < Clock().host_latency_spread_ms
    davis = Rig.from_facts("replay:x", RigFacts((346, 260), (346, 260), one_sensor=True))
    assert davis.identity
    assert davis.clock.relation == "same"


TWO = """
[events]
camera = "{events}"
width = 640
height = 480
[image]
camera = "{image}"
width = {width}
height = 480
"""


def two(tmp_path: Path, more: str = "", *, events: str = "evk4", image: str = "flir", width: int = 640) -> Rig:
    return Rig.load(written(tmp_path, TWO.format(events=events, image=image, width=width) + more))


@pytest.mark.parametrize("clock", ["", "[clock]\nrelation = 'host'\n"])
def test_two_cameras_without_a_map_are_not_calibrated_however_large_they_are(
    tmp_path: Path, clock: str
) -> None:
    """Also with equal sizes: pixels of two cameras do not lie on one another by themselves."""
    for width in (640, 1280):
        rig = two(tmp_path, clock, width=width)
        assert rig.assumed
        assert not rig.identity
        assert not rig.geometry.mirrored
        # The middle of one sensor is the middle of the other.
        q = rig.image_from_event @ [(640 - 1) / 2, (480 - 1) / 2, 1]
        assert q[:2] == pytest.approx([(width - 1) / 2, (480 - 1) / 2])
        rig.save(tmp_path / "again.toml")
        assert Rig.load(tmp_path / "again.toml") == rig
    with_note = two(tmp_path, "[geometry]\nmeasured = 'by eye'\n")
    assert with_note.assumed, "words without a map measure nothing"


def test_mirrored_flips_the_map_that_is_assumed(tmp_path: Path) -> None:
    plain, mirrored = two(tmp_path), two(tmp_path, "[geometry]\nmirrored = true\n")
    assert mirrored.assumed
    assert mirrored.geometry.mirrored
    assert plain.image_from_event @ [0, 7, 1] == pytest.approx(mirrored.image_from_event @ [639, 7, 1])


def test_one_sensor_is_its_own_map_and_a_written_map_is_taken_at_its_word(tmp_path: Path) -> None:
    assert two(tmp_path, "[clock]\nrelation = 'same'\n").identity
    assert two(tmp_path, events="davis346", image="davis346").identity
    assert two(tmp_path, "[geometry]\nimage_from_event = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\n").identity
    assert not two(tmp_path, image="none").assumed
    with pytest.raises(UsageError, match="mirrored = true contradicts image_from_event"):
        two(tmp_path, "[clock]\nrelation = 'same'\n[geometry]\nmirrored = true\n")
    # One grid of two sizes there is none.
    assert two(tmp_path, "[clock]\nrelation = 'same'\n", width=1280).assumed


def test_scale_of_a_perspective_view_is_taken_at_the_middle() -> None:
    m = np.array([[4.0, 0, 0], [0, 4.0, 0], [1e-3, 0, 1.0]])
    rig = Rig(
        events=EventEntry(camera="e", width=201, height=101),
        image=ImageEntry(camera="i", width=800, height=400),
        geometry=Geometry(image_from_event=tuple(map(tuple, m.tolist()))),  # type: ignore[arg-type]
    )
    a = np.array([[100.0, 50, 1], [100.001, 50, 1], [100, 50.001, 1]]) @ m.T
    p = a[:, :2] / a[:, 2:]
    area = abs(np.linalg.det(p[1:] - p[0])) / 1e-6
    assert rig.scale == pytest.approx(np.sqrt(area), rel=1e-4)


def test_a_rig_in_another_file_is_held_against_its_version(tmp_path: Path) -> None:
    values = Rig.load(written(tmp_path, GOOD)).model_dump(mode="json")
    assert Rig.model_validate({**values, "version": 1}).version == VERSION
    with pytest.raises(ValidationError, match=r"version 3 is none of 1 to 2: update the program"):
        Rig.model_validate({**values, "version": 3, "image": {**values["image"], "brand_new": 1}})


def test_a_file_of_a_windows_editor_is_read_or_told_what_to_do(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    text, rig = path.read_text("utf-8"), Rig.load(path)
    path.write_text(text, encoding="utf-8-sig")
    assert Rig.load(path) == rig
    path.write_text(text, encoding="utf-16")
    with pytest.raises(UsageError, match=r"rig\.toml cannot be read \(it is not UTF-8; save it as UTF-8\)"):
        Rig.load(path)


def test_a_link_stays_one(tmp_path: Path) -> None:
    rig = Rig.load(written(tmp_path, GOOD))
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/true.toml").write_text("old")
    link = tmp_path / "link.toml"
    link.symlink_to("lab/true.toml")
    rig.save(link)
    assert link.is_symlink()
    assert Rig.load(tmp_path / "lab/true.toml") == rig
    assert [p.name for p in (tmp_path / "lab").iterdir()] == ["true.toml"]


def test_a_link_that_leads_nowhere_is_replaced(tmp_path: Path) -> None:
    rig, link = Rig.load(written(tmp_path, GOOD)), tmp_path / "link.toml"
    for to in ("link.toml", "other.toml"):
        link.symlink_to(to)
        rig.save(link)
        assert not link.is_symlink()
        assert Rig.load(link) == rig
        link.unlink()
    assert not (tmp_path / "other.toml").exists()


def test_a_file_of_version_1_is_taken_over(tmp_path: Path) -> None:
    rig = Rig.load(written(tmp_path, GOOD))
    assert rig.version == VERSION
    assert rig.geometry.residual_px == 0.4
    assert rig.events.lens is None
    assert rig.report == ""
    rig.save(tmp_path / "new.toml")
    assert f"version = {VERSION}" in (tmp_path / "new.toml").read_text("utf-8")


def test_lens_and_validity_round_trip(tmp_path: Path) -> None:
    rig = Rig.load(written(tmp_path, GOOD))
    lens = Lens(model="fisheye", focal=(310.0, 311.0), centre=(170.0, 130.0), coefficients=(0.1, -0.02))
    rows = rig.geometry.image_from_event
    rig = rig.model_copy(
        update={
            "events": rig.events.model_copy(update={"lens": lens}),
            "geometry": rig.geometry.model_copy(
                update={"undistorted_image_from_event": rows, "validity": Validity(plane_mm=800.0, note="n")}
            ),
            "report": "20261125-1",
        }
    )
    rig.save(tmp_path / "rig2.toml")
    assert Rig.load(tmp_path / "rig2.toml") == rig


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("undistorted_image_from_event = [[3.3, 0, 0], [0, 3.3, 0], [0, 0, 1]]", "contradicts undistorted_"),
        ("validity = { plane = 3 }", "geometry.validity.plane"),
    ],
)
def test_wrong_geometry_is_named(tmp_path: Path, extra: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Rig.load(written(tmp_path, GOOD.replace("residual_px = 0.4", extra)))


def test_a_fisheye_has_four_coefficients() -> None:
    with pytest.raises(ValueError, match="4 coefficients"):
        Lens(model="fisheye", focal=(1.0, 1.0), centre=(0.0, 0.0), coefficients=(0.0,) * 5)


@pytest.mark.parametrize(
    ("said", "rolling_us", "line"),
    [
        ("rolling", 0.0, "calibrate the rig, or set image.rolling_us"),
        ("rolling", 9000.0, ""),
        ("", 0.0, ""),
        ("", 9000.0, ""),
        ("global", 0.0, ""),
        ("global", 9000.0, "set image.rolling_us = 0"),
        ("global reset", 0.0, "set its SensorShutterMode to Global or Rolling"),
    ],
)
def test_a_shutter_that_is_not_the_files_is_said(said: str, rolling_us: float, line: str) -> None:
    rig = Rig.model_validate(
        {
            "events": {"camera": "evk4", "width": 64, "height": 48},
            "image": {"camera": "flir", "width": 64, "height": 48, "rolling_us": rolling_us},
        }
    )
    lines = rig.other_shutter(said)
    assert [line in found for found in lines] == [True] * bool(line)
    assert Rig.frames_only("flir", (64, 48)).other_shutter("rolling") == []


def test_a_rig_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    rig = Rig(
        events=EventEntry(camera="a", width=64, height=48), image=ImageEntry(camera="b", width=64, height=48)
    )
    rig.save(tmp_path / "rig.toml")
    late = rig.model_copy(update={"clock": rig.clock.model_copy(update={"host_latency_spread_ms": 9e6})})
    with pytest.raises(UsageError, match=r"is not written: .*host_latency_spread_ms"):
        late.save(tmp_path / "rig.toml")
    assert Rig.load(tmp_path / "rig.toml") == rig
    assert [p.name for p in tmp_path.iterdir()] == ["rig.toml"]


def test_a_name_that_is_no_text_is_refused_in_a_line_and_the_file_of_before_stays(tmp_path: Path) -> None:
    rig = Rig(
        events=EventEntry(camera="a", width=64, height=48), image=ImageEntry(camera="b", width=64, height=48)
    )
    rig.save(tmp_path / "rig.toml")
    with pytest.raises(UsageError, match="is not written: a name in it is no valid text"):
        rig.model_copy(update={"name": "caf\udce9"}).save(tmp_path / "rig.toml")
    assert Rig.load(tmp_path / "rig.toml") == rig
    assert [p.name for p in tmp_path.iterdir()] == ["rig.toml"]
