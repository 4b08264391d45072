"""A camera's contrast threshold learnt from its first exposures, then held. The search is `contrast`'s."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from inference.representations.double_integral import Contrast
from inference.restorers.contrast import Sample, combine, search
from inference.restorers.edi import DEFAULT_CONTRAST, LEARN_FROM, light_on_event_grid, stated_contrast
from sync.exposure import AlignedExposure
from sync.rig import Rig


class ContrastLearner:
    """The contrast for one rig.

    Args:
        choice: "auto": searched on the first exposures with enough events, in order, starting from what the rig
            states; "rig": what the rig states; or a number for both polarities.
    """

    def __init__(self, rig: Rig, choice: Any, network: str) -> None:
        self._start = stated_contrast(rig)
        self._off_over_on = None if self._start is None else self._start.off / self._start.on
        self._samples: list[Sample] = []
        self._seen: set[tuple[int, int]] = set()
        self._fixed = _fixed(choice, self._start, network)

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

    def learn(self, a: AlignedExposure, picture: NDArray[np.uint8], rig: Rig) -> None:
        """Look at an exposure, unless enough is known or it has been seen."""
        key = (a.frame.epoch, a.ordinal)
        events = a.exposure_events()
        if self._fixed is not None or len(self._samples) >= LEARN_FROM or key in self._seen or not len(events):
            return
        self._seen.add(key)
        light = light_on_event_grid(picture, rig)
        sample = search(light, events, a.exposure.start_us, a.exposure.end_us, self._start)
        if sample is not None:
            self._samples.append(sample)
            if len(self._samples) >= LEARN_FROM:
                self._seen.clear()


def _fixed(choice: Any, stated: Contrast | None, network: str) -> Contrast | None:
    if choice == "auto":
        return None
    if choice == "rig":
        if stated is None:
            raise UsageError(f"{network}: contrast rig: the rig states no thresholds; give a number or auto")
        return stated
    if isinstance(choice, bool) or not isinstance(choice, int | float):
        raise UsageError(f"{network}: contrast {choice!r} is neither a number nor auto nor rig")
    return Contrast(float(choice), float(choice))
