"""What every restorer declares and gives. The viewer, `deblur`, evaluation and training share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sync.exposure import AlignedExposure

RANDOM_FLAG = "random weights: not a result"
"""Flag of every picture that a network without trained weights made."""

RESIDUAL_FIGURE = "reblur_residual"
"""Name in `Restored.figures` of the re-blur residual (`inference.residual`), RMS in codes (0…255)."""


class LatentTimes(StrEnum):
    """Which instants of an exposure a restorer can show."""

    ANY = "any"  # any number of instants 0…1
    FIXED = "fixed"  # only `Needs.fixed_latents`


@dataclass(frozen=True, slots=True)
class Needs:
    """What a restorer needs of the stream before it can restore one exposure.

    Attributes:
        frames_before, frames_after: neighbouring exposures wanted around the one restored. `frames_after`
            is the lag of the live picture in frames.
        margin_before_us, margin_after_us: events wanted before the start and after the end of an exposure.
        events: needs events at all.
        colour: takes (H, W, 3) frames; a gray frame is given as it is and comes back gray.
        latent: any instant, or only the fixed ones.
        fixed_latents: the instants, fractions 0…1, when `latent` is FIXED.
        stateful: carries something from one exposure to the next; `reset` is called at every gap.
        note: one line for the viewer: what it takes.
    """

    frames_before: int = 0
    frames_after: int = 0
    margin_before_us: int = 0
    margin_after_us: int = 0
    events: bool = True
    colour: bool = True
    latent: LatentTimes = LatentTimes.ANY
    fixed_latents: tuple[float, ...] = ()
    stateful: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """Sharp pictures of one exposure.

    Attributes:
        ordinal: of the exposure, as in `AlignedExposure`.
        latents: (L,) the instants as fractions 0…1 of the exposure.
        times_us: (L,) the same in µs on the event clock.
        images: (L, H, W, 3) RGB or (L, H, W) gray, uint8, in the frame's own size and tone.
        network: name of the restorer.
        seconds: wall time of the restoration itself.
        flags: named states that a person must see: "no events: frame passed through", "saturated 12 %",
            "NaN replaced", "events derived".
        figures: numbers worth showing, with units in the name: {"contrast_on": 0.21, "reblur_residual": 1.3}.
    """

    ordinal: int
    latents: tuple[float, ...]
    times_us: tuple[int, ...]
    images: NDArray[np.uint8]
    network: str
    seconds: float = 0.0
    flags: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)


class Restorer(Protocol):
    """Wraps a method for use. Not thread-safe; one per worker."""

    name: str
    needs: Needs

    def prepare(self, width: int, height: int) -> None:
        """Load, compile and warm up for frames of this size, so that the first live frame is not slow."""

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        """Sharp pictures of `window[needs.frames_before]` at the given instants.

        Raises:
            ValueError: an instant outside 0…1, or a window of the wrong length.
        """

    def reset(self) -> None:
        """Forget everything carried over (gap, seek, new recording)."""

    def set(self, options: dict[str, Any]) -> None:
        """Change options while running; `UsageError` names the known ones."""


def check_latents(latents: Sequence[float]) -> tuple[float, ...]:
    """The instants as a tuple of floats.

    Raises:
        ValueError: none given, not finite, or outside 0…1.
    """
    out = tuple(float(f) for f in latents)
    if not out:
        raise ValueError("no latent time asked for; give at least one between 0 and 1")
    for f in out:
        if not (np.isfinite(f) and 0.0 <= f <= 1.0):
            raise ValueError(f"latent time {f} lies outside 0…1 of the exposure")
    return out
