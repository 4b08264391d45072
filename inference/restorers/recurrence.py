"""What a recurrent network hands from one exposure of a stream to the next.

A step of the stream takes the feature of the step before and leaves its own. An exposure that is restored again
(held, looked into) is given what it was given the first time, so that it comes out alike, and leaves nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from torch import Tensor

from capture.packets import Frame
from sync.exposure import AlignedExposure

KEPT = 16  # exposures that can be restored again alike; a viewer holds at most the last twelve


class Given(NamedTuple):
    """What an exposure gets.

    Attributes:
        feature: of the step before; None to begin anew.
        step: the exposure is the stream's next, not one restored again.
        jump: ordinals since the step before when these were too many, else 0.
        forgotten: it is restored again, and what it was given then is no longer known.
    """

    feature: Tensor | None
    step: bool
    jump: int = 0
    forgotten: bool = False


class Recurrence:
    """The feature of a stream's newest exposure, and what recent ones were given. Not thread-safe.

    Args:
        reach: largest jump of ordinals over which a feature is handed on.
    """

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self.reset()

    def reset(self) -> None:
        """The stream begins anew."""
        self._epoch = self._ordinal = -1
        self._feature: Tensor | None = None
        self._given: OrderedDict[Frame, Tensor | None] = OrderedDict()

    def before(self, exposure: AlignedExposure) -> Given:
        """What to give this exposure. Changes nothing."""
        frame = exposure.frame
        if frame in self._given:
            return Given(self._given[frame], False)
        if self._ordinal < 0 or frame.epoch != self._epoch:
            return Given(None, True)
        jump = exposure.ordinal - self._ordinal
        if jump <= 0:
            return Given(None, False, forgotten=True)
        if jump > self.reach:
            return Given(None, True, jump=jump)
        return Given(self._feature, True)

    def after(self, exposure: AlignedExposure, given: Given, feature: Tensor | None) -> None:
        """A step has been made; None: its feature is of no use, the next step begins anew.

        An exposure that was restored again changes nothing.
        """
        if not given.step:
            return
        frame = exposure.frame
        if frame.epoch != self._epoch:
            self.reset()
        self._epoch, self._ordinal, self._feature = frame.epoch, exposure.ordinal, feature
        self._given[frame] = given.feature
        while len(self._given) > KEPT:
            self._given.popitem(last=False)
