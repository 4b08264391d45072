"""First weights with which a network gives its input back, and still learns everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capture.errors import UsageError
from inference import networks
from tests.training.tiny_task import TinyTask, tiny
from training import recipe as recipes
from training import starts, tasks
from training.engine import Request, train

GREY = 1 / 255


def given(name: str, network: nn.Module) -> tuple[Tensor, Tensor]:
    """What comes out for some input, and the part of that which should."""
    image = torch.rand(2, 3, 32, 32)
    if name == "gem":
        return network(torch.randint(0, 3, (2, 96, 32, 32)).float(), image)[0], image
    if name == "s-sdm-ldn":
        return network(image, torch.rand(2, 21, 8, 8).round()), image
    if name == "s-sdm-bsn":
        noisy = torch.rand(2, 1, 32, 32)
        around = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])[None, None] / 4
        return network(noisy), F.conv2d(noisy, around, padding=1)
    if name == "s-sdm-edsr":
        average = torch.rand(2, 1, 16, 16)
        larger = F.interpolate(average, scale_factor=2, mode="bilinear", align_corners=False)
        larger = F.interpolate(larger, scale_factor=2, mode="bilinear", align_corners=False)
        # At the border the network sees zeros, the interpolation the border again.
        return network(average)[..., 4:-4, 4:-4], larger[..., 4:-4, 4:-4]
    if name == "stra":
        picture, feature = network(torch.cat([image, torch.randint(0, 9, (2, 6, 32, 32))], dim=1))
        again, _ = network(torch.cat([image, torch.randint(0, 9, (2, 6, 32, 32))], dim=1), feature)
        return torch.stack([picture, again]), torch.stack([image, image])
    frames = torch.rand(1, 5, 3, 64, 64)
    return torch.stack(network(frames)), torch.stack([frames[:, i] for i in (1, 2, 3, 2)])


OPTIONS: dict[str, dict[str, Any]] = {
    "gem": {},
    "s-sdm-bsn": {},
    "s-sdm-edsr": {},
    "s-sdm-ldn": {"loss.name": "ssim-reblur"},
    "stra": {"network.options": {"base_channel": 8, "num_res": 2, "theta_s": 1.0}},
    "cdvd-tsp": {"network.options": {"n_feat": 8, "n_resblock": 2}},
}


@pytest.fixture(params=sorted(OPTIONS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def built(name: str) -> nn.Module:
    """With the published first weights."""
    return networks.build(name, **OPTIONS[name].get("network.options", {}))


def begun(name: str) -> nn.Module:
    recipe = recipes.load(name, OPTIONS[name])
    task: Any = tasks.create(recipe)
    torch.manual_seed(3)
    network: nn.Module = task.build_network(recipe.network.options)
    task.start_at_input(network)
    return network


def test_the_input_comes_back(name: str) -> None:
    torch.manual_seed(1)
    out, wanted = given(name, begun(name))
    off = (out - wanted).abs()
    if name == "gem":  # its last layer keeps its own first values
        torch.manual_seed(1)
        usual, wanted = given(name, built(name))
        assert off.mean() < 0.05 < 0.5 * (usual - wanted).abs().mean()
        return
    # CDVD-TSP's features are disturbed a little, so that none of them is dead.
    assert off.max() < (GREY if name == "cdvd-tsp" else 1e-6)


def backward(name: str, network: nn.Module) -> set[str]:
    """Names of the parameters that a step would change."""
    network.zero_grad()
    torch.manual_seed(1)
    out, wanted = given(name, network)
    (out - wanted * 0.5).abs().mean().backward()
    return {n for n, p in network.named_parameters() if p.grad is not None and bool(p.grad.any())}


def test_every_part_learns_within_a_few_steps(name: str) -> None:
    network, usual = begun(name), built(name)
    for n, p in usual.named_parameters():
        if n.endswith("gamma"):  # with the published zero, what lies behind is not reached
            nn.init.ones_(p)
    optimiser, learnt = torch.optim.Adam(network.parameters(), 1e-3), set[str]()
    for _ in range(3):
        learnt |= backward(name, network)
        optimiser.step()
    # Some entries of the published files take no part, whatever the first weights.
    assert learnt >= backward(name, usual)


def test_the_channels_that_carry_the_frame_are_not_dead() -> None:
    """Behind a ReLU that is closed for all pixels nothing ever learns."""
    network = begun("cdvd-tsp")
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    backward("cdvd-tsp", network)
    optimiser.step()
    backward("cdvd-tsp", network)
    last = [p for n, p in network.named_parameters() if "decoder_first" in n and n.endswith("weight")][-1]
    assert last.grad is not None
    assert last.grad.abs().amax((0, 2, 3))[:3].min() > 0


def test_entries_stay_those_of_the_published_files(name: str) -> None:
    theirs = {n: t.shape for n, t in built(name).state_dict().items()}
    assert {n: t.shape for n, t in begun(name).state_dict().items()} == theirs


def test_the_flow_keeps_weights_of_its_own() -> None:
    network = networks.build("cdvd-tsp", n_feat=8, n_resblock=1)
    before = {n: p.clone() for n, p in network.named_parameters()}
    starts.cdvd_tsp(network, flow=False)
    same = {n for n, p in network.named_parameters() if torch.equal(p, before[n])}
    assert {n for n in before if n.startswith("flow_net")} <= same
    starts.cdvd_tsp(network, flow=True)
    same = {n for n, p in network.named_parameters() if torch.equal(p, before[n])}
    assert not {n for n in before if n.startswith("flow_net") and "moduleMain.12" in n} & same


def test_a_task_without_such_a_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny has no such first weights; leave it"):
        train(Request(tiny(network__start="input"), tmp_path / "run", device="cpu"))
    assert not (tmp_path / "run").exists()


def test_the_engine_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[nn.Module] = []
    monkeypatch.setattr(TinyTask, "start_at_input", lambda _, network: asked.append(network), raising=False)
    train(Request(tiny(run__steps=1), tmp_path / "a", device="cpu"))
    assert not asked
    train(Request(tiny(run__steps=1, network__start="input"), tmp_path / "b", device="cpu"))
    assert len(asked) == 1
    assert 'start = "input"' in (tmp_path / "b" / "recipe.toml").read_text()


def test_another_word_is_refused() -> None:
    with pytest.raises(UsageError, match=r"network\.start"):
        recipes.load("gem", {"network.start": "zero"})
