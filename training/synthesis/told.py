"""What a restorer would be told of a synthetic exposure's camera, and what it then feeds glint.

Live, thresholds are found from the first exposures, and a rig file knows the tone by name only. So a sample
comes with thresholds that are about right, now and then with nothing but the usual guess, and with one of two
tones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.representations.double_integral import Contrast
from inference.representations.edi_stack import KNOWN, light_ratios
from inference.representations.edi_stack_numba import EdiStack
from inference.restorers.edi_pictures import EdiPictures
from inference.restorers.glint import SRGB_POWER
from inference.tone import Tone
from sync.geometry import scaled_homography
from sync.rig import EventEntry, Geometry, ImageEntry, Rig
from training.synthesis.sample import Sample

BLIND, EVEN, WRONG = 0.08, 0.25, 0.05
"""Shares of samples with the usual guess for both thresholds; with one threshold for both polarities; with the
wrong tone."""
GUESS = 0.2
# A search ends where EDI's picture is best, above the true thresholds: the more so the more noise there is.
_MIDDLE, _ERROR, _BALANCE_ERROR = 0.15, 0.2, 0.08
_LOWEST, _HIGHEST = 0.02, 1.5


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a camera.

    Attributes:
        contrast: thresholds, as they look when frames have the tone.
        tone: as a rig file names it.
    """

    contrast: Contrast
    tone: Tone

    @property
    def power(self) -> float:
        """Of light, in the frame's values, as the tone has it."""
        return SRGB_POWER if self.tone == "srgb" else 1.0


def told(sample: Sample, seed: int, index: int) -> Told:
    """Drawn for a sample by its numbers alone."""
    rng = np.random.default_rng([seed, index, 7])
    error, balance_error = rng.normal(_MIDDLE, _ERROR), rng.normal(0, _BALANCE_ERROR)
    blind, even, wrong = rng.random(3) < (BLIND, EVEN, WRONG)
    power = 1 / (sample.gamma or 1 / SRGB_POWER)
    coded = (sample.gamma == 0.0 or sample.gamma > 1.5) != wrong
    tone: Tone = "srgb" if coded else "linear"
    # Events say how much brighter a stored value becomes; in light of another tone that is another contrast.
    change = power / (SRGB_POWER if coded else 1.0)
    on, off = sample.threshold
    middle = 0.5 * math.log(on * off) + error + math.log(change)
    half = 0.0 if even else 0.5 * (math.log(on / off) + balance_error)
    if blind:
        middle, half = math.log(GUESS), 0.0
    pair = np.clip(np.exp([middle + half, middle - half]), _LOWEST, _HIGHEST)
    return Told(Contrast(float(pair[0]), float(pair[1])), tone)


def rig_of(sample: Sample, tone: Tone) -> Rig:
    """The rig of a sample, as a rig file would state it: without its misregistration."""
    height, width = sample.frame.shape[:2]
    rows = [[float(v) for v in row] for row in scaled_homography(width / sample.events.width)]
    return Rig(
        name="synthetic",
        events=EventEntry(camera="synthetic", width=sample.events.width, height=sample.events.height),
        image=ImageEntry(camera="synthetic", width=width, height=height, tone=tone),
        geometry=Geometry.model_validate({"image_from_event": rows}),
    )


def fed(sample: Sample, known: Told, stack: EdiStack) -> dict[str, NDArray[Any]]:
    """What glint is fed for each instant of a sample, beside the frame.

    Returns:
        stack: (L, `edi_stack.CHANNELS`, h, w) float32 on the event sensor's pixels; edi: (L, …) as the frame.
    """
    maps = stack.stacks(
        sample.events, 0, sample.exposure_us, sample.times_us, known.contrast, known.power
    )  # fmt: skip
    ratios = light_ratios(maps[:, KNOWN], known.power)
    made = EdiPictures(rig_of(sample, known.tone))
    return {"stack": maps, "edi": made.pictures(sample.frame, ratios, sample.events, known.contrast)}
