"""A larger network begins as the smaller one whose weights it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from inference import cards, store
from inference.networks.glint import Glint
from inference.representations.edi_stack import CHANNELS
from inference.weights_limits import WeightsError
from tests.inference.restorers.test_glint import shaken
from training.growth import fits, grown
from training.recipe import NetworkEntry
from training.weights import initialise

LARGE = {"widths": (12, 20, 16), "blocks": (1, 2, 1, 0, 3)}


def taken() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    frame, edi = (torch.rand(1, 3, 24, 16, generator=generator) for _ in range(2))
    return frame, edi, torch.randn(1, CHANNELS, 24, 16, generator=generator)


@pytest.fixture
def small() -> Glint:
    return shaken(Glint((8, 12, 16), (0, 1, 1, 0, 1)))


def large() -> Glint:
    torch.manual_seed(5)
    return Glint(**LARGE)  # type: ignore[arg-type]


def test_it_gives_the_same_pictures(small: Glint) -> None:
    net = large()
    assert fits(net, small.state_dict())
    net.load_state_dict(grown(net, small.state_dict()), strict=True)
    assert torch.allclose(net(*taken()), small(*taken()), atol=1e-5)
    assert not torch.allclose(large()(*taken()), small(*taken()), atol=1e-2)


def test_what_is_new_learns_from_the_first_step_on(small: Glint) -> None:
    net = large()
    net.load_state_dict(grown(net, small.state_dict()), strict=True)
    net(*taken()).square().mean().backward()
    new = net.head.weight.grad
    assert new is not None
    assert bool((new[:, 8:] != 0).any())


def test_only_a_smaller_one_fits(small: Glint) -> None:
    entries = small.state_dict()
    assert not fits(small, entries)
    assert not fits(large(), {})
    assert not fits(Glint((8, 12, 12)), entries), "a level is narrower"
    assert not fits(large(), entries | {"other.weight": torch.zeros(1)})
    assert not fits(large(), {n: t for n, t in entries.items() if n != "head.weight"}), "no block"
    assert not fits(large(), {n: t for n, t in entries.items() if n != "up1.0.first.bias"}), "half a block"


@pytest.mark.parametrize("design", [{"body": "full"}, {"output": "residual"}, {"stem": 3}])
def test_another_design_is_no_smaller_network(design: dict[str, Any], tmp_path: Path) -> None:
    other = Glint((8, 12, 16), (0, 1, 1, 0, 1), **design)
    assert not fits(large(), other.state_dict())
    entry = NetworkEntry(name="glint", options=LARGE)
    options = {"widths": [8, 12, 16], "blocks": [0, 1, 1, 0, 1], **design}
    card = cards.card("glint").model_copy(update={"options": options})
    for metadata in ({"halfmirror.options": json.dumps(options)}, store.metadata_of(card)):
        save_file(other.state_dict(), tmp_path / "w.safetensors", metadata)
        with pytest.raises(WeightsError, match=f'trained with the network options .*"{next(iter(design))}"'):
            initialise(large(), tmp_path / "w.safetensors", entry, grows=True)
    # Also a file that says nothing of itself.
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="of another shape"):
        initialise(large(), tmp_path / "w.safetensors", entry, grows=True)


def test_a_larger_stem_does_not_take_a_small_one(small: Glint) -> None:
    assert not fits(Glint(**LARGE, stem=3), small.state_dict())  # type: ignore[arg-type]


def test_a_size_that_was_the_usual_one_can_be_stated(small: Glint, tmp_path: Path) -> None:
    file = tmp_path / "small.safetensors"
    save_file(small.state_dict(), file, {"halfmirror.network": "glint", "halfmirror.options": "{}"})
    size = {"widths": [8, 12, 16], "blocks": [0, 1, 1, 0, 1]}
    net = Glint((8, 12, 16), (0, 1, 1, 0, 1))
    assert not initialise(net, file, NetworkEntry(name="glint", options=size), grows=True)
    assert torch.equal(net(*taken()), small(*taken()))


def test_a_file_is_taken_where_the_task_allows_it(small: Glint, tmp_path: Path) -> None:
    file = tmp_path / "small.safetensors"
    stated = {"halfmirror.network": "glint", "halfmirror.options": json.dumps({"widths": [8, 12, 16]})}
    save_file(small.state_dict(), file, stated)
    entry = NetworkEntry(name="glint", options={"widths": [12, 20, 16]})
    net = large()
    with pytest.raises(WeightsError, match="of another shape"):
        initialise(net, file, entry)
    assert initialise(net, file, entry, grows=True)
    assert torch.allclose(net(*taken()), small(*taken()), atol=1e-5)
    assert not initialise(Glint((8, 12, 16), (0, 1, 1, 0, 1)), file, NetworkEntry(
        name="glint", options={"widths": [8, 12, 16]}
    ), grows=True)  # fmt: skip


def test_a_damaged_smaller_one_is_refused(small: Glint, tmp_path: Path) -> None:
    file = tmp_path / "small.safetensors"
    entries = small.state_dict()
    entries["stem.bias"][0] = float("nan")
    save_file(entries, file)
    with pytest.raises(WeightsError, match="NaN"):
        initialise(large(), file, NetworkEntry(name="glint"), grows=True)
