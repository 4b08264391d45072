"""Damaged data sets: items, counts, or one line that names the file; no crash, no hang, no code that runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recordings.recording import NotARecording, RecordingError
from tests.recordings.make_aedat import write_aedat2, write_aedat3
from tests.recordings.make_datasets import SCALE, made_events, mutated, pair, write_efnet
from tests.recordings.make_hdf5 import write_dsec, write_prophesee, write_scer
from tests.recordings.reading import read_through
from tests.recordings.test_spike_files import made_spikes

DEADLINE_S = 3.0


def _msrbd(path: Path) -> Path:
    np.savez_compressed(path := path.with_suffix(".npz"), **pair(0, made_events(2000), scale=SCALE))
    return path


def _efnet(path: Path) -> Path:
    return write_efnet(path.with_suffix(".h5"), made_events(2000, size=(64, 48)), exposures=True)


def _prophesee(path: Path) -> Path:
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


def _spikes(path: Path) -> Path:
    np.savez_compressed(path := path.with_suffix(".npz"), spk=made_spikes())
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {
    "msrbd": _msrbd, "efnet": _efnet, "prophesee": _prophesee, "dsec": _dsec, "scer": _scer,
    "aedat2": _aedat2, "aedat3": _aedat3, "spikes": _spikes,
}  # fmt: skip


def _damage(make: Callable[[Path], Path], folder: Path, seeds: range) -> None:
    source = make(folder / "sound")
    assert read_through(source) > 0
    data = source.read_bytes()
    path = folder / f"damaged{source.suffix}"
    refused = 0
    for seed in seeds:
        path.write_bytes(mutated(data, seed))
        began = time.monotonic()
        try:
            read_through(path, DEADLINE_S)
        except (RecordingError, NotARecording) as e:
            refused += 1
            if "\n" in str(e) or str(path) not in str(e):
                pytest.fail(f"seed {seed}: {e!r}")
        took = time.monotonic() - began
        assert took < 20 * DEADLINE_S, f"seed {seed} took {took:.0f} s"
    print(f"{len(seeds)} damaged files: {refused} refused, {len(seeds) - refused} read")
    assert sorted(p.name for p in folder.iterdir()) == sorted([source.name, path.name])


@pytest.mark.parametrize("kind", MAKERS)
def test_damaged_files_cost_neither_life_nor_time(tmp_path: Path, kind: str) -> None:
    _damage(MAKERS[kind], tmp_path, range(20))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", MAKERS)
def test_three_hundred_damaged_files_of_each_format(tmp_path: Path, kind: str) -> None:
    _damage(MAKERS[kind], tmp_path, range(300))
