"""The figures of a session: every exposure accounted for, rates, latency."""

from __future__ import annotations

import time
from collections import Counter, deque
from itertools import pairwise
from typing import Any

import numpy as np

from app.picture_reader import PictureReader
from app.session import DriftStatus, Picture, SessionStatus, WorkerStatus
from capture.rate import Rate
from capture.ring import ReaderStats

WINDOW_S = 3.0
LATENCIES = 200
PARTS = ("waiting for data", "in the queue", "restoring", "to the screen")
"""Of the latency, in order: until frame and events are together, until the network takes them (with its later
neighbours, where it wants some), until the picture is there, until it is on screen."""


def losses_of(report: dict[str, Any]) -> Counter[str]:
    """Exposures lost in one restore worker's life, by place, out of its report."""
    stage, sync = report.get("stage", {}), report.get("sync", {})
    lapped = int(report.get("lost_frames", 0))
    losses = Counter({
        "camera frames": max(0, int(sync.get("frames_missing", 0)) - lapped),
        "superseded (seek)": int(sync.get("superseded", 0)),
        "superseded (restore)": int(stage.get("superseded", 0)),
        "failed": int(stage.get("failed", 0)),
    })  # fmt: skip
    losses.update({f"refused: {k}": int(v) for k, v in stage.get("refused_by", {}).items()})
    return losses


def event_losses_of(report: dict[str, Any]) -> Counter[str]:
    """Events, or packets of them, lost in one restore worker's life, by place."""
    sync = report.get("sync", {})
    return Counter({
        "ring event packets": int(report.get("lost_event_packets", 0)),
        "camera events": int(sync.get("events_dropped_upstream", 0)),
        "rejected events": int(sync.get("events_rejected", 0)),
    })  # fmt: skip


class Figures:
    """Gathers what workers report and what the viewer has shown.

    A restore worker that dies takes its counters along; its last report is kept, and what it had read without
    ever answering is the loss "restart".

    Attributes:
        restore: the restore worker's last report (`inference.worker`).
        stage_fps: items a second by worker.
        waiting: exposures under way at the last `status`.
        cameras: what each camera's driver counts, by role, as last told.
    """

    def __init__(self) -> None:
        self.restore: dict[str, Any] = {}
        self.stage_fps: dict[str, float] = {}
        self.waiting = 0
        self.cameras: dict[str, dict[str, int]] = {}
        self._cautions: dict[str, None] = {}  # in the order in which they came, each once
        self._dead: Counter[str] = Counter()
        self._dead_events: Counter[str] = Counter()
        self._latency_ms: deque[float] = deque(maxlen=LATENCIES)
        self._parts_ms: deque[tuple[float, ...]] = deque(maxlen=LATENCIES)
        self._shown = Rate(WINDOW_S)
        self._source, self._uncertainty_us = "", 0.0
        self._restored_shown = self._superseded = self._lost = 0
        self._written = self._passed_over = 0
        self._dead_ends = 0  # marks of a recording's end travel in the ring of frames, but are none
        self._restored_by: Counter[int] = Counter()  # read or lost on the way, by incarnation

    def take_report(self, report: dict[str, Any]) -> None:
        """The restore worker's next report."""
        if self.restore and report.get("incarnation") != self.restore.get("incarnation"):
            self._dead.update(losses_of(self.restore))
            self._dead_events.update(event_losses_of(self.restore))
            self._dead_ends += int(self.restore.get("frame_ends", 0))
        self.restore = report

    def caution(self, line: str) -> None:
        """What a person should know of the whole run; a camera that comes back may say it again."""
        self._cautions[line] = None

    def shown(self, p: Picture) -> None:
        """A picture of the stream goes on screen now."""
        now = time.monotonic()
        if p.sharp is not None:
            self._shown.tick(now)
            if p.exposure_end_host_ns > 0:
                now_ns = time.monotonic_ns()
                self._latency_ms.append((now_ns - p.exposure_end_host_ns) / 1e6)
                if p.aligned_host_ns > 0:
                    begun_ns = p.ready_host_ns - round(1e9 * p.restore_s)
                    at = (p.exposure_end_host_ns, p.aligned_host_ns, begun_ns, p.ready_host_ns, now_ns)
                    self._parts_ms.append(tuple((b - a) / 1e6 for a, b in pairwise(at)))
        self._source, self._uncertainty_us = p.source, p.uncertainty_us

    def take_rings(self, reader: PictureReader, frames: ReaderStats) -> None:
        """Counters of the rings: the viewer's end of the pictures, the restore worker's end of the frames."""
        self._restored_shown = reader.shown - reader.refused_shown
        self._superseded = reader.superseded
        lost_by = reader.lost_by
        self._lost = sum(lost_by.values())
        self._restored_by = reader.restored_by + Counter(lost_by)
        self._passed_over = frames.lost + frames.superseded + frames.aborted
        self._written = frames.read + self._passed_over + frames.waiting

    def exposure_losses(self) -> dict[str, int]:
        """Places at which exposures were lost, with counts; they add up to what is dropped."""
        now = int(self.restore.get("incarnation", 0))
        answered = sum(n for i, n in self._restored_by.items() if i < now)
        # Frames that the camera lost never reached the ring.
        answered += self._dead.total() - self._dead["camera frames"]
        losses = self._dead + losses_of(self.restore)
        return {
            **{
                place: losses[place] for place in ("camera frames", "superseded (seek)", "superseded (restore)")
            },
            "superseded (viewer)": self._superseded,
            "ring frames": self._passed_over,
            "ring pictures": self._lost,
            "restart": max(0, int(self.restore.get("frames_read_before", 0)) - self._dead_ends - answered),
            **{place: n for place, n in losses.items() if place == "failed" or place.startswith("refused")},
        }

    def event_losses(self) -> dict[str, int]:
        """Places at which events or packets of events were lost."""
        found = event_losses_of(self.restore)
        found.update(self._dead_events)
        return dict(found)

    def status(
        self, workers: tuple[WorkerStatus, ...], *, message: str = "", ended: bool = False
    ) -> SessionStatus:
        """All figures now."""
        losses = self.exposure_losses()
        dropped = sum(losses.values())
        # Reports are up to 0.2 s older than the rings' counters, never newer.
        ends = self._dead_ends + int(self.restore.get("frame_ends", 0))
        items_in = max(self._written - ends + losses["camera frames"], self._restored_shown + dropped)
        self.waiting = items_in - self._restored_shown - dropped
        fps = self._shown.hz(time.monotonic())
        ms = np.array(self._latency_ms) if self._latency_ms else np.zeros(1)
        p50, p95 = np.percentile(ms, [50, 95])
        return SessionStatus(
            fps=fps,
            stage_fps={**self.stage_fps, "shown": fps},
            latency_p50_ms=float(p50),
            latency_p95_ms=float(p95),
            latency_parts_ms=self._parts(),
            items_in=items_in,
            items_out=self._restored_shown,
            waiting=self.waiting,
            losses={**losses, **self.event_losses()},
            exposure_source=self._source,
            uncertainty_us=self._uncertainty_us,
            workers=workers,
            event_rate_hz=self._event_rate(),
            message=message,
            drift=self._drift(),
            cameras=dict(self.cameras),
            network=str(self.restore.get("wanted", "")),
            runs_on=str(self.restore.get("runs_on", "")),
            cautions=tuple(self._cautions),
            unmatched=int(self.restore.get("sync", {}).get("frames_unmatched", 0)),
            unmatched_why=str(self.restore.get("unmatched_why", "")),
            ended=ended,
        )

    def _parts(self) -> dict[str, float]:
        if not self._parts_ms:
            return {}
        return dict(zip(PARTS, np.median(np.array(self._parts_ms), axis=0).tolist(), strict=True))

    def _drift(self) -> DriftStatus | None:
        found = self.restore.get("drift")
        return DriftStatus(**found) if found else None

    def _event_rate(self) -> float:
        return float(self.restore.get("event_rate_hz", 0.0))
