"""An export says where events are missing: what it writes cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from capture.packets import EventPacket
from recordings.open import open_recording
from tests.app.cli.export_formats.exports import run, target
from tests.capture.simulated_small import small_davis
from tests.recordings.own_sample import Item, items_of, rig_of_config, write_own


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sensor, 0.6 s; 130 ms of events are cut out, the next packet says so."""
    config = small_davis(paced=False)
    out: list[Item] = []
    cut = False
    for item in items_of(config, 0.6):
        if isinstance(item, EventPacket):
            if 200_000 < item.complete_until_us <= 330_000:
                cut = True
                continue
            if cut:
                item, cut = replace(item, gap=True), False
        out.append(item)
    folder = tmp_path_factory.mktemp("in") / "gapped"
    write_own(folder, rig_of_config(config), out)
    return folder


def test_the_recording_itself_says_so(interrupted: Path) -> None:
    with open_recording(interrupted) as r:
        assert "events were interrupted at 1 place while recording" in r.info.problems


def test_events_alone_are_exported_with_a_note(
    interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(interrupted, "evt3", target(tmp_path, "evt3")) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "note: events are missing at 1 place, before 0.33" in said
    assert "which the format cannot say" in said
    assert "lack" not in said


@pytest.mark.parametrize("kind", ["aedat4", "dsec", "msrbd"])
def test_frames_with_part_of_their_events_are_named(
    interrupted: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = target(tmp_path, kind)
    assert run(interrupted, kind, out) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "note: events are missing at 1 place" in said
    assert "part of the events of its exposure: " in said
    if kind == "aedat4":
        return
    report = json.loads((out / "export.json").read_text())
    assert report["event_gaps"] == 1
    assert 200_000 < report["first_event_gap_us"] <= 350_000
    assert report["frames_lacking_events"] == len(report["frames_lacking_events_first"]) > 0


def test_a_gap_outside_of_the_times_asked_for_is_not_told(
    interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(interrupted, "evt3", target(tmp_path, "evt3"), "--from", "0.4") == 0
    assert "missing at" not in " ".join(capsys.readouterr().err.split())
