"""PSNR, SSIM and MSE of all systems against those of the published evaluations."""

from __future__ import annotations

import numpy as np
import pytest

from inference.representations.coding import Mode
from tests.parity.cases import DEFAULT, Case, cases, reads, root
from tests.parity.test_losses import each
from training.metrics import cdvd_tsp, efnet, gem, plain, s_sdm, sc_net
from training.metrics.codes import rounded

DB = 1e-5  # EFNet's PSNR; all that CDVD-TSP measures
SSIM_3D = 1e-4  # computed in float32 there
EXACT = 1e-9  # GEM's manifest


@reads("efnet", "representation*", "metric_*")
@pytest.mark.parametrize("case", cases("efnet"), ids=str)
def test_efnet(case: Case) -> None:
    for a in each(case, "representation*.npz", "metric_a"):
        x, y = a["metric_a"], a["metric_b"]
        as_float = tuple(v.astype(np.float32) / np.float32(255) for v in (x, y))
        assert efnet.psnr(x, y) == pytest.approx(a["metric_psnr_u8"], abs=DB)
        assert efnet.psnr(*as_float) == pytest.approx(a["metric_psnr_float"], abs=DB)
        assert efnet.psnr(x, y, border=4) == pytest.approx(a["metric_psnr_crop4"], abs=DB)
        assert efnet.ssim(x, y) == pytest.approx(a["metric_ssim3d_u8"], abs=SSIM_3D)
        assert efnet.ssim(*as_float) == pytest.approx(a["metric_ssim3d_float"], abs=SSIM_3D)
        assert plain.ssim(x, y) == pytest.approx(a["metric_ssim2d_channels"], abs=SSIM_3D)


@reads("efnet", "representation*", "toimage_*")
@pytest.mark.parametrize("case", cases("efnet"), ids=str)
def test_efnets_pictures(case: Case) -> None:
    for a in each(case, "representation*.npz", "toimage_in"):
        np.testing.assert_array_equal(rounded(a.tensor("toimage_in")), a["toimage_out"])


@reads("gem", "case*", "metric_*")
@pytest.mark.parametrize("case", cases("gem"), ids=str)
def test_gem(case: Case) -> None:
    for a in each(case, "case*.npz", "metric_truth"):
        pair = a["metric_result"], a["metric_truth"]
        assert gem.psnr(*pair) == pytest.approx(a["metric_psnr"], abs=EXACT)
        assert gem.ssim(*pair) == pytest.approx(a["metric_ssim"], abs=EXACT)


@reads("s-sdm", "representation*", "metric_*")
@pytest.mark.parametrize("case", {c.path.parent: c for c in cases("s-sdm")}.values(), ids=str)
def test_s_sdm(case: Case) -> None:
    for a in case.arrays("representation*.npz"):
        names = [
            name.removesuffix("_pred") for name in a if name.startswith("metric_") and name.endswith("_pred")
        ]
        assert names
        for name in names:
            pair = a.tensor(f"{name}_pred"), a.tensor(f"{name}_ref")
            for kind in ("mse", "psnr", "ssim"):
                got = getattr(s_sdm, kind)(*pair)
                assert got == pytest.approx(a[f"{name}_{kind}"], abs=1e-4), f"{name}_{kind}"


@reads("s-sdm", "case-ldn-published*", "sharp_bgr", "output_68")
@pytest.mark.parametrize("case", {c.path.parent: c for c in cases("s-sdm")}.values(), ids=str)
def test_the_published_ldn_is_measured_at_the_middle(case: Case) -> None:
    """No figure is stored with these pictures; the specification has one for the copy here."""
    for a in each(case, "case-ldn*.npz", "sharp_bgr"):
        sharp, restored = a.tensor("sharp_bgr").permute(2, 0, 1) / 255, a.tensor("output_68")
        got = s_sdm.psnr(restored, sharp, mode=Mode.CORRECTED)
        assert got == pytest.approx(plain.psnr(restored.clamp(0, 1), sharp), abs=1e-9)
        if root() == DEFAULT:
            assert got == pytest.approx(23.33, abs=0.005)


@reads("sc-net", "case*", "metric_*")
@pytest.mark.parametrize("case", cases("sc-net"), ids=str)
def test_sc_net(case: Case) -> None:
    for a in each(case, "case*.npz", "metric_values"):
        pair = a.tensor("metric_pred"), a.tensor("metric_label")
        got = [sc_net.psnr(*pair), sc_net.ssim(*pair), sc_net.ssim(*pair, mode=Mode.CORRECTED)]
        np.testing.assert_allclose(got, a["metric_values"], rtol=0, atol=case.tolerance)


@reads("cdvd-tsp", "operations*", "metric_*")
@pytest.mark.parametrize("case", cases("cdvd-tsp"), ids=str)
def test_cdvd_tsp(case: Case) -> None:
    for a in each(case, "operations*.npz", "metric_prediction"):
        prediction, truth = a.tensor("metric_prediction"), a["metric_target_u8"]
        picture = rounded(prediction)
        np.testing.assert_array_equal(picture, a["metric_prediction_u8"])
        assert cdvd_tsp.psnr(picture, truth) == pytest.approx(a["metric_psnr"], abs=DB)
        assert cdvd_tsp.ssim(picture, truth) == pytest.approx(a["metric_ssim"], abs=DB)
        validation = cdvd_tsp.validation_psnr(prediction, truth)
        assert validation == pytest.approx(a["metric_validation_psnr"], abs=DB)
