"""The rig file of the page: opened, used, changed and saved, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.viewer import theme
from app.viewer.rig_desk import RigDesk
from app.viewer.window import ViewerWindow
from sync.rig import Rig
from tests.app.viewer.fake_preview import FRAMES, FakePreview
from tests.app.viewer.rig_page.conftest import Ticks, rig_file


def test_use_goes_on_live_with_the_file(
    desk: RigDesk, running: FakePreview, window: ViewerWindow, tmp_path: Path
) -> None:
    opened: list[Any] = []
    factory = window.factory
    window.factory = lambda source, network: opened.append(source) or factory(source, network)  # type: ignore[func-returns-value]
    desk.page.use.click()
    assert opened == [tmp_path / "ours.toml"], "nothing was changed: the file itself"
    assert not desk.open
    assert running.stopped == 1
    assert window.player is not None


def test_use_writes_what_was_changed_first(
    desk: RigDesk, running: FakePreview, window: ViewerWindow, ticks: Ticks, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("app.viewer.rig_desk.default_output", lambda: tmp_path / "made" / "rig-1.toml")
    desk.controls.wish(FRAMES, "exposure_us", 5000.0)
    ticks()
    before = Rig.load(tmp_path / "ours.toml")
    desk.page.use.click()
    assert window.source == str(tmp_path / "made" / "rig-1.toml")
    assert Rig.load(tmp_path / "made" / "rig-1.toml").image.settings == {"exposure_us": 5000}
    assert Rig.load(tmp_path / "ours.toml") == before, "the old file stays as it was"


def test_other_serials_than_the_files_are_told(desk: RigDesk, ticks: Ticks, tmp_path: Path) -> None:
    desk.show(rig_file(tmp_path, serial="00000042"))
    FakePreview.made[-1].come_up()
    ticks(60)
    assert desk.page.warning.text().startswith(
        "The rig file is of the event camera 00000042, but events-1 is there"
    )


@pytest.mark.parametrize(
    ("text", "why"), [("a = [", "not valid TOML"), ("version = 7", "version 7"), ("name = 'x'", "events")]
)
def test_an_unreadable_file_is_one_line_and_changes_nothing(
    desk: RigDesk, running: FakePreview, tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "bad.toml").write_text(text)
    desk.load(tmp_path / "bad.toml")
    assert why in desk.page.warning.text()
    assert "\n" not in desk.page.warning.text()
    assert theme.FAULT.name() in desk.page.warning.styleSheet()
    assert desk.setup.name == "ours"
    assert running.stopped == 0


def test_open_and_save_go_by_the_dialogs(
    desk: RigDesk, running: FakePreview, tmp_path: Path, monkeypatch: Any, ticks: Ticks
) -> None:
    monkeypatch.setattr("app.viewer.dialogs.rig_to_save", lambda *_a: tmp_path / "new.toml")
    desk.page.save.click()
    assert Rig.load(tmp_path / "new.toml").name == "ours"
    assert "Saved as" in desk.page.warning.text()
    monkeypatch.setattr("app.viewer.dialogs.rig_to_open", lambda *_a: tmp_path / "ours.toml")
    desk.page.open.click()
    ticks()
    assert desk.page.source.whole == str(tmp_path / "ours.toml")
    assert desk.preview is None
    monkeypatch.setattr("app.viewer.dialogs.rig_to_open", lambda *_a: None)
    desk.page.open.click()
    (tmp_path / "folder.toml").mkdir()
    desk.save(tmp_path / "folder.toml")
    assert "cannot be written" in desk.page.warning.text()
