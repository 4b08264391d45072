"""GEM's samples out of data sets: pairs of frames in a row with the events from one to the other.

Sharp pictures are not needed. Where those who are validated with have them, they only serve as a measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from capture.errors import UsageError
from capture.validation import Strict
from training.data.cuts import planes
from training.data.gem import Draw, FramePair, draw, training_item
from training.data.sets.facts import EXPOSURE, STREAM, SequenceFacts, SequenceReader
from training.task import Batch

WHOLE_SCALE = "whole number of image pixels to an event pixel"
BINS = 16
LEVELS = 16  # the network halves pictures and events four times


class GemOptions(Strict):
    """What GEM is trained on (`data.options` of a recipe).

    Attributes:
        crop: side of the training samples in event pixels; the pictures' is that times the scale. Published: 64
            at scale 4, 256 at scale 1.
        pairs: "overlapping": every frame with the next one; "disjoint": the first with the second, the third
            with the fourth and so on; the last of an odd number then has no partner.
        difference: "l1" as published in all configurations, or "l2".
    """

    crop: int = Field(default=64, ge=LEVELS, le=1024, multiple_of=LEVELS)
    pairs: Literal["overlapping", "disjoint"] = "overlapping"
    difference: Literal["l1", "l2"] = "l1"


class GemMaker:
    """See `training.data.items.Maker`. An item is the first frame of a pair.

    A sample: `sharp_from_frame`, `sharp_from_large`, `frame_from_large` (96, h, w) float32 EGER; `frame`,
    `large` (3, H, W) float32 BGR in 0…1; and, for validation, `truth` of the frame's middle (3, H, W) uint8
    where `judged`.

    Attributes:
        judged: validation samples have their truth.
    """

    def __init__(self, options: GemOptions) -> None:
        self.options = options
        self.judged = False

    def needs(self, facts: SequenceFacts) -> list[str]:
        """What a sequence lacks, in words; none: it can be used."""
        lacking = [what for what in (EXPOSURE, STREAM) if what not in facts.carries]
        return lacking if lacking or scale_of(facts) else [WHOLE_SCALE]

    def about(self, sequences: Sequence[SequenceFacts]) -> str:
        """See `Maker`."""
        return self.options.model_dump_json(include={"crop", "pairs"})

    def items(self, facts: SequenceFacts) -> list[int]:
        """See `Maker`."""
        starts = facts.pair_starts
        if self.options.pairs == "overlapping":
            return starts
        out: list[int] = []
        for k in starts:
            if not out or k > out[-1] + 1:
                out.append(k)
        return out

    def without_partner(self, facts: SequenceFacts) -> int:
        """Frames with an exposure that are in no pair."""
        taken = {i for k in self.items(facts) for i in (k, k + 1)}
        return sum(span is not None and k not in taken for k, span in enumerate(facts.spans))

    def make(self, reader: SequenceReader, facts: SequenceFacts, frame: int, rng: np.random.Generator) -> Batch:
        """See `Maker`; nothing is turned or mirrored, as published."""
        pair = pair_of(reader, facts, frame)
        side = (self.options.crop, self.options.crop)
        return _sample(pair, draw(pair, side, rng), side)

    def middle(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """See `Maker`: the middle of the first frame's exposure and of its picture."""
        side = (self.options.crop, self.options.crop)
        pair = pair_of(reader, facts, frame)
        top, left = ((n - c) // 2 for n, c in zip(pair.grid, side, strict=True))
        return self._middle(reader, frame, pair, top, left, side)

    def whole(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """See `Maker`: the middle of the first frame's exposure."""
        pair = pair_of(reader, facts, frame)
        rows, columns = pair.grid
        return self._middle(reader, frame, pair, 0, 0, (rows // LEVELS * LEVELS, columns // LEVELS * LEVELS))

    def _middle(
        self, reader: SequenceReader, frame: int, pair: FramePair, top: int, left: int, side: tuple[int, int]
    ) -> Batch:
        start, end = pair.exposures[0]
        out = _sample(pair, Draw(True, (start + end) // 2, top, left), side)
        if self.judged:
            s = pair.scale
            cut = np.s_[:, s * top : s * (top + side[0]), s * left : s * (left + side[1])]
            out["truth"] = np.ascontiguousarray(planes(reader.truth(frame), "bgr")[cut])
        return out


def scale_of(facts: SequenceFacts) -> int:
    """Image pixels along an event pixel; 0: it is no whole number, or not the same both ways."""
    if facts.grid is None:
        return 0
    (width, height), (columns, rows) = facts.size, facts.grid
    scale = width // columns
    # The last rows and columns of a picture may go beyond the grid by less than an event pixel.
    fits = scale >= 1 and width // scale == columns and height // scale == rows
    return scale if fits else 0


def pair_of(reader: SequenceReader, facts: SequenceFacts, frame: int) -> FramePair:
    """A frame and the next one with all events from the start of the one to the end of the other.

    Raises:
        Damaged: a part of it cannot be read.
    """
    own, following = facts.spans[frame], facts.spans[frame + 1]
    assert own is not None
    assert following is not None
    first, second = (planes(reader.blurred(k), "bgr") for k in (frame, frame + 1))
    events = reader.between(own[0], following[1])
    return FramePair(first, second, (own, following), events, scale_of(facts))


def require_one_scale(sequences: Sequence[SequenceFacts], crop: int) -> None:
    """Refuse sequences that cannot be cut alike.

    Raises:
        UsageError: names them.
    """
    scales = {scale_of(s): s for s in sequences}
    if len(scales) > 1:
        told = " and ".join(f"{s.name} has scale {scale}" for scale, s in sorted(scales.items()))
        raise UsageError(f"gem is trained at one scale, and {told}: train on one set after the other (--init)")
    for s in sequences:
        assert s.grid is not None
        if min(s.grid) < crop:
            raise UsageError(
                f"a crop of {crop} event pixels does not fit {s.name} ({s.grid[0]}×{s.grid[1]}): set "
                "data.options.crop lower"
            )


def _sample(pair: FramePair, drawn: Draw, side: tuple[int, int]) -> dict[str, Any]:
    item = training_item(pair, drawn, side, bins=BINS)
    return {
        "sharp_from_frame": item.sharp_from_frame, "sharp_from_large": item.sharp_from_large,
        "frame_from_large": item.frame_from_large, "frame": np.ascontiguousarray(item.frame),
        "large": np.ascontiguousarray(item.large),
    }  # fmt: skip
