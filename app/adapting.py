"""Recordings as pairs of neighbouring exposures, for `halfmirror train adapt`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from app.offline_input import OfflineInput, open_input
from capture.errors import UsageError
from capture.packets import EventPacket, Events
from inference.restorers.contrast_pairs import MARGIN_US
from recordings.recording import OpenOptions
from sync.exposure import AlignedExposure, RefusedExposure
from sync.rig import Rig
from sync.rolling import MovedStream
from sync.synchroniser import OFFLINE_WAIT_US, Outcome, Synchroniser

Take = Callable[[AlignedExposure, AlignedExposure, Events, int], None]

KEPT_US = 5_000_000  # a little more than the synchroniser keeps: an exposure that began earlier is not complete


@dataclass
class Read:
    """What was read: every frame accounted for, `frames = usable + refused`.

    Attributes:
        frames, usable, pairs: frames, those with exposure and events, and how many of them follow one another.
        refused: by reason.
        cut: there may be more of it behind what was read.
    """

    frames: int = 0
    usable: int = 0
    pairs: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    cut: bool = False


def rig_of_all(sources: Sequence[str], said: OpenOptions | None = None) -> Rig:
    """The rig of recordings, the first one's; `said` of all of them.

    Raises:
        UsageError: they are not of one rig, or one has no events.
        RecordingError: one cannot be used.
    """
    first: tuple[str, Rig] | None = None
    for text in sources:
        with _opened(text, 1.0, said) as source:
            rig = source.rig
        if not rig.has_events:
            raise UsageError(f"{text} has no events; a network is adapted to frames and events of one rig")
        if first is None:
            first = (text, rig)
        elif _sizes(rig) != _sizes(first[1]):
            raise UsageError(
                f"{first[0]} ({_sizes(first[1])}) and {text} ({_sizes(rig)}) are not of one rig: adapt to one "
                "after the other"
            )
    assert first is not None
    return first[1]


def _opened(text: str, seconds: float, said: OpenOptions | None) -> AbstractContextManager[OfflineInput]:
    s = said or OpenOptions()
    return open_input(text, seconds, s.exposure_us, s.geometry, s.rig)


def pairs(source_name: str, seconds: float, take: Take, said: OpenOptions | None = None) -> Read:
    """Hand every pair of exposures in a row to `take`, with all events from one to the other.

    Raises:
        UsageError: not one exposure can be used; names why.
        RecordingError: the recording cannot be read.
    """
    read = Read()
    with _opened(source_name, seconds, said) as source:
        source.prepare(lambda _share: None)
        read.cut = source.span_us >= 1e6 * seconds
        before: AlignedExposure | None = None
        kept = Kept()
        for item in _exposures(iter(source.items), source.rig, read):
            if isinstance(item, Events):
                kept.add(item)
                continue
            if isinstance(item, RefusedExposure):
                before = None  # the next one has no neighbour before it
                kept.open()
                continue
            if before is not None and _neighbours(before, item):
                events = kept.between(before.exposure.start_us, item.exposure.end_us)
                take(before, item, events, read.pairs)
                read.pairs += 1
            before = item
            kept.since(item.exposure.start_us)
    if not read.usable:
        why = "; ".join(f"{n} × {reason}" for reason, n in read.refused.items()) or "no frames"
        raise UsageError(f"{source_name}: none of its {read.frames} exposures can be used ({why})")
    return read


class Kept:
    """The events of a pair to come: since the last exposure, or, while there is none, those of `KEPT_US`."""

    def __init__(self) -> None:
        self._parts: deque[Events] = deque()
        self._none: Events | None = None
        self._open = True

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def add(self, events: Events) -> None:
        """Take the next ones."""
        self._none = events[:0]
        if len(events):
            if self._parts and events.t[0] < self._parts[-1].t[-1]:
                self._parts.clear()  # of another time axis
            self._parts.append(events)
            if self._open:
                self._drop(int(events.t[-1]) - KEPT_US)

    def since(self, start_us: int) -> None:
        """From here on everything is kept: the next exposure may belong to the one that began then."""
        self._drop(start_us)
        self._open = False

    def open(self) -> None:
        """No exposure is there that the next one could belong to."""
        self._open = True

    def _drop(self, before_us: int) -> None:
        while self._parts and int(self._parts[0].t[-1]) < before_us:
            self._parts.popleft()

    def between(self, start_us: int, end_us: int) -> Events:
        """All with `start <= t < end`. Packets must have come, be it empty ones."""
        if not self._parts:
            assert self._none is not None
            return self._none
        return Events.concatenate(self._parts).between(start_us, end_us)


def _exposures(items: Iterator[object], rig: Rig, read: Read) -> Iterator[Events | Outcome]:
    """Events as they come, and exposures behind the events that complete them."""
    # As live: a contrast is learnt across the gaps between exposures.
    sync = Synchroniser(rig, margin_before_us=MARGIN_US, max_wait_us=OFFLINE_WAIT_US)
    stream = MovedStream(rig)

    def settled(out: Sequence[Outcome]) -> Iterator[Outcome]:
        for e in out:
            if isinstance(e, RefusedExposure):
                reason = e.reason.value.partition(":")[0]
                read.refused[reason] = read.refused.get(reason, 0) + 1
            else:
                read.usable += 1
            yield e

    for item in items:
        if isinstance(item, EventPacket):
            sync.push_events(item)
            yield stream.push(item).events
        else:
            sync.push_frame(item)  # type: ignore[arg-type]
            read.frames += 1
        yield from settled(sync.take(None))
    rest = stream.finish()
    if rest is not None:
        yield rest.events
    yield from settled(sync.finish())


def _neighbours(a: AlignedExposure, b: AlignedExposure) -> bool:
    """One after the other, with every event of both."""
    return (
        a.frame.epoch == b.frame.epoch and b.ordinal == a.ordinal + 1 and a.complete and b.complete
        and a.exposure.known and b.exposure.known and a.exposure.end_us <= b.exposure.start_us
    )  # fmt: skip


def _sizes(rig: Rig) -> str:
    return f"frames {rig.image.width}×{rig.image.height}, events {rig.events.width}×{rig.events.height}"
