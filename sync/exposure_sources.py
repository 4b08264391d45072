"""Where the exposures of a run came from, for its report."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from sync.exposure import ExposureSource, in_words


@dataclass(slots=True)
class ExposureSources:
    """Counts exposures by their source.

    Attributes:
        counts: how many of each `ExposureSource`, by its value.
        worst_us: the largest uncertainty of each, µs; infinite of unknown ones.
    """

    counts: dict[str, int] = field(default_factory=dict)
    worst_us: dict[str, float] = field(default_factory=dict)

    def add(self, source: str, uncertainty_us: float | None) -> None:
        """One more exposure; its uncertainty is None where nothing is known of it."""
        uncertainty = math.inf if uncertainty_us is None else uncertainty_us
        self.counts[source] = self.counts.get(source, 0) + 1
        self.worst_us[source] = max(self.worst_us.get(source, 0.0), uncertainty)

    def notes(self) -> list[str]:
        """What a person must know of them, a line each; [] where all were measured."""
        guessed = ExposureSource.ESTIMATED.value
        if guessed not in self.counts:
            return []
        n, of = self.counts[guessed], sum(self.counts.values())
        worst = in_words(self.worst_us[guessed])
        return [f"{n} of {of} exposures are only estimated from arrival times, ±{worst} at worst"]

    def report(self) -> dict[str, Any]:
        """As reports have it: source → `exposures`, `worst_uncertainty_us` (None where it is unknown)."""
        worst = {k: round(v, 1) if math.isfinite(v) else None for k, v in self.worst_us.items()}
        return {k: {"exposures": n, "worst_uncertainty_us": worst[k]} for k, n in self.counts.items()}
