"""Runs a restorer over a stream of exposures: neighbours, lag, gaps, warm-up, wall time.

Every exposure that is pushed comes out exactly once, in order: at once when the restorer needs no later
neighbours, else `needs.frames_after` exposures later, at a gap, or at the end (`flush`). At the borders of a
stretch without gaps the outermost exposure stands in for the neighbours that do not exist.

What a restorer raises comes out of `push`, `gap` and `flush`; the exposure is then lost. `try_push`, `try_gap`
and `try_flush` give it as a `Failed` in its exposure's place instead and go on with the next one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inference import residual
from inference.restorers.base import RESIDUAL_FIGURE, LatentTimes, Restored, Restorer, check_latents
from sync.exposure import AlignedExposure


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """An exposure that the restorer failed on, and what it raised."""

    exposure: AlignedExposure
    error: Exception


Attempt = Restored | Failed


def sure(attempts: Sequence[Attempt]) -> list[Restored]:
    """The restored ones, or the first failure's error raised."""
    out: list[Restored] = []
    for a in attempts:
        if isinstance(a, Failed):
            raise a.error
        out.append(a)
    return out


class Engine:
    """One restorer on one stream. Not thread-safe.

    Where five or more instants part an exposure evenly, the figure "reblur_residual" comes with the pictures
    (`inference.residual`).

    Args:
        restorer: from `inference.models.create`.
        residual: measure it for every exposure, which costs `residual.INSTANTS` further restorations each where
            the instants asked for will not do. The pictures stay the same.

    Attributes:
        preparing: `prepare` is at work; for other threads.
    """

    def __init__(self, restorer: Restorer, *, residual: bool = False) -> None:
        self.restorer = restorer
        self._residual = residual
        self._past: deque[AlignedExposure] = deque(maxlen=max(restorer.needs.frames_before, 1))
        self._waiting: deque[tuple[AlignedExposure, tuple[float, ...]]] = deque()
        self.preparing = False
        self._prepared: tuple[int, int] | None = None
        self._epoch: int | None = None

    @property
    def waiting(self) -> int:
        """Exposures that wait for later neighbours."""
        return len(self._waiting)

    def prepare(self, width: int, height: int) -> None:
        """Load, compile and warm up for frames of this size; once per size, later calls return at once."""
        if self._prepared != (width, height):
            self.preparing = True
            try:
                self.restorer.prepare(width, height)
            finally:
                self.preparing = False
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

        A new epoch (seek, loop, clock reset) is a gap, as is a frame before which the camera was away: what
        waits comes out first.

        Raises:
            ValueError: see `try_push`; the exposure is not taken.
            Whatever the restorer raises.
        """
        return sure(self.try_push(exposure, latents))

    def gap(self) -> list[Restored]:
        """The stream was interrupted: give what waits, forget all neighbours, reset the restorer."""
        return sure(self.try_gap())

    def flush(self) -> list[Restored]:
        """End of the stream: give what still waits for neighbours that will not come."""
        return sure(self.try_flush())

    def try_push(self, exposure: AlignedExposure, latents: Sequence[float]) -> list[Attempt]:
        """As `push`, with failures in their places.

        Raises:
            ValueError: an instant outside 0…1, or an unknown exposure for a restorer that needs events; the
                exposure is not taken.
        """
        at = self.latents_for(latents)
        if self.restorer.needs.events and not exposure.exposure.known:
            name, number = self.restorer.name, exposure.frame.sequence
            raise ValueError(f"{name} needs events, and the exposure of frame {number} is unknown")
        out: list[Attempt] = []
        if self._epoch is not None and (exposure.frame.epoch != self._epoch or exposure.frame.gap):
            out += self.try_gap()
        self._epoch = exposure.frame.epoch
        self._waiting.append((exposure, at))
        if len(self._waiting) > self.restorer.needs.frames_after:
            out.append(self._next())
        return out

    def try_gap(self) -> list[Attempt]:
        """As `gap`, with failures in their places."""
        out = self.try_flush()
        self._past.clear()
        self.restorer.reset()
        return out

    def try_flush(self) -> list[Attempt]:
        """As `flush`, with failures in their places."""
        out: list[Attempt] = []
        while self._waiting:
            out.append(self._next())
        return out

    def give_up(self) -> list[tuple[AlignedExposure, tuple[float, ...]]]:
        """Hand out what waits, with the instants asked for, without restoring it; another engine may."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def again(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Attempt:
        """Restore one exposure outside the stream's order, such as the held one at other instants.

        Args:
            window: the exposure with its neighbours, as many as the restorer needs.
            latents: the instants; replaced by the fixed ones where only they exist.
        """
        needs = self.restorer.needs
        return self._try(list(window), window[needs.frames_before], self.latents_for(latents))

    def _next(self) -> Attempt:
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
        return self._try(window, exposure, latents)

    def _try(
        self, window: list[AlignedExposure], exposure: AlignedExposure, latents: tuple[float, ...]
    ) -> Attempt:
        try:
            return self._run(window, exposure, latents)
        except Exception as e:  # a network may fail in any way; who asked decides what becomes of it
            return Failed(exposure, e)

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
        found = residual.of_pictures(result, exposure, self.restorer)
        if found is None and self._residual:
            found = residual.measure(self.restorer, window)
        figures = result.figures if found is None else {**result.figures, RESIDUAL_FIGURE: found.rms}
        alone = (f"frame alone: {exposure.alone}",) if exposure.alone else ()
        flags = (*alone, *exposure.doubts, *result.flags)
        return replace(result, seconds=seconds, flags=flags, figures=figures)
