"""The registry of networks, and the cases themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from capture.errors import UsageError
from inference.networks import build, names
from inference.networks.blocks import channels_last
from tests.parity.cases import DEFAULT, assert_close, cases

# glint and glint-large are ours: nothing is published that they could be held against.
OTHERS = tuple(name for name in names() if name not in ("glint", "glint-large"))
SYSTEMS = ("efnet", "gem", "sc-net", "cdvd-tsp", "s-sdm")
PUBLISHED = {
    "efnet": 8_466_445, "gem": 2_421_882, "sc-net": 1_544_576, "stra": 1_542_400, "cdvd-tsp": 16_187_045,
    "s-sdm-ldn": 234_158, "s-sdm-bsn": 1_118_832, "s-sdm-edsr": 1_515_269,
}  # fmt: skip


def inputs(name: str) -> tuple[torch.Tensor, ...]:
    """Something small that the network takes."""
    g = torch.Generator().manual_seed(9)
    picture = torch.rand(1, 3, 32, 48, generator=g)
    counts = torch.poisson(torch.full((8, 6, 32, 48), 0.5), generator=g)
    made: dict[str, tuple[torch.Tensor, ...]] = {
        "efnet": (picture, counts[:1], (counts[:1, :1] > 0).float()),
        "gem": (torch.poisson(torch.full((1, 96, 16, 24), 0.3), generator=g), picture),
        "sc-net": (torch.cat([picture.expand(8, -1, -1, -1), counts], dim=1),),
        "stra": (torch.cat([picture, counts[:1]], dim=1),),
        "cdvd-tsp": (torch.rand(1, 5, 3, 32, 48, generator=g),),
        "s-sdm-ldn": (picture, (torch.rand(1, 21, 8, 12, generator=g) > 0.5).float()),
        "s-sdm-bsn": (picture[:, :1],),
        "s-sdm-edsr": (picture[:, :1],),
    }
    return made[name]


def tensors(out: Any) -> list[torch.Tensor]:
    return [out] if isinstance(out, torch.Tensor) else list(out)


def test_every_network_is_known_and_has_the_published_size() -> None:
    assert set(OTHERS) == set(PUBLISHED)
    for name in OTHERS:
        assert sum(p.numel() for p in build(name).parameters()) == PUBLISHED[name], name


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("efnet", {"ev_chn": 7}, 8_467_021),
        ("sc-net", {"base_channel": 16}, 390_672),
        ("sc-net", {"num_res": 8}, 2_874_240),
        ("s-sdm-ldn", {"spike_dim": 11}, 234_158 - 10 * 16 * 9),
    ],
)
def test_other_options_have_the_published_size(name: str, options: dict[str, Any], size: int) -> None:
    assert sum(p.numel() for p in build(name, **options).parameters()) == size


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_has_a_case(system: str) -> None:
    if os.environ.get("HALFMIRROR_PARITY_DIR"):
        pytest.skip("HALFMIRROR_PARITY_DIR is set; what it holds is up to it")
    assert DEFAULT.is_dir()
    assert cases(system)


@pytest.mark.parametrize("name", OTHERS)
def test_every_network_runs_on_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    net = build(name).eval()
    with torch.inference_mode():
        plain = tensors(net(*inputs(name)))
        again = tensors(channels_last(net)(*inputs(name)))
    assert all(out.isfinite().all() for out in plain)
    for a, b in zip(plain, again, strict=True):
        assert_close(b, a.numpy(), 1e-4, name)


@pytest.mark.gpu
@pytest.mark.parametrize("name", OTHERS)
def test_every_network_gives_the_same_on_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    torch.manual_seed(0)
    net = build(name).eval()
    with torch.inference_mode():
        on_cpu = tensors(net(*inputs(name)))
        on_gpu = tensors(net.cuda()(*(x.cuda() for x in inputs(name))))
    for a, b in zip(on_gpu, on_cpu, strict=True):
        assert_close(a, b.numpy(), 5e-4, name)


def test_unknown_names_and_options_are_refused_in_words() -> None:
    with pytest.raises(UsageError, match=r"called 'efnt'; did you mean 'efnet'\? known: efnet, gem"):
        build("efnt")
    with pytest.raises(UsageError, match="gem has no option bins; known: im_in_channel"):
        build("gem", bins=16)
    with pytest.raises(UsageError, match="efnet cannot be built: in_chn is 1"):
        build("efnet", in_chn=1)
    for name, option, value in (("efnet", "wf", -1), ("glint", "blocks", []), ("gem", "out_channel", 10**30)):
        with pytest.raises(UsageError, match=f"{name} cannot be built: ") as e:
            build(name, **{option: value})
        assert "\n" not in str(e.value)
    with pytest.raises(UsageError, match="stra has no option spiking"):
        build("stra", spiking="clip")


def test_the_names_do_not_load_torch() -> None:
    """The viewer lists the networks and must start fast."""
    code = "import sys; from inference.networks import names; assert names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
