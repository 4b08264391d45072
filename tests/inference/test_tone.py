"""Tone tables against the formula of IEC 61966-2-1."""

from __future__ import annotations

import numpy as np
import pytest

from inference.tone import Tone, decode, encode, encode_tables, to_linear


def srgb_of(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-12) ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("tone", ["linear", "srgb"])
def test_every_code_survives(tone: Tone) -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(encode(decode(codes, tone), tone), codes)


@pytest.mark.parametrize("tone", ["linear", "srgb"])
def test_rounding_is_to_the_nearest_code(tone: Tone) -> None:
    light = np.linspace(0, 1, 400_001)
    value = 255 * (srgb_of(light) if tone == "srgb" else light)
    got = encode(light, tone).astype(np.float64)
    # Half a code, and what float32 makes of the light (6e-8 · slope 12.92 · 255 = 2e-4 codes).
    assert np.abs(got - value).max() <= 0.5 + 4e-4


def test_srgb_has_the_standards_values() -> None:
    table = to_linear("srgb")
    assert table[0] == 0
    assert table[255] == 1
    assert table[128] == pytest.approx(0.21586, abs=1e-5)
    assert table[10] == pytest.approx(10 / 255 / 12.92, rel=1e-6)


@pytest.mark.parametrize("tone", ["linear", "srgb"])
def test_one_threshold_a_bin_at_most(tone: Tone) -> None:
    coarse, _ = encode_tables(tone)
    assert np.diff(coarse.astype(int)).max() <= 1
    assert coarse[-1] == 255


def test_what_is_not_light_is_clipped() -> None:
    got = encode(np.array([-1.0, -np.inf, np.nan, np.inf, 1.5]), "srgb")
    np.testing.assert_array_equal(got, [0, 0, 0, 255, 255])
