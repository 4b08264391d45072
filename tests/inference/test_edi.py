"""EDI as a restorer: quality against truth, the contrast, named states, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from capture.errors import UsageError
from capture.packets import Events, PixelLayout
from inference import models
from inference.quality import psnr, reblur_residual
from inference.restorers.base import Restored
from inference.restorers.contrast_learner import DEFAULT_CONTRAST, LEARN_FROM
from inference.restorers.edi import EdiRestorer
from inference.tone import Tone, encode
from sync.exposure import AlignedExposure
from sync.geometry import scaled_homography
from sync.rig import Geometry
from tests.inference.moving_scene import (
    Scene,
    blurred_of,
    events_of,
    exposure_of,
    panning,
    rig_for,
    scene,
)


def edi(a: AlignedExposure, **options: object) -> EdiRestorer:
    return EdiRestorer(a.rig, options, "cpu")


def restore(a: AlignedExposure, latents: tuple[float, ...] = (0.5,), **options: object) -> Restored:
    return edi(a, **options).restore([a], latents)


@pytest.fixture(scope="module")
def panned() -> Scene:
    return scene()


@pytest.fixture(scope="module")
def noisy() -> Scene:
    return scene(noise_hz=5.0, spread=0.1, seed=3)


def gain(s: Scene, result: Restored, at: float = 0.5) -> float:
    truth = s.truth(at)
    return psnr(result.images[0], truth) - psnr(s.exposure.frame.image, truth)


def test_it_sharpens_without_noise(panned: Scene) -> None:
    assert gain(panned, restore(panned.exposure)) >= 7


def test_it_sharpens_with_noise(noisy: Scene) -> None:
    assert gain(noisy, restore(noisy.exposure)) >= 4


@pytest.mark.parametrize("at", [0.0, 0.25, 1.0])
def test_at_any_instant(panned: Scene, at: float) -> None:
    assert gain(panned, restore(panned.exposure, (at,)), at) >= 6


def test_srgb_frames() -> None:
    s = scene(tone="srgb", seed=1)
    assert gain(s, restore(s.exposure)) >= 6


def test_the_wrong_polarity_makes_it_worse(panned: Scene) -> None:
    a, e = panned.exposure, panned.exposure.events
    wrong = exposure_of(
        a.frame.image, Events(e.t, e.x, e.y, ~e.p, e.width, e.height), a.rig, *_ends(a)
    )  # fmt: skip
    assert gain(panned, restore(wrong, contrast=0.2)) < -1


def test_events_belong_halfway_between_their_times_unless_told_otherwise(panned: Scene) -> None:
    """Which is not the published integral, and some tenths of a decibel better."""
    ours, published = (restore(panned.exposure, halfway=h) for h in (True, False))
    assert np.array_equal(restore(panned.exposure).images, ours.images)
    assert not np.array_equal(ours.images, published.images)


def test_unlike_thresholds() -> None:
    s = scene(on=0.15, off=0.3, seed=2)
    both = restore(s.exposure, contrast_on=0.15, contrast_off=0.3)
    assert gain(s, both) > gain(s, restore(s.exposure, contrast=0.21))
    assert gain(s, both) > gain(s, restore(s.exposure, contrast_on=0.3, contrast_off=0.15)) + 3
    assert both.figures["contrast_on"] == 0.15
    assert both.figures["contrast_off"] == 0.3


def test_cleaning_pays(noisy: Scene) -> None:
    clean, bare = restore(noisy.exposure, contrast=0.2), restore(noisy.exposure, contrast=0.2, denoise=False)
    assert gain(noisy, clean) > gain(noisy, bare) + 0.5


def test_latents_add_up_to_the_frame(panned: Scene) -> None:
    times = tuple((k + 0.5) / 40 for k in range(40))
    r = restore(panned.exposure, times, contrast=0.2, denoise=False)
    # What is left is rounding, clipping at white, and 40 instants for an integral.
    assert reblur_residual(r.images, panned.exposure.frame.image, "linear").rms < 1.0


def test_many_instants_are_the_single_ones(panned: Scene) -> None:
    many = restore(panned.exposure, (0.7, 0.0, 1.0, 0.25), contrast=0.2)
    assert many.latents == (0.7, 0.0, 1.0, 0.25)
    for k, f in enumerate(many.latents):
        np.testing.assert_array_equal(
            many.images[k], restore(panned.exposure, (f,), contrast=0.2).images[0]
        )  # fmt: skip
        assert many.times_us[k] == panned.exposure.exposure.time_at(f)


def test_torch_gives_the_same_picture(panned: Scene) -> None:
    a = restore(panned.exposure, contrast=0.2)
    b = restore(panned.exposure, contrast=0.2, implementation="torch")
    c = restore(panned.exposure, contrast=0.2, implementation="torch", dtype="float32")
    d = restore(panned.exposure, contrast=0.2, implementation="torch", dtype="auto")
    assert np.array_equal(b.images, d.images)
    for dtype, runs in (("auto", "cpu, float64"), ("float32", "cpu, float32")):
        assert edi(panned.exposure, implementation="torch", dtype=dtype).runs_on == runs
    assert np.abs(a.images.astype(int) - b.images).max() <= 1
    assert np.abs(a.images.astype(int) - c.images).max() <= 1


# -- contrast


@pytest.mark.parametrize("true", [0.12, 0.2, 0.35])
def test_the_contrast_is_found(true: float) -> None:
    s = scene(on=true, off=true, seed=1, width=128, height=96, noise_hz=2.0, spread=0.05)
    found = restore(s.exposure).figures["contrast_on"]
    assert true / 1.3 < found < true * 1.3


def test_the_contrast_is_held_after_a_few_exposures() -> None:
    scenes = [scene(seed=k, ordinal=k, width=64, height=48) for k in range(LEARN_FROM + 3)]
    r = edi(scenes[0].exposure)
    found = [r.restore([s.exposure], [0.5]).figures for s in scenes]
    assert [f["contrast_samples"] for f in found] == [*range(1, LEARN_FROM + 1), *[LEARN_FROM] * 3]
    assert len({f["contrast_on"] for f in found[LEARN_FROM - 1 :]}) == 1
    r.reset()  # a gap: the camera is the same
    assert r.restore([scenes[0].exposure], [0.5]).figures == found[0] | {
        k: found[-1][k] for k in ("contrast_on", "contrast_off", "contrast_samples")
    }


def test_the_same_exposures_give_the_same_pictures() -> None:
    scenes = [scene(seed=k, ordinal=k, width=64, height=48) for k in range(3)]
    one, two = edi(scenes[0].exposure), edi(scenes[0].exposure)
    two.prepare(64, 48)  # warming up must not teach it anything
    for s in scenes:
        a, b = one.restore([s.exposure], [0.3]), two.restore([s.exposure], [0.3])
        # The held exposure at other instants in between must not count as another exposure.
        two.restore([s.exposure], [0.1, 0.9])
        np.testing.assert_array_equal(a.images, b.images)
        assert a.figures == b.figures


def test_the_rigs_thresholds_are_where_it_starts() -> None:
    few = scene(known=True, on=0.3, off=0.4, width=64, height=48)
    a = exposure_of(few.exposure.frame.image, few.exposure.events[:20], few.exposure.rig, *_ends(few.exposure))
    r = restore(a)
    assert (r.figures["contrast_on"], r.figures["contrast_off"]) == (0.3, 0.4)
    assert "contrast assumed" in r.flags
    r = restore(few.exposure)
    assert r.figures["contrast_samples"] == 1
    assert r.figures["contrast_off"] / r.figures["contrast_on"] == pytest.approx(0.4 / 0.3)
    r = restore(few.exposure, contrast="rig")
    assert (r.figures["contrast_on"], r.figures["contrast_off"]) == (0.3, 0.4)


def test_without_any_hint_a_common_contrast_is_assumed_and_said() -> None:
    s = scene(width=64, height=48)
    a = exposure_of(s.exposure.frame.image, s.exposure.events[:20], s.exposure.rig, *_ends(s.exposure))
    r = restore(a)
    assert r.figures["contrast_on"] == DEFAULT_CONTRAST
    assert r.flags == ("contrast assumed",)


def test_options_while_running(panned: Scene) -> None:
    r = edi(panned.exposure)
    found = r.restore([panned.exposure], [0.5])
    r.set({"contrast": 0.4})
    assert r.restore([panned.exposure], [0.5]).figures["contrast_on"] == 0.4
    r.set({"contrast_on": 0.1, "contrast_off": 0.2})
    assert r.restore([panned.exposure], [0.5]).figures["contrast_off"] == 0.2
    r.set({"contrast": "auto"})
    again = r.restore([panned.exposure], [0.5])
    np.testing.assert_array_equal(again.images, found.images)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"constrast": 0.2}, "known: contrast"),
        ({"contrast": 0}, "must lie between"),
        ({"contrast": float("nan")}, "must lie between"),
        ({"contrast": "high"}, "neither a number"),
        ({"contrast": None}, "neither a number"),
        ({"contrast": "rig"}, "states no thresholds"),
        ({"contrast_on": 0.2}, "give both"),
        ({"denoise": "yes"}, "true or false"),
        ({"implementation": "cuda"}, "numba or torch"),
        ({"implementation": "torch", "dtype": "int8"}, "float32"),
        ({"dtype": "int8"}, "edi: dtype 'int8'"),
        ({"dtype": "bfloat16"}, "edi: dtype 'bfloat16': give auto, float64 or float32"),
        ({"dtype": float("nan")}, "edi: dtype nan"),
        ({"implementation": "torch", "dtype": "float16"}, "float32"),
    ],
)
def test_wrong_options_are_named_and_change_nothing(
    panned: Scene, options: dict[str, object], says: str
) -> None:
    r = edi(panned.exposure, contrast=0.3)
    with pytest.raises(UsageError, match=says):
        r.set(options)
    assert r.restore([panned.exposure], [0.5]).figures["contrast_on"] == 0.3


# -- frames and geometry


@pytest.mark.parametrize("size", [(33, 21), (17, 40), (346, 8)])
@pytest.mark.parametrize("colour", [False, True])
def test_odd_sizes_gray_and_colour(size: tuple[int, int], colour: bool) -> None:
    light = panning(*size, 5.0)
    image = encode(blurred_of(light, 20), "linear")
    image = np.stack([image, image // 2, 255 - image], axis=2) if colour else image
    a = exposure_of(image, events_of(light, 0, 1000, 0.2, 0.2, steps=20), rig_for(size), 0, 1000)
    r = restore(a, (0.0, 0.5, 1.0), contrast=0.2)
    assert r.images.shape == (3, *image.shape)
    assert r.images.dtype == np.uint8
    assert not np.array_equal(r.images[1], image)


def test_bayer_comes_back_as_rgb(panned: Scene) -> None:
    a = panned.exposure
    mosaic = exposure_of(a.frame.image, a.events, a.rig, *_ends(a), layout=PixelLayout.BAYER_RGGB)
    r = restore(mosaic, contrast=0.2)
    assert r.images.shape == (1, *a.frame.image.shape, 3)
    # A gray mosaic is a gray picture: the three channels agree but for demosaicing.
    assert np.abs(r.images[0, 8:-8, 8:-8].astype(int).mean(axis=2) - panned.truth(0.5)[8:-8, 8:-8]).mean() < 12


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("tone", ["linear", "srgb"])
def test_through_a_beam_splitter(mirrored: bool, tone: Tone) -> None:
    """RGB twice as fine as the events, with and without the mirror."""
    width, height = 160, 112
    fine = panning(width, height, 20.0, seed=4)
    m = scaled_homography(2.0, mirrored=mirrored, event_width=width // 2)

    def coarse(f: float) -> np.ndarray:
        v = fine(f).reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        return v[:, ::-1] if mirrored else v

    events = events_of(coarse, 0, 40_000, 0.2, 0.2)
    gray = encode(blurred_of(fine), tone)
    rig = rig_for((width // 2, height // 2), (width, height), tone, m)
    a = exposure_of(np.repeat(gray[..., None], 3, axis=2), events, rig, 0, 40_000)
    truth = encode(fine(0.5), tone)
    r = restore(a)
    assert psnr(r.images[0, :, :, 1], truth) > psnr(gray, truth) + 4
    wrong = rig_for((width // 2, height // 2), (width, height), tone, scaled_homography(
        2.0, mirrored=not mirrored, event_width=width // 2))  # fmt: skip
    b = exposure_of(a.frame.image, events, wrong, 0, 40_000)
    assert psnr(restore(b, contrast=0.2).images[0, :, :, 1], truth) < psnr(gray, truth)


def test_part_of_the_picture_without_events_is_said() -> None:
    s = scene(width=64, height=48)
    rig = rig_for((64, 48), (128, 48), image_from_event=np.eye(3))
    a = exposure_of(np.tile(s.exposure.frame.image, (1, 2)), s.exposure.events, rig, *_ends(s.exposure))
    r = restore(a, contrast=0.2)
    assert "events cover 50 % of the picture" in r.flags
    np.testing.assert_array_equal(r.images[0, :, 65:], a.frame.image[:, 65:])


def test_a_rig_that_nobody_has_calibrated_is_said_and_restored_all_the_same() -> None:
    s = scene(width=64, height=48)
    rig = rig_for((64, 48), (64, 48))
    unknown = rig.model_copy(update={"geometry": Geometry.assumed((64, 48), (64, 48))})
    known, told = (
        restore(exposure_of(s.exposure.frame.image, s.exposure.events, r, *_ends(s.exposure)), contrast=0.2)
        for r in (rig, unknown)
    )
    assert "rig not calibrated" not in known.flags
    assert "rig not calibrated" in told.flags
    assert psnr(told.images[0], known.images[0]) > 40


def test_sizes_that_contradict_the_rig_are_named(panned: Scene) -> None:
    a = panned.exposure
    small = exposure_of(np.ascontiguousarray(a.frame.image[:, :50]), a.events, a.rig, *_ends(a))
    with pytest.raises(UsageError, match="50×72 but the rig states 96×72"):
        restore(small)
    other = exposure_of(a.frame.image, Events.empty(10, 10), a.rig, *_ends(a))
    with pytest.raises(UsageError, match="10×10 sensor but the rig states 96×72"):
        restore(other)


# -- named states, bad input


def test_no_events_pass_the_frame_through(panned: Scene) -> None:
    a = panned.exposure
    r = restore(exposure_of(a.frame.image, Events.empty(96, 72), a.rig, *_ends(a)), (0.0, 1.0))
    assert r.flags == ("no events: frame passed through",)
    for image in r.images:
        np.testing.assert_array_equal(image, a.frame.image)


def test_events_only_in_the_margins_are_no_events(panned: Scene) -> None:
    a = panned.exposure
    start, end = _ends(a)
    e = a.events
    early = Events(e.t - (end - start), e.x, e.y, e.p, e.width, e.height)
    r = restore(exposure_of(a.frame.image, early, a.rig, start, end))
    assert "no events: frame passed through" in r.flags


def test_lost_events_are_said(panned: Scene) -> None:
    a = panned.exposure
    r = edi(a)
    got = r.restore([exposure_of(a.frame.image, a.events, a.rig, *_ends(a), complete=False)], [0.5])
    assert "events lost in the exposure" in got.flags
    assert got.figures["contrast_samples"] == 0  # nor does it teach
    before = replace(exposure_of(a.frame.image, a.events, a.rig, *_ends(a), complete=False), margins_only=True)
    assert "events lost in the exposure" not in edi(a).restore([before], [0.5]).flags


def test_a_frame_all_black_stays(panned: Scene) -> None:
    a = panned.exposure
    flat = np.zeros_like(a.frame.image)
    r = restore(exposure_of(flat, a.events, a.rig, *_ends(a)))
    np.testing.assert_array_equal(r.images[0], flat)
    assert "saturated 100 %" not in r.flags


def test_a_frame_all_white_shows_only_what_was_clearly_darker(panned: Scene) -> None:
    a = panned.exposure
    flat = np.full_like(a.frame.image, 255)
    r = restore(exposure_of(flat, a.events, a.rig, *_ends(a)))
    assert "saturated 100 %" in r.flags
    assert (r.images[0] == 255).mean() > 0.5
    assert (r.images[0] < 200).any()


def test_saturation_is_measured() -> None:
    s = scene(width=64, height=50)
    image = s.exposure.frame.image.copy()
    np.clip(image, 0, 240, out=image)
    image[:6] = 255
    r = restore(exposure_of(image, s.exposure.events, s.exposure.rig, *_ends(s.exposure)), contrast=0.2)
    assert "saturated 12 %" in r.flags
    assert (r.images[0, :6] == 255).mean() > 0.5


def test_awkward_events(panned: Scene) -> None:
    a, (start, end) = panned.exposure, _ends(panned.exposure)
    rng = np.random.default_rng(0)

    def made(t: np.ndarray, hot: bool) -> Events:
        n = len(t)
        x = np.full(n, 40) if hot else rng.integers(0, 96, n)
        y = np.full(n, 30) if hot else rng.integers(0, 72, n)
        p = np.ones(n, bool) if hot else rng.random(n) < 0.5
        return Events.checked(np.sort(t), x, y, p, 96, 72)

    cases = {
        "one event": made(np.array([start + 5]), False),
        "all at one instant": made(np.full(20_000, start + 7), False),
        "at the start": made(np.full(5000, start), False),
        "just before the end": made(np.full(5000, end - 1), False),
        "hot pixel": made(rng.integers(start, end, 100_000), True),
    }
    for name, events in cases.items():
        r = restore(exposure_of(a.frame.image, events, a.rig, start, end), (0.0, 0.5, 1.0))
        assert r.images.shape == (3, 72, 96), name
        assert all(np.isfinite(v) for v in r.figures.values()), name
        assert np.abs(r.images.astype(int) - a.frame.image).mean() < 80, name
    # The hot pixel took its neighbours' ratio: nothing moved there, so nothing changes.
    np.testing.assert_array_equal(r.images[1], a.frame.image)


@pytest.mark.parametrize("latents", [(), (-0.01,), (1.01,), (0.5, float("nan"))])
def test_instants_outside_are_refused(panned: Scene, latents: tuple[float, ...]) -> None:
    for name in ("edi", "none"):
        with pytest.raises(ValueError, match="latent time"):
            models.create(name, panned.exposure.rig).restore([panned.exposure], latents)


def test_a_window_of_the_wrong_length_is_refused(panned: Scene) -> None:
    with pytest.raises(ValueError, match="one exposure"):
        edi(panned.exposure).restore([panned.exposure] * 2, [0.5])


def _ends(a: AlignedExposure) -> tuple[int, int]:
    return a.exposure.start_us, a.exposure.end_us
