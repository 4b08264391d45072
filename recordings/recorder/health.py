"""What went well and what did not while recording: counted item by item, kept as `health.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capture.errors import HalfmirrorError
from capture.packets import EventPacket, Events, Frame
from recordings.event_peak import EventPeak, Windows
from recordings.formats.own_about import HEALTH, write_synced
from recordings.formats.own_chunks import arrival_us, place_of
from sync.rig import Rig
from sync.synchroniser import OFFLINE_WAIT_US, Synchroniser

MAX_LISTED = 50


@dataclass(slots=True)
class Health:
    """Counters of one recording; every loss by its place.

    Attributes:
        losses: "ring event packets", "ring frames" (the recorder was too slow), "camera events",
            "camera frames" (missing numbers), "rejected events", "disk items" (handed to a disk that took no
            more).
        gaps: (complete until µs, cause) of the first `MAX_LISTED` stretches in which events are missing.
        frame_gaps: the same of the frames: before which number, and the cause.
        time_jumps: as many of the jumps of the time axis: (new epoch or "back", µs).
        peak: the busiest 10 ms of the events.
    """

    event_packets: int = 0
    events: int = 0
    edges: int = 0
    imu_samples: int = 0
    frames: int = 0
    frames_left_out: int = 0
    losses: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("ring event packets", "ring frames", "camera events", "camera frames", "rejected events",
             "disk items"), 0,
        )
    )  # fmt: skip
    gap_count: int = 0
    gaps: list[tuple[int, str]] = field(default_factory=list)
    frame_gap_count: int = 0
    frame_gaps: list[tuple[int, str]] = field(default_factory=list)
    time_jump_count: int = 0
    time_jumps: list[tuple[str, int]] = field(default_factory=list)
    peak: EventPeak = field(default_factory=EventPeak)
    first_us: int | None = None
    until_us: int | None = None

    def jump(self, what: str, at_us: int) -> None:
        """The time axis jumped."""
        self.time_jump_count += 1
        if len(self.time_jumps) < MAX_LISTED:
            self.time_jumps.append((what, at_us))

    def gap(self, at_us: int, cause: str) -> None:
        """Events are missing before this time."""
        self.gap_count += 1
        if len(self.gaps) < MAX_LISTED:
            self.gaps.append((at_us, cause))

    def frame_gap(self, number: int, cause: str) -> None:
        """Frames are missing, nobody knows how many, before the one of this number."""
        self.frame_gap_count += 1
        if len(self.frame_gaps) < MAX_LISTED:
            self.frame_gaps.append((number, cause))


class HealthWatch:
    """Looks at every item on its way to the disk. One epoch of ring items; cheap: no event is looked
    at by itself.

    The exposures are matched with the trigger edges as reading the recording will do it, without the events, so
    that a loose wire shows while one records and not afterwards.
    """

    def __init__(self, rig: Rig) -> None:
        self.health = Health()
        self._sync: Synchroniser | None = Synchroniser(rig, max_wait_us=OFFLINE_WAIT_US)
        # The stream of a rig of one camera.
        self._alone = "events" if not rig.has_frames else "frames" if not rig.has_events else ""
        self._sequence: int | None = None
        self._epoch: dict[str, int] = {}
        self.problem = ""

    def events(self, p: EventPacket, first_us: int, lost: int, windows: Windows | None = None) -> None:
        """An event packet; `lost` packets of the ring are missing before it.

        `windows`: of its events, where their times are gone; None: they are there.
        """
        h = self.health
        h.event_packets += 1
        h.events += len(p.events)
        h.edges += len(p.triggers)
        h.imu_samples += 0 if p.imu is None else len(p.imu)
        h.losses["ring event packets"] += lost
        h.losses["camera events"] += p.dropped
        h.losses["rejected events"] += p.rejected.total
        self._follow("events", p.epoch, first_us)
        if h.until_us is not None and p.complete_until_us < h.until_us:
            h.jump("back", p.complete_until_us)
        if p.gap or lost or p.dropped:
            cause = "lost in the ring" if lost else "dropped in the camera" if p.dropped else "interrupted"
            h.gap(p.complete_until_us, cause)
        h.first_us = first_us if h.first_us is None else h.first_us
        h.peak.add(windows or Windows.of(p.events.t), p.epoch)
        h.until_us = p.complete_until_us
        e = p.events
        if lost and self._sync is not None:
            self._sync.events_lost(lost)
        self._feed(replace(p, events=Events.empty(e.width, e.height), dropped=0))

    def frame(self, f: Frame, lost: int) -> None:
        """A frame; `lost` frames of the ring are missing before it."""
        h = self.health
        h.frames += 1
        h.losses["ring frames"] += lost
        if lost or (f.gap and self._sequence is not None):  # what was before the first one is not its business
            h.frame_gap(f.sequence, "lost in the ring" if lost else "interrupted")
        if self._sequence is not None and self._epoch.get("frames") == f.epoch:
            missing = f.sequence - self._sequence - 1
            if missing > 0:
                h.losses["camera frames"] += max(0, missing - lost)
            elif missing < 0 and not f.gap:
                h.jump("frame numbers ran back", h.until_us or 0)
        self._sequence = f.sequence
        if self._alone == "frames":
            start, end = place_of(f, arrival_us(f))
            h.first_us = start if h.first_us is None else h.first_us
            h.until_us = max(h.until_us or start, start if end is None else end)
        self._follow("frames", f.epoch, h.until_us or 0)
        self._feed(f)

    def _follow(self, stream: str, epoch: int, at_us: int) -> None:
        """Note where the stream's time axis began anew."""
        if epoch != self._epoch.setdefault(stream, epoch):
            self._epoch[stream] = epoch
            self.health.jump(f"{stream}: time axis began anew", at_us)

    def _feed(self, item: EventPacket | Frame) -> None:
        if self._sync is None:
            return
        try:
            if isinstance(item, EventPacket):
                self._sync.push_events(item)
            else:
                self._sync.push_frame(item)
            self._sync.take()
        except HalfmirrorError as e:  # of another size than the rig says: recorded all the same, and said
            self._sync, self.problem = None, str(e)

    def clock(self, *, final: bool = False) -> dict[str, Any]:
        """How frames and edges fit together so far; `alone`: of a rig of one camera, whose stream it names."""
        if self._sync is None:
            return {"problem": self.problem}
        if final:
            self._sync.finish()
        s, c = self._sync.status, self._sync.counters
        return {
            "exposure_source": s.source, "exposure_uncertainty_us": s.uncertainty_us, "locked": s.locked,
            "how": s.how, "residual_us": s.residual_us, "drift_ppm": s.drift_ppm, "why_not": s.why,
            "resets": dict(s.resets), "frames_without_trigger": c.frames_unmatched,
            "triggers_without_frame": c.edges_unmatched, "frames_with_trigger": c.frames_matched,
            "alone": self._alone,
        }  # fmt: skip


def report(
    watch: HealthWatch, *, state: str, message: str, elapsed_s: float, disk: dict[str, Any],
    cameras: dict[str, dict[str, int]], final: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The content of `health.json`: `state` is "recording", "finished", or why it ended.

    `cameras`: what their drivers counted, by role (`camera_counts`); a second old at most.
    """
    h = watch.health
    return {
        "state": state, "message": message, "elapsed_s": round(elapsed_s, 3),
        "frames": h.frames, "events": h.events, "event_packets": h.event_packets, "edges": h.edges,
        "imu_samples": h.imu_samples,
        "frames_left_out": h.frames_left_out, "first_us": h.first_us, "until_us": h.until_us,
        "losses": h.losses, "gap_count": h.gap_count,
        "gaps": [{"until_us": t, "cause": c} for t, c in h.gaps],
        "frame_gap_count": h.frame_gap_count,
        "frame_gaps": [{"before": n, "cause": c} for n, c in h.frame_gaps],
        "time_jump_count": h.time_jump_count, "time_jumps": [{"what": w, "at_us": t} for w, t in h.time_jumps],
        "event_rate_peak_hz": round(h.peak.hz), "event_rate_peak_at_us": h.peak.at_us,
        "cameras": cameras, "clock": watch.clock(final=final), "disk": disk,
    }  # fmt: skip


def save(folder: Path, content: dict[str, Any]) -> None:
    """Write `health.json`, whole or not at all. Raises `OSError`."""
    save_text(folder, text_of(content))


def text_of(content: dict[str, Any]) -> str:
    """What stands in `health.json`."""
    return json.dumps(content, indent=1) + "\n"


def save_text(folder: Path, text: str, *, wait: bool = True) -> None:
    """As `save`, of `text_of`; `wait`: see `write_synced`. Raises `OSError`."""
    write_synced(folder, HEALTH, text.encode(), wait=wait)
