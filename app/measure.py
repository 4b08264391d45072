"""How fast a network and the whole chain around it are on this machine, measured on a running session."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from app.following import START_LIMIT_S, PipelineError, faults
from app.session import Picture, Session, SessionStatus

WARM_UP_S = 3.0
"""After the first picture: kernels are compiled, buffers have their size, the contrast is found."""
_POLL_S = 0.002
_STATUS_EVERY_S = 0.2
PERCENTILES = (50, 95, 99)


@dataclass(slots=True)
class Speed:
    """What was measured.

    Attributes:
        seconds: it was measured for.
        exposures, restored: came in and went out meanwhile.
        restore_ms: of each restored picture, what the network took, representation included.
        chain_ms: of each, from the end of the exposure to the finished sharp picture.
        cores: processor time of all processes, in cores.
        memory_mb: of the restoring process at the end (resident set).
        losses: what was lost meanwhile, by place.
        image_size, event_size: (width, height) of the pictures and of the event sensor, (0, 0) without.
        event_rate_hz: at the end.
        runs_on: device and number type.
    """

    seconds: float = 0.0
    exposures: int = 0
    restored: int = 0
    restore_ms: list[float] = field(default_factory=list)
    chain_ms: list[float] = field(default_factory=list)
    cores: float = 0.0
    memory_mb: float = 0.0
    losses: dict[str, int] = field(default_factory=dict)
    image_size: tuple[int, int] = (0, 0)
    event_size: tuple[int, int] = (0, 0)
    event_rate_hz: float = 0.0
    runs_on: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values; percentiles in place of every single time."""
        return {
            "runs_on": self.runs_on, "image_size": list(self.image_size), "event_size": list(self.event_size),
            "event_rate_hz": self.event_rate_hz, "seconds": self.seconds, "exposures": self.exposures,
            "restored": self.restored, "pictures_per_s": self.restored / self.seconds if self.seconds else 0.0,
            "restore_ms": percentiles(self.restore_ms), "chain_ms": percentiles(self.chain_ms),
            "cores": self.cores, "memory_mb": self.memory_mb, "losses": self.losses,
        }  # fmt: skip


def percentiles(values: list[float]) -> dict[str, float | None]:
    """{"p50": …, "p95": …, "p99": …}; None where there is nothing."""
    if not values:
        return {f"p{p}": None for p in PERCENTILES}
    return {f"p{p}": float(v) for p, v in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)}


def measure(
    session: Session, seconds: float, tell: Callable[[str, float], None] = lambda _what, _share: None
) -> Speed:
    """Run a session for some seconds after its first picture and a warm-up, and stop it.

    Args:
        session: not started yet.
        seconds: to measure for.
        tell: progress: what is being done, and the share of it that is done.

    Raises:
        PipelineError: no picture came, or a worker was down at the end.
    """
    meter = _Meter(session, seconds, tell)
    session.start()
    try:
        meter.wait_for_the_first()
        meter.run(WARM_UP_S, "warming up")
        return meter.measured()
    finally:
        session.stop()


class _Meter:
    def __init__(self, session: Session, seconds: float, tell: Callable[[str, float], None]) -> None:
        self._session, self._seconds, self._tell = session, seconds, tell
        self.speed = Speed()
        self._noting = False

    def wait_for_the_first(self) -> None:
        began = time.monotonic()
        while True:
            if self._poll() is not None:
                return
            status, waited = self._session.status(), time.monotonic() - began
            self._tell(status.message or "starting", 0.0)
            down = faults(status)
            if status.ended or waited > START_LIMIT_S or (down and waited > START_LIMIT_S / 6):
                why = "; ".join(down) or ("the recording ended" if status.ended else f"within {waited:.0f} s")
                raise PipelineError(f"no picture came ({why}); try: halfmirror doctor")
            time.sleep(0.02)

    def run(self, seconds: float, what: str) -> SessionStatus:
        """Poll for a while; gives the last status."""
        began, looked = time.monotonic(), 0.0
        status = self._session.status()
        while (passed := time.monotonic() - began) < seconds:
            if self._poll() is None:
                time.sleep(_POLL_S)
            if passed - looked > _STATUS_EVERY_S:
                looked = passed
                status = self._session.status()
                self._tell(what, min(1.0, passed / seconds))
                if status.ended:
                    break
        return self._session.status() if not status.ended else status

    def measured(self) -> Speed:
        s, before, used, began = self.speed, self._session.status(), cpu_seconds(), time.monotonic()
        self._noting = True
        after = self.run(self._seconds, "measuring")
        self._noting = False
        s.seconds = time.monotonic() - began
        s.cores = (cpu_seconds() - used) / s.seconds
        s.restored = after.items_out - before.items_out
        s.exposures = after.items_in - before.items_in - (after.waiting - before.waiting)
        grown = {k: n - before.losses.get(k, 0) for k, n in after.losses.items()}
        s.losses = {k: n for k, n in grown.items() if n > 0}
        s.event_rate_hz, s.runs_on = after.event_rate_hz, after.runs_on
        pid = next((w.pid for w in after.workers if w.name == "restore"), None)
        if pid is not None:
            try:
                s.memory_mb = psutil.Process(pid).memory_info().rss / 1e6
            except psutil.Error:
                s.memory_mb = 0.0
        if down := faults(after):
            raise PipelineError(f"a worker was down at the end ({'; '.join(down)})")
        return s

    def _poll(self) -> Picture | None:
        p = self._session.poll()
        if p is None or p.held:
            return None
        self.speed.image_size = (p.blurred.shape[1], p.blurred.shape[0])
        if p.events is not None:
            self.speed.event_size = (p.events.width, p.events.height)
        if self._noting and p.sharp is not None:
            self.speed.restore_ms.append(p.restore_s * 1e3)
            if p.exposure_end_host_ns:
                self.speed.chain_ms.append((p.ready_host_ns - p.exposure_end_host_ns) / 1e6)
        return p


def cpu_seconds() -> float:
    """Processor seconds of this process and all below it."""
    total, me = 0.0, psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            t = process.cpu_times()
        except psutil.Error:
            continue
        total += t.user + t.system
    return total
