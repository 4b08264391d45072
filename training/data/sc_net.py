"""SC-Net's samples (C. Cao et al., IEEE TNNLS 2023): frames in a row with the event counts of their windows.

The published loaders pair events with other frames' pictures (keys are shuffled), bring them onto other
pixels and feed one window of three; none of that is reproduced. Here the previous and the next window lie
before and behind the exposure without a gap and are as long as it, as in the restorer. Only consecutive
frames between which every event is known follow one another, and every sample begins without a feature, as a
stream does after a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from capture.packets import Events
from capture.validation import Strict
from inference.representations import counts_numba
from inference.representations.coding import Columns
from inference.restorers.placement import represent
from training.data.cuts import Cut, middle_cut, planes, random_cut, turned, whole_cut
from training.data.rigs import rig_of
from training.data.sets.facts import STREAM, TRUTH, SequenceFacts, SequenceReader, Span
from training.task import Batch

_MOST = 255  # of events that a cell of a sample holds


class ScNetOptions(Strict):
    """What SC-Net is fed with (`data.options` of a recipe).

    Attributes:
        crop: side of the training samples, a multiple of 4. The attention over all pixels grows with its fourth
            power.
        clip: frames in a row of a sample.
        steps: parts of time of a window; 1 for STRA, which counts.
        window_ms: the longest neighbouring window.
        augmentation: "turns" (all eight), "published" (mirrored left to right by chance), "none".
        detach: the feature is handed on without its gradient, as published.
    """

    crop: int = Field(default=64, ge=16, le=2048, multiple_of=4)
    clip: int = Field(default=4, ge=1, le=64)
    steps: int = Field(default=16, ge=1, le=64)
    window_ms: int = Field(default=40, ge=1, le=1000)
    augmentation: Literal["turns", "published", "none"] = "turns"
    detach: bool = True


class ScNetMaker:
    """See `training.data.items.Maker`; an item's frame is the first of its clip.

    A sample: `frames` and `truth` (L, 3, H, W) uint8 RGB, `events` (L, 6, H, W, T) uint8 (without T for one
    step).

    Attributes:
        sampled: events of a sequence may lie on other pixels than its pictures; `events` are float16 then, of
            every sequence, since samples of a batch are of one type.
    """

    def __init__(self, options: ScNetOptions) -> None:
        self.options = options
        self.sampled = False

    def needs(self, facts: SequenceFacts) -> list[str]:
        """What a sequence lacks."""
        lacking = [word for word in (TRUTH, STREAM) if word not in facts.carries]
        if not lacking and not self.items(facts):
            lacking.append(f"{self.options.clip} frames in a row with all events from one to the next")
        return lacking

    def about(self, sequences: Sequence[SequenceFacts]) -> str:
        """See `Maker`."""
        sampled = any(s.grid != s.size for s in sequences)
        return self.options.model_dump_json(exclude={"detach"}) + (" sampled" if sampled else "")

    def items(self, facts: SequenceFacts) -> list[int]:
        """See `Maker`."""
        clip, starts = self.options.clip, set(facts.pair_starts)
        return [
            i
            for i in range(facts.frames - clip + 1)
            if facts.spans[i] is not None and starts.issuperset(range(i, i + clip - 1))
        ]

    def make(self, reader: SequenceReader, facts: SequenceFacts, frame: int, rng: np.random.Generator) -> Batch:
        """See `Maker`."""
        turns = {"turns": tuple(range(8)), "published": (0, 1), "none": (0,)}[self.options.augmentation]
        cut = random_cut(rng, facts.size, self.options.crop, turns)
        return self._sample(reader, facts, range(frame, frame + self.options.clip), cut)

    def middle(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """See `Maker`."""
        cut = middle_cut(facts.size, self.options.crop)
        return self._sample(reader, facts, range(frame, frame + self.options.clip), cut)

    def whole(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """See `Maker`; one frame."""
        return self._sample(reader, facts, range(frame, frame + 1), whole_cut(facts.size, 4))

    def _sample(self, reader: SequenceReader, facts: SequenceFacts, frames: range, cut: Cut) -> Batch:
        return {
            "frames": np.stack([cut.of(planes(reader.blurred(i), "rgb")) for i in frames]),
            "truth": np.stack([cut.of(planes(reader.truth(i), "rgb")) for i in frames]),
            "events": np.stack([self.counts(reader, facts, i, cut) for i in frames]),
        }

    def counts(self, reader: SequenceReader, facts: SequenceFacts, frame: int, cut: Cut) -> NDArray[Any]:
        """(6, H, W[, T]): previous −, +, current −, +, next −, +; uint8, or float16 where `sampled`."""
        span = facts.spans[frame]
        assert span is not None
        spans = windows(span, 1000 * self.options.window_ms)
        events = reader.between(spans[0][0], spans[2][1] + 1)
        same = facts.grid == facts.size
        # On one grid only what is seen in the crop is counted.
        part = _inside(events, cut) if same else events
        steps = self.options.steps
        if same:
            maps = [counts_numba.event_counts(part, a, b, steps=steps) for a, b in spans]
        else:
            maps = _on_image(events, facts, spans, steps, cut)
        grid = np.concatenate(maps, axis=-3)  # (6, h, w) or (T, 6, h, w)
        kind = np.uint8 if same and not self.sampled else np.float16
        kept = np.minimum(turned(grid, cut.turn), _MOST).astype(kind)
        return kept if kept.ndim == 3 else np.ascontiguousarray(np.moveaxis(kept, 0, -1))


def windows(span: Span, longest_us: int) -> tuple[Span, Span, Span]:
    """The previous, the current and the next window of an exposure."""
    start, end = span
    length = min(end - start, longest_us)
    return (start - length, start), (start, end), (end, end + length)


def _inside(e: Columns, cut: Cut) -> Columns:
    """The events that are seen in a crop, in its own coordinates."""
    # Unsigned: what lies above or left of the crop comes round to large numbers.
    x, y = e.x - np.uint16(cut.left), e.y - np.uint16(cut.top)
    keep = np.flatnonzero((x < cut.width) & (y < cut.height))
    return Columns(e.t[keep], x[keep], y[keep], e.p[keep], cut.width, cut.height)


def _on_image(
    events: Columns, facts: SequenceFacts, spans: Sequence[Span], steps: int, cut: Cut
) -> list[NDArray[np.float32]]:
    """The windows' counts on the pixels of a crop, not turned, as the restorer brings them there."""
    own = Events(np.asarray(events.t, np.int64), events.x, events.y, events.p, events.width, events.height)
    rig = rig_of(facts, cut.width, cut.height, left=cut.left, top=cut.top)

    def counted(a: int, b: int) -> NDArray[np.float32]:
        def make(e: Events) -> Tensor:
            return torch.from_numpy(counts_numba.event_counts(e, a, b, steps=steps))

        return np.asarray(represent(own, rig, 1, make).numpy(), np.float32)

    return [counted(a, b) for a, b in spans]
