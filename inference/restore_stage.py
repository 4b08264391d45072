"""Synchronise and restore, apart from where items come from and where pictures go.

Two threads. The caller's thread (`feed_*`, `tick`) keeps the synchroniser up to date and never waits for a
network. The restoring thread takes one job at a time: a request on the held exposure, else the next exposure.

Between them lies a queue with two rules. *Newest wins* (live): a waiting exposure is replaced by a newer one
and counted as superseded, so that the picture never falls further and further behind. *Every item* (offline,
as fast as possible): nothing is replaced; `full` tells the caller to stop reading for a while.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from capture.errors import HalfmirrorError
from capture.packets import EventPacket, Frame
from inference import models
from inference.engine import Engine
from inference.restorers.base import Restored, Restorer, check_latents
from sync.exposure import AlignedExposure, RefusedExposure
from sync.rig import Rig
from sync.synchroniser import Synchroniser

KEPT_EXPOSURES = 12  # how far back an exposure can be held and looked into
QUEUE_LIMIT = 6
FAILURES_BEFORE_FALLBACK = 3
PASS_THROUGH = "none"

Outcome = AlignedExposure | RefusedExposure


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One exposure's outcome, on its way to a viewer or a file.

    Attributes:
        exposure: the exposure, restored or refused.
        restored: the sharp pictures, None when refused or failed.
        failure: one line when restoring failed.
        exposure_end_host_ns: `time.monotonic_ns` at which the exposure ended as best known, 0 unknown.
        held: answers a request on the held exposure.
        request: number of that request.
    """

    exposure: Outcome
    restored: Restored | None
    failure: str
    exposure_end_host_ns: int
    held: bool = False
    request: int = 0


@dataclass(slots=True)
class StageCounters:
    """Every exposure accounted for: `exposures_in = restored + refused + failed + superseded + waiting`."""

    exposures_in: int = 0
    restored: int = 0
    refused: int = 0
    failed: int = 0
    superseded: int = 0
    waiting: int = 0
    refused_by: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """An outcome of the synchroniser with the host time at which its exposure ended.

    The host time is worked out on the caller's thread, which alone touches the synchroniser's clocks.
    """

    outcome: Outcome
    end_host_ns: int


Publish = Callable[[Result], None]


class RestoreStage:
    """Synchroniser, queue and restoring thread.

    Args:
        rig: the rig.
        network: name of the restorer to begin with.
        publish: called on the restoring thread with every outcome, in order.
        options: of the restorer.
        device: "auto", "cpu", "cuda".
        latents: instants at which every new exposure is restored.
        every_item: see the module's text.
        live: items arrive when they happen (their arrival times tell when an exposure ended).

    Raises:
        UsageError: unknown network or option.
    """

    def __init__(
        self,
        rig: Rig,
        network: str,
        publish: Publish,
        *,
        options: Mapping[str, Any] | None = None,
        device: str = "auto",
        latents: Sequence[float] = (0.5,),
        every_item: bool = False,
        live: bool = True,
    ) -> None:
        self.rig = rig
        self.network = network
        self._wanted = network
        self.loading = ""
        self.message = ""
        self.last_restore_ms: dict[str, float] = {}
        self.counters = StageCounters()
        self._publish = publish
        self._options = dict(options or {})
        self._device = device
        self._latents = check_latents(latents)
        self._every_item = every_item
        self._live = live
        self._lock = threading.Condition()
        self._queue: deque[_Job] = deque()
        self._kept: OrderedDict[int, _Job] = OrderedDict()
        self._held: AlignedExposure | None = None
        self._request: tuple[int, tuple[float, ...]] | None = None
        self._flush = False
        self._stopped = False
        self._failures = 0
        self._serving_held = False
        self._margins: tuple[int, int] | None = None
        self._restoring_epoch: int | None = None
        self._restorer = self._make(network)
        self._ready: tuple[str, Restorer] | None = None
        needs = self._restorer.needs
        self.sync = Synchroniser(
            rig, margin_before_us=needs.margin_before_us, margin_after_us=needs.margin_after_us
        )
        self._engine = Engine(self._restorer)
        self._thread = threading.Thread(target=self._run, name="restore", daemon=True)

    def _make(self, network: str) -> Restorer:
        restorer = models.create(
            network, self.rig, self._options if network == self.network else None, self._device
        )
        restorer.prepare(self.rig.image.width, self.rig.image.height)
        return restorer

    # --- the caller's thread -------------------------------------------------------------------------

    def start(self) -> None:
        """Start the restoring thread."""
        self._thread.start()

    def feed_events(self, packet: EventPacket) -> None:
        """The next packet of the event camera. Its arrays must not be reused by the caller."""
        self.sync.push_events(packet)

    def feed_frame(self, frame: Frame) -> None:
        """The next frame. Its image must not be reused by the caller."""
        self.sync.push_frame(frame)

    def tick(self, now_ns: int | None) -> None:
        """Take what the synchroniser has ready; `now_ns` None when only data may decide (offline)."""
        if self._margins is not None:
            self.sync.set_margins(*self._margins)
            self._margins = None
        self._enqueue(self.sync.take(now_ns))

    def end(self) -> None:
        """The source has ended (until it is sought): settle everything that still waits."""
        self._enqueue(self.sync.finish())
        with self._lock:
            self._flush = True
            self._lock.notify_all()

    @property
    def full(self) -> bool:
        """In every-item mode: the queue is long enough, read no more for now."""
        with self._lock:
            return self._every_item and len(self._queue) >= QUEUE_LIMIT

    def _enqueue(self, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        with self._lock:
            for o in outcomes:
                self.counters.exposures_in += 1
                if not self._every_item and self._queue:
                    self.counters.superseded += len(self._queue)
                    self._queue.clear()
                self._queue.append(_Job(o, self._end_host_ns(o)))
            self._lock.notify_all()

    # --- requests, from any thread -------------------------------------------------------------------

    def set_latents(self, latents: Sequence[float]) -> None:
        """Instants for new exposures from now on."""
        chosen = check_latents(latents)
        with self._lock:
            self._latents = chosen

    def hold(self, ordinal: int | None) -> bool:
        """Keep an exposure at hand; False when it has gone already."""
        with self._lock:
            kept = None if ordinal is None else self._kept.get(ordinal)
            self._held = kept.outcome if kept and isinstance(kept.outcome, AlignedExposure) else None
            if self._held is None:
                self._request = None
            return ordinal is None or self._held is not None

    def request(self, number: int, latents: Sequence[float]) -> None:
        """Restore the held exposure at these instants; a newer request replaces one that still waits."""
        chosen = check_latents(latents)
        with self._lock:
            if self._held is not None:
                self._request = (number, chosen)
                self._lock.notify_all()

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Change options of the restorer.

        Raises:
            UsageError: the restorer does not know one of them.
        """
        with self._lock:
            restorer = self._restorer
            restorer.set(dict(options))
            self._options.update(options)
            needs = restorer.needs
            self._margins = (needs.margin_before_us, needs.margin_after_us)  # an option may ask for more events

    def select(self, network: str) -> None:
        """Switch to another network. The old one runs until the new one is ready.

        Raises:
            UsageError: no such network (found out at once, before anything is loaded).
        """
        models.check(network, self._options)
        self._wanted = network
        threading.Thread(target=self._load, args=(network,), name="load", daemon=True).start()

    def _load(self, network: str) -> None:
        self.loading = network
        try:
            restorer = self._make(network)
        except Exception as e:  # whatever a network's loading raises must leave the old one running
            if self._wanted == network:
                self._wanted = self.network
            self.message = f"network {network} could not be loaded: {_line(e)}; {self.network} goes on"
            return
        finally:
            if self.loading == network:
                self.loading = ""
        with self._lock:
            if self._wanted != network:
                return  # another one was chosen while this one loaded, whichever of them is quicker
            self.message = ""
            self._ready = (network, restorer)
            self._lock.notify_all()

    def stop(self) -> None:
        """End the restoring thread after the job in hand."""
        with self._lock:
            self._stopped = True
            self._lock.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=1.5)

    def drained(self) -> bool:
        """Nothing waits any more."""
        with self._lock:
            return not self._queue and not self._flush

    def status(self) -> dict[str, Any]:
        """Plain values for the status message."""
        with self._lock:
            self.counters.waiting = len(self._queue)
            return {
                "network": self.network,
                "loading": self.loading,
                "message": self.message,
                "restore_ms": dict(self.last_restore_ms),
                "stage": asdict(self.counters),
                "sync": asdict(self.sync.counters),
                "held": self._held.ordinal if self._held else None,
            }

    # --- the restoring thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            job: _Job | None
            with self._lock:
                while not (self._stopped or self._queue or self._request or self._ready or self._flush):
                    self._lock.wait(0.5)
                if self._stopped:
                    return
                ready, self._ready = self._ready, None
                request, held = self._request, self._held
                # Requests and new exposures take turns, so that neither starves the other.
                if ready is not None:
                    job, request = None, None
                elif request is not None and held is not None and not (self._serving_held and self._queue):
                    self._request = None
                    self._serving_held = True
                    job = None
                elif self._queue:
                    job, request = self._queue.popleft(), None
                    self._serving_held = False
                    self._lock.notify_all()
                else:
                    job, request = None, None
                    self._flush = False
                latents = self._latents
            if ready is not None:
                self._swap(*ready)
            elif request is not None and held is not None:
                self._restore_held(held, request)
            elif job is not None:
                self._settle(job, latents)
            else:
                self._deliver(self._guard(self._engine.flush))

    def _swap(self, network: str, restorer: Restorer) -> None:
        self._deliver(self._guard(self._engine.flush))
        self.network, self._restorer = network, restorer
        self._failures = 0
        self._engine = Engine(self._restorer)
        needs = self._restorer.needs
        self._margins = (needs.margin_before_us, needs.margin_after_us)  # set by the caller's thread

    def _settle(self, job: _Job, latents: tuple[float, ...]) -> None:
        outcome = job.outcome
        if isinstance(outcome, RefusedExposure):
            reason = outcome.reason.name.lower()
            with self._lock:
                self.counters.refused += 1
                self.counters.refused_by[reason] = self.counters.refused_by.get(reason, 0) + 1
            self._publish(Result(outcome, None, "", job.end_host_ns))
            return
        if outcome.frame.epoch != self._restoring_epoch:
            # Ordinals begin anew; what the network still owes of the old ones comes out first.
            self._deliver(self._guard(self._engine.gap))
            self._restoring_epoch = outcome.frame.epoch
            with self._lock:
                self._kept.clear()
        with self._lock:
            self._kept[outcome.ordinal] = job
            while len(self._kept) > KEPT_EXPOSURES:
                self._kept.popitem(last=False)
        self._deliver(self._guard(lambda: self._engine.push(outcome, latents)), job)

    def _guard(self, work: Callable[[], list[Restored]]) -> list[Restored] | str:
        """What `work` gives, or one line about why it failed."""
        try:
            results = work()
        except Exception as e:  # a network may fail in any way; capture and viewer must go on
            self._failures += 1
            if self._failures >= FAILURES_BEFORE_FALLBACK and self.network != PASS_THROUGH:
                self.message = f"{self.network} failed ({_line(e)}); frames pass through"
                with self._lock:
                    self._ready = (PASS_THROUGH, models.create(PASS_THROUGH, self.rig, None, "cpu"))
            return f"{self.network} failed: {_line(e)}"
        self._failures = 0
        return results

    def _deliver(self, results: list[Restored] | str, job: _Job | None = None) -> None:
        if isinstance(results, str):
            if job is not None:
                with self._lock:
                    self.counters.failed += 1
                self._publish(Result(job.outcome, None, results, job.end_host_ns))
            return
        for r in results:
            with self._lock:
                source = self._kept.get(r.ordinal, job)
                self.counters.restored += 1
                self.last_restore_ms[r.network] = r.seconds * 1e3
            if source is not None:
                self._publish(Result(source.outcome, r, "", source.end_host_ns))

    def _restore_held(self, held: AlignedExposure, request: tuple[int, tuple[float, ...]]) -> None:
        number, latents = request
        needs = self._restorer.needs
        with self._lock:
            span = range(held.ordinal - needs.frames_before, held.ordinal + needs.frames_after + 1)
            kept = [self._kept.get(n) for n in span if n != held.ordinal]
        neighbours = [j.outcome for j in kept if j is not None and isinstance(j.outcome, AlignedExposure)]
        complete = sorted([*neighbours, held], key=lambda e: e.ordinal)
        if len(complete) < len(span):
            text = f"{self.network} needs the neighbours of the held exposure, which have gone"
            self._publish(Result(held, None, text, 0, held=True, request=number))
            return
        got = self._guard(lambda: [self._restorer.restore(complete, self._engine.latents_for(latents))])
        failure = got if isinstance(got, str) else ""
        restored = None if isinstance(got, str) else got[0]
        self._publish(Result(held, restored, failure, 0, held=True, request=number))

    def _end_host_ns(self, o: Outcome) -> int:
        if self._live and o.exposure is not None:
            known = self.sync.host_ns_of(o.exposure.end_us)
            if known is not None:
                return known
        return o.frame.host_ns


def _line(e: BaseException) -> str:
    text = str(e).strip().splitlines()
    first = text[0] if text else ""
    return first if isinstance(e, HalfmirrorError) else f"{type(e).__name__}: {first}"
