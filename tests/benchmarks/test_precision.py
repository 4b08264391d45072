"""What bench_precision writes into cards, and that it measures what it says."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import bench_precision as bench
from benchmarks.streams import Stream
from inference.cards import Card, Precision

pytestmark = pytest.mark.usefixtures("one_thread")


def made(dtype: Any = "float16", device: str = "CPU", difference: float = 0.1) -> Precision:
    return Precision(dtype=dtype, device=device, weights="w", data="d", difference=difference, largest=1.0)


def test_a_card_keeps_its_text_and_other_devices_figures() -> None:
    text = (bench.CARDS / "gem.toml").read_text()
    bare = text.split("[[precision]]")[0].rstrip()
    once = bench.into_card(bare + "\n", [made(), made("bfloat16")])
    assert once.startswith(bare)
    twice = bench.into_card(once, [made(device="A GPU", difference=0.2)])
    again = bench.into_card(twice, [made(difference=0.3), made("bfloat16", difference=0.4)])
    found = Card.model_validate(tomllib.loads(again)).precision
    assert {(p.device, p.dtype, p.difference) for p in found} == {
        ("A GPU", "float16", 0.2), ("CPU", "float16", 0.3), ("CPU", "bfloat16", 0.4),
    }  # fmt: skip


def test_figures_of_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path))
    size = {"image_width": 96, "image_height": 64, "event_width": 96, "event_height": 64}
    stream = Stream.of("davis", 0.25, **size)
    with torch.inference_mode():
        found = {p.dtype: p for _, p in bench.measure("s-sdm-ldn", [stream], 1, "cpu", "CPU")}
    assert set(found) == {"float16", "bfloat16"}
    assert 0 < found["float16"].difference < found["bfloat16"].difference < 1
    for p in found.values():
        assert p.weights == bench.RANDOM
        assert p.loss_db is None
        assert p.data == "1 exposure of simulated davis"


def test_random_weights_are_scaled_to_what_deblurring_changes() -> None:
    torch.manual_seed(0)
    given = torch.rand(1, 3, 8, 8)
    change = torch.randn(1, 3, 8, 8) * 0.001
    run = bench.Run([], [0.7 * given + change], [given])
    gain = bench.gain_of("gem", run)
    assert float((gain * change).square().mean().sqrt()) == pytest.approx(bench.CHANGE, rel=0.05)
    assert bench.gain_of("cdvd-tsp", bench.Run([], [given / 4], [given])) == pytest.approx(4)
