"""A camera's contrast thresholds: given, stated by the rig, or learnt from its first exposures and then held.

Two ways tell of them: the edges of one exposure (`contrast`: one c, split by the balance of events) and two
exposures in a row (`contrast_pairs`: both thresholds). Each knows how sure it is, and they are weighed by that;
a pair that tells nothing (all is still, or too long a gap) leaves its later exposure to the first way. Here is
who may have a say, in which order, and for how long.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.restorers.contrast import AROUND, HIGHEST, LOWEST, Sample, combine, search
from inference.restorers.contrast_pairs import Neighbours, Seen, compare, compiled, follows
from inference.tone import to_linear
from sync.exposure import AlignedExposure
from sync.geometry import image_to_event_grid
from sync.rig import Rig

DEFAULT_CONTRAST = 0.2
SEEN = 100  # exposures that are not asked twice: a held one is restored again and again
LEARN_FROM = 5  # exposures that have a say; then the contrast is held
SURE_MEAN, SURE_SPLIT = 0.35, 0.25
"""Standard deviation of ln c and of ln off/on, as found on single exposures or stated by a rig."""
GUESSED = 1.0  # of either, where nothing is known

CONTRAST_OPTIONS = ("contrast", "contrast_on", "contrast_off")
"""contrast: a number (ON and OFF alike); or "auto" (default): searched, the rig's thresholds being where the
    search starts and what limits it; or "rig": the rig's thresholds as they are.
contrast_on, contrast_off: a number each; both are needed. Whichever of the two ways comes last holds."""


class ContrastLearner:
    """The contrast for one rig's event camera.

    It comes from the first `LEARN_FROM` new exposures that tell something, in order, and is then held; the same
    exposures in the same order give the same contrast. An exposure in which events were lost has no say, and
    one that is restored again (held, looked into) none a second time. Neighbours are two exposures that follow
    each other in number, in one epoch, without a loss.
    """

    def __init__(self, rig: Rig) -> None:
        self._fixed: Contrast | None = None
        self._samples: list[Sample] = []
        self._pairs: list[Neighbours] = []
        self._seen: deque[tuple[int, int]] = deque(maxlen=SEEN)
        self._before: Seen | None = None
        self.use_rig(rig)

    def use_rig(self, rig: Rig) -> None:
        """What this rig states is where a search starts from now on; what was learnt stays."""
        self._start = stated_contrast(rig)
        self._off_over_on = None if self._start is None else self._start.off / self._start.on
        self._before = None

    def fix(self, contrast: Contrast | None) -> None:
        """Take this contrast whatever is learnt; None: the learnt one again."""
        self._fixed = contrast

    def restart(self) -> None:
        """Forget what was learnt."""
        self._samples.clear()
        self._pairs.clear()
        self._seen.clear()
        self._before = None

    @property
    def contrast(self) -> Contrast:
        """As known now."""
        if self._fixed is not None:
            return self._fixed
        alone = combine(self._samples, self._off_over_on) if self._samples else self._start
        if self._pairs:
            return weighed(self._pairs, alone, self._start)
        return alone or Contrast(DEFAULT_CONTRAST, DEFAULT_CONTRAST)

    @property
    def assumed(self) -> bool:
        """Neither given nor found yet."""
        return self._fixed is None and not self.samples

    @property
    def samples(self) -> int:
        """Exposures behind the searched contrast so far."""
        return len(self._samples) + len(self._pairs)

    def learn(self, a: AlignedExposure, picture: NDArray[np.uint8], rig: Rig) -> None:
        """Let one new exposure have its say, until enough have spoken.

        Args:
            a: the exposure; its events lie on `rig.events`' pixels.
            picture: its frame, (H, W, 3) RGB or (H, W) gray, on `rig.image`'s pixels.
        """
        if self._fixed is not None or self.samples >= LEARN_FROM or not a.complete:
            return
        key = (a.frame.epoch, a.ordinal)
        if key in self._seen or not len(a.exposure_events()):
            return
        self._seen.append(key)
        light = light_on_event_grid(picture, rig)
        before, self._before = self._before, Seen(a, light)
        pair = None
        if before is not None and follows(before.exposure, a):
            pair = compare(before, self._before, rig.image.tone, self.contrast)
        if pair is not None:
            self._pairs.append(pair)
        else:
            sample = search(light, a.events, a.exposure.start_us, a.exposure.end_us, self._start)
            if sample is not None:
                self._samples.append(sample)
        if self.samples >= LEARN_FROM:
            self._seen.clear()
            self._before = None


def rehearse(light: NDArray[np.float32], events: Events, end_us: int) -> None:
    """Compile both searches, so that the first live exposures are not slow. Nothing is learnt.

    Args:
        light: any, (h, w).
        events: any on its pixels, with times 0…`end_us`.
        end_us: of the made-up exposure.
    """
    search(light, events, 0, end_us)
    compiled(light, events, end_us)


def weighed(pairs: Sequence[Neighbours], alone: Contrast | None, stated: Contrast | None) -> Contrast:
    """One pair of thresholds out of neighbours and of what is known beside, each by its certainty.

    Args:
        pairs: at least one.
        alone: found on single exposures, or stated; None: nothing is known.
        stated: thresholds that limit the result, as a search on one exposure, to a factor `AROUND`.
    """
    known = alone or Contrast(DEFAULT_CONTRAST, DEFAULT_CONTRAST)
    # In (mean, split) of the logarithms: what single exposures know of the two is of unlike certainty.
    turn = np.array([[1.0, -0.5], [1.0, 0.5]])
    sure = np.array([GUESSED, GUESSED] if alone is None else [SURE_MEAN, SURE_SPLIT])
    information = np.diag(sure**-2.0)
    right = information @ np.linalg.solve(turn, np.log([known.on, known.off]))
    for pair in pairs:
        own = turn.T @ pair.information @ turn
        information = information + own
        right = right + own @ np.linalg.solve(turn, np.log([pair.contrast.on, pair.contrast.off]))
    middle, split = (float(v) for v in np.linalg.solve(information, right))
    low, high = LOWEST, HIGHEST
    if stated is not None:
        about = math.sqrt(stated.on * stated.off)
        low, high = about / AROUND, about * AROUND
    middle = min(max(middle, math.log(low)), math.log(high))
    return Contrast(math.exp(middle - split / 2), math.exp(middle + split / 2))


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
