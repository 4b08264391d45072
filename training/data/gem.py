"""GEM's items (X. Zhang et al., ICCV 2023): two frames in a row and the events around them.

No sharp picture is needed for training: the *large blur*, the mean of both frames, stands for one long exposure
from the start of the first to the end of the second. Pictures are (3, H, W) BGR, as they are stored.

Published quirks, both kept because they only touch the last bit or nothing: values are multiplied by
float32(1/255) instead of divided by 255, and the large blur is a mean of gamma-coded values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.coding import Columns, Mode
from inference.representations.eger import Region, Spans
from inference.representations.eger_numba import eger

Image = NDArray[np.float32]
Rng = np.random.Generator | np.random.RandomState


@dataclass(frozen=True, slots=True, eq=False)
class FramePair:
    """Two blurry frames in a row and the events from the start of the first to the end of the second.

    Attributes:
        first, second: (3, H, W), 0…255, BGR.
        exposures: (start, end) of each, whole µs on the events' clock; end of the first <= start of the second.
        events: on the event grid; more than the span is allowed.
        scale: image pixels along one side of an event pixel.
    """

    first: NDArray[Any]
    second: NDArray[Any]
    exposures: tuple[tuple[int, int], tuple[int, int]]
    events: Events | Columns
    scale: int = 1

    def __post_init__(self) -> None:
        (s1, e1), (s2, e2) = self.exposures
        if not s1 < e1 <= s2 < e2:
            raise ValueError(f"exposures {s1}…{e1} and {s2}…{e2} µs do not follow one another")
        if self.first.ndim != 3 or self.first.shape != self.second.shape:
            raise ValueError(
                f"frames {self.first.shape} and {self.second.shape}: expected two (3, H, W) of one size"
            )
        if self.scale < 1:
            raise ValueError(f"scale {self.scale}: image pixels along an event pixel, at least 1")

    @property
    def span(self) -> tuple[int, int]:
        """Start of the first exposure, end of the second."""
        return self.exposures[0][0], self.exposures[1][1]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the event grid, those that the picture covers."""
        return self.first.shape[1] // self.scale, self.first.shape[2] // self.scale


@dataclass(frozen=True, slots=True)
class Draw:
    """What chance decides about one item.

    Attributes:
        first: the first frame is the blurry one, not the second.
        instant: in µs, within that frame's exposure.
        top, left: corner of the crop on the event grid.
    """

    first: bool
    instant: int
    top: int
    left: int


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One training item, in the published order; `training.losses.gem.Batch` is several of them stacked.

    Attributes:
        sharp_from_frame, sharp_from_large, frame_from_large: (6 N, h, w) float32 EGER.
        frame, large: (3, H, W) float32 in 0…1.
    """

    sharp_from_frame: NDArray[np.float32]
    sharp_from_large: NDArray[np.float32]
    frame_from_large: NDArray[np.float32]
    frame: Image
    large: Image


def values(image: NDArray[Any]) -> Image:
    """Stored values 0…255 as the network takes them: float32, times float32(1/255)."""
    return np.asarray(image).astype(np.float32) * np.float32(1 / 255)


def large_blur(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """clip((first + second) / 2, 0, 255), not rounded."""
    return np.asarray(((first.astype(np.float64) + second) / 2).clip(0, 255))


def draw(pair: FramePair, crop: tuple[int, int], rng: Rng) -> Draw:
    """Draws frame (½ each), instant (uniform in [start, end)) and crop position (uniform), in this order.

    Args:
        pair: where from.
        crop: rows and columns, in event pixels.
        rng: the published code draws from NumPy's global one.

    Raises:
        ValueError: the crop does not fit.
    """
    rows, columns = (n - c for n, c in zip(pair.grid, crop, strict=True))
    if min(rows, columns) < 0 or min(crop) < 1:
        raise ValueError(f"crop of {crop[1]}×{crop[0]} event pixels out of {pair.grid[1]}×{pair.grid[0]}")
    first = _below(rng, 0, 2) == 1
    start, end = pair.exposures[0 if first else 1]
    instant = _below(rng, start, end)
    return Draw(first, instant, top=_below(rng, 0, rows + 1), left=_below(rng, 0, columns + 1))


def training_item(pair: FramePair, drawn: Draw, crop: tuple[int, int], *, bins: int = 16) -> Item:
    """The item of a draw; no flips, turns or changes of light are published.

    Args:
        pair: where from.
        drawn: see `draw`.
        crop: rows and columns in event pixels; the pictures' crop is the same times the scale.
        bins: N of EGER.

    Raises:
        UsageError: spans that make no sense.
    """
    own, joint = pair.exposures[0 if drawn.first else 1], pair.span
    instant = (drawn.instant, drawn.instant)
    region, s = Region(drawn.top, drawn.left, *crop), pair.scale
    part = np.s_[:, s * drawn.top : s * (drawn.top + crop[0]), s * drawn.left : s * (drawn.left + crop[1])]
    first, second = pair.first[part], pair.second[part]
    return Item(
        eger(pair.events, Spans(own, instant, bins), region),
        eger(pair.events, Spans(joint, instant, bins), region),
        eger(pair.events, Spans(joint, own, bins), region),
        values(first if drawn.first else second),
        values(large_blur(first, second)),
    )


def items_at_fraction(
    pair: FramePair, fraction: float = 0.5, *, bins: int = 16
) -> Iterator[tuple[NDArray[np.float32], Image]]:
    """The test without truth: EGER and picture of both frames at start + fraction · (end − start), not rounded.

    Raises:
        ValueError: a fraction outside 0…1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"latent position {fraction}: must lie between 0 and 1")
    for picture, (start, end) in zip((pair.first, pair.second), pair.exposures, strict=True):
        yield _whole(pair, (start, end), start + fraction * (end - start), bins), values(picture)


def item_at(pair: FramePair, instant: int, *, bins: int = 16) -> tuple[NDArray[np.float32], Image, bool]:
    """The test with truth: EGER, picture and whether it is the second, for one instant of the truth.

    An instant up to the end of the first exposure belongs to the first frame, any later one to the second,
    those in the gap between them too.
    """
    second = instant > pair.exposures[0][1]
    picture = pair.second if second else pair.first
    return _whole(pair, pair.exposures[int(second)], instant, bins), values(picture), second


def _whole(pair: FramePair, blur: tuple[int, int], at: float, bins: int) -> NDArray[np.float32]:
    return eger(pair.events, Spans(blur, (at, at), bins, Mode.CORRECTED), Region(0, 0, *pair.grid))


def _below(rng: Rng, low: int, high: int) -> int:
    """Uniform in low…high − 1."""
    return int(rng.integers(low, high) if isinstance(rng, np.random.Generator) else rng.randint(low, high))
