"""EFNet's samples (L. Sun et al., ECCV 2022): blurred, SCER or voxel grid, mask, sharp.

The representation is made of the whole frame and, SCER, divided by its largest magnitude **before** the crop;
the voxel grid is normalised by mean and deviation **after** it in training, of the whole frame in evaluation,
as published. Faults of the published readers have names and are off: `augmentation = "published"` (half the
samples turned by 180°, nothing else; with voxels, rows and columns exchanged), `noise` (random cells and hot
pixels of the authors' conversion script, which the published GoPro files hold).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.nn import functional as F

from capture.errors import UsageError
from capture.validation import Strict
from inference.representations import mask_numba, scer_numba, voxel_numba
from inference.representations.coding import Mode
from inference.representations.normalise import by_deviation, by_maximum, by_percentile
from inference.representations.scer import published_bounds
from training.data.cuts import Cut, middle_cut, planes, random_cut, whole_cut
from training.data.sets.facts import (
    EVENTS,
    EXPOSURE,
    SCER,
    TRUTH,
    Damaged,
    SequenceFacts,
    SequenceReader,
    Window,
)  # fmt: skip
from training.data.sets.highrev import VOXEL, unit_of
from training.task import Batch

BINS = 6
_NOISE_SHARE, _HOT_SHARE, _HOT = 0.05, 2e-5, 20
_REBLUR_ROWS = 262
_ALL_TURNS = tuple(range(8))


class EfnetOptions(Strict):
    """What EFNet is fed with (`data.options` of a recipe).

    Attributes:
        crop: side of the training samples, a multiple of 4.
        representation: "scer", or "voxel" (HighREV).
        mode: of the representation, see `inference.representations.coding.Mode`.
        normalise: of SCER: "maximum" as published, "percentile" for sensors with hot pixels.
        mask: feed the event mask (SCER alone).
        channel_order: "bgr" for GoPro and REBlur as published, "rgb" for HighREV.
        augmentation: "turns" (all eight), "published" (see the module's text), "none".
        noise: add the noise of the authors' conversion.
        touch_unused: *published*: parameters without a part in the loss get zero gradients, and weight decay
            shrinks them.
    """

    crop: int = Field(default=256, ge=16, le=2048, multiple_of=4)
    representation: Literal["scer", "voxel"] = "scer"
    mode: Mode = Mode.RELATIVE
    normalise: Literal["maximum", "percentile"] = "maximum"
    mask: bool = True
    channel_order: Literal["rgb", "bgr"] = "bgr"
    augmentation: Literal["turns", "published", "none"] = "turns"
    noise: bool = False
    touch_unused: bool = False

    @property
    def masked(self) -> bool:
        """The mask is fed."""
        return self.mask and self.representation == "scer"


class EfnetMaker:
    """See `training.data.items.Maker`.

    A sample: `image` and `truth` (3, H, W) uint8, `events` (6, H, W) float32, `mask` (1, H, W) uint8 0 and 1.

    Args:
        options: what is fed.
        zero_middle: an empty channel lies between the halves of SCER, as weights of the first release take it;
            `events` are (7, H, W).

    Raises:
        UsageError: an empty channel in the voxel grid, for which there are no weights.
    """

    def __init__(self, options: EfnetOptions, *, zero_middle: bool = False) -> None:
        if zero_middle and options.representation == "voxel":
            raise UsageError(f"weights of {BINS + 1} event channels take the representation scer, not voxel")
        self.options, self.zero_middle = options, zero_middle

    def needs(self, facts: SequenceFacts) -> list[str]:
        """What a sequence lacks, of the words of `facts`; none: it can be used."""
        lacking = [] if TRUTH in facts.carries else [TRUTH]
        fed = {EVENTS, self._stored} & facts.carries
        return lacking if fed else [*lacking, f"{EVENTS} (or {self._stored})"]

    def about(self, sequences: Sequence[SequenceFacts]) -> str:
        """See `Maker`."""
        told = [self.options.model_dump_json()]
        told += ["empty middle"] if self.zero_middle else []
        told += sorted({f"{size[1]} rows" for s in sequences if (size := seen_size(s)) != s.size})
        fresh = [s for s in sequences if s.format == "highrev" and self._stored not in s.carries]
        told += sorted({f"times of {unit:g} µs" for s in fresh if (unit := unit_of(s)) != 1})
        return " ".join(told)

    @property
    def _stored(self) -> str:
        """The word for a file that holds the representation itself."""
        return SCER if self.options.representation == "scer" else VOXEL

    def items(self, facts: SequenceFacts) -> list[int]:
        """See `Maker`."""
        return facts.items

    def make(self, reader: SequenceReader, facts: SequenceFacts, frame: int, rng: np.random.Generator) -> Batch:
        """See `Maker`."""
        o = self.options
        turns: tuple[int, ...] = _ALL_TURNS
        if o.augmentation == "published":
            turns = (0, 3) if o.representation == "scer" else (0, 4)
        cut = random_cut(rng, seen_size(facts), o.crop, (0,) if o.augmentation == "none" else turns)
        return self._sample(reader, facts, frame, cut, rng if o.noise else None)

    def middle(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """See `Maker`."""
        return self._sample(reader, facts, frame, middle_cut(seen_size(facts), self.options.crop), None)

    def whole(
        self, reader: SequenceReader, facts: SequenceFacts, frame: int, rows: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Batch:  # fmt: skip
        """See `Maker`.

        Args:
            rows: only so many of the frame, from above, cut after the grid was normalised; None: all.
            rng: of the noise, where the options ask for it; None: without.
        """
        cut = whole_cut(seen_size(facts), 4)
        if rows is not None:
            cut = Cut(0, 0, min(cut.height, rows // 4 * 4), cut.width)
        own = rng if self.options.noise else None
        return self._sample(reader, facts, frame, cut, own, after=False)

    def _sample(
        self, reader: SequenceReader, facts: SequenceFacts, frame: int, cut: Cut,
        rng: np.random.Generator | None, after: bool = True,
    ) -> Batch:  # fmt: skip
        o = self.options
        counts, stored_mask = self._counts(reader, facts, frame)
        if (
            self.zero_middle
        ):  # before all else: normalising by percentiles counts its cells, noise falls on them
            counts = np.insert(counts, BINS // 2, 0, axis=0)
        counts = counts[:, : seen_size(facts)[1]]
        if rng is not None:
            counts = noisy(counts, rng)
        out: dict[str, Any] = {}
        if o.masked:
            mask = stored_mask if stored_mask is not None and rng is None else mask_numba.event_mask(counts)
            out["mask"] = cut.of((np.asarray(mask) != 0).astype(np.uint8).reshape(1, *counts.shape[1:]))
        if o.representation == "voxel":
            # As published: in training the crop comes first.
            events = by_deviation(cut.of(counts)) if after else cut.of(by_deviation(counts))
        else:
            events = cut.of(by_percentile(counts) if o.normalise == "percentile" else by_maximum(counts))
        out["image"] = cut.of(planes(reader.blurred(frame), o.channel_order))
        out["truth"] = cut.of(planes(reader.truth(frame), o.channel_order))
        return {**out, "events": np.ascontiguousarray(events, np.float32)}

    def _counts(
        self, reader: SequenceReader, facts: SequenceFacts, frame: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
        """The grid, not normalised, on the image's pixels; and a mask that the file holds."""
        o = self.options
        if self._stored in facts.carries:
            grid, mask = reader.stored(frame)
            if (grid.shape[2], grid.shape[1]) != facts.size or len(grid) != BINS:
                raise Damaged(f"{facts.name} frame {frame}: its stored grid is {grid.shape}")
            return grid, mask
        return on_image(represented(reader.window(frame), o.representation, o.mode), facts), None


def seen_size(facts: SequenceFacts) -> tuple[int, int]:
    """Width and height of what is fed: REBlur's files hold 262 rows, of which the authors' conversion drops the
    last two, grid and picture, before the grid is normalised."""
    width, height = facts.size
    reblur = facts.format == "efnet-h5" and EXPOSURE in facts.carries and height == _REBLUR_ROWS
    return width, height - 2 if reblur else height


def represented(window: Window, representation: str, mode: Mode) -> NDArray[np.float32]:
    """(6, h, w) of a window on the event grid."""
    e = window.events
    span = (window.start_us, max(window.end_us, window.start_us + 1))
    if representation == "voxel":
        return voxel_numba.voxel_grid(e, *span, mode=mode)
    if mode is Mode.PUBLISHED:
        # The stored times themselves: rounding to float32 is part of the definition.
        return scer_numba.from_bounds(e, published_bounds(window.stored_t, BINS))
    if mode is Mode.RELATIVE:
        return scer_numba.from_bounds(e, published_bounds(e.t, BINS, relative=True))
    return scer_numba.scer(e, *span, mode=mode)


def on_image(grid: NDArray[np.float32], facts: SequenceFacts) -> NDArray[np.float32]:
    """A grid on the event sensor's pixels, brought to the image's, bilinearly, edge to edge."""
    width, height = facts.size
    if grid.shape[-2:] == (height, width):
        return grid
    wide = F.interpolate(torch.from_numpy(grid)[None], (height, width), mode="bilinear", align_corners=False)
    return np.asarray(wide[0].numpy(), np.float32)


def noisy(grid: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The authors' noise on counts: a normal deviate on one cell in 20, a few hot pixels."""
    out = grid + (rng.random(grid.shape) < _NOISE_SHARE) * rng.standard_normal(grid.shape)
    _, height, width = grid.shape
    for place in rng.integers(height * width, size=int(_HOT_SHARE * height * width)):
        out[:, place // width, place % width] = rng.integers(-_HOT, _HOT + 1)
    return np.asarray(out, np.float32)
