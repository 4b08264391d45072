"""Damaged recordings of every format: items, counts, or one line with the name; no crash, no hang, no code.

A format that is new in `recordings.open.FORMATS` needs a small recording in `MAKERS`; everything else follows.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recordings.checking.verify import verify
from recordings.open import FORMATS, recognise
from recordings.recording import NotARecording, RecordingError
from tests.capture.simulated_small import small
from tests.recordings.make_aedat import write_aedat2, write_aedat3
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.make_datasets import SCALE, made_events, mutated, pair, write_efnet, write_msrbd
from tests.recordings.make_folders import SIZE as FOLDER_SIZE
from tests.recordings.make_folders import write_highrev
from tests.recordings.make_hdf5 import write_dsec, write_prophesee, write_scer
from tests.recordings.make_mat import write_esl
from tests.recordings.make_prophesee import ENCODINGS, write
from tests.recordings.make_rosbag import KINDS as ROS
from tests.recordings.make_rosbag import davis
from tests.recordings.own_sample import items_of, rig_of_config, write_own
from tests.recordings.reading import read_through
from tests.recordings.sample import sample_edges, sample_events, sample_frames
from tests.recordings.test_spike_files import SIZE, made_spikes
from tests.recordings.test_spike_files import write as write_spikes

DEADLINE_S = 3.0


def _own(path: Path) -> Path:
    config = small(paced=False)
    write_own(path, rig_of_config(config), items_of(config, 0.4))
    return path


def _aedat4(compression: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        events, frames = sample_events(4000), sample_frames()
        return write_aedat4(
            path.with_suffix(".aedat4"), events, frames, sample_edges(), compression=compression
        )

    return make


def _prophesee(encoding: str) -> Callable[[Path], Path]:
    suffix = ".dat" if encoding.startswith("dat") else ".raw"
    return lambda path: write(path.with_suffix(suffix), encoding, made_events(3000))


def _msrbd(path: Path) -> Path:
    np.savez_compressed(path := path.with_suffix(".npz"), **pair(0, made_events(2000), scale=SCALE))
    return path


def _msrbd_sequence(path: Path) -> Path:
    write_msrbd(path, scale=SCALE)
    return path


def _efnet(path: Path) -> Path:
    return write_efnet(path.with_suffix(".h5"), made_events(2000, size=(64, 48)), exposures=True)


def _prophesee_h5(path: Path) -> Path:
    return write_prophesee(
        path.with_suffix(".hdf5"), made_events(2000), None, geometry="64x48", compression="gzip"
    )


def _dsec(path: Path) -> Path:
    return write_dsec(path.with_suffix(".h5"), made_events(2000), 5000, compression="gzip")


def _scer(path: Path) -> Path:
    return write_scer(path.with_suffix(".h5"))


def _aedat2(path: Path) -> Path:
    return write_aedat2(path.with_suffix(".aedat"), made_events(2000), imu=50)


def _aedat3(path: Path) -> Path:
    return write_aedat3(path.with_suffix(".aedat"), made_events(2000), frames=3)


def _spikes(kind: str) -> Callable[[Path], Path]:
    return lambda path: write_spikes(path.parent, kind, made_spikes())


def _highrev(path: Path) -> Path:
    path.mkdir()
    write_highrev(path, made_events(2000))
    return path


def _esl(path: Path) -> Path:
    return write_esl(path, made_events(2000, size=FOLDER_SIZE))


def _ros(kind: str) -> Callable[[Path], Path]:
    picture = np.full((48, 64), 90, np.uint8)
    return lambda path: davis(kind, path, made_events(2000), [(1_000_000, 20_000, picture)])


MAKERS: dict[str, Callable[[Path], Path]] = {
    "own": _own,
    "msrbd": _msrbd,
    "msrbd-sequence": _msrbd_sequence,
    "efnet": _efnet,
    "prophesee": _prophesee_h5,
    "dsec": _dsec,
    "scer": _scer,
    "aedat2": _aedat2,
    "aedat3": _aedat3,
    "spikes": _spikes("npz"),
    "spikes-dat": _spikes("dat"),
    "highrev": _highrev,
    "esl-mat": _esl,
    **{kind: _ros(kind) for kind in ROS},
    **{f"prophesee-{e}": _prophesee(e) for e in ENCODINGS},
    # One wrong byte in LZ4 makes dv-processing hang, and each hang costs its deadline: see the soak run.
    "aedat4-zstd": _aedat4("ZSTD"),
    "aedat4": _aedat4("NONE"),
}
STATED: dict[str, tuple[int, int]] = {"spikes-dat": SIZE}
"""Sizes of sensors that a file does not tell."""
SLOW: dict[str, Callable[[Path], Path]] = {"aedat4-lz4": _aedat4("LZ4")}


def _damage(kind: str, folder: Path, seeds: range, checked: int) -> None:
    """Damage one file of it at a time; every `checked`th is also verified, as from the command line."""
    source, size = (MAKERS | SLOW)[kind](folder / "sound"), STATED.get(kind)
    assert read_through(source, geometry=size) > 0
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    path = folder / f"damaged{source.suffix}"
    names = None
    refused = 0
    for n, seed in enumerate(seeds):
        if source.is_dir():
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(source, path)
            # The largest one holds the data: it gets every second turn.
            chosen = max(files, key=lambda f: f.stat().st_size) if n % 2 else files[n // 2 % len(files)]
            victim = path / chosen.relative_to(source)
        else:
            chosen = victim = source
            victim = path
        victim.write_bytes(mutated(chosen.read_bytes(), seed))
        names = names or _names(folder)
        began = time.monotonic()
        try:
            read_through(path, DEADLINE_S, geometry=size)
        except (RecordingError, NotARecording) as e:
            refused += 1
            if "\n" in str(e) or str(path) not in str(e):
                pytest.fail(f"seed {seed}: {e!r}")
        if n % checked == 0:
            _verified(path, seed, size)
        took = time.monotonic() - began
        assert took < 20 * DEADLINE_S, f"seed {seed} took {took:.0f} s"
    print(f"{len(seeds)} damaged files: {refused} refused, {len(seeds) - refused} read")
    assert _names(folder) == names, "reading left something behind"


def _verified(path: Path, seed: int, size: tuple[int, int] | None) -> None:
    try:
        v = verify(path, geometry=size, deadline_s=DEADLINE_S)
    except (RecordingError, NotARecording) as e:
        if "\n" in str(e) or str(path) not in str(e):
            pytest.fail(f"seed {seed}: {e!r}")
        return
    assert all("\n" not in f.text for f in v.findings)


def _names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_every_format_is_damaged(tmp_path: Path) -> None:
    names = set()
    for kind in MAKERS:
        (tmp_path / kind).mkdir()
        names.add(recognise(MAKERS[kind](tmp_path / kind / "sound")).name)
    missing = {f.name for f in FORMATS} - names
    assert not missing, f"give MAKERS in {Path(__file__).name} a small recording of {', '.join(missing)}"


@pytest.mark.parametrize("kind", MAKERS)
def test_damaged_files_cost_neither_life_nor_time(tmp_path: Path, kind: str) -> None:
    _damage(kind, tmp_path, range(20), checked=20)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", MAKERS | SLOW)
def test_three_hundred_damaged_files_of_each_format(tmp_path: Path, kind: str) -> None:
    _damage(kind, tmp_path, range(300), checked=5)
