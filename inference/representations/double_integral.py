"""The event-based double integral: how bright a pixel was at one instant, compared with its mean.

Pan et al., "Bringing a Blurry Frame Alive at High Frame-Rate with an Event Camera", CVPR 2019. A blurry
frame is the mean of the light over its exposure, B = (1/T) ∫ L(t) dt, and events tell how the light moved,
L(t) = L(f) · exp(E_f(t)), with E_f(t) the sum of signed contrast thresholds of the events from f to t. So

    L(f) = B · ratio(f),      ratio(f) = exp(S(f)) / ((1/T) ∫ exp(S(t)) dt),

with S(t) the sum since the exposure's start. S is piecewise constant between a pixel's events, so the integral
is a finite sum over its events and is computed exactly: no bins. One pass serves any number of instants.

Two implementations of one definition, held together by one test: numba on one CPU core
(`double_integral_numba`) and torch on any device (`double_integral_torch`).

Conventions
    * An event counts from its own time on: S(t) includes events at t (right-continuous). Where `halfway` is
      asked for, from half-way to its pixel's nearer neighbour on (`halfway`), of those in the exposure,
      and not before the exposure's start.
    * Events before `start_us` or at and after `end_us` are not used.
    * The exponent S is limited to ±`EXPONENT_LIMIT`, so that a hot pixel with 10⁵ events stays finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError

# exp(±30) spans 26 decades of light, far above any sensor; exp(60), the largest ratio, fits float32.
EXPONENT_LIMIT = 30.0

# Contrast thresholds of real sensors lie between some 0.05 and 1 (natural log); the bounds only catch slips.
CONTRAST_MIN, CONTRAST_MAX = 0.001, 5.0


@dataclass(frozen=True, slots=True)
class Contrast:
    """Contrast thresholds in natural-log intensity, both positive.

    Attributes:
        on: log-intensity step of one ON event.
        off: log-intensity step of one OFF event (its size; the step is downwards).
    """

    on: float
    off: float

    def __post_init__(self) -> None:
        for name, v in (("contrast_on", self.on), ("contrast_off", self.off)):
            if not (np.isfinite(v) and CONTRAST_MIN <= v <= CONTRAST_MAX):
                raise UsageError(f"{name} = {v}: must lie between {CONTRAST_MIN} and {CONTRAST_MAX}")


def check_interval(start_us: int, end_us: int, times_us: Sequence[int]) -> NDArray[np.int64]:
    """The instants as an array.

    Raises:
        ValueError: the interval has no length, or an instant lies outside it.
    """
    if end_us <= start_us:
        raise ValueError(f"exposure from {start_us} to {end_us} µs has no length")
    times = np.asarray(times_us, dtype=np.int64).reshape(-1)
    if len(times) == 0:
        raise ValueError("no instant asked for")
    if int(times.min()) < start_us or int(times.max()) > end_us:
        raise ValueError(
            f"instants {int(times.min())}…{int(times.max())} µs lie outside the exposure {start_us}…{end_us} µs"
        )
    return times


def reached(times: NDArray[np.int64], start_us: int, end_us: int) -> NDArray[np.uint16]:
    """For each µs of an exposure how many instants are before it: the first that an event tells of.

    A table, since events do not come in order of the times at which they count: to compare each with the
    instants would cost as much as all else. (T + 1,), or a few more of a long exposure: whoever keeps times as
    float32 finds an entry there, too, where it rounds them up past the end.

    Args:
        times: ascending instants in the exposure, fewer than 65,536.
        start_us, end_us: the exposure, of T µs.
    """
    length = end_us - start_us
    counts = np.diff(times - start_us, prepend=-1, append=length)
    table = np.repeat(np.arange(len(times) + 1, dtype=np.uint16), counts)
    beyond = int(np.float32(length)) - length
    return np.pad(table, (0, beyond), "edge") if beyond > 0 else table
