"""A part of a recording, by --from and --until: read from shortly before it, not from the beginning."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app import offline_input
from app.export_formats import open_export
from app.offline_input import begin_us
from capture.packets import EventPacket, Events, Frame
from recordings.open import open_recording
from recordings.recording import OpenOptions
from tests.app.cli.export_formats.exports import everything, run, same, spans, target
from tests.capture.simulated_small import small_davis
from tests.recordings.own_sample import items_of, rig_of_config, write_own
from tests.recordings.sample import START_US

PART = ("--from", "0.6", "--until", "0.8")


@pytest.fixture(scope="module")
def raw(davis: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("raw") / "cups.raw"
    assert run(davis, "evt3", out) == 0
    return out


@pytest.fixture
def seeks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline_input, "LEAD_US", 200_000)
    monkeypatch.setattr(offline_input, "LEAD_FRAMES", 2)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the account of the run, which counts what was read."""
    names = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "export.json"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in names}


@pytest.mark.parametrize("kind", ["evt3", "aedat4", "dsec", "msrbd", "highrev"])
def test_the_part_is_the_same(davis: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for lead_us, name in ((10_000_000, "whole"), (200_000, "late")):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(offline_input, "LEAD_US", lead_us)
        monkeypatch.setattr(offline_input, "LEAD_FRAMES", 2)
        assert run(davis, kind, target(tmp_path / name, kind), *PART) == 0
    if kind == "aedat4":  # its packets are not cut at the same places twice
        a, b = (everything(target(tmp_path / name, kind)) for name in ("whole", "late"))
        assert same(a[0], b[0])
        assert len(a[0])
        assert np.array_equal(a[1].t, b[1].t)
        assert spans(a[2]) == spans(b[2])
    else:
        assert contents(tmp_path / "whole") == contents(tmp_path / "late")


@pytest.mark.usefixtures("seeks")
def test_reading_begins_shortly_before_the_part(davis: Path, raw: Path) -> None:
    """Also where the file does not count its frames, or has none."""
    for path in (davis, raw):
        with open_export(str(path), None, OpenOptions(), from_us=600_000) as source:
            first = next(iter(source.items))
            assert source.zero_us is not None
            assert isinstance(first, EventPacket)
            assert 300_000 < begin_us(first) - source.zero_us < 600_000
            assert source.span_us < 700_000
        with open_export(str(path), None, OpenOptions()) as source:
            assert source.zero_us is None


def test_of_events_alone_nothing_is_read_behind_the_part(raw: Path) -> None:
    with open_export(str(raw), 0.3, OpenOptions()) as source:
        packets = [i for i in source.items if not isinstance(i, Frame)]
    assert int(packets[-1].events.t[0]) < START_US + 310_000


@pytest.mark.parametrize("kind", ["evt3", "aedat4"])
def test_each_stretch_by_itself_where_a_clock_began_anew(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the refusal of the whole says; what is read before and behind the part is of the other stretch."""
    config = small_davis(paced=False)
    first, second = items_of(config, 1.0), [replace(i, epoch=1) for i in items_of(config, 0.8)]
    write_own(tmp_path / "both", rig_of_config(config), [*first, *second])
    assert run(tmp_path / "both", kind, target(tmp_path, kind)) == 1
    found = re.search(
        r"begins anew after (\S+) s,.* --until (\S+), then --from (\S+) into", capsys.readouterr().err
    )
    assert found is not None
    assert found[1] == found[2] == found[3]
    outs = {name: target(tmp_path, kind).with_stem(name) for name in "ab"}
    assert run(tmp_path / "both", kind, outs["a"], "--until", found[2]) == 0
    assert run(tmp_path / "both", kind, outs["b"], "--from", found[3]) == 0
    with open_recording(tmp_path / "both") as r:
        whole = [i for i in r.items() if isinstance(i, EventPacket)]
    for epoch, name in enumerate("ab"):
        wanted = Events.concatenate([p.events for p in whole if p.epoch == epoch])
        assert np.array_equal(everything(outs[name])[0].t, wanted.t)
