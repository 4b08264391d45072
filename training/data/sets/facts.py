"""What a sequence with truth is, and what its reader gives, whatever the format."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from capture.errors import HalfmirrorError
from inference.representations.coding import Columns
from recordings.formats.dataset_source import FrameRefused
from recordings.sandbox_child import Refused

U8 = NDArray[np.uint8]
Span = tuple[int, int]

# What a sequence can carry, in the words of error messages.
TRUTH = "sharp pictures"
EVENTS = "events of each exposure"
STREAM = "one stream of events over all frames"
EXPOSURE = "exposure times"
SCER = "stored SCER"
VIDEO = "frames in a row"
INSTANTS = "sharp pictures with times"
SPIKES = "a spike camera's spikes"

_READERS = {
    "efnet-h5": "training.data.sets.efnet_raw:RawReader",
    "efnet-scer": "training.data.sets.efnet_scer:ScerReader",
    "highrev": "training.data.sets.highrev:HighRevReader",
    "msrbd": "training.data.sets.pairs:PairsReader",
    "frames": "training.data.sets.frames:FramesReader",
    "spikes": "training.data.sets.spikes:SpikesReader",
}  # fmt: skip


class Damaged(HalfmirrorError):
    """A part of a data set cannot be read. One line with the file and the reason."""


@dataclass(frozen=True, slots=True)
class SequenceFacts:
    """One sequence of a data set. Picklable; `reader` opens it.

    Attributes:
        format: see the package.
        files: the file, or the files and folders that the format needs.
        name: of the sequence.
        split: "train", "test" or "" (not told).
        size: (width, height) of the frames.
        grid: (width, height) of the event sensor; None: no events.
        spans: of each frame the window of its events, µs on the sequence's own clock; None: it has none, and is
            no item to restore.
        carries: what is there, of the words above.
        digest: changes when the files do.
        pairs: frames k of which k + 1 and every event from the start of k to its end are there, too (of a video
            without events: which k + 1 follows); None: all of a stream, see `pair_starts`.
        problems: parts that were left out, a line each.
    """

    format: str
    files: tuple[str, ...]
    name: str
    split: str
    size: Span
    grid: Span | None
    spans: tuple[Span | None, ...]
    carries: frozenset[str]
    digest: str
    pairs: tuple[int, ...] | None = None
    problems: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """Number of frames, those without a window included."""
        return len(self.spans)

    @property
    def items(self) -> list[int]:
        """Frames that have a window of events; without events all."""
        if self.grid is None:
            return list(range(self.frames))
        return [i for i, span in enumerate(self.spans) if span is not None]

    @property
    def pair_starts(self) -> list[int]:
        """Frames k that make a pair with k + 1: both exposures are known and follow one another."""
        out = []
        for k in range(self.frames - 1) if self.pairs is None else self.pairs:
            own, following = self.spans[k], self.spans[k + 1]
            if own is not None and following is not None and own[1] <= following[0]:
                out.append(k)
        return out

    def in_a_row(self, first: int, last: int) -> bool:
        """The frames `first` … `last` are there and follow one another."""
        whole = first >= 0 and last < self.frames
        return whole and (self.pairs is None or set(range(first, last)) <= set(self.pairs))

    def known_around(self, frame: int) -> Span | None:
        """From when to when, around a frame with a window, every event is there; None: the whole stream is."""
        if self.pairs is None:
            return None
        starts, first, last = set(self.pair_starts), frame, frame
        while first - 1 in starts:
            first -= 1
        while last in starts:
            last += 1
        begin, end = self.spans[first], self.spans[last]
        assert begin is not None
        assert end is not None
        return begin[0], end[1]

    def reader(self) -> SequenceReader:
        """Opens the files.

        Raises:
            Damaged: they cannot be read.
        """
        module, _, kind = _READERS[self.format].partition(":")
        made: SequenceReader = getattr(import_module(module), kind)(self)
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The events of one exposure.

    Attributes:
        events: t in int64 µs.
        start_us, end_us: the window, [start, end).
        stored_t: the same times as the file has them, for representations as published.
    """

    events: Columns
    start_us: int
    end_us: int
    stored_t: NDArray[Any]


class SequenceReader(Protocol):
    """Reads one sequence. Pictures are (H, W, 3) RGB uint8. Every method may raise `Damaged`."""

    def blurred(self, index: int) -> U8:
        """A frame."""

    def truth(self, index: int) -> U8:
        """The sharp picture of the middle of a frame's exposure."""

    def instants(self, index: int) -> list[tuple[int, U8]]:
        """All sharp pictures that belong to a frame with their times in µs; as often as the files have them."""

    def window(self, index: int) -> Window:
        """The events of a frame; `EVENTS`."""

    def between(self, start_us: int, end_us: int) -> Columns:
        """All events with start <= t < end, t in int64 µs; `STREAM`."""

    def stored(self, index: int) -> tuple[NDArray[np.float32], U8 | None]:
        """SCER (6, H, W), not normalised, and the mask (1, H, W) of 0 and 255 where there is one; `SCER`."""

    def spikes(self, index: int) -> U8:
        """(137, H/4, W/4) 0 and 1 around a frame, see `inference.representations.spikes`; `SPIKES`."""


class Unread:
    """What a format does not have: each method says so."""

    facts: SequenceFacts

    def _none(self, what: str) -> Damaged:
        return Damaged(f"{self.facts.name}: {self.facts.format} holds no {what}")

    def instants(self, index: int) -> list[tuple[int, U8]]:
        """The middle alone."""
        span = self.facts.spans[index] or (0, 0)
        return [((span[0] + span[1]) // 2, self.truth(index))]

    def truth(self, index: int) -> U8:
        """None."""
        raise self._none(TRUTH)

    def window(self, index: int) -> Window:
        """None."""
        raise self._none(EVENTS)

    def between(self, start_us: int, end_us: int) -> Columns:
        """None."""
        raise self._none(STREAM)

    def stored(self, index: int) -> tuple[NDArray[np.float32], U8 | None]:
        """None."""
        raise self._none(SCER)

    def spikes(self, index: int) -> U8:
        """None."""
        raise self._none(SPIKES)


P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
# What reading a damaged file ends in.
FAULTS = (Refused, FrameRefused, OSError, ValueError, KeyError, RuntimeError, HalfmirrorError)


def why(error: BaseException) -> str:
    """An error's text as one short line."""
    text = f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split())[:160] or type(error).__name__


def reads(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], R]:
    """A reader's method whose errors come out as `Damaged`, with the sequence's name."""

    @functools.wraps(method)
    def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except Damaged:
            raise
        except FAULTS as error:
            facts: SequenceFacts = self.facts  # type: ignore[attr-defined]
            where = f" frame {args[0]}" if len(args) == 1 else ""
            raise Damaged(f"{facts.name}{where} ({facts.format}): {why(error)}") from error

    return guarded


def sized(picture: U8, facts: SequenceFacts) -> U8:
    """A picture as (H, W, 3), refused when it is not of the sequence's size.

    Raises:
        ValueError: of another size.
    """
    if (picture.shape[1], picture.shape[0]) != facts.size:
        raise ValueError(
            f"is {picture.shape[1]}×{picture.shape[0]}, the others {facts.size[0]}×{facts.size[1]}"
        )
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
