"""Events half-way to their neighbours: a staircase that keeps to the light instead of running behind it.

An event says that the light has changed by a threshold since the one before; it did so on the way, not at the
end. Summed up as they come, events give a staircase that lags by half a threshold on the average. Each event
set back by half the time to the nearer of its pixel's neighbours, the staircase crosses the light in the middle
of every step. The nearer one, since a pixel that was quiet for long changed only just now; and no more than
`MOST_US`, beyond which the neighbours are another thing's:

    t' = max(start, t − ⌊min(t − t before, t after − t, 2 · MOST_US) / 2⌋)

of those of one exposure; the first and the last of a pixel have one neighbour. A pixel's events keep their
order, those of different pixels do not.
"""

from __future__ import annotations

import numpy as np

from capture.compiled import njit

MOST_US = 2_000
"""Of 1 to 8 ms the best on the simulated presets and on the synthetic suite, flatly."""
FAR_US = 2 * MOST_US
"""Neighbours farther away than this count as being so far away."""


@njit(nogil=True)
def half(near: float) -> np.float32:
    """Half of a whole number of µs, rounded down."""
    return np.float32(np.int32(near * np.float32(0.5)))
