"""The restorer that does nothing: what the program shows without a network, and the base of comparisons."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from capture.errors import UsageError
from inference.restorers.base import LatentTimes, Needs, Restored, check_latents
from inference.restorers.picture import picture_of
from sync.exposure import AlignedExposure
from sync.rig import Rig


class PassThrough:
    """Gives the blurred picture back, identical (a Bayer frame as RGB), once per instant."""

    name = "none"

    def __init__(self, rig: Rig, options: Mapping[str, Any] | None = None, device: str = "auto") -> None:
        self.needs = Needs(events=False, latent=LatentTimes.ANY, note="the blurred picture as it is")
        self.set(dict(options or {}))

    def prepare(self, width: int, height: int) -> None:
        """Nothing to prepare."""

    def reset(self) -> None:
        """Nothing is carried over."""

    def set(self, options: dict[str, Any]) -> None:
        """No options.

        Raises:
            UsageError: any option.
        """
        if options:
            raise UsageError(f"none: unknown option {next(iter(options))!r}; it has no options")

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        """The picture of `window[0]`, unchanged, at each instant. See `Restorer.restore`."""
        began = time.perf_counter()
        at = check_latents(latents)
        if len(window) != 1:
            raise ValueError(f"none takes one exposure at a time, got {len(window)}")
        a = window[0]
        picture = picture_of(a.frame)
        images = np.repeat(picture[None], len(at), axis=0)
        times = tuple(a.exposure.time_at(f) for f in at)
        return Restored(a.ordinal, at, times, images, self.name, time.perf_counter() - began)
