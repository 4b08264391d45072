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
from inference.device import choose_device, choose_dtype, surely_cpu
from inference.representations import double_integral_numba
from inference.representations.double_integral import Contrast
from inference.restorers.apply_ratio import apply_ratio, saturated_share
from inference.restorers.base import LatentTimes, Needs, Restored, check_latents
from inference.restorers.contrast import Sample, combine, search
from inference.restorers.picture import picture_of
from inference.restorers.ratio_filter import clean, fill, hot_pixels, refinement
from inference.tone import Tone, to_linear
from sync.exposure import AlignedExposure
from sync.geometry import image_to_event_grid, inside_events, scaled_homography
from sync.rig import Rig

DEFAULT_CONTRAST = 0.2
LEARN_FROM = 5  # exposures whose searches are combined; then c is held
SATURATED_FLAG = 0.005
COVER_FLAG = 0.95
KNOWN_OPTIONS = ("contrast", "contrast_on", "contrast_off", "denoise", "implementation", "dtype")


class _Integral(Protocol):
    def ratios(
        self, events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast
    ) -> NDArray[np.float32]: ...


class EdiRestorer:
    """EDI for one rig.

    Options (`set`, or at creation):
        contrast: a number (ON and OFF alike); or "auto" (default): searched, the rig's thresholds being where
            it starts and what limits it; or "rig": the rig's thresholds as they are.
        contrast_on, contrast_off: a number each; both are needed.
        denoise: True (default): hot pixels and threshold noise are taken out of the ratio map, see
            `inference.restorers.ratio_filter`; False: they stay.
        implementation: "auto" (numba on the CPU, torch elsewhere), "numba", "torch".
        dtype: of the torch implementation, "float64" (default; float32 on mps) or "float32".

    The searched contrast comes from the first `LEARN_FROM` exposures with enough events, in order, and is then
    held; the same exposures in the same order give the same contrast and the same pictures. It is a property of
    the camera, so `reset` (gap, seek) keeps it; `set({"contrast": "auto"})` starts anew. A searched contrast
    serves better than the sensor's true threshold (0.1…0.8 dB on the simulated presets): light that turns back
    within a threshold makes no event, so events tell of less change than there was.
    """

    name = "edi"

    def __init__(self, rig: Rig, options: Mapping[str, Any] | None = None, device: str = "auto") -> None:
        self.needs = Needs(
            latent=LatentTimes.ANY, note="blurry frame + events; physical model, no weights; any instant"
        )
        self.rig = rig
        self._device = "cpu" if surely_cpu(device) else str(choose_device(device))
        self._options: dict[str, Any] = {}
        self._fixed: Contrast | None = None
        self._start: Contrast | None = None
        self._off_over_on: float | None = None
        self._contrast = Contrast(DEFAULT_CONTRAST, DEFAULT_CONTRAST)
        self._samples: list[Sample] = []
        self._seen: set[tuple[int, int]] = set()
        self._integral: _Integral = double_integral_numba.DoubleIntegral()
        self._event_from_image: NDArray[np.float64] | None = None
        self._covered = self._scale = 1.0
        self._use_rig(rig)
        self.set(dict(options or {}))

    # -- options

    def set(self, options: dict[str, Any]) -> None:
        """Change options while running; all of them or, when one is wrong, none.

        Raises:
            UsageError: unknown option (lists the known ones) or a value out of range.
        """
        for key in options:
            if key not in KNOWN_OPTIONS:
                raise UsageError(f"edi: unknown option {key!r}; known: {', '.join(KNOWN_OPTIONS)}")
        merged = {**self._options, **options}
        if "contrast" in options:  # one number or a mode overrides an earlier pair, and the other way round
            for key in ("contrast_on", "contrast_off"):
                if key not in options:
                    merged.pop(key, None)
        elif "contrast_on" in options or "contrast_off" in options:
            merged.pop("contrast", None)
        fixed = _fixed_contrast(merged, self.rig)
        integral = self._make_integral(merged)
        if not isinstance(merged.get("denoise", True), bool):
            raise UsageError(f"edi: denoise {merged['denoise']!r}: give true or false")
        if options.get("contrast") == "auto":
            self._samples.clear()
            self._seen.clear()
        self._options, self._fixed, self._integral = merged, fixed, integral
        self._choose_contrast()

    def _make_integral(self, options: Mapping[str, Any]) -> _Integral:
        which = options.get("implementation", "auto")
        if which not in ("auto", "numba", "torch"):
            raise UsageError(f"edi: implementation {which!r}: give auto, numba or torch")
        if which == "numba" and self._device != "cpu":
            raise UsageError(f"edi: the numba implementation runs on the CPU, not on {self._device}")
        if which == "numba" or (which == "auto" and self._device == "cpu"):
            return double_integral_numba.DoubleIntegral()
        # Imported only here: numba serves the CPU, and torch takes seconds of a start.
        from inference.representations import double_integral_torch

        name = options.get("dtype")
        dtype = None if name is None else choose_dtype(str(name))
        if dtype is not None and str(name) not in ("float64", "float32"):
            raise UsageError(f"edi: dtype {name!r}: give float64 or float32")
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
        search(light, events, 0, 1000)
        hot_pixels(events)
        ratio = self._integral.ratios(events, 0, 1000, [0, 500, 1000], self._contrast)[1]
        ratio = clean(ratio, self._contrast, self._scale)
        for shape in ((height, width), (height, width, 3)):
            image = np.full(shape, 128, np.uint8)
            image.flags.writeable = False
            grid = self._event_from_image
            if grid is None and ratio.shape != shape[:2]:
                continue
            saturated_share(image)
            apply_ratio(image, ratio, self.rig.image.tone, grid)

    def reset(self) -> None:
        """Nothing is carried from one exposure to the next but the contrast, which belongs to the camera."""

    # -- work

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        """Sharp pictures of `window[0]` at these instants. See `Restorer.restore`.

        Flags: "no events: frame passed through", "events lost in the exposure", "saturated x %",
        "events cover x % of the picture", "contrast assumed". Figures: contrast_on, contrast_off,
        contrast_samples (exposures behind a searched contrast), events.
        """
        began = time.perf_counter()
        at = check_latents(latents)
        if len(window) != 1:
            raise ValueError(f"edi takes one exposure at a time, got {len(window)}")
        a = window[0]
        if a.rig is not self.rig and a.rig != self.rig:
            self._use_rig(a.rig)
            self._fixed = _fixed_contrast(self._options, a.rig)
        picture = picture_of(a.frame)
        self._check_sizes(a, picture)
        tone: Tone = self.rig.image.tone
        times = tuple(a.exposure.time_at(f) for f in at)
        events = a.exposure_events()
        self._learn(a, picture, events)

        flags: list[str] = []
        images = np.empty((len(at), *picture.shape), np.uint8)
        if len(events) == 0:
            images[:] = picture
            flags.append("no events: frame passed through")
        else:
            ratios = self._integral.ratios(
                events, a.exposure.start_us, a.exposure.end_us, times, self._contrast
            )
            denoise = self._options.get("denoise", True)
            hot = hot_pixels(events) if denoise else None
            any_hot = hot is not None and bool(hot.any())
            for k in range(len(at)):
                ratio = ratios[k]
                if hot is not None and any_hot:
                    fill(ratio, hot)
                ratio = clean(ratio, self._contrast, self._scale, denoise)
                apply_ratio(picture, ratio, tone, self._event_from_image, out=images[k])
            if self._fixed is None and not self._samples:
                flags.append("contrast assumed")
        if not a.complete:
            flags.append("events lost in the exposure")
        share = saturated_share(picture)
        if share >= SATURATED_FLAG:
            flags.append(f"saturated {100 * share:.0f} %" if share >= 0.01 else "saturated < 1 %")
        if self._covered < COVER_FLAG:
            flags.append(f"events cover {100 * self._covered:.0f} % of the picture")
        figures = {
            "contrast_on": self._contrast.on, "contrast_off": self._contrast.off,
            "contrast_samples": float(len(self._samples)), "events": float(len(events)),
        }  # fmt: skip
        return Restored(
            a.ordinal, at, times, images, self.name, time.perf_counter() - began, tuple(flags), figures
        )

    # -- inside

    def _use_rig(self, rig: Rig) -> None:
        self.rig = rig
        self._scale = 1.0 if rig.identity else rig.scale
        fine = scaled_homography(refinement(self._scale))
        self._event_from_image = None if rig.identity else fine @ event_from_image(rig)
        self._covered = 1.0 if rig.identity else float(np.mean(inside_events(rig)))
        self._start = stated_contrast(rig)
        self._off_over_on = None if self._start is None else self._start.off / self._start.on

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

    def _learn(self, a: AlignedExposure, picture: NDArray[np.uint8], events: Events) -> None:
        """Let one new exposure have its say in the contrast, until enough have spoken."""
        if self._fixed is not None or len(self._samples) >= LEARN_FROM or not a.complete:
            return
        key = (a.frame.epoch, a.ordinal)
        # A held exposure that is restored again at other instants must not count twice.
        if key in self._seen:
            return
        self._seen.add(key)
        light = light_on_event_grid(picture, self.rig)
        sample = search(light, events, a.exposure.start_us, a.exposure.end_us, self._start)
        if sample is not None:
            self._samples.append(sample)
            self._choose_contrast()
            if len(self._samples) >= LEARN_FROM:
                self._seen.clear()

    def _choose_contrast(self) -> None:
        if self._fixed is not None:
            self._contrast = self._fixed
        elif self._samples:
            self._contrast = combine(self._samples, self._off_over_on)
        else:
            self._contrast = self._start or Contrast(DEFAULT_CONTRAST, DEFAULT_CONTRAST)


def _fixed_contrast(options: Mapping[str, Any], rig: Rig) -> Contrast | None:
    """The contrast that needs no search, or None."""
    on, off = options.get("contrast_on"), options.get("contrast_off")
    if on is not None or off is not None:
        if on is None or off is None:
            raise UsageError("edi: contrast_on and contrast_off go together; give both, or contrast alone")
        return Contrast(_number("contrast_on", on), _number("contrast_off", off))
    both = options.get("contrast", "auto")
    if both == "auto":
        return None
    if both == "rig":
        stated = stated_contrast(rig)
        if stated is None:
            raise UsageError("edi: contrast rig: the rig states no thresholds; give a number or auto")
        return stated
    value = _number("contrast", both)
    return Contrast(value, value)


def stated_contrast(rig: Rig) -> Contrast | None:
    """The thresholds that the rig states; one stated for a single polarity stands for both. None: neither."""
    on, off = rig.events.threshold_on, rig.events.threshold_off
    if on is None and off is None:
        return None
    return Contrast(on or off or DEFAULT_CONTRAST, off or on or DEFAULT_CONTRAST)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as e:
        raise UsageError(f"edi: {name} {value!r} is neither a number nor auto nor rig") from e


def event_from_image(rig: Rig) -> NDArray[np.float64]:
    """(3, 3) float64, image pixel → event pixel; the third coordinate is positive in mid-picture."""
    m: NDArray[np.float64] = np.linalg.inv(rig.image_from_event).astype(np.float64)
    centre = np.array([(rig.image.width - 1) / 2, (rig.image.height - 1) / 2, 1.0])
    return m if float(m[2] @ centre) > 0 else -m


def light_on_event_grid(picture: NDArray[np.uint8], rig: Rig) -> NDArray[np.float32]:
    """The picture's linear light (mean of the channels) on the event sensor's pixels, (h, w) float32.

    0 where the frame camera sees nothing.
    """
    light = to_linear(rig.image.tone)[picture]
    if light.ndim == 3:
        light = light.mean(axis=2, dtype=np.float32)
    return np.ascontiguousarray(image_to_event_grid(light, rig), dtype=np.float32)
