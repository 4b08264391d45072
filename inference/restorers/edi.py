"""EDI: the event-based double integral as a restorer (Pan et al., CVPR 2019). No weights.

The exact integral per event (`inference.representations.double_integral`) gives, for each instant, the ratio of
the light then to the mean light of the exposure; the blurred picture times that ratio, in linear light, is
the sharp picture. Works at any instant, on gray and colour frames, and through any `Rig` geometry.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.packets import Events
from capture.validation import did_you_mean
from inference.device import choose_device, choose_dtype, surely_cpu
from inference.representations import double_integral_numba
from inference.representations.double_integral import Contrast
from inference.restorers.apply_ratio import saturated_share
from inference.restorers.base import LatentTimes, Needs, Restored, check_latents
from inference.restorers.contrast_learner import (
    CONTRAST_OPTIONS,
    ContrastLearner,
    fixed_contrast,
    merged_options,
    rehearse,
)
from inference.restorers.contrast_pairs import MARGIN_US
from inference.restorers.edi_pictures import EdiPictures
from inference.restorers.event_flags import LOST_FLAG, NO_EVENTS_FLAG, of_rig
from inference.restorers.picture import picture_of
from sync.exposure import AlignedExposure
from sync.rig import Rig

SATURATED_FLAG = 0.005
KNOWN_OPTIONS = (*CONTRAST_OPTIONS, "denoise", "halfway", "implementation", "dtype")


class _Integral(Protocol):
    def ratios(
        self, events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast,
        halfway: bool = False,
    ) -> NDArray[np.float32]: ...  # fmt: skip


class EdiRestorer:
    """EDI for one rig.

    Options (`set`, or at creation):
        contrast, contrast_on, contrast_off: see `contrast_learner.CONTRAST_OPTIONS`; searched by default.
        denoise: True (default): hot pixels and threshold noise are taken out of the ratio map, see
            `inference.restorers.ratio_filter`; False: they stay.
        halfway: True (default): events count half-way to their neighbours, see
            `inference.representations.halfway`; False: when they come, the double integral as published.
        implementation: "auto" (numba on the CPU, torch elsewhere), "numba", "torch".
        dtype: of the torch implementation, "auto" (float64; float32 on mps), "float64" or "float32".

    The same exposures in the same order give the same contrast and the same pictures. It is a property of the
    camera, so `reset` (gap, seek) keeps it; `set({"contrast": "auto"})` starts anew. A searched contrast
    serves better than the sensor's true threshold (0.1…0.8 dB on the simulated presets): light that turns back
    within a threshold makes no event, so events tell of less change than there was.
    """

    name = "edi"

    def __init__(self, rig: Rig, options: Mapping[str, Any] | None = None, device: str = "auto") -> None:
        self.needs = Needs(
            margin_before_us=MARGIN_US,
            latent=LatentTimes.ANY,
            note="blurry frame + events; physical model, no weights; any instant",
        )
        self.rig = rig
        self._device = "cpu" if surely_cpu(device) else str(choose_device(device))
        self._options: dict[str, Any] = {}
        self._learner = ContrastLearner(rig)
        self._integral: _Integral = double_integral_numba.DoubleIntegral()
        self._use_rig(rig)
        self.set(dict(options or {}))

    @property
    def runs_on(self) -> str:
        """Device and number type, for people."""
        numba = isinstance(self._integral, double_integral_numba.DoubleIntegral)
        if numba:
            return f"CPU, {'float32' if self._options.get('halfway', True) else 'float64'} integral"
        return f"{self._device}, {str(self._integral.dtype).removeprefix('torch.')}"  # type: ignore[attr-defined]

    # -- options

    def set(self, options: dict[str, Any]) -> None:
        """Change options while running; all of them or, when one is wrong, none.

        Raises:
            UsageError: unknown option (lists the known ones) or a value out of range.
        """
        for key in options:
            if key not in KNOWN_OPTIONS:
                near = did_you_mean(key, KNOWN_OPTIONS)
                raise UsageError(f"edi: unknown option {key!r}; {near}known: {', '.join(KNOWN_OPTIONS)}")
        merged = merged_options(self._options, options)
        fixed = fixed_contrast(merged, self.rig, self.name)
        integral = self._make_integral(merged)
        for switch in ("denoise", "halfway"):
            if not isinstance(merged.get(switch, True), bool):
                raise UsageError(f"edi: {switch} {merged[switch]!r}: give true or false")
        if options.get("contrast") == "auto":
            self._learner.restart()
        self._learner.fix(fixed)
        self._options, self._integral = merged, integral

    def _make_integral(self, options: Mapping[str, Any]) -> _Integral:
        which = options.get("implementation", "auto")
        if which not in ("auto", "numba", "torch"):
            raise UsageError(f"edi: implementation {which!r}: give auto, numba or torch")
        name = options.get("dtype")
        if name not in (None, "auto", "float64", "float32"):
            raise UsageError(f"edi: dtype {name!r}: give auto, float64 or float32")
        if which == "numba" and self._device != "cpu":
            raise UsageError(f"edi: the numba implementation runs on the CPU, not on {self._device}")
        if which == "numba" or (which == "auto" and self._device == "cpu"):
            return double_integral_numba.DoubleIntegral()
        # Imported only here: numba serves the CPU, and torch takes seconds of a start.
        from inference.representations import double_integral_torch

        dtype = None if name in (None, "auto") else choose_dtype(str(name))
        return double_integral_torch.DoubleIntegral(self._device, dtype)

    # -- life

    def prepare(self, width: int, height: int) -> None:
        """Compile and warm up for frames of this size; a second or two on a machine's first run."""
        w, h = self.rig.events.width, self.rig.events.height
        rng = np.random.default_rng(0)
        n = max(2000, (w * h) // 10)
        events = Events(
            np.sort(rng.integers(0, 1000, n)), rng.integers(0, w, n).astype(np.uint16),
            rng.integers(0, h, n).astype(np.uint16), rng.random(n) < 0.5, w, h,
        )  # fmt: skip
        light = np.full((h, w), 0.5, np.float32)
        rehearse(light, events, 1000)
        contrast = self._learner.contrast
        for halfway in (False, True):  # it can be switched while running
            ratios = self._integral.ratios(events, 0, 1000, [0, 500, 1000], contrast, halfway)[1:2]
        for shape in ((height, width), (height, width, 3)):
            image = np.full(shape, 128, np.uint8)
            image.flags.writeable = False
            if self.rig.identity and ratios.shape[1:] != shape[:2]:
                continue
            saturated_share(image)
            self._pictures.pictures(image, ratios, events, contrast)

    def reset(self) -> None:
        """Nothing is carried from one exposure to the next but the contrast, which belongs to the camera."""

    # -- work

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        """Sharp pictures of `window[0]` at these instants. See `Restorer.restore`.

        Flags: "no events: frame passed through", "events lost in the exposure", "saturated x %",
        "rig not calibrated", "events cover x % of the picture", "contrast assumed". Figures: contrast_on,
        contrast_off, contrast_samples (exposures behind a found contrast), events.
        """
        began = time.perf_counter()
        at = check_latents(latents)
        if len(window) != 1:
            raise ValueError(f"edi takes one exposure at a time, got {len(window)}")
        a = window[0]
        if a.rig is not self.rig and a.rig != self.rig:
            self._use_rig(a.rig)
            self._learner.fix(fixed_contrast(self._options, a.rig, self.name))
        picture = picture_of(a.frame)
        self._check_sizes(a, picture)
        times = tuple(a.exposure.time_at(f) for f in at)
        events = a.exposure_events()
        halfway = bool(self._options.get("halfway", True))
        self._learner.learn(a, picture, self.rig)
        contrast = self._learner.contrast

        flags: list[str] = []
        if len(events) == 0:
            images = np.repeat(picture[None], len(at), axis=0)
            flags.append(NO_EVENTS_FLAG)
        else:
            span = a.exposure.start_us, a.exposure.end_us
            ratios = self._integral.ratios(events, *span, times, contrast, halfway)
            denoise = bool(self._options.get("denoise", True))
            images = self._pictures.pictures(picture, ratios, events, contrast, denoise)
            if self._learner.assumed:
                flags.append("contrast assumed")
        if not a.exposure_complete:
            flags.append(LOST_FLAG)
        share = saturated_share(picture)
        if share >= SATURATED_FLAG:
            flags.append(f"saturated {100 * share:.0f} %" if share >= 0.01 else "saturated < 1 %")
        flags += of_rig(self.rig)
        figures = {
            "contrast_on": contrast.on, "contrast_off": contrast.off,
            "contrast_samples": float(self._learner.samples), "events": float(len(events)),
        }  # fmt: skip
        return Restored(
            a.ordinal, at, times, images, self.name, time.perf_counter() - began, tuple(flags), figures
        )

    # -- inside

    def _use_rig(self, rig: Rig) -> None:
        self.rig = rig
        self._pictures = EdiPictures(rig)
        self._learner.use_rig(rig)

    def _check_sizes(self, a: AlignedExposure, picture: NDArray[np.uint8]) -> None:
        rig, h, w = self.rig, picture.shape[0], picture.shape[1]
        if (w, h) != (rig.image.width, rig.image.height):
            raise UsageError(
                f"frame {a.frame.sequence} is {w}×{h} but the rig states {rig.image.width}×{rig.image.height}; "
                "correct the rig file"
            )
        if (a.events.width, a.events.height) != (rig.events.width, rig.events.height):
            raise UsageError(
                f"events come from a {a.events.width}×{a.events.height} sensor but the rig states "
                f"{rig.events.width}×{rig.events.height}; correct the rig file"
            )
