"""The synthetic frame sensor: noise as stated, whatever the tone curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.training.synthesis.scenes import config
from training.synthesis.frame_sensor import draw_frame, expose

TONES: dict[str, dict[str, Any]] = {
    "srgb": {"srgb_share": 1.0},
    "linear": {"srgb_share": 0.0, "linear_share": 1.0},
    "gamma": {"srgb_share": 0.0, "linear_share": 0.0, "gamma": (2.2, 2.2)},
}


@pytest.mark.parametrize("tone", TONES)
def test_noise_is_stated_in_codes_at_mid_gray_in_any_tone(tone: str) -> None:
    settings = config(noise_8bit=(5.0, 5.0), column_8bit=(0.0, 0.0), **TONES[tone])
    draw = draw_frame(np.random.default_rng(0), settings)
    # The light whose value is ½.
    middle = 0.5**draw.gamma if draw.gamma else ((0.5 + 0.055) / 1.055) ** 2.4
    light = torch.full((1, 300, 300), middle)
    codes = expose(light, draw, torch.Generator().manual_seed(0)).double()
    assert float(codes.mean()) == pytest.approx(127.5, abs=0.5)
    assert float(codes.std()) == pytest.approx(5.0, rel=0.02)
