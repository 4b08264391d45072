from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.restorers.pictures import ColourOrder, light_from_srgb, srgb_from_light, to_network, to_pictures
from inference.tone import Tone

CPU = torch.device("cpu")


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("tone", ["linear", "srgb"])
@pytest.mark.parametrize("gray", [False, True])
def test_every_code_comes_back(order: ColourOrder, tone: Tone, gray: bool) -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    if not gray:
        codes = np.stack([codes, codes.T, codes[::-1]], axis=2)
    values = to_network([codes, codes], CPU, order, tone)
    assert values.shape == (2, 3, 16, 16)
    assert values.dtype == torch.float32
    back = to_pictures(values, order, tone, gray=gray)
    assert back.shape == (2, *codes.shape)
    assert (back == codes).all()


def test_channels_go_where_they_belong() -> None:
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert to_network([red], CPU, "rgb", "srgb")[0, :, 0, 0].tolist() == [1, 0, 0]
    assert to_network([red], CPU, "bgr", "srgb")[0, :, 0, 0].tolist() == [0, 0, 1]
    gray = np.full((2, 2), 51, np.uint8)
    assert to_network([gray], CPU, "bgr", "srgb")[0, :, 0, 0].tolist() == pytest.approx([0.2] * 3)


def test_a_gray_camera_gets_luminance() -> None:
    blue_in_bgr = torch.zeros(1, 3, 1, 1)
    blue_in_bgr[:, 0] = 1
    assert to_pictures(blue_in_bgr, "bgr", "srgb", gray=True).item() == round(255 * 0.114)
    assert to_pictures(blue_in_bgr, "rgb", "srgb", gray=True).item() == round(255 * 0.299)


def test_overshoot_is_clipped_and_the_rest_rounded() -> None:
    values = torch.tensor([-0.5, 0.0019, 0.0021, 0.999, 7.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_pictures(values, "rgb", "srgb", gray=False)[0, 0, :, 0].tolist() == [0, 0, 1, 255, 255]


def test_the_tone_is_srgb() -> None:
    light = torch.tensor([0.0, 0.002, 0.2140411, 1.0], dtype=torch.float64)
    coded = srgb_from_light(light)
    assert coded.tolist() == pytest.approx([0, 0.02584, 0.5, 1.0], abs=1e-6)
    assert light_from_srgb(coded).tolist() == pytest.approx(light.tolist(), abs=1e-9)
