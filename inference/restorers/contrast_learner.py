"""A camera's contrast threshold: given, stated by the rig, or learnt from its first exposures and then held.

The search on one exposure is `contrast`'s; here is who may have a say in it, in which order, and for how long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from inference.representations.double_integral import Contrast
from inference.restorers.contrast import Sample, combine, search
from inference.tone import to_linear
from sync.exposure import AlignedExposure
from sync.geometry import image_to_event_grid
from sync.rig import Rig

DEFAULT_CONTRAST = 0.2
LEARN_FROM = 5  # exposures whose searches are combined; then c is held

CONTRAST_OPTIONS = ("contrast", "contrast_on", "contrast_off")
"""contrast: a number (ON and OFF alike); or "auto" (default): searched, the rig's thresholds being where the
    search starts and what limits it; or "rig": the rig's thresholds as they are.
contrast_on, contrast_off: a number each; both are needed. Whichever of the two ways comes last holds."""


class ContrastLearner:
    """The contrast for one rig's event camera.

    The searched contrast comes from the first `LEARN_FROM` exposures with enough events, in order, and is then
    held; the same exposures in the same order give the same contrast. An exposure in which events were lost has
    no say, and one that is restored again (held, looked into) none a second time.
    """

    def __init__(self, rig: Rig) -> None:
        self._fixed: Contrast | None = None
        self._samples: list[Sample] = []
        self._seen: set[tuple[int, int]] = set()
        self.use_rig(rig)

    def use_rig(self, rig: Rig) -> None:
        """What this rig states is where a search starts from now on; what was learnt stays."""
        self._start = stated_contrast(rig)
        self._off_over_on = None if self._start is None else self._start.off / self._start.on

    def fix(self, contrast: Contrast | None) -> None:
        """Take this contrast whatever is learnt; None: the learnt one again."""
        self._fixed = contrast

    def restart(self) -> None:
        """Forget what was learnt."""
        self._samples.clear()
        self._seen.clear()

    @property
    def contrast(self) -> Contrast:
        """As known now."""
        if self._fixed is not None:
            return self._fixed
        if self._samples:
            return combine(self._samples, self._off_over_on)
        return self._start or Contrast(DEFAULT_CONTRAST, DEFAULT_CONTRAST)

    @property
    def assumed(self) -> bool:
        """Neither given nor found yet."""
        return self._fixed is None and not self._samples

    @property
    def samples(self) -> int:
        """Exposures behind the searched contrast so far."""
        return len(self._samples)

    def learn(self, a: AlignedExposure, picture: NDArray[np.uint8], rig: Rig) -> None:
        """Let one new exposure have its say, until enough have spoken.

        Args:
            a: the exposure; its events lie on `rig.events`' pixels.
            picture: its frame, (H, W, 3) RGB or (H, W) gray, on `rig.image`'s pixels.
        """
        if self._fixed is not None or len(self._samples) >= LEARN_FROM or not a.complete:
            return
        key = (a.frame.epoch, a.ordinal)
        events = a.exposure_events()
        if key in self._seen or not len(events):
            return
        self._seen.add(key)
        light = light_on_event_grid(picture, rig)
        sample = search(light, events, a.exposure.start_us, a.exposure.end_us, self._start)
        if sample is not None:
            self._samples.append(sample)
            if len(self._samples) >= LEARN_FROM:
                self._seen.clear()


def merged_options(now: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Options with newer ones over them: one number or a mode overrides an earlier pair, and the other way."""
    merged = {**now, **new}
    if "contrast" in new:
        for key in ("contrast_on", "contrast_off"):
            if key not in new:
                merged.pop(key, None)
    elif "contrast_on" in new or "contrast_off" in new:
        merged.pop("contrast", None)
    return merged


def fixed_contrast(options: Mapping[str, Any], rig: Rig, network: str) -> Contrast | None:
    """The contrast that options give without a search, None when it is to be searched.

    Args:
        options: of a restorer; only `CONTRAST_OPTIONS` are looked at.
        rig: for the choice "rig".
        network: the restorer's name, for messages.

    Raises:
        UsageError: a value that is no contrast, half a pair, or "rig" where the rig states none.
    """
    on, off = options.get("contrast_on"), options.get("contrast_off")
    if on is not None or off is not None:
        if on is None or off is None:
            raise UsageError(
                f"{network}: contrast_on and contrast_off go together; give both, or contrast alone"
            )
        return Contrast(_number(network, "contrast_on", on), _number(network, "contrast_off", off))
    both = options.get("contrast", "auto")
    if both == "auto":
        return None
    if both == "rig":
        stated = stated_contrast(rig)
        if stated is None:
            raise UsageError(f"{network}: contrast rig: the rig states no thresholds; give a number or auto")
        return stated
    value = _number(network, "contrast", both)
    return Contrast(value, value)


def stated_contrast(rig: Rig) -> Contrast | None:
    """The thresholds that the rig states; one stated for a single polarity stands for both. None: neither."""
    on, off = rig.events.threshold_on, rig.events.threshold_off
    if on is None and off is None:
        return None
    return Contrast(on or off or DEFAULT_CONTRAST, off or on or DEFAULT_CONTRAST)


def light_on_event_grid(picture: NDArray[np.uint8], rig: Rig) -> NDArray[np.float32]:
    """The picture's linear light (mean of the channels) on the event sensor's pixels, (h, w) float32.

    0 where the frame camera sees nothing.
    """
    light = to_linear(rig.image.tone)[picture]
    if light.ndim == 3:
        light = light.mean(axis=2, dtype=np.float32)
    return np.ascontiguousarray(image_to_event_grid(light, rig), dtype=np.float32)


def _number(network: str, name: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError(value)
        return float(value)
    except (TypeError, ValueError) as e:
        raise UsageError(f"{network}: {name} {value!r} is neither a number nor auto nor rig") from e
