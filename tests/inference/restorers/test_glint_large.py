"""glint-large with its shipped weights, at small sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open

from inference import models, networks, store
from inference.engine import Engine
from inference.quality import psnr
from inference.restorers.glint import GlintLargeRestorer
from sync.exposure import AlignedExposure
from sync.rig import Rig
from tests.inference.moving_scene import scene
from tests.inference.restorers.rigs import noise_exposure, one_grid, splitter

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _no_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path))


def restored(name: str, rig: Rig, a: AlignedExposure) -> NDArray[np.uint8]:
    (r,) = Engine(models.create(name, rig, {"contrast": 0.2}, "cpu")).push(a, [0.5])
    assert r.network == name
    return r.images[0]


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("rig", [one_grid(36, 28), splitter((14, 11))], ids=["one grid", "4:1"])
def test_it_restores_with_the_shipped_weights(rig: Rig, gray: bool) -> None:
    a = noise_exposure(rig, gray=gray)
    picture = restored("glint-large", rig, a)
    assert picture.shape == a.frame.image.shape
    assert (picture != a.frame.image).mean() > 0.3
    assert (picture != restored("glint", rig, a)).mean() > 0.1


def test_the_shipped_weights_are_nearer_to_the_truth_than_edi() -> None:
    """Over a scene with noise; weights in a wrong order or of another body would not be."""
    gains = []
    for seed in range(3):
        s = scene(64, 48, tone="srgb", pixels=10, seed=seed, noise_hz=2.0, spread=0.15, known=True)
        of = {n: psnr(restored(n, s.exposure.rig, s.exposure), s.truth(0.5)) for n in ("edi", "glint-large")}
        gains.append(of["glint-large"] - of["edi"])
    assert np.mean(gains) > 0.3


def test_it_is_a_glint_of_another_size() -> None:
    assert GlintLargeRestorer.network == GlintLargeRestorer.name == "glint-large"
    values = {n: sum(p.numel() for p in networks.build(n).parameters()) for n in ("glint", "glint-large")}
    assert values["glint-large"] > 4 * values["glint"]


def test_the_shipped_file_holds_half_precision() -> None:
    """Of two bytes a value, so that all that is shipped stays small."""
    with safe_open(store.SHIPPED / "glint-large.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118
    about = store.verify("glint-large")
    entries, _ = store.load("glint-large", representation=about.representation, channel_order="rgb")
    assert {str(t.dtype) for t in entries.values()} == {"torch.float32"}
