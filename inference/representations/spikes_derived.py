"""Spikes derived from a blurry frame and events, so that S-SDM's published weights can run on an event camera.

An extension, not published: neither the paper nor its code covers event cameras. The blurry frame gives the
absolute level, the events its course (event-based double integral, `double_integral`):

    I(t) = clip01(blurry · R(t)),      R(t) = exp(E(t)) / mean of exp(E) over the exposure,

at the 137 ticks of a stream: tick 20 is the exposure's start, 116 its end, so ticks reach 20/96 of an exposure
beyond both ends, and so must the events (`margin_us`). Ticks outside continue from the exposure's ends.
I(t) is then fed as it is, 0.9927 · I(t) ("expectations", the mean of what a spike camera would send), or
integrated and fired into 0/1. The networks work on either.

Every stream from here carries `Origin.DERIVED`. What it is worth: the plain product blurry · R(t) is already
the EDI result, and on a synthetic scene it was above LDN's; offer both and promise nothing. LDN depends
strongly on the level and the tone of its spikes matching the image's, so `tone` says how the frame is coded.

Two implementations: `spikes_derived_numba` (CPU) and `spikes_derived_torch` (any device).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capture.errors import InvalidPacket, UsageError
from capture.packets import Events
from inference.representations.coding import check_window
from inference.representations.spikes import FIRST, FRAMES, LAST

Index = NDArray[np.int64]
ALL = range(FRAMES)


def ticks(start_us: int, end_us: int) -> Index:
    """(137,) µs: the time of each spike frame around the exposure."""
    check_window(start_us, end_us, 1)
    k = np.arange(FRAMES, dtype=np.int64) - FIRST
    steps = LAST - FIRST
    return np.asarray(start_us + (2 * k * (end_us - start_us) + steps) // (2 * steps), np.int64)


def margin_us(exposure_us: int) -> int:
    """How long before and after an exposure events are needed for all 137 ticks."""
    return -(-FIRST * exposure_us // (LAST - FIRST)) + 1


def parts(frames: Sequence[int], start_us: int, end_us: int) -> tuple[Index, Index, Index]:
    """Times of the asked ticks before, in and after the exposure."""
    asked = np.asarray(frames, np.int64)
    if len(asked) == 0 or asked.min() < 0 or asked.max() >= FRAMES or bool(np.any(np.diff(asked) <= 0)):
        raise UsageError(f"spike frames must ascend within 0 … {FRAMES - 1}")
    at = ticks(start_us, end_us)[asked]
    return at[asked < FIRST], at[(asked >= FIRST) & (asked <= LAST)], at[asked > LAST]


def check_level(level: NDArray[np.floating], events: Events, factor: int) -> None:
    """Refuse a blurry picture or a spike grid that does not fit the events.

    Raises:
        UsageError: sizes differ or do not divide.
        InvalidPacket: values that are not finite.
    """
    if level.shape != (events.height, events.width):
        raise UsageError(
            f"level of shape {level.shape}: the events' grid has {events.height} rows, {events.width} columns"
        )
    bad = int(level.size - np.count_nonzero(np.isfinite(level)))
    if bad:
        raise InvalidPacket(f"blurry image for derived spikes: {bad} of {level.size} values are not finite")
    if factor < 1 or events.width % factor or events.height % factor:
        raise UsageError(f"spike grid: {events.width}×{events.height} does not divide by {factor}")


def before_bounds(t: Index, times: Index, start_us: int) -> Index:
    """Bounds of runs k: events after times[k] up to times[k + 1], the last one up to the start."""
    return np.searchsorted(t, [*times, start_us], side="right").astype(np.int64)


def after_bounds(t: Index, times: Index, end_us: int) -> Index:
    """Bounds of runs k: events after times[k − 1] up to times[k], the first one from the end on."""
    first = np.searchsorted(t, end_us, side="left")
    return np.concatenate([[first], np.searchsorted(t, times, side="right")]).astype(np.int64)


def to_light(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB values 0…1 as light 0…1 (IEC 61966-2-1)."""
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
