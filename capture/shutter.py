"""Rolling shutters: when each row of a sensor is exposed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LONGEST_ROLLING_US = 1_000_000.0
"""From the first row's exposure to the last one's."""


def delay_us(row: NDArray[np.floating], rows: int, rolling_us: float) -> NDArray[np.float64]:
    """How much later than the row that is exposed first a row is exposed, µs, 0 … |rolling_us|.

    Args:
        row: any shape, 0 … rows - 1, also between whole rows; outside of the image the nearest row counts.
        rows: of the image.
        rolling_us: how much later the last row is exposed than the first; negative: the last one comes first;
            0: global shutter.
    """
    share = np.clip(np.nan_to_num(row).astype(np.float64) / max(1, rows - 1), 0.0, 1.0)
    return np.asarray(abs(rolling_us) * (share if rolling_us >= 0 else 1.0 - share), np.float64)
