"""What a rolling shutter's frames are exported with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.cli.program import execute
from capture.packets import Events, Frame
from capture.simulated.presets import configure
from capture.simulated.rig import SimulatedRig
from sync.exposure import AlignedExposure
from sync.rig import Rig
from sync.rolling import as_if_global, delays_of
from sync.synchroniser import Synchroniser
from tests.app.cli.export_formats.exports import everything, run, same, target

NAME = (
    "handheld?image_width=96&image_height=64&event_width=48&event_height=32&scale=2&shift_x=0&shift_y=0"
    "&loop_s=0.4&rolling_us=15000&perspective=0&roll_deg=0&mirror=false"
)
SOURCE = f"simulated:{NAME}"


@pytest.fixture(scope="module")
def made() -> SimulatedRig:
    return SimulatedRig(configure(NAME))


def _moved(came: Events, rig: Rig) -> Events:
    delays = delays_of(rig)
    assert delays is not None
    return as_if_global(came, delays, int(came.t[0]), int(came.t[-1]) + 1)


def test_layouts_of_exposures_have_events_as_if_all_rows_were_exposed_together(
    made: SimulatedRig, tmp_path: Path
) -> None:
    for kind in ("evt3", "hdf5", "dsec"):
        folder = tmp_path / kind
        folder.mkdir()
        assert run(Path(SOURCE), kind, target(folder, kind), "--until", "0.5") == 0
    came, _, _ = everything(target(tmp_path / "hdf5", "hdf5"), geometry=(48, 32))
    raw, _, _ = everything(target(tmp_path / "evt3", "evt3"))
    assert same(raw, came)
    paired, _, _ = everything(target(tmp_path / "dsec", "dsec"))
    expected = _moved(came, Rig.from_facts("x", made.facts()))
    assert same(paired, expected)
    assert not np.array_equal(paired.t, came.t)


def test_pairs_hold_the_events_that_a_network_gets(made: SimulatedRig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert execute(["export", SOURCE, "--to", "msrbd", "-o", str(out), "--frames", "6"]) == 0
    sync = Synchroniser(Rig.from_facts("x", made.facts()))
    exposures = []
    for item in made.items(1.0):
        if isinstance(item, Frame):
            sync.push_frame(item)
        else:
            sync.push_events(item)
        exposures += [o for o in sync.take() if isinstance(o, AlignedExposure)]
    pairs = sorted((out / "plain").iterdir())
    assert len(pairs) == 5
    for k, path in enumerate(pairs):
        with np.load(path) as pair:
            t = pair["events_t_us"]
        for x in exposures[k : k + 2]:
            a, b = x.exposure.start_us, x.exposure.end_us
            assert np.array_equal(t[(t >= a) & (t < b)], x.exposure_events().t)
