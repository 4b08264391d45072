"""Rolling or global shutter, told by what both cameras saw: does a row lie later the further down it is?

The place of the exposures against the events (`calibration.time.refine`) is looked for in bands of the image
by themselves. With a global shutter all agree; with a rolling one they lie on a line, whose rise over the image
is what the last row is exposed later than the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.time.refine import NoContent, Sample, refine
from calibration.time.streams import Streams
from capture.shutter import delay_us
from sync.rig import Rig
from sync.rig_map import RigMap, lattice

BANDS, FEWEST_BANDS = 4, 3
SAMPLES = 24
REACH_US = 50_000.0
"""The last row may lie so much later or earlier, beside what all may be off by."""
LEAST_US = 1_000.0
"""Less is not told from pixels that are slow in the dark, as a floor may be darker than the sky."""
BEND_US = 1_500.0
"""Bands further from one line than this were not told by a shutter."""


@dataclass(frozen=True, slots=True)
class Rolling:
    """What was found.

    Attributes:
        by_us: the last row is exposed so much later than the first (negative: earlier) than the rig says.
        uncertainty_us: about 95 %.
    """

    by_us: float
    uncertainty_us: float

    @property
    def clear(self) -> bool:
        """Too much for anything else."""
        return abs(self.by_us) > max(LEAST_US, 3.0 * self.uncertainty_us)


def rolling_of(samples: Sequence[Sample], rig: Rig, reach_us: float) -> Rolling | None:
    """How the bands of the image lie in time; None where too few of them saw enough move, or disagree.

    Args:
        samples: of `refine.collect`, with this rig and this reach.
        rig: what is known; what is found comes on top of its `image.rolling_us`.
        reach_us: by how much a band may be off.
    """
    share = _share_of_height(rig)
    some = samples[:: max(1, len(samples) // SAMPLES)]
    at, place, sure = [], [], []
    for k in range(BANDS):
        inside = (share >= k / BANDS) & (share < (k + 1) / BANDS)
        if not inside.any():
            continue
        try:
            found = refine([_only(s, inside) for s in some], rig, reach_us)
        except NoContent:
            continue
        at.append(float(share[inside].mean()))
        place.append(found.shift_us)
        sure.append(max(found.uncertainty_us, 1.0))
    if len(at) < FEWEST_BANDS:
        return None
    weight = 1.0 / np.array(sure)
    slope, start = np.polyfit(at, place, 1, w=weight)
    off = np.array(place) - (start + slope * np.array(at))
    if float(np.abs(off).max()) > BEND_US:
        return None
    middle = np.average(at, weights=weight**2)
    uncertainty = 1.0 / float(np.sqrt(np.sum((weight * (np.array(at) - middle)) ** 2)))
    return Rolling(float(slope), uncertainty)


def longer_signal(streams: Streams, rig: Rig, found: Rolling) -> Rolling | None:
    """By how much the exposure signal is longer than exposures, where that is the time from first row to last.

    Args:
        streams: edges and frames.
        rig: which level of the signal is meant; both are tried.
        found: by the pictures, on top of nothing.

    Returns:
        None where the signal is as long as exposures, or longer by something else.
    """
    exposures = [f.exposure_ns / 1e3 for f in streams.frames() if f.exposure_ns]
    for high in (rig.clock.active_high, not rig.clock.active_high):
        begins, ends = streams.edge_times(high), streams.edge_times(not high)
        place = np.searchsorted(ends, begins, side="right")
        whole = place < len(ends)
        if not exposures or not whole.any():
            continue
        longer = ends[place[whole]] - begins[whole] - np.median(exposures)
        by_us = float(np.median(longer))
        if abs(by_us - abs(found.by_us)) <= max(1.5 * found.uncertainty_us, 0.1 * abs(found.by_us)):
            scatter = float(np.median(np.abs(longer - by_us)))
            return Rolling(float(round(by_us)), 3.0 * scatter + 1.0)
    return None


def with_rolling(rig: Rig, rolling_us: float) -> Rig:
    """The rig with another shutter."""
    return rig.model_copy(update={"image": rig.image.model_copy(update={"rolling_us": rolling_us})})


def _share_of_height(rig: Rig) -> NDArray[np.float64]:
    """(h, w): how far down the image every event pixel lies, 0 … 1; -1 outside of it."""
    h, w, rows = rig.events.height, rig.events.width, rig.image.height
    y = RigMap.of(rig).to_image(lattice(w, h))[:, 1].reshape(h, w)
    return np.where((y >= 0) & (y <= rows - 1), delay_us(y, rows, 1.0), -1.0)


def _only(s: Sample, inside: NDArray[np.bool_]) -> Sample:
    """The same pair, blind outside of a band; 0 is "unknown"."""
    return replace(
        s,
        light_a=np.where(inside, s.light_a, 0).astype(np.float32),
        light_b=np.where(inside, s.light_b, 0).astype(np.float32),
    )
