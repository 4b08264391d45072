"""From a map of ratios to EDI's picture: hot pixels filled, noise smoothed, coarse maps refined, multiplied on.

What EDI does behind the integral, for whoever has the integral's ratios: EDI itself, and glint, which begins
where EDI ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.restorers.apply_ratio import apply_ratio
from inference.restorers.ratio_filter import clean, fill, hot_pixels, refinement
from sync.geometry import event_from_image, scaled_homography
from sync.rig import Rig
from sync.rig_map import straight_table


class EdiPictures:
    """Makes EDI's pictures for one rig."""

    def __init__(self, rig: Rig) -> None:
        self._tone = rig.image.tone
        self._scale = 1.0 if rig.identity else rig.scale
        finer = refinement(self._scale)
        self._straight = straight_table(rig, finer)
        self._event_from_image = None if rig.identity else scaled_homography(finer) @ event_from_image(rig)

    def pictures(
        self, picture: NDArray[np.uint8], ratios: NDArray[np.float32], events: Events, contrast: Contrast,
        denoise: bool = True,
    ) -> NDArray[np.uint8]:  # fmt: skip
        """The picture at the instants of the ratios.

        Args:
            picture: blurred, (H, W) or (H, W, 3) uint8.
            ratios: (L, h, w) float32, positive, light at each instant over the exposure's mean; hot pixels in
                it are filled in place.
            events: of the exposure.
            contrast: with which the ratios were made.
            denoise: hot pixels and threshold noise are taken out.

        Returns:
            (L, …) as `picture`.
        """
        images = np.empty((len(ratios), *picture.shape), np.uint8)
        hot = hot_pixels(events) if denoise else None
        any_hot = hot is not None and bool(hot.any())
        for k, ratio in enumerate(ratios):
            if hot is not None and any_hot:
                fill(ratio, hot)
            ratio = clean(ratio, contrast, self._scale, denoise, self._straight)
            apply_ratio(picture, ratio, self._tone, self._event_from_image, out=images[k])
        return images
