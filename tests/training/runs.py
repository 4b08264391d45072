"""A recipe run in this process, and what two runs are compared by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from training.engine import Outcome, Request, train
from training.files import load_tree
from training.recipe import Recipe

TIMES = {"elapsed_s", "samples_per_s", "steps_per_s", "gmacs_per_s", "idle", "val/seconds"}


def run(recipe: Recipe, folder: Path, **more: Any) -> Outcome:
    return train(Request(recipe, folder, device="cpu", **more))


def figures(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return bool(torch.equal(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def learned(folder: Path) -> dict[str, Any]:
    """All of a state that decides how a run goes on, but for the clock."""
    state = load_tree(folder / "state.pt")
    return {k: state[k] for k in ("state_dict", "current_model_state", "optimizer_states", "next_index")}
