"""The pipeline on a file: the same synchroniser, engine and restorers as live, every item, at full speed."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.offline_input import Item, OfflineInput, item_begin_us
from app.output.flags import flag_kind
from app.output.labels import stamped
from app.output.png import Stamp
from app.output.spread import Spread
from capture.errors import HalfmirrorError, UsageError
from capture.packets import EventPacket
from inference import models
from inference.engine import Engine
from inference.outcomes import admitted
from inference.restorers.base import RESIDUAL_FIGURE, LatentTimes, Restored, Restorer
from sync.exposure import AlignedExposure, Refusal, RefusedExposure
from sync.exposure_sources import ExposureSources
from sync.rig import Rig
from sync.synchroniser import OFFLINE_WAIT_US, Outcome, Synchroniser

MAX_BYTES = 4 << 30
STAGES = ("prepare", "read", "sync", "restore", "write")


Wanted = Callable[[Outcome], bool]


class NothingRestored(HalfmirrorError):
    """The input held no exposure that could be restored; the message says why."""


class Sink(Protocol):
    """Where restored pictures go, in order of time."""

    def add(self, image: NDArray[np.uint8], stamp: Stamp) -> None:
        """One picture, (H, W, 3) RGB or (H, W) gray."""


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """An exposure that is in the input but not in the output."""

    ordinal: int
    sequence: int
    reason: str
    detail: str


@dataclass(slots=True)
class OfflineResult:
    """Every item accounted for: `frames_in = restored + len(refused) + outside + dropped`.

    Attributes:
        frames_in: frames read from the input.
        restored, pictures: exposures restored, and pictures written for them.
        refused: exposures that were not restored, and why.
        outside: exposures that were not wanted, whatever would have become of them.
        dropped: exposures that no stage answered for; 0 unless a restorer lacks neighbours.
        incomplete: restored although event loss is known inside their window.
        alone: restored from frames alone although the synchroniser refused them (no exposure known, no events);
            only restorers that need no events are given such.
        events_in, events_rejected, events_dropped, edges_in, frames_missing: of the input.
        seconds: wall time by stage (`STAGES`), and total.
        flags: named states of the restorer (numbers in them left out), and how often each came.
        figures: median of every figure the restorer gave.
        residual: of the re-blur residuals of all exposures that have one, None when none has.
        first_us, last_us: times of the first and the last picture.
        sources: where the restored exposures came from, and how sure they are.
    """

    frames_in: int = 0
    restored: int = 0
    pictures: int = 0
    refused: list[RefusedItem] = field(default_factory=list)
    outside: int = 0
    dropped: int = 0
    incomplete: int = 0
    alone: int = 0
    events_in: int = 0
    events_rejected: int = 0
    events_dropped: int = 0
    edges_in: int = 0
    frames_missing: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    residual: Spread | None = None
    first_us: int | None = None
    last_us: int | None = None
    sources: ExposureSources = field(default_factory=ExposureSources)

    def refusals(self) -> dict[str, int]:
        """How many exposures were refused, by reason."""
        counts: dict[str, int] = {}
        for r in self.refused:
            counts[r.reason] = counts.get(r.reason, 0) + 1
        return counts


def check_latents(restorer: Restorer, latents: Sequence[float]) -> None:
    """Refuse instants that the network cannot show.

    Raises:
        UsageError: names the instants it can.
    """
    needs = restorer.needs
    if needs.latent is LatentTimes.FIXED:
        bad = [v for v in latents if not any(abs(v - f) < 1e-6 for f in needs.fixed_latents)]
        if bad:
            known = ", ".join(f"{f:g}" for f in needs.fixed_latents)
            raise UsageError(f"network {restorer.name!r} gives only the instants {known}; use --at {known}")


def check_events(restorer: Restorer, source: OfflineInput) -> None:
    """Refuse a network that needs events on a source without.

    Raises:
        UsageError: names the networks that need none.
    """
    if restorer.needs.events and not source.rig.has_events:
        models.require_events(restorer.name, False)


def _check_memory(rig: Rig, instants: int) -> None:
    """All instants of one exposure are in memory at once; refuse what would fill it."""
    one = rig.image.width * rig.image.height * 3 * 4  # colour, as float while it is worked on
    if instants > 1 and instants * one > MAX_BYTES:
        raise UsageError(
            f"{instants} instants of {rig.image.width}×{rig.image.height} need {instants * one / 1e9:.1f} GB "
            f"at once; give at most {max(1, MAX_BYTES // one)} an exposure"
        )


def deblur(
    source: OfflineInput,
    restorer: Restorer,
    latents: Sequence[float],
    sink: Sink,
    progress: Callable[[float, OfflineResult], None] = lambda _share, _result: None,
    *,
    residual: bool = False,
    wanted: Wanted = lambda _outcome: True,
) -> OfflineResult:
    """Restore every exposure of `source` at the instants `latents` and hand the pictures to `sink`.

    A refused exposure gives no picture: it is listed in the result with its reason instead. `residual`: measure
    the re-blur residual of every exposure (`inference.residual`); the pictures stay the same. `wanted`: whether
    an exposure is to be restored, asked of each, in order.

    Raises:
        NothingRestored: no frames at all, or every exposure refused.
        UsageError: instants that the network cannot show, or it needs events and the source has none.
        Whatever the source and the sink raise.
    """
    run = steps(source, restorer, latents, sink, progress, residual=residual, wanted=wanted)
    return deque(run, maxlen=1).pop()


def steps(
    source: OfflineInput,
    restorer: Restorer,
    latents: Sequence[float],
    sink: Sink,
    progress: Callable[[float, OfflineResult], None] = lambda _share, _result: None,
    *,
    residual: bool = False,
    wanted: Wanted = lambda _outcome: True,
) -> Iterator[OfflineResult]:
    """As `deblur`, an item of the source at a time: the result so far, always the same object."""
    check_latents(restorer, latents)
    check_events(restorer, source)
    _check_memory(source.rig, len(latents))
    run = _Run(source, Engine(restorer, residual=residual), tuple(latents), sink, wanted)
    started = time.perf_counter()
    with run.clock("prepare"):
        source.prepare(lambda share: progress(share, run.result))
        progress(0.0, run.result)
        restorer.prepare(source.rig.image.width, source.rig.image.height)
    items = iter(source.items)
    first_us: int | None = None
    while True:
        with run.clock("read"):
            item = next(items, None)
        if item is None:
            break
        run.push(item)
        events = source.rig.has_events
        now = item.complete_until_us if isinstance(item, EventPacket) else item_begin_us(item, events)
        if now is not None:
            first_us = now if first_us is None else first_us
            progress(min(1.0, max(0.0, (now - first_us) / source.span_us)), run.result)
        yield run.result
    run.finish()
    run.result.seconds["total"] = time.perf_counter() - started
    progress(1.0, run.result)
    _require_some(source.name, run.result)
    yield run.result


class _Run:
    """The stages in a row."""

    def __init__(
        self, source: OfflineInput, engine: Engine, latents: tuple[float, ...], sink: Sink, wanted: Wanted
    ) -> None:
        self.result = OfflineResult(seconds=dict.fromkeys(STAGES, 0.0))
        needs = engine.restorer.needs
        self._sync = Synchroniser(
            source.rig, margin_before_us=needs.margin_before_us, margin_after_us=needs.margin_after_us,
            max_wait_us=OFFLINE_WAIT_US,
        )  # fmt: skip
        self._engine = engine
        self._latents = latents
        self._sink = sink
        self._wanted = wanted
        self._waiting: dict[int, AlignedExposure] = {}  # pushed, not restored yet (networks with neighbours)
        self._figures: dict[str, list[float]] = {}
        # The synchroniser counts anew after a jump of the source's time axis; the output must not.
        self._epoch = 0
        self._base = 0
        self._next = 0

    @contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        t = time.perf_counter()
        try:
            yield
        finally:
            self.result.seconds[stage] += time.perf_counter() - t

    def push(self, item: Item) -> None:
        with self.clock("sync"):
            if isinstance(item, EventPacket):
                self._sync.push_events(item)
            else:
                self._sync.push_frame(item)
                self.result.frames_in += 1
            out = self._sync.take(None)
        self._restore(out)

    def finish(self) -> None:
        with self.clock("sync"):
            out = self._sync.finish()
        self._restore(out)
        with self.clock("restore"):
            last = self._engine.flush()
        self._write(last)
        r, c = self.result, self._sync.counters
        r.events_in, r.events_rejected, r.edges_in = c.events_in, c.events_rejected, c.edges_in
        r.events_dropped, r.frames_missing = c.events_dropped_upstream, c.frames_missing
        r.dropped = r.frames_in - r.restored - len(r.refused) - r.outside
        r.figures = {k: statistics.median(v) for k, v in self._figures.items() if v}
        r.residual = Spread.of(self._figures.get(RESIDUAL_FIGURE, []))

    def _restore(self, exposures: Sequence[AlignedExposure | RefusedExposure]) -> None:
        for e in exposures:
            self._follow(e.frame.epoch)
            self._next = max(self._next, self._base + e.ordinal + 1)
            if not self._wanted(e):
                self.result.outside += 1
                continue
            taken = admitted(e, self._engine.restorer.needs, self._sync.rig)
            if taken is not None:
                self._waiting[e.ordinal] = taken
                with self.clock("restore"):
                    done = self._engine.push(taken, self._latents)
                self._write(done)
            elif isinstance(e, RefusedExposure):
                self.result.refused.append(
                    RefusedItem(
                        self._base + e.ordinal, e.frame.sequence, e.reason.name.lower(),
                        e.detail or str(e.reason),
                    )
                )  # fmt: skip

    def _follow(self, epoch: int) -> None:
        """Settle what belongs to the time axis before a jump."""
        if epoch == self._epoch:
            return
        self._epoch = epoch
        with self.clock("restore"):
            done = self._engine.gap()
        self._write(done)
        self._base = self._next

    def _write(self, restored: Sequence[Restored]) -> None:
        r = self.result
        for item in restored:
            e = self._waiting.pop(item.ordinal)
            r.restored += 1
            r.sources.add(e.exposure.source.value, e.exposure.uncertainty_us)
            r.incomplete += not e.complete and not e.alone
            r.alone += bool(e.alone)
            for flag in item.flags:
                kind = flag_kind(flag)
                r.flags[kind] = r.flags.get(kind, 0) + 1
            for name, value in item.figures.items():
                self._figures.setdefault(name, []).append(float(value))
            with self.clock("write"):
                for image, latent, t in zip(item.images, item.latents, item.times_us, strict=True):
                    self._sink.add(stamped(image, item.flags), _stamp(e, self._base + e.ordinal, latent, t))
                    r.pictures += 1
                    r.first_us = t if r.first_us is None else r.first_us
                    r.last_us = t


def _stamp(e: AlignedExposure, ordinal: int, latent: float, time_us: int) -> Stamp:
    x = e.exposure
    start, end, uncertainty = (x.start_us, x.end_us, x.uncertainty_us) if x.known else (None, None, None)
    return Stamp(ordinal, e.frame.sequence, latent, time_us, start, end, str(x.source), uncertainty)


def _require_some(name: str, result: OfflineResult) -> None:
    if result.frames_in == 0:
        raise NothingRestored(f"{name}: no frames came out of it, so there is nothing to restore")
    if result.restored == 0 and (result.refused or not result.outside):
        first = {r.reason: r.detail for r in reversed(result.refused)}
        reasons = "; ".join(
            f"{n} × {reason.replace('_', ' ')}: {first[reason]}" for reason, n in result.refusals().items()
        )
        if (lacks := Refusal.NO_EXPOSURE.name.lower()) in first and "--exposure-us" not in first[lacks]:
            reasons += "; where the file does not tell how long frames were exposed, state it: --exposure-us"
        of = result.frames_in - result.outside
        raise NothingRestored(
            f"{name}: none of {of} exposures could be restored ({reasons or 'no reason known'})"
        )  # fmt: skip
