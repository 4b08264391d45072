"""A task small enough for tests: two convolutions learn to take noise off smooth pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from capture.errors import UsageError
from training import tasks
from training.data.order import generator_seed
from training.recipe import Recipe, parse
from training.task import Batch

SIZE = 12


def noisy(seed: int, index: int) -> Batch:
    g = torch.Generator().manual_seed(generator_seed(seed, index))
    ramp = torch.linspace(0, 1, SIZE)
    a, b = torch.rand(2, generator=g)
    truth = (0.5 + 0.3 * a * torch.sin(6 * ramp + 6 * b)[None] * torch.cos(5 * ramp)[:, None])[None]
    return {"noisy": truth + 0.1 * torch.randn(truth.shape, generator=g), "truth": truth, "index": index}


class Samples:
    def __init__(self, seed: int, options: Mapping[str, Any]) -> None:
        self.seed = seed
        self.nan_at = int(options.get("nan_at", -1))
        self.fails_at = int(options.get("fails_at", -1))
        self.delay_s = float(options.get("delay_s", 0.0))
        self.dies_at = int(options.get("dies_at", -1))
        self.salt = str(options.get("salt", ""))

    def __getitem__(self, index: int) -> Batch:
        time.sleep(self.delay_s)
        if index == self.fails_at:
            raise UsageError(f"sample {index} cannot be made: no photo is left")
        if index == self.dies_at:
            os._exit(9)  # as one that was killed for want of memory
        sample = noisy(self.seed, index)
        if index == self.nan_at:
            sample["noisy"] = sample["noisy"] * torch.nan
        return sample

    def fingerprint(self) -> str:
        return f"tiny {self.seed} {self.salt}".strip()


class Validation:
    def __init__(self, seed: int, length: int) -> None:
        self.seed, self.length = seed, length

    def __getitem__(self, index: int) -> Batch:
        return noisy(self.seed + 1, index)

    def __len__(self) -> int:
        return self.length


class Net(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(torch.relu(self.first(x)))
        return out


class TinyTask:
    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def build_network(self, options: Mapping[str, Any]) -> nn.Module:
        return Net(**options)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        # A random part, as augmentation in a loss would have it: resuming has to draw the same.
        weight = 1 + self.recipe.loss.weights.get("jitter", 0.0) * torch.rand(())
        mse = (network(batch["noisy"]) - batch["truth"]).square().mean()
        return {"loss": mse * weight, "mse": mse}

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        mse = (network(batch["noisy"]) - batch["truth"]).square().mean((1, 2, 3))
        return {"psnr": float((-10 * mse.log10()).mean())}

    def preview(self, network: nn.Module, batch: Batch) -> list[NDArray[np.uint8]]:
        rows = torch.cat([batch["noisy"], network(batch["noisy"]), batch["truth"]], dim=3)[:, 0]
        return [(r.clamp(0, 1) * 255).round().byte().cpu().numpy() for r in rows]

    def datasets(self, recipe: Recipe) -> tuple[Samples, Validation]:
        return Samples(recipe.seed, recipe.data.options), Validation(recipe.seed, recipe.data.validation)


tasks.register("tiny", "tests.training.tiny_task:TinyTask")

RECIPE = """
seed = 7
network = { name = "tiny" }
data = { validation = 6, workers = 0 }
optimiser = { lr = 0.01 }
schedule = { name = "cosine", warmup_steps = 3 }
loss = { weights = { jitter = 0.5 } }
run = { batch = 4, steps = 30, validate_every = 10, log_every = 5, previews = 2 }
"""


def tiny(**changes: Any) -> Recipe:
    """The recipe with values changed, `table__key=value`."""
    import tomllib

    data: dict[str, Any] = tomllib.loads(RECIPE)
    for key, value in changes.items():
        *tables, last = key.split("__")
        inner = data
        for name in tables:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return parse(data)


def write(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "tiny.toml"
    path.write_text(text)
    return path
