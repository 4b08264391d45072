"""One figure over many exposures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Spread:
    """How a figure is spread over exposures.

    Attributes:
        exposures: how many have it.
        mean, p95: of their values.
    """

    exposures: int
    mean: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None for no values."""
        if not values:
            return None
        return cls(len(values), float(np.mean(values)), float(np.percentile(values, 95)))


def residual_report(found: Spread | None, why_not: str = "") -> dict[str, Any] | None:
    """The re-blur residual as it stands in a report: its spread, or why there is none; None: nobody asked."""
    if found is None:
        return {"not_available": why_not} if why_not else None
    return {
        "unit": "grey levels (root mean square over a picture)",
        "exposures": found.exposures, "mean": found.mean, "p95": found.p95,
    }  # fmt: skip
