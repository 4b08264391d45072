"""`halfmirror deblur`: what it leaves, what it refuses, and that a failure leaves nothing."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from app.cli import main
from inference import store
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.sample import EXPOSURE_US, sample_events, sample_frames

N = 10


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("in") / "sample.aedat4"
    return write_aedat4(path, sample_events(), sample_frames(colour=True))


def run(*line: object) -> int:
    return main.run(["deblur", *map(str, line)])


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def video_times(path: Path) -> list[int]:
    with av.open(str(path)) as f:
        stream = f.streams.video[0]
        return [round(float(x.pts * x.time_base) * 1e6) for x in f.decode(stream)]


def starts() -> list[int]:
    return [f.start_us for f in sample_frames()]


def test_folder(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(recording, "-o", out, "--at", "1,0,0.5", "--network", "none") == 0
    rows = list(csv.DictReader((out / "timestamps.csv").open()))
    assert [int(r["time_us"]) for r in rows] == [
        s + round(v * EXPOSURE_US) for s in starts() for v in (0, 0.5, 1)
    ]
    assert names(out) == sorted([*(r["file"] for r in rows), "report.json", "timestamps.csv"])
    assert names(tmp_path) == ["out"]
    back = cv2.imread(str(out / "exposure-000003-0.5000.png"))
    assert back is not None
    assert np.array_equal(back[..., ::-1], sample_frames(colour=True)[3].image)
    report = json.loads((out / "report.json").read_text())
    items = report["items"]
    assert items["frames_in"] == items["restored"] + items["refused"] + items["dropped"] == N
    assert items["pictures_out"] == 3 * N
    assert report["latents"] == [0.0, 0.5, 1.0]
    assert report["exposure_sources"] == {"chunk": {"exposures": N, "worst_uncertainty_us": 1.0}}
    assert set(report["seconds"]) == {"prepare", "read", "sync", "restore", "write", "total"}
    assert sum(v for k, v in report["seconds"].items() if k != "total") <= report["seconds"]["total"]
    assert "exposures in 10 = restored 10 + refused 0" in capsys.readouterr().out


def test_video(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    assert run(recording, "-o", out, "--frames-per-exposure", 4) == 0
    times = [round(s + (k + 0.5) / 4 * EXPOSURE_US) for s in starts() for k in range(4)]
    assert video_times(out) == [t - times[0] for t in times]
    assert names(tmp_path) == ["a.mp4", "a.report.json"]
    report = json.loads((tmp_path / "a.report.json").read_text())
    assert report["output"]["first_us"] == times[0]
    assert report["output"]["times_moved"] == 0


def test_fixed_contrast_is_used_and_reported(recording: Path, tmp_path: Path) -> None:
    assert run(recording, "-o", tmp_path / "out", "--contrast", "0.21,0.34") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["contrast"]["contrast_on"] == pytest.approx(0.21)
    assert report["contrast"]["contrast_off"] == pytest.approx(0.34)


def test_refused_exposures_are_in_the_report_only(tmp_path: Path) -> None:
    frames = sample_frames()
    frames[2] = WrittenFrame(frames[2].start_us, None, frames[2].image)
    path = write_aedat4(tmp_path / "in.aedat4", sample_events(), frames)
    assert run(path, "-o", tmp_path / "out", "-n", "edi") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [r["ordinal"] for r in report["refused"]] == [2]
    assert report["refused"][0]["reason"] == "no_exposure"
    assert not list((tmp_path / "out").glob("exposure-000002-*"))
    assert report["items"]["pictures_out"] == N - 1


@pytest.mark.parametrize("target", ["out", "out.mp4", "new/folder/out", "new/folder/out.mp4"])
def test_all_refused_leaves_nothing(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_aedat4(tmp_path / "in.aedat4", sample_events(), sample_frames(exposure_us=None))
    assert run(path, "-o", tmp_path / target) == 1
    assert names(tmp_path) == ["in.aedat4"]
    err = capsys.readouterr().err
    assert "none of 10 exposures could be restored" in err
    assert "no exposure" in err
    assert "state it: --exposure-us" in " ".join(err.split())


def test_accumulator_frames_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [f._replace(source="ACCUMULATION") for f in sample_frames()]
    path = write_aedat4(tmp_path / "in.aedat4", sample_events(), frames)
    assert run(path, "-o", tmp_path / "out") == 1
    assert "accumulator" in capsys.readouterr().err


def test_overwrite(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(recording, "-o", out, "-n", "none") == 0
    assert run(recording, "-o", out, "-n", "none", "--at", "0.1") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "exposure-000000-0.5000.png").exists()
    assert run(recording, "-o", out, "-n", "none", "--at", "0.1", "--overwrite") == 0
    assert not (out / "exposure-000000-0.5000.png").exists()
    (out / "notes.txt").write_text("mine")
    assert run(recording, "-o", out, "-n", "none", "--overwrite") == 2
    assert (out / "notes.txt").read_text() == "mine"
    video = tmp_path / "a.mp4"
    assert run(recording, "-o", video, "-n", "none") == 0
    before = video.read_bytes()
    assert run(recording, "-o", video, "-n", "none", "--at", "0") == 2
    assert video.read_bytes() == before
    assert run(recording, "-o", video, "-n", "none", "--seconds", "0.3", "--overwrite") == 0
    assert len(video_times(video)) < N


def test_failed_overwrite_keeps_the_earlier_output(tmp_path: Path, recording: Path) -> None:
    out = tmp_path / "out"
    assert run(recording, "-o", out, "-n", "none") == 0
    before = names(out)
    bad = write_aedat4(tmp_path / "in.aedat4", sample_events(), sample_frames(exposure_us=None))
    assert run(bad, "-o", out, "--overwrite") == 1
    assert names(out) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["nowhere.aedat4", "-o", "x"], "does not exist"),
        (
            ["IN", "-o", "x", "--network", "glimt"],
            "network 'glimt'; did you mean 'glint'? known: edi, ",
        ),
        (["IN", "-o", "x", "--at", "1.5"], "outside the exposure"),
        (["IN", "-o", "x", "--at", "half"], "'half' is not a number"),
        (["IN", "-o", "x", "--at", "0.5,0.5"], "same instant"),
        (["IN", "-o", "x", "--at", "0.5", "--frames-per-exposure", "3"], "not both"),
        (["IN", "-o", "x", "--frames-per-exposure", "0"], "out of range"),
        (["IN", "-o", "x", "--contrast", "9"], "out of range"),
        (["IN", "-o", "x", "--contrast", "riig"], "'riig' is not a number; give auto, rig, a threshold"),
        (["", "-o", "x"], "is empty"),
        (["IN", "-o", "x", "--contrast", "0.1,0.2,0.3"], "3 values"),
        (["IN", "-o", "x.avi"], "written as .mp4"),
        (["IN", "-o", "x.mp3"], "written as .mp4"),
        (["IN", "-o", "x.MPG"], "written as .mp4"),
        (["IN", "-o", "x.h5"], "written as .mp4"),
        (["IN", "-o", "x", "--seconds", "-1"], "out of range"),
        (["IN", "-o", "x", "--seconds", "nan"], "out of range"),
        (["IN", "-o", "x", "--device", "toaster"], "toaster"),
        (["simulated:nowhere", "-o", "x"], "nowhere"),
    ],
)
def test_wrong_requests(
    line: list[str], words: str, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(*[recording if w == "IN" else w for w in line]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert words in err[0]
    assert names(tmp_path) == []


@pytest.mark.usefixtures("one_thread")
def test_the_residual_of_every_exposure_and_the_same_pictures(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, more in (("plain", []), ("measured", ["--residual"])):
        assert run(recording, "-o", tmp_path / name, "--contrast", "0.2", *more) == 0
    for picture in (tmp_path / "plain").glob("*.png"):
        assert picture.read_bytes() == (tmp_path / "measured" / picture.name).read_bytes()
    reports = {n: json.loads((tmp_path / n / "report.json").read_text()) for n in ("plain", "measured")}
    assert reports["plain"]["reblur_residual"] is None
    found = reports["measured"]["reblur_residual"]
    assert found["exposures"] == N
    assert 0 < found["mean"] <= found["p95"] < 60
    assert "re-blur residual" in capsys.readouterr().out
    # Where many instants are restored anyway it comes for nothing.
    assert run(recording, "-o", tmp_path / "many", "--contrast", "0.2", "--frames-per-exposure", 5) == 0
    assert json.loads((tmp_path / "many" / "report.json").read_text())["reblur_residual"]["exposures"] == N
    line = [recording, "-o", tmp_path / "one", "-n", "stra", "--random-weights", "--residual"]
    assert run(*line) == 0
    found = json.loads((tmp_path / "one" / "report.json").read_text())["reblur_residual"]
    words = "stra restores one instant only, so its pictures cannot be blurred again"
    assert found == {"not_available": words}
    assert f"no re-blur residual: {words}" in capsys.readouterr().err


def test_frames_without_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape = write_aedat4(tmp_path / "frames.aedat4", frames=sample_frames(exposure_us=None))
    assert run(tape, "-o", tmp_path / "out") == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert err == [
        "halfmirror: network 'edi' needs events and the source has frames only; use none or cdvd-tsp"
    ]
    assert names(tmp_path) == ["frames.aedat4"]
    assert run(tape, "-o", tmp_path / "out", "-n", "none") == 0
    items = json.loads((tmp_path / "out" / "report.json").read_text())["items"]
    assert (items["frames_in"], items["restored"], items["frames_alone"]) == (N, N, N)
    rows = list(csv.DictReader((tmp_path / "out" / "timestamps.csv").open()))
    assert {(r["exposure_start_us"], r["exposure_end_us"], r["source"]) for r in rows} == {("", "", "unknown")}
    assert [int(r["time_us"]) for r in rows] == starts()
    assert run(tape, "-o", tmp_path / "a.mp4", "-n", "none") == 0
    assert video_times(tmp_path / "a.mp4") == [s - starts()[0] for s in starts()]


@pytest.mark.parametrize("target", ["out", "out.mp4"])
def test_full_disk(target: str, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk, small = tmp_path / "disk", 16_000
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={small}", "tmpfs", str(disk)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    print("a tmpfs of its own" if mounted else "RLIMIT_FSIZE in place of a full disk (mount not allowed)")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if not mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (small // 4, old[1]))
        code = run(recording, "-o", disk / target, "-n", "none", "--at", "0,0.5")
        left = names(disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)
    err = capsys.readouterr().err.strip().splitlines()
    assert code == 1
    assert f"disk full while writing {disk / target} " in err[-1]
    assert left == []


SLOW = """
import sys, time
import inference.restorers.passthrough as p
restore = p.PassThrough.restore
def slow(self, *a):
    print("at work", flush=True)
    time.sleep(0.2)
    return restore(self, *a)
p.PassThrough.restore = slow
from app.cli.main import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("target", ["out", "out.mp4"])
def test_interrupted_leaves_nothing(number: int, target: str, recording: Path, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, "deblur", str(recording), "-o", str(tmp_path / target), "-n", "none"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    for _ in range(3):
        assert child.stdout.readline().strip() == "at work"
    assert names(tmp_path) != []  # it was writing
    os.kill(child.pid, number)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 128 + number
    assert err == ""
    assert names(tmp_path) == []


def test_real_recording(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eighteen exposures of 104 ms go in, eighteen pictures at their middles come out."""
    source = shared_data / "event" / "davis346_blur_cups.aedat4"
    assert run(source, "-o", tmp_path / "cups.mp4") == 0
    assert run(source, "-o", tmp_path / "cups") == 0
    rows = list(csv.DictReader((tmp_path / "cups" / "timestamps.csv").open()))
    middles = [int(r["time_us"]) for r in rows]
    assert len(rows) == 18
    assert all(
        abs(2 * int(r["time_us"]) - int(r["exposure_start_us"]) - int(r["exposure_end_us"])) <= 1 for r in rows
    )
    assert {int(r["exposure_end_us"]) - int(r["exposure_start_us"]) for r in rows} == {
        103_999,
        104_000,
        104_001,
    }
    assert video_times(tmp_path / "cups.mp4") == [m - middles[0] for m in middles]


def test_real_recording_without_frames(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(shared_data / "event" / "dvxplorer_320x240.aedat4", "-o", tmp_path / "out") == 1
    assert "has no frames" in capsys.readouterr().err
    assert names(tmp_path) == []


def test_options_of_the_network_reach_it(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [recording, "-o", tmp_path / "out", "--network", "s-sdm-ldn", "--random-weights"]
    assert run(*line, "--set", "batch=0") == 2
    assert "s-sdm-ldn: batch 0: give a whole number from 1 to 64" in capsys.readouterr().err
    assert run(*line, "--set", "depth=3") == 2
    assert "s-sdm-ldn: unknown option 'depth'; known:" in capsys.readouterr().err
    assert names(tmp_path) == []
    assert run(*line, "--set", "tile=128", "--dtype", "bfloat16") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["options"] == {"tile": 128, "dtype": "bfloat16", "random_weights": True}
    assert report["runs_on"] == "CPU, bfloat16"
    assert report["weights"] == {"network": "s-sdm-ldn"}


def test_the_report_says_which_weights(recording: Path, tmp_path: Path) -> None:
    assert run(recording, "-o", tmp_path / "glint", "-n", "glint", "--seconds", "0.3") == 0
    shipped = store.installed("glint")
    assert shipped is not None
    assert shipped.origin is not None
    report = json.loads((tmp_path / "glint" / "report.json").read_text())
    assert len(shipped.origin.content_sha256) == 64
    assert report["weights"]["network"] == "glint"
    assert report["weights"]["content_sha256"] == shipped.origin.content_sha256
    assert run(recording, "-o", tmp_path / "edi", "-n", "edi", "--seconds", "0.3") == 0
    assert json.loads((tmp_path / "edi" / "report.json").read_text())["weights"] is None
