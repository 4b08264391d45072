"""What a recording is and holds, found by reading it once, in constant memory."""

from __future__ import annotations

import statistics
from array import array
from dataclasses import dataclass, field

import numpy as np

from capture.camera import Progress
from capture.packets import EventPacket, Frame
from recordings.event_peak import EventPeak, Windows
from recordings.recording import ReadReport, Recording, RecordingError, RecordingInfo


@dataclass(slots=True)
class Survey:
    """The findings. Times are µs on the file's own axis.

    Attributes:
        info: what opening it told.
        report: what reading it told; `problems` in it are complete.
        first_event_us, last_event_us: None without events.
        on: events that are brighter.
        peak: the busiest 10 ms.
        rising: rising edges among the triggers.
        exposures_us: lengths of all exposures that the file gives.
        drawn: frames that were drawn from events or spikes and never exposed.
        imu_samples: of the event camera's inertial sensor.
        gaps, frame_gaps: places where events or frames are missing, nobody knows how many.
    """

    info: RecordingInfo
    report: ReadReport
    first_event_us: int | None = None
    last_event_us: int | None = None
    on: int = 0
    peak: EventPeak = field(default_factory=EventPeak)
    rising: int = 0
    exposures_us: array[int] = field(default_factory=lambda: array("q"))
    drawn: int = 0
    gaps: int = 0
    frame_gaps: int = 0
    imu_samples: int = 0

    @property
    def mean_rate_hz(self) -> float:
        """Events per second between the first and the last; 0 without a span."""
        if self.first_event_us is None or self.last_event_us is None:
            return 0.0
        return self.report.events * 1e6 / max(1, self.last_event_us - self.first_event_us)

    @property
    def exposure_us(self) -> tuple[int, int, int] | None:
        """Shortest, median and longest exposure; None when the file gives none."""
        lengths = self.exposures_us
        return (min(lengths), statistics.median_low(lengths), max(lengths)) if lengths else None


def survey(recording: Recording, progress: Progress | None = None) -> Survey:
    """Read a recording through; its current read, if any, ends.

    Where reading stops at damage, the findings are those of what came before, and the reason is a problem.

    Args:
        recording: open.
        progress: called now and then with a share 0…1.
    """
    info = recording.info
    items = recording.items()
    found = Survey(info, recording.report)
    span = max(1, info.end_us - info.start_us)
    broken = False
    try:
        for item in items:
            if isinstance(item, Frame):
                _frame(found, item)
                continue
            # What the camera dropped is a place of its own each time.
            if (item.gap and not broken) or item.dropped:
                found.gaps += 1
            broken = item.gap
            _events(found, item)
            if progress is not None:
                progress(min(1.0, max(0.0, (item.complete_until_us - info.start_us) / span)))
    except RecordingError as e:
        found.report.note(f"reading stopped: {str(e).removeprefix(f'{info.path}: ')}")
    return found


def _frame(found: Survey, frame: Frame) -> None:
    if frame.exposure_ns is not None:
        found.exposures_us.append(frame.exposure_ns // 1000)
    found.drawn += frame.kind.value == "accumulator"
    found.frame_gaps += frame.gap


def _events(found: Survey, packet: EventPacket) -> None:
    found.imu_samples += 0 if packet.imu is None else len(packet.imu)
    found.rising += int(np.count_nonzero(packet.triggers.rising))
    e = packet.events
    if not len(e):
        return
    if found.first_event_us is None:
        found.first_event_us = int(e.t[0])
    found.last_event_us = int(e.t[-1])
    found.on += int(np.count_nonzero(e.p))
    found.peak.add(Windows.of(e.t), packet.epoch)
