"""`halfmirror export` in every format but msrbd: whole or not at all, refused in one line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.export import EVENT_FORMATS, PICTURE_FORMATS
from app.cli.program import execute
from capture.packets import EventPacket, Events
from recordings.export.content import Content
from tests.app.cli.export_formats.exports import FILES, everything, run, same, target
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.make_prophesee import write
from tests.recordings.sample import FRAMES, START_US, sample_events, sample_frames


@pytest.fixture(scope="module")
def no_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    e = sample_events()
    plain = Events(e.t - START_US, e.x, e.y, e.p, e.width, e.height)
    return write(tmp_path_factory.mktemp("in") / "e.raw", "evt2", plain)


@pytest.fixture(scope="module")
def no_events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_aedat4(tmp_path_factory.mktemp("in") / "f.aedat4", None, sample_frames())


@pytest.mark.parametrize("kind", EVENT_FORMATS)
def test_a_recording_without_frames(
    no_frames: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = target(tmp_path, kind)
    if kind in ("efnet-h5", "highrev"):
        assert run(no_frames, kind, out) == 2
        assert f"has no frames, which {kind} needs" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
        return
    assert run(no_frames, kind, out) == 0
    events, _, _ = everything(out / "events.h5" if kind == "dsec" else out)
    assert same(events, sample_events(), START_US)


def test_a_sensor_size_that_the_header_lacks_can_be_stated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    e = sample_events()
    plain = Events(e.t - START_US, e.x, e.y, e.p, e.width, e.height)
    raw = write(tmp_path / "e.raw", "evt3", plain, header="% evt 3.0\n% end\n")
    out = tmp_path / "out.aedat4"
    assert run(raw, "aedat4", out) == 1
    assert "--geometry" in capsys.readouterr().err
    assert run(raw, "aedat4", out, "--geometry", f"{e.width}x{e.height}") == 0
    events, _, _ = everything(out)
    assert (events.width, events.height, len(events)) == (e.width, e.height, len(e))


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("mp4", "a.avi", "mp4 is written as NAME.mp4"),
        ("png", "a.png", "png is a folder"),
        ("dsec", "a.h5", "dsec is a folder"),
        ("msrbd", "a.npz", "msrbd is a folder"),
        ("aedat4", "a.raw", "aedat4 is written as NAME.aedat4"),
        ("evt3", "a.AEDAT4", "evt3 is written as NAME.raw"),
    ],
)
def test_a_name_that_promises_something_else(
    davis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, name: str, said: str
) -> None:
    out = tmp_path / name
    assert run(davis, kind, out) == 2
    assert capsys.readouterr().err == f"halfmirror: -o {out}: {said}; give such a name\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", EVENT_FORMATS)
def test_a_recording_without_events(
    no_events: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(no_events, kind, target(tmp_path, kind)) == 2
    assert f"has no events, and {kind} is made of them; use --to png or mp4" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_frames_alone_become_pictures_but_not_with_a_network_that_needs_events(
    no_events: Path, no_frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(no_events, "png", tmp_path / "p") == 0
    assert len(list((tmp_path / "p").glob("*.png"))) == FRAMES
    assert run(no_events, "png", tmp_path / "q", "--device", "cpu") == 2
    assert "give one with --restored" in capsys.readouterr().err
    assert run(no_events, "png", tmp_path / "q", "--restored", "edi") == 2
    assert "events" in capsys.readouterr().err
    for kind in ("mp4", "png", "msrbd"):
        assert run(no_frames, kind, target(tmp_path, kind)) == 2
        assert f"has no frames, which {kind} needs; use --to evt3" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p"]


@pytest.mark.parametrize("kind", [*EVENT_FORMATS, *PICTURE_FORMATS])
def test_an_existing_target_is_refused_and_left_alone(
    davis: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = target(tmp_path, kind)
    if kind in FILES:
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    assert run(davis, kind, out) == 2
    assert "exists already" in capsys.readouterr().err
    if kind not in FILES:
        assert run(davis, kind, out, "--overwrite") == 2
        assert "did not write" in capsys.readouterr().err
    assert [p.name for p in tmp_path.rglob("*")] == ([out.name] if kind in FILES else [out.name, "mine.txt"])


@pytest.mark.parametrize("kind", ["dsec", "evt3", "png"])
def test_an_earlier_export_is_replaced_when_asked_for(davis: Path, tmp_path: Path, kind: str) -> None:
    out = target(tmp_path, kind)
    assert run(davis, kind, out) == 0
    assert run(davis, kind, out, "--overwrite", "--until", "0.5") == 0
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("kind", [*EVENT_FORMATS, *PICTURE_FORMATS])
def test_times_outside_of_the_recording(
    davis: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(davis, kind, target(tmp_path, kind), "--from", "100", "--until", "101") == 1
    assert "lie" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_wrong_words(davis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o"
    for more, says in (
        (["--to", "tarot"], "the formats are msrbd, efnet-h5"),
        (["--to", "png", "--restored", "tarot"], "unknown network 'tarot'"),
        (["--to", "png", "--restored", "gem"], "cannot be used here"),
        (["--to", "evt3", "--restored", "edi"], "--restored is for png and mp4"),
        (["--to", "msrbd", "--restored", "edi"], "write the restored pictures beside it, with --to png"),
        (["--to", "evt3", "--scale", "2"], "--scale is for msrbd"),
        (["--to", "evt3", "--split", "test"], "--split is for msrbd"),
        (["--to", "mp4", "--name", "x"], "--name is for msrbd and highrev"),
        (["--to", "msrbd", "--name", "a b"], "--name 'a b': give letters"),
        (["--to", "evt3", "--from", "2", "--until", "1"], "does not lie behind"),
        (["--to", "evt3", "--frames", "0"], "out of range"),
        (["--to", "evt3", "--marked"], "nothing is marked"),
        (["--to", "evt3", "--marked", "--from", "1"], "not both"),
    ):
        assert execute(["export", str(davis), "-o", str(out), *more]) == 2, more
        assert says in " ".join(capsys.readouterr().err.split()), more
    assert execute(["export", str(tmp_path / "no"), "--to", "evt3", "-o", str(out)]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", EVENT_FORMATS)
def test_what_does_not_read_back_leaves_nothing(
    davis: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One event of the stream comes to the file at another place."""
    whole = Content.add_events

    def other(self: Content, e: Events) -> None:
        if self.events == 0 and len(e):
            x = e.x.copy()
            x[0] ^= 1
            e = Events(e.t, x, e.y, e.p, e.width, e.height)
        whole(self, e)
        monkeypatch.setattr(Content, "add_events", whole if self.events else other)

    monkeypatch.setattr(Content, "add_events", other)
    assert run(davis, kind, target(tmp_path, kind)) == 1
    assert "reads back as" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(mount)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"a small disk takes root and mount: {made.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.parametrize("kind", [*EVENT_FORMATS, *PICTURE_FORMATS])
def test_a_full_disk_leaves_nothing(
    davis: Path, small_disk: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if kind in PICTURE_FORMATS:  # they pack well
        (small_disk / "full").write_bytes(b"x" * 60_000)
    else:
        (small_disk / "full").write_bytes(b"x" * 30_000)
    assert run(davis, kind, target(small_disk, kind)) == 1
    said = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert len(said) == 1, said
    assert "disk full while writing" in said[0]
    assert [p.name for p in small_disk.iterdir()] == ["full"]


def test_a_clock_that_begins_anew_is_told(
    davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from app import export_formats

    outcomes = export_formats._outcomes

    def jumps(*arguments: Any) -> Iterator[Any]:
        for k, item in enumerate(outcomes(*arguments)):
            yield replace(item, epoch=1) if k > 20 and isinstance(item, EventPacket) else item

    monkeypatch.setattr(export_formats, "_outcomes", jumps)
    assert run(davis, "evt3", tmp_path / "o.raw") == 1
    assert "its time begins anew" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["aedat4", "msrbd"])
def test_the_input_is_not_overwritten(
    davis: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.aedat4"
    own.write_bytes(davis.read_bytes())
    (tmp_path / "other").symlink_to(own)
    for out in (own, tmp_path / "other"):
        assert run(own, kind, out, "--overwrite") == 2
        assert "is the input itself" in capsys.readouterr().err
    assert own.read_bytes() == davis.read_bytes()
