"""Fingerprints of data: a run is not resumed on other samples than it was begun with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.training.made_sets import SIZE, in_seconds, write_set
from training.data.efnet import EfnetMaker, EfnetOptions
from training.data.items import Items
from training.data.sc_net import ScNetMaker, ScNetOptions
from training.data.sets.facts import SequenceFacts
from training.data.sets.find import find
from training.data.sets.highrev import VOXEL


def _first(path: Path) -> SequenceFacts:
    return find([path]).sequences[0]


def test_the_fingerprint_tells_samples_that_earlier_versions_made_otherwise(tmp_path: Path) -> None:
    """A run that was begun on them is not resumed; others are."""
    write_set(tmp_path / "h5", "efnet-h5")
    facts = _first(tmp_path / "h5")
    scer = EfnetMaker(EfnetOptions(crop=16))
    voxels = EfnetMaker(EfnetOptions(representation="voxel"))
    for maker in (scer, voxels):
        assert maker.about([facts]) == maker.options.model_dump_json()
    assert scer.about([replace(facts, size=(360, 262))]).endswith(" 260 rows")
    stra = ScNetMaker(ScNetOptions(steps=1))
    assert stra.about([facts]) == stra.options.model_dump_json(exclude={"detach"})
    coarse = replace(facts, grid=(SIZE // 2, SIZE // 2))
    assert stra.about([facts, coarse]).endswith(" sampled")
    assert Items([coarse], stra, 0).fingerprint() != Items([facts], stra, 0).fingerprint()

    write_set(tmp_path / "highrev", "highrev")
    facts = _first(tmp_path / "highrev")
    before = Items([facts], scer, 0).fingerprint()
    in_seconds(tmp_path / "highrev")
    assert scer.about([facts]).endswith(" times of 1e+06 µs")
    assert Items([facts], scer, 0).fingerprint() != before
    stored = replace(facts, carries=facts.carries | {VOXEL})  # their times are not looked at
    assert voxels.about([stored]) == voxels.options.model_dump_json()
