"""What the live pipeline makes of requests and rig files."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.live import make_session
from app.recorder import RecordRequest
from app.recording import record
from app.sources import SourceRequest, plans
from capture.camera import CameraRole, CameraState
from capture.errors import HalfmirrorError, UsageError
from recordings.recorder.take import Limits
from tests.app.live_watch import Watch


@pytest.mark.parametrize(
    ("source", "network", "error"),
    [
        ("simulated:nowhere", "edi", "no preset 'nowhere'"),
        ("simulated", "magic", "unknown network 'magic'; known: edi, "),
        ("nikon", "edi", "unknown camera 'nikon'"),
        ("missing.toml", "edi", "missing.toml does not exist"),
        (Path("missing.aedat4"), "edi", "missing.aedat4"),
        ("/gone/cups.aedat4", "edi", "^/gone/cups.aedat4: no such file; give the path of a recording"),
        ("gone/cups", "edi", "^gone/cups: no such file"),
        ("aedat4-unixx:/tmp/socket", "edi", "unknown camera 'aedat4-unixx'"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_starts(
    source: str | Path, network: str, error: str
) -> None:
    with pytest.raises((UsageError, HalfmirrorError), match=error):
        make_session(source, network)


SETTINGS = (
    "image_width = 64, image_height = 48, event_width = 64, event_height = 48, loop_s = 0.4, cache = false"
)
RIG_FILE = """
name = "bench"
[events]
camera = "simulated:davis"
width = {width}
height = 48
settings = {{ {settings} }}
[image]
camera = "{camera}"
width = 64
height = 48
settings = {{ {settings} }}
[clock]
relation = "same"
"""


def test_a_rig_file_of_other_cameras_is_said_and_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIG_FILE.format(settings=SETTINGS, width=640, camera="simulated:davis"))
    session = make_session(path, "edi")
    session.start()
    watch = Watch(session)
    try:
        watch.until(lambda: any(w.state is CameraState.FAULTED for w in session.status().workers), "a fault")
        w = watch.worker("restore")
        assert "events are 64×48, but the rig 'bench' says 640×48" in w.detail
        assert w.restarts == 0
        # A picture may stand there; the dot alone would not tell why no other comes.
        assert session.status().message == w.told
    finally:
        session.stop()


def test_a_rig_file_with_its_settings_runs_and_other_serial_numbers_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    text = RIG_FILE.format(settings=SETTINGS, width=64, camera="simulated:davis")
    path.write_text(text.replace("[image]", 'serial = "davis-7"\n[image]'))
    session = make_session(path, "edi")
    watch = Watch(session)
    session.start()
    try:
        watch.until(
            lambda: session.status() and any("davis-7" in s and "davis-0" in s for s in watch.said), "a warning"
        )
        assert watch.restored(2)[-1].blurred.shape == (48, 64)
        # The note passes; who reads the summary of a run should know it too.
        assert [("davis-7" in c, "davis-0" in c) for c in session.status().cautions] == [(True, True)]
    finally:
        session.stop()


def test_a_camera_that_a_rig_file_misspells_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIG_FILE.format(settings=SETTINGS, width=64, camera="simulatd:davis"))
    with pytest.raises(UsageError, match="unknown camera 'simulatd'"):
        make_session(path, "edi")


def test_a_rig_file_without_an_event_camera(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    text = RIG_FILE.format(settings=SETTINGS, width=64, camera="simulated:davis")
    path.write_text(text.replace('camera = "simulated:davis"', 'camera = "none"', 1))
    session = make_session(path, "none")
    session.start()
    try:
        watch = Watch(session)
        assert watch.restored(3)[-1].blurred.shape == (48, 64)
        assert {w.name for w in session.status().workers} == {"frames", "restore"}
    finally:
        session.stop()


def test_record_says_that_the_rig_file_is_of_another_size_and_of_other_cameras(tmp_path: Path) -> None:
    """What it records could not be replayed with it, and nobody would know before."""
    path = tmp_path / "rig.toml"
    text = RIG_FILE.format(settings=SETTINGS, width=640, camera="simulated:davis")
    path.write_text(text.replace("[image]", 'serial = "davis-7"\n[image]'))
    said: list[str] = []
    what = RecordRequest(tmp_path / "take", limits=Limits(frames=3))
    record(SourceRequest.of(path), what, said=said.append, watch=lambda _figures, _waiting: None)
    told = [line for line in said if "but the rig 'bench' says" in line]
    assert [line.split(",")[0] for line in told] == ["events are 64×48"]
    (line,) = [s for s in said if "davis-7" in s]
    assert "davis-0 is there" in line


def test_one_camera_named_twice_is_opened_once_with_all_its_settings() -> None:
    (both,) = plans("davis346", {"imu": True}, "davis346", {"exposure_us": 8000})
    assert both.settings == {"imu": True, "exposure_us": 8000}
    assert both.roles == (CameraRole.EVENTS, CameraRole.FRAMES)
    (again,) = plans("davis346", {"exposure_us": 8000}, "davis346", {"exposure_us": 8000})
    assert again.settings == {"exposure_us": 8000}
    with pytest.raises(UsageError, match="davis346 is both cameras, and exposure_us differs between"):
        plans("davis346", {"exposure_us": 8000, "imu": True}, "davis346", {"exposure_us": 9000})
