"""Samples of SC-Net and STRA with events coarser than the pictures: crops of the whole, and no more work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.made_sets import SIZE, write_set
from training.data import sc_net
from training.data.cuts import Cut, whole_cut
from training.data.sc_net import ScNetMaker, ScNetOptions
from training.data.sets.find import find


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("scale", [2, 4])
def test_a_crop_is_a_part_of_the_whole_and_only_it_is_sampled(
    scale: int, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "set", "msrbd", train=1, test=0, scale=scale, instants=3)
    facts = find([tmp_path / "set"]).sequences[0]
    assert facts.grid == (SIZE // scale, SIZE // scale)
    maker, reader = ScNetMaker(ScNetOptions(crop=16, steps=steps)), facts.reader()
    whole = maker.counts(reader, facts, 2, whole_cut(facts.size, 4))
    assert (whole[0] != whole[0].astype(int)).any()  # between event pixels
    sampled: list[tuple[int, ...]] = []
    represent = sc_net.represent

    def watched(*arguments: Any) -> Any:
        sampled.append((out := represent(*arguments)).shape[-2:])
        return out

    monkeypatch.setattr(sc_net, "represent", watched)
    channels_last = (0, 3, 1, 2) if steps > 1 else (0, 1, 2)
    back = (0, 2, 3, 1) if steps > 1 else (0, 1, 2)
    for turn in range(8):
        cut = Cut(3, 9, 16, 20, turn)
        expected = cut.of(whole.transpose(channels_last)).transpose(back)
        np.testing.assert_array_equal(maker.counts(reader, facts, 2, cut), expected)
    assert set(sampled) == {(16, 20)}
