"""Synchronise and restore, apart from where items come from and where pictures go.

Two threads. The caller's thread (`feed_*`, `tick`) keeps the synchroniser up to date and never waits for a
network. The restoring thread takes one job at a time: a request on the held exposure, else the next exposure.

Between them lies a queue with two rules. *Newest wins* (live): a waiting exposure is replaced by a newer one
and counted as superseded, so that the picture never falls further and further behind. *Every item* (offline,
as fast as possible): nothing is replaced; `full` tells the caller to stop reading for a while.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from capture.packets import EventPacket, Frame
from inference.drift import AlignmentWatch, Drift
from inference.engine import Attempt, Failed
from inference.kept import Kept, Request
from inference.lost_device import DeviceLostError
from inference.outcomes import Job, Outcome, Result, StageCounters, admitted, line_of
from inference.restorers.base import check_latents
from inference.restorers.picture import picture_of
from inference.stalled import JobWatch, StalledError
from inference.switching import RETRY_S, NetworkSwitch
from inference.watching import ResidualWatch
from sync.exposure import AlignedExposure, RefusedExposure
from sync.rig import Rig
from sync.synchroniser import Synchroniser

QUEUE_LIMIT = 6

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
        residual: measure the re-blur residual of every exposure (`watch_residual`: only now and then).
        retry_s: as of `NetworkSwitch`.
        jobs: tells a network that does not come back.

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
        residual: bool = False,
        retry_s: float = RETRY_S,
        jobs: JobWatch | None = None,
    ) -> None:
        self.counters = StageCounters()
        self.last_restore_ms: dict[str, float] = {}
        self._publish = publish
        self._latents = check_latents(latents)
        self._every_item = every_item
        self._live = live
        self._lock = threading.Condition()
        self._queue: deque[Job] = deque()
        self._rig = rig
        self._kept = Kept(rig)
        self._owed = 0  # exposures that wait in the engine for later neighbours
        self._flush = self._stopped = False
        self._serving_held = False
        self._in_work: int | None = None  # number of the request that is being restored
        self._epoch: int | None = None  # of the exposures that are being restored
        self._broken: BaseException | None = None
        self._switch = NetworkSwitch(rig, network, options or {}, device, residual, self._lock, retry_s)
        self._jobs = jobs or JobWatch()
        self._stalling_s = 0.0
        self._watch = ResidualWatch(rig, self._kept)
        # One sensor cannot move against itself; offline every turn belongs to the restorer.
        watched = rig.has_events and not rig.identity and not every_item
        self._alignment = AlignmentWatch(rig) if watched else None
        self._drift = Drift()
        before, after = self._switch.margins
        self.sync = Synchroniser(rig, margin_before_us=before, margin_after_us=after)
        self._margins: tuple[int, int] | None = None  # wanted from now on; the caller's thread sets them
        self._thread = threading.Thread(target=self._run, name="restore", daemon=True)

    @property
    def network(self) -> str:
        """The network that restores now."""
        return self._switch.network

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
        """Take what the synchroniser has ready; `now_ns` None when only data may decide (offline).

        Raises:
            StalledError: a call of the network has not come back.
            DeviceLostError: the GPU answers this process no more.
            Whatever has ended the restoring thread: pictures could not be handed on, or a fault of the program.
        """
        if self._broken is not None:
            raise self._broken
        if (lost := self._switch.lost) is not None:
            raise DeviceLostError(f"{self._switch.wanted} has lost the GPU ({line_of(lost)})")
        try:
            self._stalling_s = self._jobs.look(preparing=self._switch.engine.preparing)
        except StalledError as e:
            raise StalledError(f"{self.network} {e}") from None
        margins, self._margins = self._margins, None
        if margins is not None:
            self.sync.set_margins(*margins)
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
                self._queue.append(Job(o, self._end_host_ns(o)))
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
            self._lock.notify_all()
            return self._kept.hold(ordinal)

    def request(self, number: int, latents: Sequence[float]) -> None:
        """Restore the held exposure at these instants; a newer request replaces one that still waits.

        The number of the one that is in work asks for nothing new.
        """
        chosen = check_latents(latents)
        with self._lock:
            if self._kept.held is not None and number != self._in_work:
                self._kept.request = (number, chosen)
                self._lock.notify_all()

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Change options of the restorer.

        Raises:
            UsageError: the restorer does not know one of them.
        """
        with self._lock:
            self._switch.set(options)
            self._margins = self._switch.margins  # an option may ask for more events
            self._watch.forget()
            self._jobs.forget()
            self._lock.notify_all()

    def watch_residual(self, on: bool) -> None:
        """Publish re-blur residuals of the held exposure, else of a recent one now and then; see `watching`."""
        with self._lock:
            self._watch.switch(on)
            self._lock.notify_all()

    def select(self, network: str) -> None:
        """Switch to another network. The old one runs until the new one is ready.

        Raises:
            UsageError: no such network (found out at once, before anything is loaded).
        """
        self._switch.select(network)

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
            self.counters.waiting = len(self._queue) + self._owed
            held = self._kept.held
            return {
                "network": self.network,
                "wanted": self._switch.wanted,
                "runs_on": getattr(self._switch.engine.restorer, "runs_on", ""),
                "loading": self._switch.loading,
                "message": self._stalling() or self._switch.message or self._watch.fault,
                "restore_ms": dict(self.last_restore_ms),
                "stage": asdict(self.counters),
                "sync": asdict(self.sync.counters),
                "unmatched_why": self.sync.status.why,
                "device_lost": self._switch.lost is not None,
                "held": held.ordinal if held else None,
                "drift": self._drift.to_message() if self._alignment is not None else None,
            }

    def _stalling(self) -> str:
        s = self._stalling_s
        return f"{self.network} has been at one exposure for {s:.0f} s" if s else ""

    # --- the restoring thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (work := self._next_work()) is not None:
                before = self.counters.restored
                work()
                self._jobs.end(restored=self.counters.restored > before)
        except BaseException as e:  # seen by the caller's thread: a worker that restores nothing must not go on
            self._broken = e

    def _next_work(self) -> Callable[[], None] | None:
        """Wait for something to do; None: stopped. Requests and new exposures take turns, neither starves."""
        with self._lock:
            while True:
                if self._stopped:
                    return None
                self._switch.try_again()
                waiting = self._queue or self._kept.request or self._switch.ready or self._flush
                step = self._watch.due_in(self._switch.engine, time.monotonic(), busy=bool(waiting))
                if waiting or step == 0.0:
                    break
                self._lock.wait(min(0.5, step or 0.5))
            self._jobs.begin((self._owed + 1) * len(self._latents))
            if self._switch.ready:
                return self._take_over
            if step == 0.0:
                return self._measure
            held, request = self._kept.held, self._kept.request
            if request is not None and held is not None and not (self._serving_held and self._queue):
                self._kept.request, self._in_work = None, request[0]
                self._serving_held = True
                self._jobs.begin(len(request[1]))
                return lambda: self._restore_held(held, request)
            if self._queue:
                job, latents = self._queue.popleft(), self._latents
                self._owed += 1
                self._serving_held = False
                self._lock.notify_all()
                return lambda: self._settle(job, latents)
            self._flush = False
            return lambda: self._deliver(self._switch.engine.try_flush())

    def _measure(self) -> None:
        """One step of a re-blur residual."""
        found = self._watch.step(self._switch.engine)
        if found is not None:
            self._publish(found)

    def _take_over(self) -> None:
        """The network that is ready replaces the one that runs, which first gives what it owes."""
        self._deliver(self._switch.engine.try_gap(), fall_back=False)
        with self._lock:
            self._switch.take_over()
            self._margins = self._switch.margins
            self._watch.forget()
            self._jobs.forget()

    def _settle(self, job: Job, latents: tuple[float, ...]) -> None:
        outcome = job.outcome
        if outcome.frame.epoch != self._epoch:
            # Ordinals begin anew; what the network still owes of the old ones comes out first.
            self._deliver(self._switch.engine.try_gap())
            self._epoch = outcome.frame.epoch
            with self._lock:
                self._kept.forget()
        with self._lock:
            self._kept.add(job)
        engine = self._switch.engine
        exposure = admitted(outcome, engine.restorer.needs, self._rig)
        if exposure is not None:
            self._deliver(engine.try_push(exposure, latents))
        elif isinstance(outcome, RefusedExposure):
            reason = outcome.reason.name.lower()
            with self._lock:
                self._owed -= 1
                self.counters.refused += 1
                self.counters.refused_by[reason] = self.counters.refused_by.get(reason, 0) + 1
            self._publish(Result(outcome, None, "", job.end_host_ns))

    def _deliver(self, attempts: Sequence[Attempt], *, fall_back: bool = True) -> None:
        """Count and publish what the engine gave; let the network give way when it has failed for good."""
        final: Exception | None = None
        network = self._switch.network
        for a in attempts:
            ordinal = a.exposure.ordinal if isinstance(a, Failed) else a.ordinal
            with self._lock:
                self._owed -= 1
                job = self._kept.get(ordinal)
                if isinstance(a, Failed):
                    self.counters.failed += 1
                else:
                    self.counters.restored += 1
                    self.last_restore_ms[a.network] = a.seconds * 1e3
            assert job is not None, f"exposure {ordinal} came out of the engine and is not at hand"
            if isinstance(a, Failed):
                final = a.error if self._switch.failed(a.error) else final
                text = f"{network} failed: {line_of(a.error)}"
                self._publish(Result(job.outcome, None, text, job.end_host_ns))
            else:
                self._switch.succeeded()
                self._watch.restored(job, a)
                self._publish(Result(job.outcome, a, "", job.end_host_ns))
                self._watch_drift(job.outcome)
        if final is not None and fall_back:
            self._fall_back(final)

    def _watch_drift(self, outcome: Outcome) -> None:
        """Once a second, where nothing waits: do events and picture still lie on each other?"""
        w = self._alignment
        if w is None or not isinstance(outcome, AlignedExposure) or not outcome.exposure.known:
            return
        if not w.due(time.monotonic()) or self._queue:
            return
        w.measure(picture_of(outcome.frame), outcome.exposure_events())
        status = self.sync.status
        self._drift = w.drift(status.residual_us if status.locked else 0.0)

    def _fall_back(self, error: Exception) -> None:
        """Frames pass through from now on, also those that the network still owes."""
        owed = self._switch.engine.give_up()
        with self._lock:
            self._switch.give_way(error)
            self._margins = self._switch.margins
            self._watch.forget()
            self._jobs.forget()
        for exposure, latents in owed:
            self._deliver(self._switch.engine.try_push(exposure, latents))

    def _restore_held(self, held: Outcome, request: Request) -> None:
        try:
            self._answer(held, request)
        finally:
            with self._lock:
                self._in_work = None

    def _answer(self, held: Outcome, request: Request) -> None:
        number, latents = request
        engine = self._switch.engine
        needs = engine.restorer.needs
        exposure = admitted(held, needs, self._rig)
        if exposure is None:  # the viewer says by which name it was refused
            self._publish(Result(held, None, "", 0, held=True, request=number))
            return
        with self._lock:
            window = self._kept.window(exposure, needs)
        if window is None:
            text = f"{self.network} needs the neighbours of the held exposure, which have gone"
            self._publish(Result(held, None, text, 0, held=True, request=number))
            return
        got = engine.again(window, latents)
        if not isinstance(got, Failed):
            self._publish(Result(held, got, "", 0, held=True, request=number))
            return
        text = f"{self.network} failed: {line_of(got.error)}"
        self._publish(Result(held, None, text, 0, held=True, request=number))
        if self._switch.failed(got.error):
            self._fall_back(got.error)

    def _end_host_ns(self, o: Outcome) -> int:
        if self._live and o.exposure is not None:
            known = self.sync.host_ns_of(o.exposure.end_us)
            if known is not None:
                return known
        return o.frame.host_ns
