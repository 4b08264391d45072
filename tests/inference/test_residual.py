"""The re-blur residual: what it is 0 for, what it finds, what it cannot find; the pictures stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference import models
from inference.engine import Engine, Failed
from inference.quality import MAP_STEP, MOST_PICTURES, psnr
from inference.residual import (
    INSTANTS,
    Measurement,
    evenly_spread,
    measure,
    middles,
    of_pictures,
    why_not,
)
from inference.restorers.base import RESIDUAL_FIGURE, LatentTimes, Needs, Restored
from inference.restorers.edi import EdiRestorer
from inference.restorers.glint import toned
from inference.restorers.passthrough import PassThrough
from sync.exposure import AlignedExposure, ExposureSource
from tests.inference.moving_scene import Scene, scene


@pytest.fixture(scope="module")
def panned() -> Scene:
    return scene(pixels=10.0, seed=3)


class Brighter(PassThrough):
    """Makes the left half of every picture brighter by 20 codes."""

    name = "brighter"

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        r = super().restore(window, latents)
        images = r.images.copy()
        images[..., : images.shape[-1] // 2] = np.minimum(
            images[..., : images.shape[-1] // 2].astype(int) + 20, 255
        )
        return replace(r, images=images, network=self.name)


def test_which_instants_stand_for_the_whole_exposure() -> None:
    assert evenly_spread(middles(5))
    assert evenly_spread(list(np.linspace(0, 1, 7)))
    assert not evenly_spread(middles(4))
    assert not evenly_spread([0.1, 0.3, 0.6, 0.9])
    assert not evenly_spread([0.4, 0.45, 0.5, 0.55, 0.6])
    assert middles(2) == (0.25, 0.75)


class Apart(PassThrough):
    """Half of its pictures darker, half of them brighter, so that their mean in linear codes is the frame."""

    name = "apart"
    camera_tone = ""

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        r = super().restore(window, latents)
        images = np.clip(r.images, 60, 195)
        images = np.stack([i + np.uint8(60) if k % 2 else i - np.uint8(60) for k, i in enumerate(images)])
        return replace(r, images=images, network=self.name)


def test_pictures_are_summed_in_the_tone_that_the_network_took_the_frame_for(panned: Scene) -> None:
    # The rig file says sRGB; a network that was told better must not be blamed for it.
    a = panned.exposure
    frame = replace(a.frame, image=np.clip(a.frame.image, 60, 195))
    a = replace(a, frame=frame, rig=toned(a.rig, "srgb"))
    restorer = Apart(a.rig)
    wrong = measure(restorer, [a], instants=8)
    restorer.camera_tone = "linear"
    right = measure(restorer, [a], instants=8)
    (told,) = Engine(restorer).push(a, middles(8))
    assert wrong is not None
    assert right is not None
    assert right.rms == pytest.approx(0, abs=0.01)
    assert wrong.rms > 3
    assert told.figures[RESIDUAL_FIGURE] == pytest.approx(right.rms)


def test_a_network_that_changes_nothing_has_none(panned: Scene) -> None:
    found = measure(PassThrough(panned.exposure.rig), [panned.exposure])
    assert found is not None
    assert found.rms == 0
    assert not found.map.any()


class Truth(PassThrough):
    """Gives the sharp pictures as they were."""

    name = "truth"

    def __init__(self, s: Scene) -> None:
        super().__init__(s.exposure.rig)
        self.scene = s

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        r = super().restore(window, latents)
        return replace(r, images=np.stack([self.scene.truth(f) for f in latents]), network=self.name)


def test_pictures_are_summed_up_as_light_and_seen_with_the_cameras_tone() -> None:
    """Codes of an sRGB camera have another mean than the light that they stand for."""
    s = scene(pixels=10.0, seed=3, tone="srgb")
    a = s.exposure
    found = measure(Truth(s), [a])
    (r,) = Engine(Truth(s), residual=True).push(a, middles(INSTANTS))  # of pictures that are there anyway
    assert found is not None
    assert found.rms < 0.5
    assert r.figures[RESIDUAL_FIGURE] < 0.5
    edi = measure(EdiRestorer(a.rig, {"contrast": 0.2}, "cpu"), [a])
    assert edi is not None
    assert edi.rms < 2


def test_light_that_was_made_up_is_found_where_it_is(panned: Scene) -> None:
    found = measure(Brighter(panned.exposure.rig), [panned.exposure])
    assert found is not None
    width = found.map.shape[1]
    assert np.median(found.map[:, : width // 2]) == pytest.approx(20, abs=1)
    assert not found.map[:, width // 2 :].any()
    coded = found.coded()
    assert coded.dtype == np.uint8
    assert np.abs(coded * MAP_STEP - found.map).max() <= MAP_STEP / 2


def test_a_map_beyond_its_scale_ends_at_its_top(panned: Scene) -> None:
    class Black(PassThrough):
        def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
            r = super().restore(window, latents)
            return replace(r, images=np.zeros_like(r.images))

    found = measure(Black(panned.exposure.rig), [panned.exposure])
    assert found is not None
    assert found.map.max() > 100
    assert found.coded().max() == 255


def test_edi_has_little_and_a_wrong_contrast_hardly_shows(panned: Scene) -> None:
    rms, db = {}, {}
    for c in (0.05, 0.2, 0.5):
        restorer = EdiRestorer(panned.exposure.rig, {"contrast": c}, "cpu")
        found = measure(restorer, [panned.exposure])
        assert found is not None
        rms[c] = found.rms
        db[c] = psnr(restorer.restore([panned.exposure], [0.5]).images[0], panned.truth(0.5))
    assert rms[0.2] < 2
    assert rms[0.5] < 4
    assert db[0.2] > db[0.5] + 2, "it is blind to what the eye sees"


def test_every_exposure_of_an_engine_that_is_asked_to_and_the_same_pictures(panned: Scene) -> None:
    a = panned.exposure
    plain, measured = (
        Engine(EdiRestorer(a.rig, {"contrast": 0.2}, "cpu"), residual=on) for on in (False, True)
    )
    (p,), (m,) = plain.push(a, [0.3]), measured.push(a, [0.3])
    assert RESIDUAL_FIGURE not in p.figures
    assert 0 < m.figures[RESIDUAL_FIGURE] < 2
    np.testing.assert_array_equal(p.images, m.images)
    assert m.latents == (0.3,)


def test_pictures_that_are_there_anyway_tell_it_for_nothing(panned: Scene) -> None:
    a = panned.exposure
    calls: list[int] = []

    class Counting(EdiRestorer):
        def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
            calls.append(len(latents))
            return super().restore(window, latents)

    engine = Engine(Counting(a.rig, {"contrast": 0.2}, "cpu"), residual=True)
    (r,) = engine.push(a, middles(INSTANTS))
    assert calls == [INSTANTS]
    found = measure(EdiRestorer(a.rig, {"contrast": 0.2}, "cpu"), [a])
    assert found is not None
    assert r.figures[RESIDUAL_FIGURE] == found.rms
    slow_motion = engine.again([a], list(np.linspace(0, 1, 25)))
    assert not isinstance(slow_motion, Failed)
    assert RESIDUAL_FIGURE in slow_motion.figures


def test_in_steps_it_is_the_same(panned: Scene) -> None:
    a = panned.exposure
    restorer = EdiRestorer(a.rig, {"contrast": 0.2}, "cpu")
    m = Measurement(restorer, [a], at_a_time=2)
    found = [m.step() for _ in range(9)]
    assert found[:8] == [None] * 8, "eight parts of fifteen instants"
    whole = measure(restorer, [a])
    assert whole is not None
    assert found[8] is not None
    assert found[8].rms == whole.rms
    np.testing.assert_array_equal(found[8].map, whole.map)


def test_networks_of_fixed_instants_say_why_not(panned: Scene) -> None:
    fixed = Needs(latent=LatentTimes.FIXED, fixed_latents=(0.5,))
    assert why_not("efnet", fixed) == "efnet restores one instant only, so its pictures cannot be blurred again"
    assert why_not("edi", Needs()) == ""
    restorer: Any = PassThrough(panned.exposure.rig)
    restorer.needs = fixed
    assert measure(restorer, [panned.exposure]) is None
    (r,) = Engine(restorer, residual=True).push(panned.exposure, [0.5])
    assert RESIDUAL_FIGURE not in r.figures


def test_an_exposure_of_unknown_length_has_none(panned: Scene) -> None:
    a = panned.exposure
    unknown = replace(a, exposure=replace(a.exposure, source=ExposureSource.UNKNOWN))
    restorer = PassThrough(a.rig)
    assert measure(restorer, [unknown]) is None
    (r,) = Engine(restorer, residual=True).push(unknown, middles(5))
    assert RESIDUAL_FIGURE not in r.figures
    assert of_pictures(r, unknown, restorer) is None


@pytest.mark.usefixtures("one_thread")
def test_a_network_of_any_instant_has_one() -> None:
    s = scene(width=48, height=32)
    restorer = models.create("s-sdm-ldn", s.exposure.rig, {"random_weights": True, "contrast": 0.2}, "cpu")
    (r,) = Engine(restorer, residual=True).push(s.exposure, [0.5])
    assert r.figures[RESIDUAL_FIGURE] > 1


def test_more_pictures_than_can_be_summed_up_have_none(panned: Scene) -> None:
    a = panned.exposure
    restorer = EdiRestorer(a.rig, {"contrast": 0.2}, "cpu")
    restored = Engine(restorer).again([a], [0.5])
    assert not isinstance(restored, Failed)
    at = tuple(middles(MOST_PICTURES + 1))
    many = replace(restored, latents=at, images=np.repeat(restored.images, len(at), axis=0))
    assert of_pictures(many, a, restorer) is None
    fewer = replace(many, latents=tuple(middles(MOST_PICTURES)), images=many.images[:-1])
    assert of_pictures(fewer, a, restorer) is not None
