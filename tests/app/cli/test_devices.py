"""`halfmirror devices`: real here (no camera), and on a made-up USB tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli import device_survey
from app.cli.device_survey import Survey, changes, survey
from app.cli.devices import _show
from app.cli.program import execute


def made_usb(folder: Path, *cameras: dict[str, str]) -> Path:
    for n, c in enumerate(cameras):
        d = folder / f"1-{n}"
        d.mkdir(parents=True)
        for name, text in {"busnum": "999", "devnum": str(n), **c}.items():
            (d / name).write_text(text + "\n")
    return folder


DAVIS = {"idVendor": "152a", "idProduct": "841a", "serial": "00000A1", "product": "DAVIS", "speed": "5000"}
FLIR_SLOW = {"idVendor": "1e10", "serial": "777", "product": "Blackfly S", "speed": "480", "bcdDevice": "0100"}
EVK = {"idVendor": "04b4", "serial": "00050423", "product": "EVK4", "speed": "5000"}
SILKY = {"idVendor": "31f7", "idProduct": "0003", "serial": "9", "product": "SilkyEvCam", "speed": "5000"}
CHIP = {"idVendor": "04b4", "idProduct": "6570", "serial": "2", "product": "a hub"}
MOUSE = {"idVendor": "046d", "serial": "1", "product": "mouse"}


@pytest.fixture
def no_children(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """Drivers find what a test says; every SDK but Metavision's is there."""
    found: dict[str, list[dict[str, Any]]] = {}

    def sdk(s: Any) -> dict[str, Any]:
        there = s[0] != "Metavision SDK"
        return {"name": s[0], "there": there, "facts": s[3], "drivers": list(s[2]), "why": ""}

    monkeypatch.setattr(device_survey, "_sdk", sdk)
    monkeypatch.setattr(
        device_survey, "_discovered", lambda names: [d for n in names for d in found.get(n, [])]
    )
    return found


def camera(name: str, model: str, serial: str, **can: bool) -> dict[str, Any]:
    return {
        "name": name, "model": model, "serial": serial, "role": "events", "width": 346, "height": 260,
        "capabilities": {"triggers": True, "settings": ["exposure_us"], **can},
    }  # fmt: skip


def test_what_is_plugged_in_with_speed_and_what_serves_it(tmp_path: Path, no_children: Any) -> None:
    no_children["davis346"] = [camera("davis346:00000A1", "DAVIS", "00000A1")]
    s = survey(made_usb(tmp_path / "usb", DAVIS, FLIR_SLOW, MOUSE), [], tmp_path / "nothing")
    davis, flir = s.devices
    assert davis["name"] == "davis346:00000A1"
    assert davis["usb_speed"] == "USB 3, 5 Gbit/s"
    assert davis["sdk"] == "dv-processing"
    assert davis["can"] == ["trigger input"]
    # Plugged in, but no driver has found it: it is said, at the wrong speed.
    assert (flir["name"], flir["model"], flir["sdk"]) == ("", "Blackfly S", "")
    assert flir["usb_speed"] == "USB 2, 480 Mbit/s"
    assert flir["firmware"] == "0100"


def test_what_is_missing_is_text_to_copy(tmp_path: Path, no_children: Any) -> None:
    usbfs = tmp_path / "usbfs_memory_mb"
    usbfs.write_text("16\n")
    s = survey(tmp_path / "none", [], usbfs)
    rules, memory = s.missing
    assert any('ATTRS{idVendor}=="152a"' in line for line in rules["do"])
    assert "16" in memory["what"]
    assert str(usbfs) in memory["do"][0]
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "65.rules").write_text("\n".join(device_survey.RULES.values()))
    usbfs.write_text("1000")
    assert survey(tmp_path / "none", [tmp_path / "rules"], usbfs).missing == []


def test_an_sdk_is_asked_for_when_its_camera_is_plugged_in(
    tmp_path: Path, no_children: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sdk(s: Any) -> dict[str, Any]:
        return {
            "name": s[0],
            "there": False,
            "facts": f"is not there; {s[3]}",
            "drivers": list(s[2]),
            "why": "",
        }

    monkeypatch.setattr(device_survey, "_sdk", sdk)
    s = survey(made_usb(tmp_path / "usb", FLIR_SLOW), [tmp_path], tmp_path / "nothing")
    assert [m["what"] for m in s.missing if "Aravis" in m["what"]] == [
        "Aravis is not there; sudo apt-get install libaravis-0.8-0"
    ]
    assert not any("dv-processing" in m["what"] for m in s.missing)


def test_event_cameras_of_other_makers_are_listed_and_other_things_of_theirs_are_not(
    tmp_path: Path, no_children: Any
) -> None:
    s = survey(
        made_usb(tmp_path / "usb", SILKY, CHIP, {**SILKY, "idProduct": "0009"}), [], tmp_path / "nothing"
    )
    assert [d["model"] for d in s.devices] == ["SilkyEvCam"]
    (rules,) = s.missing
    assert any('ATTRS{idVendor}=="31f7", ATTRS{idProduct}=="000[3-4]"' in line for line in rules["do"])
    assert any('ATTRS{idVendor}=="1409", ATTRS{idProduct}=="8e00"' in line for line in rules["do"])
    assert s.sdks


def test_a_prophesee_camera_is_named_by_what_serves_it(
    tmp_path: Path, no_children: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor's SDK lists nothing; where it is there alone, it serves what is plugged in."""
    there: set[str] = {"Metavision SDK"}

    def sdk(s: Any) -> dict[str, Any]:
        return {"name": s[0], "there": s[0] in there, "facts": "", "drivers": list(s[2]), "why": ""}

    monkeypatch.setattr(device_survey, "_sdk", sdk)
    one, two = made_usb(tmp_path / "one", EVK), made_usb(tmp_path / "two", EVK, {**EVK, "serial": "7"})
    s = survey(one, [tmp_path], tmp_path / "nothing")
    (evk,) = s.devices
    assert (evk["name"], evk["serial"], evk["role"]) == ("metavision", "00050423", "events")
    assert (evk["sdk"], evk["usb_speed"]) == ("Metavision SDK", "USB 3, 5 Gbit/s")
    assert not any("neuromorphic" in m["what"] for m in s.missing)
    names = [d["name"] for d in survey(two, [tmp_path], tmp_path / "nothing").devices]
    assert names == ["metavision:00050423", "metavision:7"]
    there.clear()
    s = survey(one, [tmp_path], tmp_path / "nothing")
    assert [(d["name"], d["sdk"]) for d in s.devices] == [("", "")]
    assert any("neuromorphic" in m["what"] for m in s.missing)
    # What the other library has found keeps its name.
    no_children["evk4"] = [camera("evk4:00050423", "EVK4", "00050423")]
    there.update({"Metavision SDK", "neuromorphic-drivers"})
    assert [d["name"] for d in survey(one, [tmp_path], tmp_path / "nothing").devices] == ["evk4:00050423"]


def test_a_child_that_crashes_or_raises_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    crash = ("crashing", "import os\nos.abort()", ("davis346",), "install it")
    raises = ("raising", "raise RuntimeError('no')", ("evk4",), "install it")
    for sdk in (crash, raises):
        found = device_survey._sdk(sdk)
        assert not found["there"]
        assert "\n" not in found["facts"]
        assert found["why"]
    monkeypatch.setattr(device_survey, "_DISCOVER", "import os\nos.abort() #{names!r}")
    assert device_survey._discovered(("davis346",)) == []


PLUGIN = """
from capture.camera import CameraInfo, CameraRole
from capture.registry import FramesOnlyDriver
class Driver(FramesOnlyDriver):
    name = "toy"
    def discover(self):
        return [CameraInfo(CameraRole.FRAMES, "toy:1", "Toy", "T1", 64, 48)]
DRIVER = Driver()
class Failing(Driver):
    def discover(self):
        raise OSError("the bus\\nis on fire")
FAILING = Failing()
"""


def test_drivers_of_other_packages_are_listed_with_their_cameras_and_their_faults(
    tmp_path: Path, no_children: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "toys-1.2.dist-info").mkdir(parents=True)
    (site / "toys-1.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.2\n")
    (site / "toys-1.2.dist-info" / "entry_points.txt").write_text(
        "[halfmirror.cameras]\ntoy = toy_plugin:DRIVER\nwild = toy_plugin:FAILING\n"
        "absent = toy_gone:DRIVER\nevk4 = toy_plugin:DRIVER\n"
    )
    (site / "toy_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    s = survey(tmp_path / "none", [tmp_path], tmp_path / "nothing")
    lines = {x["name"]: x for x in s.sdks if x.get("package")}
    assert {n: (x["there"], x["facts"]) for n, x in lines.items()} == {
        "toy": (True, "driver of toys 1.2 (toy_plugin:DRIVER)"),
        "wild": (
            True,
            "driver of toys 1.2 (toy_plugin:FAILING); looking for its cameras failed: OSError: the bus",
        ),
        "absent": (
            False,
            "driver of toys 1.2 (toy_gone:DRIVER) cannot be loaded (No module named 'toy_gone')",
        ),
        "evk4": (
            False,
            "driver of toys 1.2 (toy_plugin:DRIVER): another driver has this name; it can never be chosen",
        ),
    }
    (toy,) = s.devices
    assert (toy["name"], toy["model"], toy["sdk"]) == ("toy:1", "Toy", "toys 1.2")


def test_changes_between_two_looks() -> None:
    def one(name: str) -> dict[str, Any]:
        return {"name": name, "role": "events", "serial": name, "model": "m"}

    a, b = Survey([one("a"), one("b")]), Survey([one("b"), one("c")])
    assert [(w, d["name"]) for w, d in changes(a, b)] == [("gone", "a"), ("new", "c")]
    assert changes(a, a) == []


def test_the_command_for_real(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["devices", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {s["name"] for s in said["sdks"]} == {
        "dv-processing",
        "neuromorphic-drivers",
        "Metavision SDK",
        "Aravis",
        "Spinnaker",
    }
    assert next(s for s in said["sdks"] if s["name"] == "dv-processing")["there"]
    assert all({"name", "serial", "usb_speed", "sdk"} <= set(d) for d in said["devices"])


def test_a_length_of_time_without_watching_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["devices", "--seconds", "5"]) == 2
    assert "--watch" in capsys.readouterr().err


def test_the_table_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    _show(Survey([], [], [{"what": "no udev rules", "do": ["line to copy"]}]), as_json=False)
    out = capsys.readouterr().out
    assert "no camera is connected" in out
    assert "    line to copy" in out
