"""The figures of a session: every exposure accounted for, rates, latency."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np

from app.picture_reader import PictureReader
from app.session import Picture, SessionStatus, WorkerStatus

WINDOW_S = 3.0
LATENCIES = 200


class Figures:
    """Gathers what workers report and what the viewer has shown.

    Attributes:
        restore: the restore worker's last report (`inference.worker`).
        stage_fps: items a second by worker.
        waiting: exposures under way at the last `status`.
    """

    def __init__(self) -> None:
        self.restore: dict[str, Any] = {}
        self.stage_fps: dict[str, float] = {}
        self.waiting = 0
        self._latency_ms: deque[float] = deque(maxlen=LATENCIES)
        self._shown_at: deque[float] = deque()
        self._source, self._uncertainty_us = "", 0.0
        self._restored_shown = self._superseded = self._lost = 0

    def shown(self, p: Picture) -> None:
        """A picture of the stream goes on screen now."""
        now = time.monotonic()
        if p.sharp is not None:
            self._shown_at.append(now)
            if p.exposure_end_host_ns > 0:
                self._latency_ms.append((time.monotonic_ns() - p.exposure_end_host_ns) / 1e6)
        self._source, self._uncertainty_us = p.source, p.uncertainty_us

    def take_reader(self, reader: PictureReader) -> None:
        """Counters of the viewer's end."""
        self._restored_shown = reader.shown - reader.refused_shown
        self._superseded = reader.superseded
        self._lost = reader.lost

    def _rate(self, now: float) -> float:
        while self._shown_at and now - self._shown_at[0] > WINDOW_S:
            self._shown_at.popleft()
        if len(self._shown_at) < 2:
            return 0.0
        return (len(self._shown_at) - 1) / max(1e-3, self._shown_at[-1] - self._shown_at[0])

    def exposure_losses(self) -> dict[str, int]:
        """Places at which exposures were lost, with counts; they add up to what is dropped."""
        stage, sync = self.restore.get("stage", {}), self.restore.get("sync", {})
        lapped = int(self.restore.get("lost_frames", 0))
        losses = {
            "camera frames": max(0, int(sync.get("frames_missing", 0)) - lapped),
            "ring frames": lapped,
            "superseded (seek)": int(sync.get("superseded", 0)),
            "superseded (restore)": int(stage.get("superseded", 0)),
            "superseded (viewer)": self._superseded,
            "ring pictures": self._lost,
            "failed": int(stage.get("failed", 0)),
        }
        losses.update({f"refused: {k}": int(v) for k, v in stage.get("refused_by", {}).items()})
        return losses

    def event_losses(self) -> dict[str, int]:
        """Places at which events or packets of events were lost."""
        sync = self.restore.get("sync", {})
        return {
            "ring event packets": int(self.restore.get("lost_event_packets", 0)),
            "camera events": int(sync.get("events_dropped_upstream", 0)),
            "rejected events": int(sync.get("events_rejected", 0)),
        }

    def status(
        self, workers: tuple[WorkerStatus, ...], *, message: str = "", ended: bool = False
    ) -> SessionStatus:
        """All figures now."""
        sync = self.restore.get("sync", {})
        losses = self.exposure_losses()
        dropped = sum(losses.values())
        # The worker's report is up to 0.2 s older than the viewer's own counters.
        missing = losses["camera frames"] + losses["ring frames"]
        items_in = max(int(sync.get("frames_in", 0)) + missing, self._restored_shown + dropped)
        self.waiting = items_in - self._restored_shown - dropped
        fps = self._rate(time.monotonic())
        ms = np.array(self._latency_ms) if self._latency_ms else np.zeros(1)
        p50, p95 = np.percentile(ms, [50, 95])
        return SessionStatus(
            fps=fps,
            stage_fps={**self.stage_fps, "shown": fps},
            latency_p50_ms=float(p50),
            latency_p95_ms=float(p95),
            items_in=items_in,
            items_out=self._restored_shown,
            waiting=self.waiting,
            losses={**losses, **self.event_losses()},
            exposure_source=self._source,
            uncertainty_us=self._uncertainty_us,
            workers=workers,
            event_rate_hz=self._event_rate(),
            message=message,
            ended=ended,
        )

    def _event_rate(self) -> float:
        return float(self.restore.get("event_rate_hz", 0.0))
