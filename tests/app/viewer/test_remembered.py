from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSettings

from app.viewer.main import first_source
from app.viewer.modes import EventsMode, View
from app.viewer.remembered import RECENT, Remembered


def again(tmp_path: Path) -> Remembered:
    return Remembered(QSettings(str(tmp_path / "s.ini"), QSettings.Format.IniFormat))


def test_choices_survive_a_restart_and_reset_forgets_them(tmp_path: Path) -> None:
    m = again(tmp_path)
    m.view, m.events_mode = View.DIFFERENCE, EventsMode.OVERLAY
    m.network, m.source = "glint", "simulated:night"
    m.folder = tmp_path
    m.opened("a.aedat4")
    m.opened("b.aedat4")
    m.opened("a.aedat4")
    m.save()
    n = again(tmp_path)
    assert (n.view, n.events_mode, n.network, n.source) == (
        View.DIFFERENCE, EventsMode.OVERLAY, "glint", "simulated:night",
    )  # fmt: skip
    assert n.folder == tmp_path
    assert n.recent == ["a.aedat4", "b.aedat4"]
    n.reset()
    fresh = again(tmp_path)
    assert (fresh.view, fresh.network, fresh.recent, fresh.folder, fresh.geometry) == (
        View.WIPE, "", [], None, None,
    )  # fmt: skip


def test_one_recent_file_and_many(tmp_path: Path) -> None:
    m = again(tmp_path)
    m.opened("only.aedat4")
    m.save()
    assert again(tmp_path).recent == ["only.aedat4"]  # Qt gives a list of one back as a string
    for k in range(30):
        m.opened(f"{k}.aedat4")
    assert len(m.recent) == RECENT
    assert m.recent[0] == "29.aedat4"


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "s.ini").write_bytes(
        b"[window]\nview=upside down\nevents=@Invalid()\ngeometry=12\n[source]\nrecent=@Variant(\0\0\xff\xfe\n"
    )
    m = again(tmp_path)
    assert (m.view, m.events_mode, m.geometry, m.recent, m.source) == (View.WIPE, EventsMode.OFF, None, [], "")


def test_a_recording_that_is_gone_gives_way_to_the_simulated_rig(tmp_path: Path) -> None:
    m = again(tmp_path)
    assert first_source(m) == "simulated"
    m.source = str(tmp_path / "gone.aedat4")
    assert first_source(m) == "simulated"
    (tmp_path / "here.aedat4").touch()
    m.source = str(tmp_path / "here.aedat4")
    assert first_source(m) == m.source
    m.source = "simulated:night"
    assert first_source(m) == "simulated:night"


def test_nowhere_leaves_nothing(tmp_path: Path) -> None:
    m = Remembered.nowhere()
    m.network = "glint"
    m.save()
    assert Remembered.nowhere().network == ""
    assert Remembered().network == ""
