"""Runs a restorer over a stream of exposures: neighbours, lag, gaps, warm-up, wall time.

Every exposure that is pushed comes out exactly once, in order: at once when the restorer needs no later
neighbours, else `needs.frames_after` exposures later, at a gap, or at the end (`flush`). At the borders of a
stretch without gaps the outermost exposure stands in for the neighbours that do not exist.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from inference.restorers.base import LatentTimes, Restored, Restorer, check_latents
from sync.exposure import AlignedExposure


class Engine:
    """One restorer on one stream. Not thread-safe.

    Args:
        restorer: from `inference.models.create`.
    """

    def __init__(self, restorer: Restorer) -> None:
        self.restorer = restorer
        self._past: deque[AlignedExposure] = deque(maxlen=max(restorer.needs.frames_before, 1))
        self._waiting: deque[tuple[AlignedExposure, tuple[float, ...]]] = deque()
        self._prepared: tuple[int, int] | None = None
        self._epoch: int | None = None

    @property
    def waiting(self) -> int:
        """Exposures that wait for later neighbours."""
        return len(self._waiting)

    def prepare(self, width: int, height: int) -> None:
        """Load, compile and warm up for frames of this size; once per size, later calls return at once."""
        if self._prepared != (width, height):
            self.restorer.prepare(width, height)
            self._prepared = (width, height)

    def set(self, options: dict[str, Any]) -> None:
        """Change the restorer's options while running; see `Restorer.set`."""
        self.restorer.set(options)

    def latents_for(self, latents: Sequence[float]) -> tuple[float, ...]:
        """The instants that will be restored when these are asked for: the fixed ones where only they exist.

        Raises:
            ValueError: none, or one outside 0…1.
        """
        asked = check_latents(latents)
        needs = self.restorer.needs
        return needs.fixed_latents if needs.latent is LatentTimes.FIXED else asked

    def push(self, exposure: AlignedExposure, latents: Sequence[float]) -> list[Restored]:
        """Take one exposure; give what is ready now, oldest first.

        A new epoch (seek, loop, clock reset) is a gap: what waits comes out first.

        Raises:
            ValueError: an instant outside 0…1; the exposure is not taken.
        """
        at = self.latents_for(latents)
        out: list[Restored] = []
        if self._epoch is not None and exposure.frame.epoch != self._epoch:
            out += self.gap()
        self._epoch = exposure.frame.epoch
        self._waiting.append((exposure, at))
        if len(self._waiting) > self.restorer.needs.frames_after:
            out.append(self._next())
        return out

    def gap(self) -> list[Restored]:
        """The stream was interrupted: give what waits, forget all neighbours, reset the restorer."""
        out = self.flush()
        self._past.clear()
        self.restorer.reset()
        return out

    def flush(self) -> list[Restored]:
        """End of the stream: give what still waits for neighbours that will not come."""
        out: list[Restored] = []
        while self._waiting:
            out.append(self._next())
        return out

    def again(self, exposure: AlignedExposure, latents: Sequence[float]) -> Restored:
        """Restore one exposure outside the stream's order, such as the held one at other instants.

        It does not enter the stream and stands in for its own neighbours. Meant for restorers without state:
        one that carries something from exposure to exposure would take this one for the next.
        """
        needs = self.restorer.needs
        count = needs.frames_before + 1 + needs.frames_after
        return self._run([exposure] * count, exposure, self.latents_for(latents))

    def _next(self) -> Restored:
        exposure, latents = self._waiting.popleft()
        needs = self.restorer.needs
        before = list(self._past)[-needs.frames_before :] if needs.frames_before else []
        first = before[0] if before else exposure
        after = [e for e, _ in self._waiting]  # never more than `frames_after`
        last = after[-1] if after else exposure
        window = [
            *[first] * (needs.frames_before - len(before)), *before, exposure,
            *after, *[last] * (needs.frames_after - len(after)),
        ]  # fmt: skip
        self._past.append(exposure)
        return self._run(window, exposure, latents)

    def _run(
        self, window: list[AlignedExposure], exposure: AlignedExposure, latents: tuple[float, ...]
    ) -> Restored:
        self.prepare(exposure.frame.width, exposure.frame.height)
        began = time.perf_counter()
        result = self.restorer.restore(window, latents)
        seconds = time.perf_counter() - began
        if result.images.dtype != np.uint8 or len(result.images) != len(result.latents):
            raise ValueError(
                f"{self.restorer.name} gave {len(result.images)} pictures of {result.images.dtype} "
                f"for {len(result.latents)} instants"
            )
        return replace(result, seconds=seconds)
