"""The learning rate's factor over a run, and how far the run is."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

from training.recipe import RunEntry, ScheduleEntry


@dataclass(frozen=True, slots=True)
class Length:
    """What ends a run; the first of them that is reached.

    Attributes:
        steps: optimiser steps, or None.
        seconds: elapsed time, earlier sessions of a resumed run included, or None.
    """

    steps: int | None
    seconds: float | None

    @classmethod
    def of(cls, run: RunEntry) -> Length:
        """As a recipe states it."""
        return cls(run.steps, None if run.max_minutes is None else run.max_minutes * 60)

    def progress(self, step: int, elapsed_s: float) -> float:
        """0 … 1, the larger of the shares of steps and of time that are done."""
        by_steps = step / self.steps if self.steps is not None else 0.0
        by_time = elapsed_s / self.seconds if self.seconds is not None else 0.0
        return min(1.0, max(by_steps, by_time))


def factor(schedule: ScheduleEntry, progress: float, step: int) -> float:
    """Factor on the learning rate of the step with this index (0: the first), at this progress (0 … 1)."""
    if schedule.name in ("cosine", "swing"):
        phase = progress if schedule.name == "cosine" else step / schedule.period
        value = schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * phase)) / 2
    elif schedule.name == "steps":
        value = schedule.gamma ** bisect.bisect_right(schedule.milestones, progress)
    else:
        value = 1.0
    return value * min(1.0, (step + 1) / schedule.warmup_steps) if schedule.warmup_steps else value
