"""Re-blur residual: the sharp pictures of one exposure, blurred again, against the frame that came in.

A read-out that needs no truth. What a camera saw is the mean of the light over its exposure; so the mean of
the sharp pictures over the exposure, in light, has to be the blurred frame, whatever moved. It is computed
from what is really shown: 8-bit pictures, clipped and rounded, at `INSTANTS` instants evenly spread.

What it tells: the network made up, lost, moved or mistimed light; where, by the map. What it cannot tell:
sharpness. A network that changes nothing (`none`) has a residual of exactly 0. EDI's pictures sum up to the
frame by construction, whatever its contrast threshold, so there it shows only what clipping at black and white,
the filter of the ratio map and the coarse sum over few instants leave: on the simulated presets 0.9 codes
(davis), 0.7 (handheld) and 0.2 (traffic), at 31 instants 0.7, 0.6 and 0.1. LDN with published weights has 3.8
on davis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from inference.quality import MOST_PICTURES, Reblur, ReblurResidual
from inference.restorers.base import LatentTimes, Needs, Restored, Restorer
from inference.restorers.picture import picture_of
from sync.exposure import AlignedExposure

INSTANTS = 15
RESIDUAL_FROM = 5  # instants from which their mean says something about the whole exposure


def middles(n: int) -> tuple[float, ...]:
    """The middles of n equal parts of an exposure, fractions 0…1."""
    return tuple((k + 0.5) / n for k in range(n))


def evenly_spread(at: Sequence[float]) -> bool:
    """The instants part the whole exposure evenly enough for their mean to stand for it."""
    n = len(at)
    if n < RESIDUAL_FROM:
        return False
    return bool(np.abs(np.sort(np.asarray(at)) - middles(n)).max() <= 0.5 / n + 1e-9)


def why_not(name: str, needs: Needs) -> str:
    """Why there is no residual for this network, one line; "" where there is one."""
    if needs.latent is LatentTimes.ANY:
        return ""
    return f"{name} restores one instant only, so its pictures cannot be blurred again"


def tone_of(restorer: Restorer, exposure: AlignedExposure) -> Literal["linear", "srgb"]:
    """How the frame's values follow light for this network: as it was told beside the rig file, else as that
    says. In another light than that of its work its pictures do not sum up to the frame."""
    own: str = getattr(restorer, "camera_tone", "")
    return "linear" if own == "linear" else "srgb" if own == "srgb" else exposure.rig.image.tone


def of_pictures(restored: Restored, exposure: AlignedExposure, restorer: Restorer) -> ReblurResidual | None:
    """The residual of pictures that are there anyway; None unless they part the whole exposure evenly."""
    if not (exposure.exposure.known and evenly_spread(restored.latents)):
        return None
    if len(restored.images) > MOST_PICTURES:
        return None
    reblur = Reblur(tone_of(restorer, exposure))
    for image in restored.images:
        reblur.add(image)
    return reblur.against(picture_of(exposure.frame))


class Measurement:
    """The residual of one exposure, a few instants at a time, so that a stream need not wait for it.

    Args:
        restorer: that gives any instant; see `why_not`.
        window: the exposure with the neighbours that the restorer needs.
        instants: how many are summed up.
        at_a_time: how many of them in each step.
    """

    def __init__(
        self,
        restorer: Restorer,
        window: Sequence[AlignedExposure],
        *,
        instants: int = INSTANTS,
        at_a_time: int = 1,
    ) -> None:
        self.restorer, self._window = restorer, window
        self.exposure = window[restorer.needs.frames_before]
        self._left = list(middles(instants))
        self._at_a_time = at_a_time
        self._reblur = Reblur(tone_of(restorer, self.exposure))

    def step(self) -> ReblurResidual | None:
        """Restore the next instants; once all are summed up, the residual. Raises what the restorer raises."""
        if not self._left:
            return self._reblur.against(picture_of(self.exposure.frame))
        part, self._left = self._left[: self._at_a_time], self._left[self._at_a_time :]
        for image in self.restorer.restore(self._window, part).images:
            self._reblur.add(image)
        return None


def measure(
    restorer: Restorer, window: Sequence[AlignedExposure], *, instants: int = INSTANTS
) -> ReblurResidual | None:
    """The residual of one exposure; None where its length is unknown or the restorer gives fixed instants only.

    Costs `instants` further restorations.
    """
    needs = restorer.needs
    if why_not(restorer.name, needs) or not window[needs.frames_before].exposure.known:
        return None
    m = Measurement(restorer, window, instants=instants, at_a_time=4)
    while (found := m.step()) is None:
        pass
    return found
