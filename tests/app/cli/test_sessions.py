"""`live` and `replay`: what they check before anything starts, and what a headless run prints and leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli import console, main, run_session
from app.cli.arguments import parse_contrast, parse_latents, parse_settings, restorer_options, rig_source
from app.headless import SHEET, SUMMARY, VIDEO
from app.output.atomic import OutputError
from app.session import Session, SessionFactory, WorkerStatus
from capture.camera import CameraState
from capture.errors import UsageError
from capture.registry import RigFacts
from recordings.recording import OpenOptions
from sync.rig import Rig
from tests.app.cli.fake_session import FakeSession, picture
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import sample_events, sample_frames


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)


class Made:
    """Stands in for `app.live.make_session`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.seen: dict[str, object] = {}

    def __call__(self, options: dict[str, object], **kwargs: object) -> object:
        self.seen |= {"options": options, **kwargs}

        def make(source: str | Path, network: str) -> Session:
            self.seen |= {"source": source, "network": network}
            return self.session

        return make


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Made:
    maker = Made(FakeSession([picture(i) for i in range(200)], every_s=0.005))
    monkeypatch.setattr(run_session, "session_maker", maker)
    monkeypatch.chdir(tmp_path)
    return maker


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_aedat4(tmp_path_factory.mktemp("in") / "a.aedat4", sample_events(), sample_frames())


def test_live_headless(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["live", "--headless", "--seconds", "0.3", "-o", "run", "--contrast", "0.2", "-n", "none"]
    assert main.run(line) == 0
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == sorted([VIDEO, SHEET, SUMMARY])
    assert made.seen["source"] == "simulated"
    assert made.seen["options"] == {"contrast_on": 0.2, "contrast_off": 0.2}
    out = capsys.readouterr().out
    for word in (
        "in ",
        "dropped 2",
        "camera frames 2",
        "frames 25.0",
        "p95 44 ms",
        "contrast on",
        "running",
        "run",
    ):
        assert word in out
    assert json.loads((tmp_path / "run" / SUMMARY).read_text())["source"] == "simulated"


def test_the_residual_of_every_exposure_headless(made: Made, tmp_path: Path) -> None:
    made.session = FakeSession(
        [replace(picture(i), figures={"reblur_residual": float(i)}) for i in range(21)], is_recording=True
    )
    assert main.run(["live", "--headless", "--seconds", "0.4", "-o", "run", "--residual"]) == 0
    assert made.seen["residual"] is True
    found = json.loads((tmp_path / "run" / SUMMARY).read_text())["reblur_residual"]
    assert (found["exposures"], found["mean"], found["p95"]) == (21, 10.0, 19.0)
    made.session = FakeSession([picture(i) for i in range(5)], is_recording=True)
    line = [
        "live",
        "--headless",
        "--seconds",
        "0.4",
        "-o",
        "two",
        "--residual",
        "-n",
        "sc-net",
        "--random-weights",
    ]
    assert main.run(line) == 0
    found = json.loads((tmp_path / "two" / SUMMARY).read_text())["reblur_residual"]
    assert found == {
        "not_available": "sc-net restores one instant only, so its pictures cannot be blurred again"
    }


def test_without_a_display_it_says_so_in_one_line_and_runs(
    made: Made, tmp_path: Path, no_display: None, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(run_session, "FALLBACK_S", 0.3)
    assert main.run(["live"]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "No window" in line]
    assert len(notes) == 1
    assert "DISPLAY" in notes[0]
    assert "headless for 0.3 s" in notes[0]
    (folder,) = tmp_path.glob("live-*")
    assert (folder / VIDEO).exists()
    assert made.seen["network"] == "edi"


def test_folder_names_do_not_clash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_session.free_name("live-1") == Path("live-1")
    (tmp_path / "live-1").mkdir()
    assert run_session.free_name("live-1") == Path("live-1-2")


def test_failed_run_leaves_no_folder(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made.session = FakeSession([])
    made.session.workers = (WorkerStatus("events", CameraState.FAULTED, detail="no such camera"),)
    monkeypatch.setattr("app.following.FAULT_PATIENCE_S", 0.3)
    assert main.run(["live", "--headless", "-o", "run"]) == 1
    assert "events: no such camera" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_holds_for_the_whole_run_is_in_its_table_and_summary(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.session.cautions = ("the rig file is of another camera",)  # type: ignore[attr-defined]
    assert main.run(["live", "--headless", "--seconds", "0.2", "-o", "run"]) == 0
    assert "warning" in (out := capsys.readouterr().out)
    assert "the rig file is of another camera" in out
    status = json.loads((tmp_path / "run" / SUMMARY).read_text())["status"]
    assert status["cautions"] == ["the rig file is of another camera"]


def test_worker_that_is_down_at_the_end_is_an_error_and_the_rest_is_kept(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.session.workers = (WorkerStatus("events", CameraState.FAULTED, detail="unplugged"),)  # type: ignore[attr-defined]
    assert main.run(["live", "--headless", "--seconds", "0.2", "-o", "run"]) == 1
    assert "events: unplugged" in capsys.readouterr().err
    assert (tmp_path / "run" / SUMMARY).exists()


def test_run_in_which_nothing_was_restored_is_an_error(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.session = FakeSession([picture(i, refusal="no exposure") for i in range(5)])
    assert main.run(["live", "--headless", "--seconds", "0.2", "-o", "run"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "none of 7 exposures was restored" in said  # two were lost on the way
    assert f"5 are in {tmp_path / 'run'} as they came" in said or "5 are in run as they came" in said
    assert (tmp_path / "run" / SUMMARY).exists()


def test_a_network_that_gave_way_is_told_and_an_error(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody saw that from then on the pictures were the blurred ones."""
    gone = [replace(picture(i), network="none") for i in range(5, 12)]
    said = "edi ran out of memory (MemoryError); frames pass through"
    made.session = FakeSession([*map(picture, range(5)), *gone], is_recording=True)
    made.session.workers = (WorkerStatus("restore", CameraState.RUNNING, said),)
    assert main.run(["live", "--headless", "-o", "run"]) == 1
    out, err = capsys.readouterr()
    assert "edi 5, none (unchanged) 7" in out
    assert f"7 of 12 pictures are unchanged: {said}; edi did not restore at the end" in " ".join(err.split())
    found = json.loads((tmp_path / "run" / SUMMARY).read_text())
    assert found["pictures"] == {"shown": 12, "refused": 0, "unchanged": 7}
    assert found["restored_by"] == {"edi": 5, "none": 7}
    assert found["gave_way"] == said
    assert found["flags"] == {"unchanged: edi gave way": 7}
    made.session = FakeSession([*map(picture, range(5)), *gone, picture(12)], is_recording=True)
    assert main.run(["live", "--headless", "-o", "two"]) == 1
    assert "7 of 13 pictures are unchanged: edi gave way; edi restores again" in " ".join(
        capsys.readouterr().err.split()
    )
    made.session = FakeSession(gone, is_recording=True)
    assert main.run(["live", "--headless", "-o", "three", "-n", "none"]) == 0, "it was asked for"


def test_a_disk_that_is_full_is_told_and_an_error_and_the_rest_is_kept(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.output.video_thread.DiskRoom.short", lambda _, pictures: pictures >= 5)
    assert main.run(["live", "--headless", "--seconds", "9", "-o", "run"]) == 1
    out, err = (" ".join(text.split()) for text in capsys.readouterr())
    assert "5 frames" in out
    assert "ends at 0:00:00, the disk is full" in out
    assert (
        "the video ends at 0:00:00, the disk is full; what came before that is in run: free some space" in err
    )
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == sorted([VIDEO, SHEET, SUMMARY])


def test_interrupted_run_keeps_what_came(made: Made, tmp_path: Path) -> None:
    made.session = FakeSession([picture(i) for i in range(5)], error=KeyboardInterrupt())
    assert main.run(["live", "--headless", "-o", "run"]) == console.INTERRUPTED
    assert (tmp_path / "run" / VIDEO).exists()


def test_publishing_without_a_window_goes_on_until_it_is_stopped_and_keeps_no_files(
    made: Made, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"ipc://{tmp_path}/p.sock"
    before = set(tmp_path.iterdir())
    made.session = FakeSession([picture(i) for i in range(5)], error=KeyboardInterrupt())
    assert main.run(["live", "--headless", "--publish", address]) == console.INTERRUPTED
    assert made.seen["publish"] == address
    said = capsys.readouterr()
    assert f"Publishing at {address}" in said.err
    assert "exposures" in said.out
    assert "video" not in said.out
    made.session = FakeSession([picture(i) for i in range(5)], error=KeyboardInterrupt())
    assert main.run(["replay", str(recording), "--headless", "--loop", "--publish", address]) == 130
    assert set(tmp_path.iterdir()) == before
    made.session = FakeSession([picture(i) for i in range(5)], error=KeyboardInterrupt())
    assert main.run(["live", "--headless", "--publish", address, "-o", "run"]) == console.INTERRUPTED
    assert (tmp_path / "run" / VIDEO).exists()


def test_output_that_exists_is_refused_before_anything_starts(made: Made, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "x").write_text("")
    assert main.run(["live", "--headless", "-o", "run"]) == 2
    assert made.session.calls == []  # type: ignore[attr-defined]


def test_replay_hands_on_its_options(made: Made, recording: Path, tmp_path: Path) -> None:
    made.session = FakeSession([picture(i) for i in range(5)], is_recording=True)
    line = ["replay", str(recording), "--headless", "--as-fast-as-possible", "-o", "run"]
    assert main.run(line) == 0
    assert made.seen["source"] == recording
    assert (made.seen["replay_speed"], made.seen["loop"]) == (0.0, False)
    assert json.loads((tmp_path / "run" / SUMMARY).read_text())["pictures"]["shown"] == 5


def test_the_viewer_gets_what_was_asked_for(
    made: Made, recording: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, object] = {}

    def viewer(make: object, source: object, network: object, **kwargs: object) -> int:
        seen.update(source=source, network=network, **kwargs)
        return 0

    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.setattr("app.viewer.main.run_viewer", viewer)
    # Nothing may read the settings of the person who runs the tests.
    monkeypatch.setattr("app.viewer.remembered.usual_path", lambda: tmp_path / "viewer.json")
    shot = tmp_path / "s.png"
    assert main.run(["replay", str(recording), "--speed", "0.5", "--loop", "--screenshot", str(shot)]) == 0
    asked = {"source": recording, "network": None, "screenshot": shot, "speed": 0.5, "loop": True}
    assert seen == {**asked, "residual": False, "rig_page": False, "said": OpenOptions()}
    assert made.seen["replay_speed"] == 0.5
    assert made.seen["device"] == "auto"
    assert main.run(["live", "-n", "edi", "--residual", "--device", "cpu"]) == 0
    assert made.seen["device"] == "cpu"
    assert (seen["source"], seen["network"], seen["screenshot"]) == ("simulated", "edi", None)
    assert seen["residual"] is True
    assert main.run(["live", "simulated:davis", "--rig-page"]) == 0
    assert (seen["source"], seen["rig_page"]) == ("simulated:davis", True)
    seen.clear()
    assert main.run(["live", "--rig-page", "--headless"]) == 2
    assert not seen
    assert not made.seen.get("residual"), "a window asks for it itself"
    assert main.run(["live", "--seconds", "3"]) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["live", "simulated:moon"], "moon"),
        (["live", "toaster:7"], "unknown camera 'toaster'"),
        (["live", "nowhere.toml"], "does not exist"),
        (["live", "bad.toml"], "unknown key 'events.widht'"),
        (["live", "REC"], "halfmirror replay"),
        (["live", "--network", "glimt"], "known: edi"),
        (["live", "--headless", "--device", "gpu"], "device 'gpu' is not one; give auto, cpu"),
        (["replay", "REC", "--headless", "--device", "cuda:99"], "use cpu"),
        (["live", "--headless", "--seconds", "0"], "out of range"),
        (["live", "--headless", "--screenshot", "x.png"], "needs the window"),
        (["live", "--contrast", "x"], "not a number"),
        (["live", "--publish", "here"], "is no address"),
        (["replay", "nowhere.aedat4"], "does not exist"),
        (["replay", "EMPTY"], "empty"),
        (["replay", "EVENTS"], "no frames"),
        (["replay", "FRAMES", "--headless"], "'edi' needs events and the source has frames only"),
        (["replay", "FRAMES", "--network", "edi"], "use none or cdvd-tsp"),
        (["replay", "REC", "--speed", "9"], "out of range"),
        (["replay", "REC", "--speed", "nan"], "out of range"),
        (["replay", "REC", "--speed", "2", "--as-fast-as-possible"], "not both"),
        (["replay", "REC", "--headless", "--loop"], "never ends"),
    ],
)
def test_wrong_requests(
    line: list[str], words: str, made: Made, recording: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rig = Rig.from_facts("test", RigFacts((64, 48), (64, 48), one_sensor=True))
    rig.save(tmp_path / "good.toml")
    text = (tmp_path / "good.toml").read_text()
    (tmp_path / "bad.toml").write_text(text.replace("width", "widht", 1))
    (tmp_path / "empty.aedat4").write_bytes(b"")
    names = {"REC": str(recording), "EMPTY": str(tmp_path / "empty.aedat4"), "EVENTS": "events.aedat4"}
    names["FRAMES"] = "frames.aedat4"
    if "EVENTS" in line:
        write_aedat4(tmp_path / "events.aedat4", sample_events())
    if "FRAMES" in line:
        write_aedat4(tmp_path / "frames.aedat4", frames=sample_frames())
    assert main.run([names.get(w, w) for w in line]) in (1, 2)
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert words in err[0]
    assert made.session.calls == []  # type: ignore[attr-defined]


def test_frames_alone_are_refused_before_anything_starts_where_there_is_no_display(
    made: Made, tmp_path: Path, no_display: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_aedat4(tmp_path / "frames.aedat4", frames=sample_frames())
    assert main.run(["replay", str(path)]) == 2
    assert "'edi' needs events" in capsys.readouterr().err
    assert made.session.calls == []  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == [path]


def test_rig_source(tmp_path: Path) -> None:
    rig = Rig.from_facts("test", RigFacts((64, 48), (64, 48), one_sensor=True))
    rig.save(tmp_path / "r.toml")
    assert rig_source(str(tmp_path / "r.toml")) == tmp_path / "r.toml"
    assert rig_source("simulated") == "simulated"
    assert rig_source("aedat4-unix:/tmp/events.sock") == "aedat4-unix:/tmp/events.sock"


def test_latents() -> None:
    assert parse_latents(None, None) == (0.5,)
    assert parse_latents("1, 0,0.25", None) == (0.0, 0.25, 1.0)
    assert parse_latents(None, 2) == (0.25, 0.75)
    for bad in ("", "0.5,", "nan", "inf", "-0.1"):
        with pytest.raises(UsageError):
            parse_latents(bad, None)


def test_contrast() -> None:
    assert parse_contrast(None) == parse_contrast("auto") == {}
    assert parse_contrast("rig") == {"contrast": "rig"}
    assert parse_contrast("0.2,0.3") == {"contrast_on": 0.2, "contrast_off": 0.3}


def test_settings_become_options_of_the_network() -> None:
    words = ["tile=512", " grid = event", "window_ms=12.5", "mask=False", "tile_of=none", "padding=reflect"]
    assert parse_settings(words) == {
        "tile": 512, "grid": "event", "window_ms": 12.5, "mask": False, "tile_of": None, "padding": "reflect",
    }  # fmt: skip
    for wrong in ("tile", "=3", "tile=", ""):
        with pytest.raises(UsageError, match="give KEY=VALUE"):
            parse_settings([wrong])
    with pytest.raises(UsageError, match="--set tile is given twice"):
        parse_settings(["tile=512", "tile=256"])
    given = {"dtype": None, "compiled": False, "random_weights": False}
    assert restorer_options("0.2", **given, settings=["tile=512"]) == {  # type: ignore[arg-type]
        "tile": 512, "contrast_on": 0.2, "contrast_off": 0.2,
    }  # fmt: skip
    with pytest.raises(UsageError, match="--set dtype: this has an option of its own, which was given too"):
        restorer_options(
            None, dtype="float16", compiled=False, random_weights=False, settings=["dtype=float32"]
        )


def test_what_is_stated_of_a_recording_holds_for_that_one_alone(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, object]] = []
    monkeypatch.setattr("app.live.make_session", lambda source, _n, **k: seen.append((str(source), k["said"])))
    monkeypatch.chdir(recording.parent)
    said = OpenOptions(exposure_us=8000, rig=tmp_path / "rig.toml")
    make = run_session.session_maker({}, said=said, said_of=Path(recording.name))
    make(recording, "edi")
    make(tmp_path / "another.aedat4", "edi")
    make("simulated", "edi")
    make(tmp_path / "another.aedat4", "edi", rig=tmp_path / "new.toml")
    make(recording, "edi", rig=tmp_path / "new.toml")
    new = OpenOptions(rig=tmp_path / "new.toml")
    assert [s for _, s in seen] == [said, None, None, new, replace(said, rig=tmp_path / "new.toml")]


def test_options_without_a_network_are_those_of_edi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever network the window remembers, and another one that is chosen there does not get them."""
    made: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr("app.live.make_session", lambda _s, n, **k: made.append((n, k["options"])))
    monkeypatch.setattr(run_session, "no_window", lambda: "")
    asked: list[str | None] = []

    def window(make: SessionFactory, source: str | Path, network: str | None, **_: object) -> int:
        asked.append(network)
        make(source, network or "glint")
        make(source, "none")
        return 0

    monkeypatch.setattr("app.viewer.main.run_viewer", window)
    common = {"headless": False, "seconds": None, "output": None, "screenshot": None, "verb": "live"}
    run_session.show({"contrast_on": 0.2}, "simulated", None, **common)
    run_session.show({"grid": "event"}, "simulated", "glint", **common)
    run_session.show({"random_weights": True}, "simulated", None, **common)
    assert asked == ["edi", "glint", None]
    assert made == [
        ("edi", {"contrast_on": 0.2}), ("none", {}), ("glint", {"grid": "event"}), ("none", {}),
        ("glint", {"random_weights": True}), ("none", {"random_weights": True}),
    ]  # fmt: skip


def test_an_option_of_no_network_that_was_named_is_refused_at_once() -> None:
    common = {"headless": False, "seconds": None, "output": None, "screenshot": None, "verb": "live"}
    with pytest.raises(UsageError, match="compile, grid: edi has no such option; name the network with -n"):
        run_session.show({"grid": "event", "compile": True, "contrast_on": 0.2}, "simulated", None, **common)


def test_a_camera_that_names_itself_is_named_once() -> None:
    told = [
        WorkerStatus(n, CameraState.FAULTED, "davis346: none is there").told for n in ("davis346", "replay")
    ]
    assert told == ["davis346: none is there", "replay: davis346: none is there"]
    assert WorkerStatus("replay", CameraState.FAULTED).told == "replay: no detail"


def test_a_screenshot_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    common = {"headless": False, "seconds": None, "output": None, "verb": "live"}
    with pytest.raises(UsageError, match=r"is saved as PNG; give a name that ends in \.png"):
        run_session.show({}, "simulated", None, screenshot=tmp_path / "a.jpg", **common)
    (tmp_path / "file.txt").touch()
    (tmp_path / "mine.png").touch()
    with pytest.raises(UsageError, match=r"mine\.png: exists already; give another name"):
        run_session.show({}, "simulated", None, screenshot=tmp_path / "mine.png", **common)
    with pytest.raises(OutputError, match="cannot write"):
        run_session.show({}, "simulated", None, screenshot=tmp_path / "file.txt" / "a.png", **common)
