"""What doctor finds, advises and concludes."""

from __future__ import annotations

import json
import subprocess
import tempfile
import tomllib
from pathlib import Path

import pytest

from app.cli import checks, doctor, installation, main, usb
from app.cli.camera_checks import checks_of
from app.cli.checks import Check, State
from app.cli.device_survey import Survey
from app.cli.probes import Probe, probe
from app.recording import ring_layouts
from app.sources import SourceRequest, resolve
from app.viewer.calibration_run import CalibrationRun
from capture.simulated.presets import PRESETS
from training.data.sets import probing

ROOT = Path(__file__).resolve().parents[3]


def test_json_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    code = main.run(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    by_name = {c["name"]: c for c in report["checks"]}
    assert {"Python", "torch", "CUDA", "numba", "OpenCV", "PyAV", "Qt", "dv-processing", "memory", "disk",
            "shared memory", "USB", "cameras", "neuromorphic-drivers", "Metavision SDK",
            "Spinnaker"} <= set(by_name)  # fmt: skip
    missing = [c for c in report["checks"] if c["needed"] and c["state"] == "missing"]
    assert report["ok"] is (not missing)
    assert code == (0 if report["ok"] else 1)
    assert all(c["advice"] for c in report["checks"] if c["state"] == "missing")
    assert by_name["torch"]["state"] == "ok"


def test_missing_needed_thing_is_exit_1_with_advice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = Check("numba", State.MISSING, "not there", "pip install numba", needed=True)
    monkeypatch.setattr(doctor, "run_checks", lambda: [gone])
    assert main.run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "→ pip install numba" in out
    assert "cannot run" in out


def test_missing_extra_is_exit_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "run_checks", lambda: [Check("Qt", State.MISSING, "no", "apt-get")])
    assert main.run(["doctor"]) == 0


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Check:
        raise OSError("odd machine")

    monkeypatch.setattr(checks, "all_checks", lambda: [broken])
    (only,) = doctor.run_checks()
    assert (only.state, "odd machine" in only.facts) == (State.NOTE, True)


def test_another_system_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.python().state is State.OK
    monkeypatch.setattr(checks.platform, "system", lambda: "Darwin")
    found = checks.python()
    assert found.state is State.NOTE
    assert "Linux" in found.advice


def test_probe_survives_crash_hang_and_exception() -> None:
    assert "signal 6" in probe("import os; os.abort()").why
    assert "no answer within" in probe("import time; time.sleep(60)", timeout_s=0.5).why
    assert probe("raise ValueError('why not')").why == "ValueError: why not"
    assert probe("answer({'a': 1}); import os; os._exit(3)").ok is False
    assert probe("print('noise'); answer({'a': 1})").facts == {"a": 1}


def test_files_in_the_present_folder_are_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("capture", "app", "training"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the file of a person was run')")
    monkeypatch.chdir(tmp_path)
    assert probe("import capture.errors\nanswer({})") == Probe(True)
    found = installation.names()
    assert (found.state, "capture" in found.facts, "training" in found.facts) == (State.NOTE, True, False)
    # The viewer's calibration and the look at training data start modules of ours by name.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run([*CalibrationRun().program, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "x.h5").write_bytes(b"no HDF5")
    (told,) = probing.probe_apart([[str(tmp_path / "x.h5")]])
    assert told != probing.CRASHED


def test_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"pytorch_lightning", "tensorboardX", "rosbags"}
    monkeypatch.setattr(installation, "find_spec", lambda name: object() if name in there else None)
    found = installation.extras()
    how = "pip install 'halfmirror[datasets,prophesee]'"
    assert found.facts == f"train ✓, ros ✓, datasets –, prophesee – ({how})"
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(installation.EXTRAS) <= set(known)


@pytest.mark.parametrize(
    ("found", "state", "facts"),
    [
        (Probe(True, {"why": ""}), State.OK, "0.8"),
        (Probe(True, {"why": "not installed"}), State.NOTE, "not installed"),
        (Probe(True, {"why": "the installed Aravis 0.8 is too old"}), State.NOTE, "too old"),
        (Probe(False, why="crashed with signal 11"), State.NOTE, "crashed with signal 11"),
    ],
)
def test_aravis_says_what_is_wrong(
    found: Probe, state: State, facts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "probe", lambda *_a, **_k: found)
    told = checks.aravis()
    assert told.state is state
    assert facts in told.facts


def test_qt_trap_on_python_311(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.sys, "version_info", (3, 11, 7))
    monkeypatch.setattr(checks, "_installed", lambda name: "6.12.0" if name == "PySide6-Essentials" else None)
    (found,) = checks.qt()
    assert found.state is State.MISSING
    assert "<6.12" in found.advice
    monkeypatch.setattr(checks.sys, "version_info", (3, 12, 1))
    assert checks._qt_trap("6.12.0") is None
    assert checks._qt_trap("6.11.3") is None


def test_qt_without_system_libraries_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    err = "ImportError: libEGL.so.1: cannot open shared object file: No such file or directory"
    monkeypatch.setattr(checks, "probe", lambda *_a, **_k: Probe(False, why="x", stderr=err))
    (found,) = checks.qt()
    assert found.state is State.MISSING
    assert "libEGL.so.1" in found.facts
    assert "apt-get install libegl1" in found.advice


def test_two_opencv_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"opencv-python", "opencv-python-headless"}
    monkeypatch.setattr(checks, "_installed", lambda name: "5.0" if name in both else None)
    found = checks.opencv()
    assert found.state is not State.OK
    assert "pip uninstall -y opencv-python-headless opencv-python " in found.advice


@pytest.mark.parametrize(
    ("facts", "card", "advice"),
    [
        ({"cuda": False, "built": None}, True, "CPU build"),
        ({"cuda": False, "built": "12.6"}, True, "driver"),
        ({"cuda": False, "built": None}, False, "nothing to do"),
        ({"cuda": True, "built": "12.6", "names": ["A card"]}, True, ""),
    ],
)
def test_cuda_advice(
    facts: dict[str, object], card: bool, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"version": "2", "threads": 1, "bfloat16": False, "names": [], "why": "", **facts}
    monkeypatch.setattr(checks, "probe", lambda *_a, **_k: Probe(True, answer))
    monkeypatch.setattr(checks.shutil, "which", lambda _: "/usr/bin/nvidia-smi" if card else None)
    _, cuda, *_ = checks.torch()
    assert advice in cuda.advice
    assert (cuda.state is State.OK) is bool(facts["cuda"])


@pytest.mark.parametrize(
    ("found", "state", "facts"),
    [
        (Probe(True, {"why": ""}), State.OK, "built and run with Triton"),
        (
            Probe(True, {"why": "RuntimeError: no C compiler\nmore"}),
            State.NOTE,
            "none: RuntimeError: no C compiler",
        ),
        (Probe(False, why="died of signal 11"), State.NOTE, "none: died of signal 11"),
    ],
)
def test_kernels_on_a_gpu(found: Probe, state: State, facts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts_of_torch = {"version": "2", "threads": 1, "bfloat16": False, "names": ["A card"], "built": "12.6"}
    answers = [Probe(True, {**facts_of_torch, "cuda": True}), found]
    monkeypatch.setattr(checks, "probe", lambda *_a, **_k: answers.pop(0))
    *_, kernels = checks.torch()
    assert (kernels.state, kernels.facts) == (state, facts)
    assert ("gcc" in kernels.advice) is (state is State.NOTE)


@pytest.mark.parametrize(("has", "kind"), [(True, "bfloat16"), (False, "float32")])
def test_the_number_type_on_the_cpu(has: bool, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"version": "2", "threads": 3, "bfloat16": has, "names": [], "cuda": False, "built": None}
    monkeypatch.setattr(checks, "probe", lambda *_a, **_k: Probe(True, answer))
    monkeypatch.setattr(checks.shutil, "which", lambda _: None)
    assert checks.torch()[0].facts == f"2, 3 threads; networks on the CPU in {kind}"


def test_the_question_for_torch_is_answered() -> None:
    found = probe(checks._TORCH)
    assert found.ok
    assert found.facts["bfloat16"] is False  # as all tests


def test_the_question_for_kernels_is_answered() -> None:
    """Here, without a GPU, by the reason why there are none."""
    found = probe(checks._KERNELS)
    assert found.ok
    assert found.facts["why"]


def test_shared_memory_too_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = type("Usage", (), {"free": 64 * 1024**2})
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage)
    found = checks.shared_memory(tmp_path)
    assert (found.state, found.needed) == (State.MISSING, True)
    assert "--shm-size" in found.advice
    assert checks.shared_memory(tmp_path / "not there").state is State.MISSING


def test_a_folder_for_temporary_files_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert checks.scratch().state is State.OK
    assert str(tmp_path) in checks.scratch().facts
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", None)  # Python has another one, and says nothing of it
    found = checks.scratch()
    assert (found.state, found.facts.split(";")[0]) == (State.NOTE, f"TMPDIR={tmp_path / 'gone'} takes nothing")

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    found = checks.scratch()
    assert (found.state, found.needed) == (State.MISSING, True)
    assert found.facts.startswith("no folder for temporary files takes anything")
    assert "name one in TMPDIR" in found.advice
    assert checks.scratch in checks.all_checks()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_shared_memory_asked_for_is_enough_to_record_a_simulated_rig(preset: str) -> None:
    source = resolve(SourceRequest.of(f"simulated:{preset}"))
    assert sum(layout.nbytes for layout in ring_layouts(source)) < checks.MIN_SHM


def _device(folder: Path, vendor: str) -> None:
    d = folder / "1-1"
    d.mkdir(parents=True)
    (d / "idVendor").write_text(vendor + "\n")
    (d / "busnum").write_text("1\n")
    (d / "devnum").write_text("7\n")


def test_usb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bus, devices, rules = tmp_path / "bus", tmp_path / "devices", tmp_path / "rules.d"
    assert "no USB" in usb.usb(bus, devices, [rules]).facts
    (bus / "001").mkdir(parents=True)
    _device(devices, "152a")
    # Root may open everything, so the permission is what the system is asked about.
    monkeypatch.setattr(usb.os, "access", lambda *_: False)
    denied = usb.usb(bus, devices, [rules])
    assert denied.state is State.MISSING
    assert "iniVation" in denied.facts
    monkeypatch.setattr(usb.os, "access", lambda *_: True)
    monkeypatch.setattr(usb.os, "geteuid", lambda: 1000)
    unruled = usb.usb(bus, devices, [rules])
    assert unruled.state is State.NOTE
    assert "FLIR" in unruled.advice
    assert "halfmirror devices" in unruled.advice
    rules.mkdir()
    text = "\n".join(f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{v}", MODE="0666"' for v in usb.VENDORS)
    (rules / "66-cameras.rules").write_text(text)
    ruled = usb.usb(bus, devices, [rules])
    assert (ruled.state, ruled.facts) == (State.OK, "1 camera plugged in")


@pytest.mark.parametrize(
    ("rule", "counts"),
    [
        ('SUBSYSTEM=="usb", ATTR{idVendor}=="1e10", MODE="0666"', True),
        ('ATTRS{idVendor}=="152A|1E10", TAG+="uaccess"', True),
        ('ENV{ID_VENDOR_ID}=="1e10", MODE="0666"', True),
        ('ATTRS{idVendor}=="046d", ATTRS{idProduct}=="1e10", MODE="0666"', False),
        ('# ATTR{idVendor}=="1e10"', False),
        ('ATTR{idVendor}=="1e100"', False),
    ],
)
def test_a_rule_counts_by_its_vendor(rule: str, counts: bool, tmp_path: Path) -> None:
    (tmp_path / "66.rules").write_text(f"# cameras\n{rule}\n")
    assert usb.has_rule("1e10", [tmp_path]) is counts


def test_what_a_bug_report_about_a_camera_needs() -> None:
    davis = {
        "name": "davis346:A1", "model": "DAVIS", "serial": "A1", "role": "events", "width": 346, "height": 260,
        "usb_speed": "USB 2, 480 Mbit/s", "firmware": "0100", "access": True, "can": [], "sdk": "dv-processing",
    }  # fmt: skip
    sdks = [
        {"name": n, "there": False, "facts": f"is not there; {n}"} for n in ("Aravis", "neuromorphic-drivers")
    ]
    found = checks_of(Survey([davis, {**davis, "name": "", "sdk": ""}], sdks), 16)
    nd, served, other, usbfs = found
    assert (nd.name, nd.state) == ("neuromorphic-drivers", State.NOTE)
    assert served.facts.startswith("davis346:A1, DAVIS, A1, events, 346×260, USB 2, 480 Mbit/s, firmware 0100")
    assert (served.state, other.state) == (State.OK, State.NOTE)
    assert "halfmirror devices" in other.advice
    assert (usbfs.state, usbfs.facts) == (State.NOTE, "16 MB")
    assert "sudo tee" in usbfs.advice
    assert checks_of(Survey(), None) == []


def test_makefile_installs_what_doctor_names() -> None:
    script = (ROOT / ".ci" / "system-libraries").read_text().replace("\\\n", "")
    listed = script.split('packages="')[1].split('"')[0].split()
    assert listed == checks.QT_SYSTEM_PACKAGES.split()


@pytest.mark.parametrize("kept", [True, False])
def test_code_that_cannot_be_kept_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: bool) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / ("cache" if kept else "halfmirror-compiled-x")))
    check = checks.numba()
    assert check.state is (State.OK if kept else State.NOTE)
    assert ("NUMBA_CACHE_DIR" in check.advice) is not kept


def test_a_long_name_does_not_run_into_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    long, short = Check("neuromorphic-drivers", State.OK, "0.18.2"), Check("Qt", State.OK, "6", "upgrade")
    doctor._print([long, short], True)
    first, second, advice, *_ = capsys.readouterr().out.splitlines()
    assert first.index("0.18.2") == second.index("6") == advice.index("→")
    assert "drivers  0.18.2" in first
