"""CDVD-TSP's samples (J. Pan, H. Bai, J. Tang, CVPR 2020): five blurred frames in a row and their sharp ones.

One crop and one turn for all five frames; mirrored left to right, upside down and turned by 90°, each with
probability one half. Of a video the first 100 frames are used, as published (`frames_per_video`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from capture.validation import Strict
from training.data.cuts import Cut, middle_cut, planes, random_cut, whole_cut
from training.data.sets.facts import TRUTH, VIDEO, SequenceFacts, SequenceReader
from training.data.windows import FRAMES, HALF
from training.task import Batch

_ALL_TURNS = tuple(range(8))


class CdvdOptions(Strict):
    """What CDVD-TSP is fed with (`data.options` of a recipe).

    Attributes:
        crop: side of the training samples, a multiple of 4.
        frames_per_video: of each video the first so many; 0: all.
        augmentation: "turns" as published, or "none".
        flow_weights: file with first weights of the flow network alone (PWC-Net, `network-default.pytorch`).
    """

    crop: int = Field(default=256, ge=16, le=2048, multiple_of=4)
    frames_per_video: int = Field(default=100, ge=0)
    augmentation: Literal["turns", "none"] = "turns"
    flow_weights: str = ""


class CdvdMaker:
    """See `training.data.items.Maker`; an item's frame is the middle one.

    A sample: `frames` (5, 3, H, W) uint8 RGB, `truth` (3, 3, H, W): of the frames 1, 2, 3.
    """

    def __init__(self, options: CdvdOptions) -> None:
        self.options = options

    def needs(self, facts: SequenceFacts) -> list[str]:
        """What a sequence lacks."""
        lacking = [word for word in (TRUTH, VIDEO) if word not in facts.carries]
        if not lacking and facts.frames < FRAMES:
            lacking.append(f"{FRAMES} frames ({facts.frames} are there)")
        if not lacking and not self.items(facts):
            lacking.append(f"{FRAMES} frames in a row (some between are missing)")
        return lacking

    def about(self, sequences: Sequence[SequenceFacts]) -> str:
        """See `Maker`."""
        return self.options.model_dump_json(exclude={"flow_weights"})

    def items(self, facts: SequenceFacts) -> list[int]:
        """See `Maker`."""
        count = facts.frames
        if self.options.frames_per_video:
            count = min(count, self.options.frames_per_video)
        return [k for k in range(HALF, count - HALF) if facts.in_a_row(k - HALF, k + HALF)]

    def make(self, reader: SequenceReader, facts: SequenceFacts, frame: int, rng: np.random.Generator) -> Batch:
        """See `Maker`."""
        turns = _ALL_TURNS if self.options.augmentation == "turns" else (0,)
        return _sample(reader, frame, random_cut(rng, facts.size, self.options.crop, turns))

    def middle(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """See `Maker`."""
        return _sample(reader, frame, middle_cut(facts.size, self.options.crop))

    def whole(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """See `Maker`."""
        return _sample(reader, frame, whole_cut(facts.size, 4))


def _sample(reader: SequenceReader, frame: int, cut: Cut) -> Batch:
    around = range(frame - HALF, frame + HALF + 1)
    return {
        "frames": np.stack([cut.of(planes(reader.blurred(i), "rgb")) for i in around]),
        "truth": np.stack([cut.of(planes(reader.truth(i), "rgb")) for i in list(around)[1:-1]]),
    }
