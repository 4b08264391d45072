"""`import halfmirror`: recordings as pictures and as exposures; what docs/python.md shows runs as it stands."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import halfmirror
from app.cli.program import execute
from app.session import WorkerStatus
from app.supervised import NO_GUARD, NO_GUARD_STATUS
from capture.camera import CameraState
from tests.app.cli.fake_session import FakeSession, picture
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import (
    EXPOSURE_US,
    FRAMES,
    HEIGHT,
    PERIOD_US,
    START_US,
    WIDTH,
    sample_events,
    sample_frames,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("in") / "cups.aedat4"
    return write_aedat4(path, sample_events(), sample_frames(colour=True))


def test_pictures_are_those_of_the_command(cups: Path, tmp_path: Path) -> None:
    assert execute(["deblur", str(cups), "-o", str(tmp_path / "out"), "--at", "0.25,0.75"]) == 0
    files = sorted((tmp_path / "out").glob("*.png"))
    found = list(halfmirror.deblur(cups, "edi", at=[0.25, 0.75]))
    assert len(found) == len(files) == 2 * FRAMES
    for (image, stamp), file in zip(found, files, strict=True):
        assert file.name == f"exposure-{stamp.ordinal:06d}-{stamp.latent:.4f}.png"
        assert np.array_equal(image[..., ::-1], cv2.imread(str(file)))


def test_exposures_are_frames_with_their_events(cups: Path) -> None:
    found = list(halfmirror.exposures(cups))
    assert len(found) == FRAMES
    for k, e in enumerate(found):
        assert isinstance(e, halfmirror.AlignedExposure)
        start = START_US + 20_000 + k * PERIOD_US
        assert (e.exposure.start_us, e.exposure.end_us) == (start, start + EXPOSURE_US)
        assert np.array_equal(e.events.t, sample_events().between(start, start + EXPOSURE_US).t)


def test_what_cannot_be_put_together_says_why(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "u.aedat4", sample_events(), sample_frames(exposure_us=None))
    found = list(halfmirror.exposures(path))
    assert len(found) == FRAMES
    assert all(isinstance(e, halfmirror.RefusedExposure) and e.reason for e in found)
    assert all(
        isinstance(e, halfmirror.AlignedExposure) for e in halfmirror.exposures(path, exposure_us=EXPOSURE_US)
    )


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda f: halfmirror.deblur(f, "edl"), "unknown network"),
        (lambda f: halfmirror.deblur(f, at=1.5), "1.5"),
        (lambda f: halfmirror.deblur(f, options={"colour": 1}), "colour"),
        (lambda f: halfmirror.deblur(f.with_name("no.aedat4")), "does not exist"),
        (lambda f: halfmirror.exposures(f.with_name("no.aedat4")), "does not exist"),
        (lambda f: halfmirror.live("simulated:davis", "edl").__enter__(), "unknown network"),
        (lambda f: halfmirror.live("simulated:moon").__enter__(), "moon"),
        (lambda f: halfmirror.deblur(f, rig=f.with_name("no.toml")), "no.toml does not exist"),
        (lambda f: halfmirror.deblur(f, seconds=0), "the first 0 seconds"),
        (lambda f: halfmirror.deblur("simulated", seconds=-1), "the first -1 seconds"),
        (lambda f: halfmirror.exposures(f, seconds=float("nan")), "the first nan seconds"),
        (lambda f: halfmirror.exposures(f, margin_before_us=-5), "margins of -5 and 0 µs"),
        (lambda f: halfmirror.exposures(f.with_name("f" * 300)), "too long"),
        (lambda f: halfmirror.live(f"/{'f' * 300}").__enter__(), "too long"),
        (lambda f: halfmirror.live("f" * 300).__enter__(), "unknown camera"),
        (lambda f: halfmirror.live("simulated:davis", device="zz").__enter__(), "device 'zz' is not one"),
    ],
)
def test_refusals(cups: Path, call, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(halfmirror.HalfmirrorError, match=re.escape(why)):
        list(call(cups))


def test_who_stops_early_leaves_nothing_open(cups: Path) -> None:
    pictures = halfmirror.deblur(cups)
    next(pictures)
    pictures.close()
    assert len(list(halfmirror.deblur(cups))) == FRAMES


def test_a_recording_at_its_own_pace(cups: Path) -> None:
    with halfmirror.live(cups, "edi", at=[0.0, 1.0]) as pictures:
        found = list(pictures)
    assert 3 < len(found) <= FRAMES  # who comes late misses some
    assert {None if p.sharp is None else p.sharp.shape for p in found} == {(2, HEIGHT, WIDTH, 3)}
    assert [p.latents for p in found] == [(0.0, 1.0)] * len(found)
    assert [p.ordinal for p in found] == sorted(p.ordinal for p in found)


def test_the_session_is_stopped_however_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for ending in ("left", "error"):
        session = FakeSession([picture(i) for i in range(1000)])
        monkeypatch.setattr("app.live.make_session", lambda *_a, s=session, **_k: s)
        with contextlib.suppress(ZeroDivisionError), halfmirror.live() as pictures:
            next(pictures)
            if ending == "error":
                raise ZeroDivisionError
        assert "start" in session.calls
        assert session.calls[-1] == "stop"


def test_silence_is_an_error_if_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession([picture(0)])
    monkeypatch.setattr("app.live.make_session", lambda *_a, **_k: session)
    with (
        pytest.raises(halfmirror.HalfmirrorError, match=r"no picture came for 0\.5 s \(replay running\)"),
        halfmirror.live(quiet_s=0.5) as pictures,
    ):
        assert len(list(pictures)) == 1
    assert session.calls[-1] == "stop"


def test_a_worker_that_reads_a_program_without_its_guard_leaves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit) as left, halfmirror.live():
        pass
    assert left.value.code == NO_GUARD_STATUS
    assert capsys.readouterr().err == f"halfmirror: {NO_GUARD}\n"


def test_a_program_without_its_guard_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession([])
    session.workers = tuple(WorkerStatus(n, CameraState.FAULTED, NO_GUARD) for n in ("events", "restore"))
    monkeypatch.setattr("app.live.make_session", lambda *_a, **_k: session)
    monkeypatch.setattr("app.following.FAULT_PATIENCE_S", 0.2)
    with pytest.raises(halfmirror.HalfmirrorError) as told, halfmirror.live() as pictures:
        next(pictures)
    assert str(told.value) == NO_GUARD
    assert session.calls[-1] == "stop"


def test_a_program_that_is_in_no_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "<stdin>", raising=False)  # python - < p.py
    with pytest.raises(halfmirror.HalfmirrorError, match="save it to a file"), halfmirror.live():
        pass


BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
BLOCKS += re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_documents_run_as_they_stand(cups: Path, tmp_path: Path, block: str) -> None:
    """In a script without a guard around it, as people write them."""
    given = f"""
import numpy as np
from tests.recordings.sample import *
recording, (width, height) = {str(cups)!r}, ({WIDTH}, {HEIGHT})
e, (first, second) = sample_events(), sample_frames()[:2]
t, x, y, p = e.t, e.x, e.y, e.p
frame, next_frame = first.image, second.image
start_us, next_start_us = first.start_us, second.start_us
end_us, next_end_us = start_us + EXPOSURE_US, next_start_us + EXPOSURE_US
"""
    script = tmp_path / "own.py"
    script.write_text(given + block)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert ("print" in block) == bool(done.stdout)
    assert len(BLOCKS) > 3


def test_all_that_is_offered_is_there() -> None:
    assert all(getattr(halfmirror, name).__doc__ for name in halfmirror.__all__)
    assert (WIDTH, HEIGHT) == (64, 48)
