"""What weights were trained with is what their restorer feeds them, unless a person says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from capture.errors import UsageError
from inference import models, networks, store
from inference.cards import card
from inference.restorers.efnet import EfnetRestorer
from inference.restorers.neural import NeuralRestorer
from inference.weights_limits import WeightsError
from tests.inference.restorers.rigs import noise_exposure, one_grid

pytestmark = pytest.mark.usefixtures("one_thread")
RIG = one_grid(32, 24)
NARROW: dict[str, dict[str, Any]] = {
    "efnet": {"wf": 8},
    "sc-net": {"base_channel": 8, "num_res": 1, "spiking": "window", "theta_s": 1.0},
    "stra": {"base_channel": 8, "num_res": 1, "theta_s": 1.0},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    return tmp_path


def install(folder: Path, network: str, **about: Any) -> None:
    """Random weights with a card that says so much of them."""
    torch.manual_seed(0)
    entries = {k: v.contiguous() for k, v in networks.build(network, **NARROW[network]).state_dict().items()}
    said = card(network).model_copy(update={"options": NARROW[network], **about})
    save_file(
        entries, folder / "trained.safetensors", {"halfmirror.card": said.model_dump_json(warnings=False)}
    )
    store.add(network, folder / "trained.safetensors", overwrite=True)


def fed(network: str, **options: Any) -> tuple[torch.Tensor, ...]:
    made = models.create(network, RIG, options, "cpu")
    assert isinstance(made, NeuralRestorer)
    return made.fed([noise_exposure(RIG)], 0.5).inputs


def same(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> bool:
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("feed", [{"mask": False}, {"normalise": "percentile"}, {"mode": "corrected"}])
def test_efnet_is_fed_as_it_was_trained(feed: dict[str, Any], folder: Path) -> None:
    install(folder, "efnet")
    asked, usual = fed("efnet", **feed), fed("efnet")
    install(folder, "efnet", feed=feed)
    assert store.verify("efnet").feed.stated == feed
    assert same(fed("efnet"), asked)
    back = {"mask": True, "normalise": "maximum", "mode": "relative"}
    assert same(fed("efnet", **{k: back[k] for k in feed}), usual)
    if "mode" not in feed:  # the few events of this exposure fall into the same bins either way
        assert not same(asked, usual)


def test_sc_net_parts_windows_as_it_was_trained(folder: Path) -> None:
    for feed, steps in (({}, 16), ({"steps": 8}, 8)):
        install(folder, "sc-net", feed=feed)
        for options, expected in (({}, steps), ({"steps": 4}, 4)):
            made = models.create("sc-net", RIG, options, "cpu")
            made.prepare(32, 24)
            seen: list[int] = []
            made.net.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[2].shape[-1]))  # type: ignore[attr-defined]
            made.restore([noise_exposure(RIG)], [0.5])
            assert seen == [expected]


@pytest.mark.parametrize("network", ["sc-net", "stra"])
def test_the_neighbouring_windows_are_as_long_as_in_training(network: str, folder: Path) -> None:
    install(folder, network, feed={"window_ms": 25})
    assert models.create(network, RIG, {}, "cpu").needs.margin_before_us == 25_000
    assert models.create(network, RIG, {"window_ms": 30}, "cpu").needs.margin_before_us == 30_000


def test_voxel_weights_in_rgb_run_without_options(folder: Path) -> None:
    install(folder, "efnet", representation="voxel", channel_order="rgb")
    made = models.create("efnet", RIG, {}, "cpu")
    assert isinstance(made, EfnetRestorer)
    assert (made.representation, made.order) == ("voxel", "rgb")
    assert made.restore([noise_exposure(RIG)], [0.5]).images.shape == (1, 24, 32, 3)
    other = models.create("efnet", RIG, {"representation": "scer"}, "cpu")
    with pytest.raises(UsageError, match="take the representation voxel, and scer is to be fed"):
        other.prepare(32, 24)
    assert models.create("efnet", RIG, {"random_weights": True}, "cpu").representation == "scer"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("network", "feed"),
    [("efnet", {"masks": False}), ("efnet", {"steps": 8}), ("stra", {"steps": 8}),
     ("sc-net", {"steps": 1}), ("sc-net", {"steps": True}), ("efnet", {"mode": "published"})],
)  # fmt: skip
def test_a_card_that_asks_for_what_is_unknown_is_refused(
    network: str, feed: dict[str, Any], folder: Path
) -> None:
    with pytest.raises(WeightsError, match="its model card cannot be read") as caught:
        install(folder, network, feed=feed)
    assert "\n" not in str(caught.value)
