"""Events half-way to their neighbours: a staircase that keeps to the light instead of running behind it.

An event says that the light has changed by a threshold since the one before; it did so on the way, not at the
end. Summed up as they come, events give a staircase that lags by half a threshold on the average. Each event
set back by half the time to the nearer of its pixel's neighbours, the staircase crosses the light in the middle
of every step. The nearer one, since a pixel that was quiet for long changed only just now; and no more than
`MOST_US`, beyond which the neighbours are another thing's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.packets import Events

I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]

MOST_US = 2_000
"""Of 1 to 8 ms the best on the simulated presets and on the synthetic suite, flatly."""
FAR_US = 2 * MOST_US
"""Neighbours farther away than this count as being so far away."""


def halfway(events: Events, start_us: int | None = None) -> Events:
    """The same events, each at half the time to the nearer neighbour of its pixel before it, in order of time.

    Args:
        events: of one sensor; the first and last of a pixel have one neighbour, which is then the nearer one.
        start_us: none is moved to before this time.
    """
    moved = np.empty(len(events), np.int64)
    near = np.empty(len(events), np.int64)
    last = np.empty(events.width * events.height, np.int64)
    _set_back(events.t, events.x, events.y, events.width, last, near, moved)
    if start_us is not None:
        np.maximum(moved, start_us, out=moved)
    order = np.argsort(moved, kind="stable")
    return Events(moved[order], events.x[order], events.y[order], events.p[order], events.width, events.height)


@njit(nogil=True)
def _set_back(t: I64, x: U16, y: U16, width: int, last: I64, near: I64, moved: I64) -> None:
    """`last`, `near`: room to work in, one for each pixel and for each event."""
    far = FAR_US
    last[:] = -(1 << 62)
    for i in range(len(t)):
        pixel = y[i] * width + x[i]
        near[i] = min(far, t[i] - last[pixel])
        last[pixel] = t[i]
    last[:] = 1 << 62
    for i in range(len(t) - 1, -1, -1):
        pixel = y[i] * width + x[i]
        near[i] = min(near[i], last[pixel] - t[i])
        last[pixel] = t[i]
        moved[i] = t[i] - near[i] // 2


@njit(nogil=True)
def half(near: float) -> np.float32:
    """Half of a whole number of µs, rounded down as `halfway` does."""
    return np.float32(np.int32(near * np.float32(0.5)))
