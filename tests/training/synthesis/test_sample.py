"""Samples: the same bytes by seed and index, physics that holds, every range in use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from capture.errors import UsageError
from inference.representations.double_integral import Contrast
from inference.representations.double_integral_numba import DoubleIntegral
from tests.training.synthesis.scenes import clean, config, photos
from training.synthesis.config import SynthesisConfig
from training.synthesis.sample import Sample, make
from training.synthesis.scene import Scene
from training.synthesis.settings import synthesis_config

PHOTOS = photos()


def drawn(settings: SynthesisConfig, index: int, seed: int = 0) -> Sample:
    return make(settings, lambda i: PHOTOS[i], len(PHOTOS), seed, index)


def same(a: Sample, b: Sample) -> bool:
    return (
        np.array_equal(a.frame, b.frame) and np.array_equal(a.truth, b.truth)
        and np.array_equal(a.events.t, b.events.t) and np.array_equal(a.events.x, b.events.x)
        and np.array_equal(a.events.p, b.events.p) and a.exposure_us == b.exposure_us
    )  # fmt: skip


def test_seed_and_index_alone_decide() -> None:
    settings = config()
    first = [drawn(settings, i) for i in range(4)]
    again = [drawn(settings, i) for i in (3, 1, 0, 2)]
    assert same(first[3], again[0])
    assert same(first[1], again[1])
    assert same(first[0], again[2])
    assert not same(first[0], first[1])
    assert not same(first[0], drawn(settings, 0, seed=1))


def test_shapes_and_ranges() -> None:
    kinds = set()
    for i in range(24):
        s = drawn(config(instants=3), i)
        assert s.frame.shape[:2] == (48, 48)
        assert s.truth.shape == (3, *s.frame.shape)
        assert s.frame.dtype == s.truth.dtype == np.uint8
        assert (np.diff(s.events.t) >= 0).all()
        if len(s.events):
            assert s.events.t[0] >= 0
            assert s.events.t[-1] < s.exposure_us
            assert s.events.x.max() < s.events.width
            assert s.events.y.max() < s.events.height
        assert (s.instants >= 0).all()
        assert (s.instants <= 1).all()
        kinds.add((s.frame.ndim, s.events.width < 48))
    assert len(kinds) == 4  # gray and colour, fine and coarse events


def linear(a: NDArray[np.uint8]) -> NDArray[np.float64]:
    return a.astype(np.float64) / 255


def test_the_frame_is_the_mean_of_the_light() -> None:
    """Truth at many instants (linear tone, no noise) averages to the frame."""
    s = drawn(clean(instants=64, middle_share=0.0, colour_share=1.0), 3)
    order = np.argsort(s.instants)
    # Instants are random: weigh each by the part of the exposure that it is nearest to.
    f = s.instants[order]
    borders = np.concatenate([[0], (f[1:] + f[:-1]) / 2, [1]])
    mean = np.tensordot(np.diff(borders), linear(s.truth[order]), 1)
    assert np.abs(mean - linear(s.frame)).mean() < 0.006
    assert np.abs(linear(s.truth[order[32]]) - linear(s.frame)).mean() > 0.02  # it did move


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_double_integral_with_the_true_threshold_brings_the_truth_back(index: int) -> None:
    s = drawn(clean(colour_share=0.0, instants=1), index)
    ratio = DoubleIntegral().ratios(s.events, 0, s.exposure_us, s.times_us, Contrast(*s.threshold))[0]
    inner = (slice(8, -8), slice(8, -8))
    sharp = np.clip(linear(s.frame) * ratio, 0, 1)[inner]
    before = np.sqrt(np.mean((linear(s.frame)[inner] - linear(s.truth[0])[inner]) ** 2))
    after = np.sqrt(np.mean((sharp - linear(s.truth[0])[inner]) ** 2))
    assert after < 0.6 * before
    # With the polarity turned round it must get worse, or the test says nothing.
    wrong = np.clip(linear(s.frame) / ratio, 0, 1)[inner]
    assert np.sqrt(np.mean((wrong - linear(s.truth[0])[inner]) ** 2)) > before


def test_still_scenes_have_no_blur_and_next_to_no_events() -> None:
    s = drawn(clean(still_share=1.0, colour_share=1.0), 0)
    assert np.abs(s.frame.astype(int) - s.truth[0]).max() <= 1
    assert len(s.events) == 0


def test_settings_from_words() -> None:
    assert synthesis_config(["blur_px=[2,20]", "instants=3"], 64).blur_px == (2, 20)
    assert synthesis_config(["srgb_share=1"]).srgb_share == 1, "what is left of linear ones is none"
    assert synthesis_config(["srgb_share=0.4", "linear_share=0.6"]).linear_share == 0.6
    for words, what in (
        (["blur=[1,2]"], "blur"), (["blur_px=[9,2]"], "low to high"), (["blur_px"], "key=value"),
        (["size=33"], "multiple of 8"), (["blur_px=what"], "neither a number"),
        (["linear_share=1"], r"linear_share: 1 and srgb_share 0\.3 are more .* srgb_share, too, 0 or less"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=what):
            synthesis_config(words)


def test_places_of_a_layer_are_the_same_in_one_pass_and_with_torch() -> None:
    """Parallax, wobble, perspective and all; the one is for CPUs, the other for all else."""
    cpu, u = torch.device("cpu"), np.linspace(-0.1, 1.1, 5)
    settings, bent, deep = config(wobble_px=9.0, depth=0.5), 0, 0
    for seed in range(6):
        scene = Scene(np.random.default_rng(seed), settings, lambda i: PHOTOS[i], len(PHOTOS), True, 20.0)
        for layer in scene.layers:
            side, values = layer.light.shape[-1], layer.motion.at(u)
            bent, deep = bent + bool(layer.motion.sizes[6]), deep + bool(layer.depth.any())
            found = scene._grid(layer, u, side, cpu)
            torch.testing.assert_close(found, scene._grid_there(layer, values, side, cpu), atol=2e-5, rtol=0)
    assert bent > 1 < deep


@pytest.mark.parametrize(
    "word",
    [
        "layers=[2,0]", "layers=[0,1000000]", "subframes=[0,0]", "subframes=[-5,3]", "scale=[1e-9,1]",
        "exposure_ms=[1,1e300]", "noise_8bit=[1,1e300]", "gamma=[1e6,1e6]", "light=[1,1e300]",
        "read_share=[0,2]", "speed_px_ms=inf",
    ],
)  # fmt: skip
def test_what_no_sample_can_be_drawn_from_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match=f"setting {word.partition('=')[0]}: "):
        synthesis_config([word], 64)
