"""`halfmirror calibrate`: what it writes, what it refuses, how it ends."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import calibrating
from app.cli.calibrate import _finish, _opens, judged
from app.cli.program import execute
from app.output.atomic import part_of
from app.recording import RecordResult
from app.viewer.calibration_run import arguments
from calibration.geometry.targets import Board
from calibration.take import Take
from calibration.time.result import Verdict
from capture.inivation.driver import StreamDriver
from capture.registry import RigFacts
from recordings.recording import OpenOptions
from sync.rig import Clock, Rig
from tests.app.test_stated_rig import rig as stated
from tests.calibration.small import NAME, calibration, material
from tests.calibration.test_run import empty, moved
from tests.recordings.make_aedat import write_aedat2
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.make_datasets import made_events
from tests.recordings.make_folders import SIZE, write_exposures, write_pictures
from tests.recordings.sample import EXPOSURE_US, PERIOD_US, START_US, sample_events, sample_frames

# The first test of either file draws and calibrates a whole rig: half a minute of one core.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def same_material(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated rig is drawn once for all tests."""
    monkeypatch.setattr(calibrating, "simulated", lambda name, wanted, share: material())


@pytest.fixture
def rig_file(tmp_path: Path) -> Path:
    calibration().rig.save(tmp_path / "rig.toml")
    return tmp_path / "rig.toml"


@pytest.mark.usefixtures("same_material")
def test_rig_writes_the_file_and_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.toml"
    assert execute(["calibrate", "rig", NAME, "--progress-json", "-o", str(out)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "mine.report.html", "mine.report.json", "mine.toml",
    ]  # fmt: skip
    rig = Rig.load(out)
    report = json.loads((tmp_path / "mine.report.json").read_text())
    assert rig.report == report["report"]
    assert rig.report in (tmp_path / "mine.report.html").read_text()
    assert rig.clock.relation == "trigger"
    assert rig.geometry.residual_px is not None
    said = capsys.readouterr()
    assert "verdict: pass" in said.err
    lines = [json.loads(x) for x in said.out.splitlines()]
    steps = list(dict.fromkeys(m["step"] for m in lines))
    assert steps == ["cameras", "geometry", "time", "check", "report"]
    covered = [m for m in lines if "coverage" in m]
    assert len(covered) >= 5, "view by view"
    assert covered[-1]["views"] >= 8
    assert lines[-1]["verdict"] == "pass"
    assert lines[-1]["steps"] == {}
    assert lines[-1]["rig"] == str(out)
    # A second run does not replace it unasked.
    assert execute(["calibrate", "rig", NAME, "--headless", "-o", str(out)]) == 2
    assert Rig.load(out) == rig


def test_a_failure_leaves_the_report_and_no_rig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    m = material()
    nothing = calibrating.Material(m.rig, [Take("nothing", empty(m.rig))])
    monkeypatch.setattr(calibrating, "simulated", lambda name, wanted, share: nothing)
    out = tmp_path / "rig.toml"
    assert execute(["calibrate", "rig", NAME, "--headless", "-o", str(out)]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rig.report.html", "rig.report.json"]
    told = " ".join(capsys.readouterr().err.split())
    assert "no rig file was written" in told
    for sentence in json.loads((tmp_path / "rig.report.json").read_text())["problems"]:
        assert told.count(sentence["text"]) == 1, "once is enough"


def test_a_calibration_that_fails_leaves_the_report_of_the_rig_file_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = material()
    nothing = calibrating.Material(m.rig, [Take("nothing", empty(m.rig))])
    monkeypatch.setattr(calibrating, "simulated", lambda name, wanted, share: nothing)
    out = tmp_path / "rig.toml"
    m.rig.save(out)
    for name in ("rig.report.html", "rig.report.json"):
        (tmp_path / name).write_text("of before")
    before = {p.name: p.read_text() for p in tmp_path.iterdir()}
    assert execute(["calibrate", "rig", NAME, "--headless", "-o", str(out), "--overwrite"]) == 1
    found = sorted(p.name for p in tmp_path.iterdir() if p.read_text() != before.get(p.name))
    assert found == ["rig-failed.report.html", "rig-failed.report.json"]


@pytest.mark.usefixtures("same_material")
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_c: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("calibration.run.calibrate", lambda *a, **k: calibration())
    monkeypatch.setattr("calibration.report.report_json", fail)
    out = tmp_path / "rig.toml"
    assert execute(["calibrate", "rig", NAME, "--headless", "-o", str(out)]) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--lens", "pincushion"], "lens"),
        (["--board", "7by5"], "COLUMNSxROWS"),
        (["--board", "2x2"], "3×3"),
        (["--seconds", "0"], "seconds"),
        (["--from", "nowhere.aedat4"], "does not exist"),
        (["-o", "rig.json"], ".toml"),
    ],
)
def test_wrong_requests_are_refused_at_once(
    more: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["calibrate", "rig", "--headless"]
    out = [] if "-o" in more else ["-o", str(tmp_path / "rig.toml")]
    assert execute([*base, *out, *more]) == 2
    assert word in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert execute(["calibrate", "rig", "--headless", "-o", str(tmp_path / "file" / "new" / "rig.toml")]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "cannot write" in told
    assert "recorded" not in told
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["simulated"], "give either simulated or --from"),
        (["--seconds", "3"], "leave it out with --from"),
    ],
)
def test_a_rig_and_a_recording_are_not_both_calibrated(
    more: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cups.aedat4").touch()
    line = ["calibrate", "rig", "--headless", "-o", str(tmp_path / "rig.toml")]
    assert execute([*line, "--from", str(tmp_path / "cups.aedat4"), *more]) == 2
    assert word in " ".join(capsys.readouterr().err.split())


def test_the_window_leaves_out_how_long_a_rig_would_be_recorded_where_it_has_a_recording() -> None:
    options = ("--board", "7x5", "--seconds", "8", "--only-time")
    assert "--seconds" in arguments("simulated", Path("rig.toml"), False, options)
    line = arguments("cups", Path("rig.toml"), True, options)
    assert "--seconds" not in line
    assert "8" not in line
    assert line[2:8] == ["--from", "cups", "-o", "rig.toml", "--board", "7x5"]


def test_what_is_no_rig_file_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "recording.toml"
    out.write_text("mine = 1\n")
    assert execute(["calibrate", "rig", "--headless", "-o", str(out), "--overwrite"]) == 2
    assert f"-o {out} is no rig file" in " ".join(capsys.readouterr().err.split())
    assert out.read_text() == "mine = 1\n"


def test_a_recording_of_one_sensor_has_nothing_to_calibrate(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "cups.aedat4", sample_events(), sample_frames())
    out = tmp_path / "rig.toml"
    assert execute(["calibrate", "rig", "--headless", "--from", str(path), "-o", str(out)]) == 0
    rig = Rig.load(out)
    assert rig.clock.relation == "same"
    assert rig.identity


def use(monkeypatch: pytest.MonkeyPatch, serial: str = "handheld-0") -> None:
    scene = material().takes[-1]
    take = Take(scene.name, scene.items, {"events": serial, "image": serial})
    monkeypatch.setattr(calibrating, "checked_take", lambda recording, rig, said: take)
    # The clock of this scene was measured once already; what is looked at here is what the command makes of it.
    monkeypatch.setattr(
        "calibration.check.calibrate_time", lambda items, rig, progress, **k: calibration().time
    )


def test_check_passes(
    rig_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch)
    assert execute(["calibrate", "check", str(rig_file), "scene", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "pass"
    assert said["residual_px"]["rms"] < 0.6
    assert said["time"]["residual_us"] < 10


def test_check_fails_for_a_rig_that_moved(
    rig_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch)
    moved(Rig.load(rig_file), 2.5).save(rig_file)
    assert execute(["calibrate", "check", str(rig_file), "scene"]) == 1
    out = capsys.readouterr().out
    assert out.strip().endswith("fail")
    assert "event pixels apart" in out


def test_check_warns_of_other_cameras(
    rig_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, serial="handheld-9")
    assert execute(["calibrate", "check", str(rig_file), "scene"]) == 3
    assert "handheld-9" in capsys.readouterr().out


def test_check_of_another_rig_is_refused(rig_file: Path, tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "cups.aedat4", sample_events(), sample_frames())
    assert execute(["calibrate", "check", str(rig_file), str(path)]) == 2


def test_older_rig_files_are_read_and_newer_ones_refused(
    rig_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch)
    text = rig_file.read_text()
    rig_file.write_text(text.replace("version = 2", "version = 99"))
    assert execute(["calibrate", "check", str(rig_file), "scene"]) == 2
    assert "version 99" in capsys.readouterr().err
    rig_file.write_text(
        'version = 1\n[events]\ncamera = "a"\nwidth = 288\nheight = 192\n[image]\ncamera = "b"\nwidth = 576\n'
        "height = 384\n[geometry]\nimage_from_event = [[2.0, 0.0, 0.5], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]]\n"
    )
    assert execute(["calibrate", "check", str(rig_file), "scene"]) == 1, "it is of no such rig"
    assert Rig.load(rig_file).version == 2


@pytest.mark.parametrize(
    ("name", "begins"), [("board.pdf", rb"%PDF"), ("board.svg", rb"(<\?xml[^>]*>\s*)?<svg")]
)
def test_the_target_as_a_file(name: str, begins: bytes, tmp_path: Path) -> None:
    out = tmp_path / name
    assert execute(["calibrate", "show-target", "-o", str(out)]) == 0
    assert re.match(begins, out.read_bytes()[:400])
    assert not part_of(out).exists()


def test_an_earlier_target_is_not_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "board.pdf"
    out.write_text("mine")
    assert execute(["calibrate", "show-target", "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert execute(["calibrate", "show-target", "-o", str(out), "--overwrite"]) == 0
    assert out.read_bytes().startswith(b"%PDF")


def test_a_recording_in_place_of_a_rig_is_sent_to_the_right_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_aedat4(tmp_path / "cups.aedat4", sample_events(), sample_frames())
    assert execute(["calibrate", "rig", str(path), "--headless", "-o", str(tmp_path / "rig.toml")]) == 2
    assert f"calibrate rig --from {path}" in " ".join(capsys.readouterr().err.split())


def test_phases_are_checked_for_a_file_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "board.pdf"
    assert execute(["calibrate", "show-target", "-o", str(out), "--phase-ms", "nan"]) == 2
    assert "phases of nan ms" in capsys.readouterr().err
    assert not out.exists()


def test_the_target_needs_a_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.cli.run_session.no_window", lambda: "no display")
    assert execute(["calibrate", "show-target"]) == 1
    assert "-o board.pdf" in capsys.readouterr().err


def test_stopping_while_a_live_rig_is_recorded_stops_the_calibration(
    tmp_path: Path, rig_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recording ends cleanly at Ctrl+C; what there is by then must not become a rig file."""

    def stopped(*_: object, keep: bool, **__: object) -> RecordResult:
        assert not keep
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrating, "record", stopped)
    out = tmp_path / "new.toml"
    assert execute(["calibrate", "rig", str(rig_file), "--headless", "-o", str(out)]) == 130
    assert not out.exists()
    assert "no such file" not in capsys.readouterr().err


def test_the_window_calibrates_with_the_options_that_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.setattr("app.viewer.main.run_viewer", lambda *a, **k: seen.update(k) or 0)
    out = tmp_path / "rig.toml"
    line = ["calibrate", "rig", NAME, "-o", str(out), "--board", "9x6", "--square-mm", "20", "--only-time"]
    assert execute([*line, "--seconds", "5", "--lens", "none"]) == 0
    wish = seen["calibrate"]
    assert wish.output == out
    assert wish.board == Board(9, 6, 20.0)
    # The command that the window starts understands them all.
    told: dict[str, Any] = {}
    monkeypatch.setattr("app.cli.calibrate._run", lambda *a: told.update(args=a))
    monkeypatch.setattr("app.cli.calibrate._finish", lambda *a, **k: 0)
    assert execute(arguments(NAME, out, False, wish.options)) == 0
    _, recordings, _, board, seconds, lens, only_time, _, _ = told["args"]
    assert (recordings, board, seconds, lens, only_time) == ([], wish.board, 5.0, "none", True)


def test_what_is_said_while_a_live_rig_is_recorded_reaches_the_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rig_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def record(request: object, wanted: object, *, said: Any, watch: object, keep: bool) -> RecordResult:
        said("the rig file is of the event camera 7, but 8 is there")
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrating, "record", record)
    execute(["calibrate", "rig", str(rig_file), "--headless", "-o", str(tmp_path / "new.toml")])
    assert "but 8 is there" in capsys.readouterr().err


def test_a_live_rig_is_recorded_beside_its_file_and_nothing_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rig_file: Path
) -> None:
    """Temporary files are memory in many places, and a fast camera's 40 s are 15 GB."""
    place = tmp_path / "large disk"
    place.mkdir()
    seen: list[Path] = []

    def record(request: object, wanted: Any, *, said: object, watch: object, keep: bool) -> RecordResult:
        seen.append(wanted.folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrating, "record", record)
    execute(["calibrate", "rig", str(rig_file), "--headless", "-o", str(place / "not yet/new.toml")])
    assert seen[0].parent.parent == place
    assert not list(place.iterdir())


def test_recordings_of_different_cameras_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write_aedat4(tmp_path / f"{n}.aedat4", sample_events(), sample_frames()) for n in "ab"]
    serials = iter([{"events": "7"}, {"events": "8"}])
    monkeypatch.setattr(calibrating, "serials_of", lambda recording: next(serials))
    out = tmp_path / "rig.toml"
    command = ["calibrate", "rig", "--headless", "-o", str(out)]
    assert execute([*command, "--from", str(paths[0]), "--from", str(paths[1])]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "b.aedat4 is of the event camera 8" in told
    assert "of 7: give recordings of one rig" in told
    assert not out.exists()


def test_a_live_rig_is_recorded_long_enough_for_what_is_asked_of_the_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rig_file: Path
) -> None:
    asked: dict[str, Any] = {}

    def record(request: object, wanted: Any, *, said: object, watch: Any, keep: bool) -> RecordResult:
        asked["seconds"] = wanted.limits.seconds
        watch({}, "the cameras are starting")
        for at in (0.0, 20.0, 35.0, 41.0):
            watch({"elapsed_s": at}, "")
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrating, "record", record)
    told: list[tuple[str, float, str]] = []

    def share(what: str, part: float, *, do: str = "") -> None:
        told.append((what, part, do))

    with pytest.raises(KeyboardInterrupt), calibrating.material_of(rig_file, [], calibrating.Wanted(), share):
        pass
    # A dozen views of two swaps each at 0.4 s a phase, and the way from one to the next.
    assert asked["seconds"] >= 12 * (2 * 2 * 0.4 + 0.5)
    assert told[0] == ("the cameras are starting", 0.0, "")
    assert [do for _, _, do in told[1:]] == [calibrating.SHOW_BOARD] * 2 + [calibrating.MOVE_RIG] * 2
    assert told[2][:2] == ("recording, 20 of 40 s", 0.5)
    assert told[-1][1] == 1.0
    Rig.load(rig_file).model_copy(update={"clock": Clock(relation="same")}).save(tmp_path / "one.toml")
    with (
        pytest.raises(KeyboardInterrupt),
        calibrating.material_of(tmp_path / "one.toml", [], calibrating.Wanted(), share),
    ):
        pass
    assert asked["seconds"] == 8.0, "there is no board to be shown"
    # How late its events are is told by motion.
    assert [do for _, _, do in told[-4:]] == [calibrating.MOVE_RIG] * 4
    asked.clear()
    with pytest.raises(KeyboardInterrupt), calibrating.material_of("davis346", [], calibrating.Wanted(), share):
        pass
    assert asked["seconds"] == 8.0, "a camera's name tells it too"
    assert [do for _, _, do in told[-4:]] == [calibrating.MOVE_RIG] * 4


@pytest.mark.parametrize("name", ["evk4", "webcam:0"])
def test_one_camera_alone_is_refused_before_it_is_recorded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrating, "record", lambda *a, **k: pytest.fail("was recorded"))
    assert execute(["calibrate", "rig", name, "--headless", "-o", str(tmp_path / "rig.toml")]) == 2
    assert f"{name} is one camera alone" in capsys.readouterr().err
    alone = tmp_path / "alone.toml"
    Rig.frames_only("webcam:0", (64, 48)).save(alone)
    assert execute(["calibrate", "rig", str(alone), "--headless", "-o", str(tmp_path / "rig.toml")]) == 2
    assert "is one camera alone" in capsys.readouterr().err


def test_a_recording_is_refused_by_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrating, "record", lambda *a, **k: pytest.fail("was recorded"))
    path = write_aedat2(tmp_path / "in.aedat", made_events(500, size=(240, 180)))
    more = ["--headless", "-o", str(tmp_path / "rig.toml")]
    assert execute(["calibrate", "rig", f"replay:{path}", *more]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"is a recording; use: halfmirror calibrate rig --from {path}" in said


def test_a_stream_of_two_sizes_is_not_called_one_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrating, "record", lambda *a, **k: pytest.fail("was recorded"))
    monkeypatch.setattr(StreamDriver, "rig_facts", lambda self, config: None)  # as a server of two sizes has it
    name, more = "aedat4-tcp:127.0.0.1:7777", ["--headless", "-o", str(tmp_path / "rig.toml")]
    assert execute(["calibrate", "rig", f"{name}?frames=7778", *more]) == 2
    assert "gives events and frames that do not share their pixels" in " ".join(capsys.readouterr().err.split())
    assert execute(["calibrate", "rig", name, *more]) == 2
    assert f"{name} is one camera alone" in " ".join(capsys.readouterr().err.split())


def test_what_can_be_opened_with_a_new_rig_file_is_told(tmp_path: Path, rig_file: Path) -> None:
    assert _opens(rig_file, []) == "rig"
    # What one sensor gave takes one, too: how late its pixels are.
    one = write_aedat4(tmp_path / "cups.aedat4", sample_events(), sample_frames())
    out = tmp_path / "cups.toml"
    assert execute(["calibrate", "rig", "--headless", "--from", str(one), "-o", str(out)]) == 0
    assert _opens(out, [one]) == "recording"
    frames = [
        WrittenFrame(START_US + k * PERIOD_US, EXPOSURE_US, np.zeros((96, 128), np.uint8)) for k in range(4)
    ]
    two = write_aedat4(tmp_path / "two.aedat4", sample_events(), frames)
    assert _opens(stated(tmp_path / "two.toml"), [two]) == "recording"


def test_what_was_stated_counts_for_what_can_be_opened(tmp_path: Path) -> None:
    folder = tmp_path / "cups"
    write_pictures(folder / "frames", "{:d}.png")
    write_exposures(folder / "exposures.csv")
    write_aedat2(folder / "events.aedat", made_events(size=SIZE), chip="DAVIS", size=SIZE)
    facts = RigFacts(SIZE, SIZE, one_sensor=True)
    Rig.from_facts("replay:cups", facts).save(tmp_path / "rig.toml")
    assert _opens(tmp_path / "rig.toml", [folder]) == ""
    assert _opens(tmp_path / "rig.toml", [folder], OpenOptions(geometry=SIZE)) == "recording"


def test_steps_are_told_with_their_worst_verdict() -> None:
    class Found:
        def problems(self) -> list[tuple[str, str, Verdict]]:
            return [("time", "a", Verdict.FAIL), ("check", "b", Verdict.WARN), ("time", "c", Verdict.WARN),
                    ("geometry", "d", Verdict.PASS)]  # fmt: skip

    assert judged(Found()) == {"time": "fail", "check": "warn"}  # type: ignore[arg-type]


def test_names_of_recordings_that_are_no_text_stand_in_the_report_as_escapes(tmp_path: Path) -> None:
    c = replace(calibration(), takes=["caf\udce9"], command="calibrate rig --from caf\udce9")
    out = tmp_path / "r.toml"
    assert _finish(c, out, overwrite=False, tell=None, recordings=[], stated=OpenOptions()) == 0
    assert r"caf\udce9" in (tmp_path / "r.report.html").read_text(encoding="utf-8")
    assert Rig.load(out) == c.rig
