"""Re-blur residuals for somebody who looks on: of the exposure that is held, else of a recent one now and then.

An exposure is measured one instant at a time, where nothing else waits, so that the stream loses nothing to it.
Where something waits all the time, a step is taken all the same after `STARVED_S`. Between two measurements the
stage rests, so that they take a quarter of its time at most.
"""

from __future__ import annotations

import time

from inference.engine import Engine
from inference.kept import Kept
from inference.outcomes import Job, Result, admitted, line_of
from inference.quality import ReblurResidual
from inference.residual import Measurement, why_not
from inference.restorers.base import Restored
from sync.rig import Rig

EVERY_S = 0.25  # from the beginning of one measurement to the next, at least
REST = 3.0  # times what a measurement cost
STARVED_S = 0.5  # without a step; then the stream has to give up a turn


_Running = tuple[Measurement, Job | None, Restored | None]


class ResidualWatch:
    """Measures while it is on. For the restoring thread, under its lock where it says so.

    Attributes:
        on: somebody looks on.
        fault: why the last measurement failed, one line; it is off then.
    """

    def __init__(self, rig: Rig, kept: Kept) -> None:
        self._rig, self._kept = rig, kept
        self.on = False
        self.fault = ""
        self._newest: tuple[Job, Restored] | None = None
        self._running: _Running | None = None
        self._measured: tuple[object, object] | None = None  # frame and restorer of the last one
        self._began = self._cost = self._rest_until = 0.0
        self._last_step = 0.0

    def switch(self, on: bool) -> None:
        """Look on, or not. Under the lock."""
        self.on, self.fault = on, ""
        self._running = self._measured = None
        self._rest_until = 0.0

    def forget(self) -> None:
        """What was restored and measured holds no more: another network, or other options. Under the lock."""
        self._running = self._measured = self._newest = None

    def restored(self, job: Job, restored: Restored) -> None:
        """The stream has a new picture."""
        self._newest = (job, restored)

    def due_in(self, engine: Engine, now: float, *, busy: bool) -> float | None:
        """Seconds until the next step; None while nothing is to be measured. Under the lock."""
        if not self.on or why_not(engine.restorer.name, engine.restorer.needs):
            return None
        if busy and now - self._last_step < STARVED_S:
            return None
        if self._current(engine) is not None:
            return 0.0
        if self._target(engine) is None:
            return None
        return 0.0 if self._kept.held is not None else max(0.0, self._rest_until - now)

    def _current(self, engine: Engine) -> _Running | None:
        """What is in work, if it still is of interest."""
        running, held = self._running, self._kept.held
        if running is None:
            return None
        m, job, _ = running
        same = held.frame is m.exposure.frame if held is not None else job is not None
        return running if same and m.restorer is engine.restorer else None

    def _target(self, engine: Engine) -> Measurement | None:
        """The next exposure to measure."""
        held, needs = self._kept.held, engine.restorer.needs
        if held is None and self._newest is None:
            return None
        job = None if held is not None or self._newest is None else self._newest[0]
        outcome = held if held is not None else job.outcome if job is not None else None
        exposure = None if outcome is None else admitted(outcome, needs, self._rig)
        if exposure is None or not exposure.exposure.known:
            return None
        if self._measured == (exposure.frame, engine.restorer):
            return None
        window = self._kept.window(exposure, needs)
        return None if window is None else Measurement(engine.restorer, window)

    def step(self, engine: Engine) -> Result | None:
        """One step of a measurement that is due; its result when that was the last one."""
        began = time.monotonic()
        running = self._current(engine)
        if running is None:
            target = self._target(engine)
            if target is None:
                return None
            newest = self._newest
            job, restored = (None, None) if self._kept.held is not None or newest is None else newest
            self._running = running = target, job, restored
            self._began, self._cost = began, 0.0
        m, job, restored = running
        error: Exception | None = None
        found: ReblurResidual | None = None
        try:
            found = m.step()
        except Exception as e:  # a network may fail in any way; the stream goes on without the residual
            error = e
        if self._running is not running:  # the caller's thread has switched it off, or other options hold
            return None
        if error is not None:
            self.on, self.fault = False, f"no re-blur residual: {engine.restorer.name} failed: {line_of(error)}"
            self._running = None
            return None
        now = self._last_step = time.monotonic()
        self._cost += now - began
        if found is None:
            return None
        self._running, self._measured = None, (m.exposure.frame, engine.restorer)
        self._rest_until = max(self._began + EVERY_S, now + REST * self._cost)
        if job is not None:
            self._kept.shown = job
            return Result(job.outcome, restored, "", job.end_host_ns, residual=found)
        return Result(m.exposure, None, "", 0, held=True, residual=found)
