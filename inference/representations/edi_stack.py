"""The EDI stack: what glint is fed beside the frame and EDI's picture, for one instant of an exposure.

With the camera's contrast as far as it is known, c_on for an ON event and c_off for an OFF event, light at t is
exp(S(t)) of that at the exposure's start, S(t) = c_on·ON − c_off·OFF events until t. Channels, on the event
sensor's pixels, for the instant f of an exposure from t₀ to t₁:

* 0…2: log ratios of the light at f to its mean over the exposure, by the event-based double integral
  (`double_integral`), were the contrast m times the known one, for m of `MULTIPLES`:
  m·S(f) − ln((1/T) ∫ exp(m·S(t)) dt), limited to ±`LIMIT`. The one for m = 1 is EDI's own; the others say how
  the ratio turns with the contrast.
* 3…8: change of S in six intervals around f, narrow near it, limited to ±`LIMIT`. Their edges lie at
  f + `OFFSETS`·T, cut to the exposure; intervals cut away are 0.
* 9: all events of the exposure, as asinh(n) / 2.

The first nine are times the `power` of the frame's tone curve, so they are logarithms of stored values. All is
relative to f, so the network need not be told the instant, and one network serves them all. Intervals follow
the conventions of `double_integral`: S(t) includes events at t; events outside [t₀, t₁) are not used. Events
count half-way to their neighbours, or when they come, as the network's weights know them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.representations.double_integral import Contrast, check_interval

MULTIPLES = (0.6, 1.0, 1.6)
KNOWN = MULTIPLES.index(1.0)
"""Channel of the ratio at the contrast as known."""
OFFSETS = (-1.0, -0.2, -0.06, 0.0, 0.06, 0.2, 1.0)
BINS = len(OFFSETS) - 1
CHANNELS = len(MULTIPLES) + BINS + 1
LIMIT = 3.0
"""Largest log ratio; exp(3) is a factor of 20."""

MOST = 1024
"""Events of one polarity in a pixel beyond which the rest count for nothing."""
REACH = 40.0
"""Largest |m·S(t)|: exp(40) is above any sensor, and fits float32. It limits the difference of both polarities
and not each of them: where light flickers, hundreds of either lie in one exposure and cancel out."""


def edges(start_us: int, end_us: int, times_us: Sequence[int]) -> NDArray[np.int64]:
    """Edges of the intervals, (L, BINS + 1) µs, non-decreasing in each row.

    Raises:
        ValueError: an instant outside the exposure, or an exposure without length.
    """
    times = check_interval(start_us, end_us, times_us)
    reach = np.rint(np.array(OFFSETS) * (end_us - start_us)).astype(np.int64)
    out: NDArray[np.int64] = np.clip(times[:, None] + reach[None], start_us, end_us)
    return out


def gains(contrast: Contrast) -> NDArray[np.float32]:
    """(2, MOST + 1, 3) float32: exp(−m·c_off·n), exp(m·c_on·n) for n events and each of `MULTIPLES`.

    Their product is exp(m·S) up to `fits` events of either polarity.
    """
    n = np.arange(MOST + 1, dtype=np.float64)[:, None] * np.array(MULTIPLES)[None]
    both = [np.exp(-np.minimum(contrast.off * n, REACH)), np.exp(np.minimum(contrast.on * n, REACH))]
    return np.stack(both).astype(np.float32)


def fits(contrast: Contrast) -> tuple[float, float]:
    """(OFF, ON) events up to which no factor of `gains` is cut off at exp(±`REACH`)."""
    most = REACH / max(MULTIPLES)
    return most / contrast.off, most / contrast.on


def light_ratios(logs: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """EDI's ratios of light, out of the channel `KNOWN` of stacks that were made with this power."""
    return np.asarray(np.exp(logs / np.float32(power)), np.float32)
