"""Losses of all systems against those of the published training code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.networks import build
from inference.representations.spikes import LATENTS
from tests.parity.cases import Arrays, Case, assert_close, cases, filled, reads, state
from training.losses import cdvd_tsp, efnet, gem, s_sdm, sc_net

RELATIVE = 1e-4  # GEM's parts, as its manifest says


def each(case: Case, files: str, key: str) -> list[Arrays]:
    """The files of a case that hold an array; the test is skipped, with the reason, where none does."""
    found = [arrays for arrays in case.arrays(files) if key in arrays]
    if not found:
        pytest.skip(f"{case}: no {key} in {files}")
    return found


@reads("efnet", "representation*", "loss_*")
@pytest.mark.parametrize("case", cases("efnet"), ids=str)
def test_efnet(case: Case) -> None:
    for a in each(case, "representation*.npz", "loss_value"):
        value = efnet.psnr_loss(a.tensor("loss_pred"), a.tensor("loss_target"))
        assert_close(value, a["loss_value"], 1e-5, "loss_value")


@reads("efnet", "case*", "target", "loss_*", "out_*")
@pytest.mark.parametrize("case", cases("efnet"), ids=str)
def test_efnet_of_both_outputs(case: Case) -> None:
    for a in each(case, "case*.npz", "loss_mask"):
        for kind in ("mask", "nomask"):
            outputs = [a.tensor(f"out_{stage}_{kind}") for stage in (1, 2)]
            value = efnet.loss(outputs, a.tensor("target"), [torch.ones(3)])
            assert_close(value, a[f"loss_{kind}"], 1e-5, f"loss_{kind}")


def teacher_seed(case: Case) -> int:
    """The manifest tells it in words only: one more than the student's, unless they say otherwise."""
    told = re.search(r"teacher filled from seed (\d+)", str(case.manifest.get("notes", "")))
    return int(told[1]) if told else case.seed + 1


@reads("gem", "case*", "train_*")
@pytest.mark.parametrize("case", cases("gem"), ids=str)
def test_gem_of_both_stages(case: Case) -> None:
    student = filled(case, "gem")
    teacher = build("gem", **case.options).eval()
    teacher.load_state_dict(state(case, teacher_seed(case)))
    names = ("b2s", "lb2s", "lb2b", "blur", "large")
    for a in each(case, "case*.npz", "train_b2s"):
        batch = gem.Batch(*(a.tensor(f"train_{name}") for name in names))
        height = int(a["train_down_height"])
        with torch.no_grad():
            small = gem.reduced(batch.large, height)
            first = gem.first_stage(student, batch)
            second = gem.second_stage(student, teacher, batch, height)
        assert_close(small[:1], a["train_large_down"], case.tolerance, "train_large_down")
        got = {
            "train_stage1_parts": [float(getattr(first, part)) for part in list(gem.WEIGHTS)[:2]],
            "train_stage2_parts": [float(getattr(second, part)) for part in gem.WEIGHTS],
            "train_stage1_total": float(first.total()),
            "train_stage2_total": float(second.total()),
        }
        for name, value in got.items():
            np.testing.assert_allclose(value, a[name], rtol=RELATIVE, err_msg=name)


@reads("cdvd-tsp", "operations*", "loss_*")
@pytest.mark.parametrize("case", cases("cdvd-tsp"), ids=str)
def test_cdvd_tsp(case: Case) -> None:
    for a in each(case, "operations*.npz", "loss_total"):
        prediction, target = a.tensor("loss_prediction"), a.tensor("loss_target")

        def seeded(a: Arrays = a) -> np.random.RandomState:
            return np.random.RandomState(int(a["loss_numpy_seed"]))

        mask = cdvd_tsp.hard_mask(prediction, target, seeded())
        assert_close(mask, a["loss_mask"], 0.0, "loss_mask")
        assert_close(sc_net.pixel_l1(prediction, target), a["loss_l1"], 1e-5, "loss_l1")
        assert_close(cdvd_tsp.hem(prediction, target, mask), a["loss_hem"], 1e-5, "loss_hem")
        assert_close(cdvd_tsp.loss(prediction, target, seeded()), a["loss_total"], 1e-5, "loss_total")


@reads("sc-net", "case*", "loss_*")
@pytest.mark.parametrize("case", cases("sc-net"), ids=str)
def test_sc_net(case: Case) -> None:
    for a in each(case, "case*.npz", "loss_values"):
        pair = a.tensor("loss_pred"), a.tensor("loss_label")
        got = torch.stack([sc_net.pixel_l1(*pair), sc_net.spectral_l1(*pair), sc_net.loss(*pair)])
        assert_close(got, a["loss_values"], case.tolerance, "loss_values")


@reads("s-sdm", "case-ldn-published*", "reblur_loss", "blur_bgr", "spike", "spike_shape", "output_*")
@pytest.mark.parametrize(
    "case", [c for c in cases("s-sdm") if c.path.stem == "manifest-ldn"], ids=lambda c: c.path.stem
)
def test_s_sdm_reblur(case: Case, published_weights: Path) -> None:
    """The five instants with the published weights; three of them are stored and come from there."""
    net = build("s-sdm-ldn", **case.options).eval()
    path = published_weights / "s-sdm-ldn-gopro.pth"
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    half = case.options.get("spike_dim", 21) // 2
    for a in each(case, "case-ldn*.npz", "reblur_loss"):
        blurry = a.tensor("blur_bgr").permute(2, 0, 1)[None] / 255
        shape = tuple(a["spike_shape"])
        volume = torch.from_numpy(np.unpackbits(a["spike"], count=int(np.prod(shape))).reshape(shape)).float()
        predictions = []
        for i in LATENTS:
            stored = f"output_{i}"
            with torch.inference_mode():
                window = volume[None, i - half : i + half + 1]
                predictions.append(a.tensor(stored)[None] if stored in a else net(blurry, window))
        value = s_sdm.REBLUR * s_sdm.reblur(blurry, predictions)
        assert_close(value, a["reblur_loss"], case.tolerance, "reblur_loss")
