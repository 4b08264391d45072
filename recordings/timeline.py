"""A recording at a glance: event rate over time and where its exposures lie, for a seek bar."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.camera import Progress
from capture.packets import EventPacket, FrameClock
from recordings.formats.aedat4 import Aedat4Recording
from recordings.formats.own import OwnRecording
from recordings.open import open_with
from recordings.recording import OpenOptions, Recording, RecordingInfo

# Smaller files are read in a moment, and every event counts where it lies.
INDEX_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The whole recording in few numbers.

    Attributes:
        start_us, end_us: its time span on its own axis.
        event_rate_hz: (bins,) float64, mean events per second in equal parts of the span. Where an index tells
            it, the events of a packet count as spread over its time.
        exposures: (start_us, end_us) of every frame, end None when the file does not tell.
        problems: what was found wrong, one line each.
    """

    start_us: int
    end_us: int
    event_rate_hz: NDArray[np.float64]
    exposures: list[tuple[int, int | None]]
    problems: tuple[str, ...] = ()


def build(
    path: str | os.PathLike[str],
    *,
    bins: int = 500,
    options: OpenOptions | None = None,
    progress: Progress | None = None,
) -> Timeline:
    """Read a recording once, in constant memory; of one of our own, and of a large AEDAT4, the index alone.

    Args:
        path: the recording.
        bins: parts of the time span.
        options: what is stated about it (a stated exposure is drawn like one of the file's).
        progress: called now and then with a share 0…1.

    Raises:
        NotARecording, RecordingError: it cannot be read.
    """
    with open_with(Path(path), options or OpenOptions()) as recording:
        return of_recording(recording, bins=bins, progress=progress)


def of_recording(recording: Recording, *, bins: int = 500, progress: Progress | None = None) -> Timeline:
    """As `build`, for a recording that is open; its current read, if any, ends."""
    info = recording.info
    if isinstance(recording, OwnRecording):
        return _of_packets(info, recording.packets(), recording.frame_times_us(progress), bins)
    if isinstance(recording, Aedat4Recording) and info.bytes > INDEX_BYTES:
        packets = recording.packets()
        if packets is not None:
            return _of_packets(info, packets, recording.frame_times_us(progress), bins)
    span = info.end_us - info.start_us + 1
    counts = np.zeros(bins, np.int64)
    exposures: list[tuple[int, int | None]] = []
    own_clock = False

    share = 0.0

    def told(now_us: int) -> None:
        nonlocal share
        share = max(share, min(1.0, (now_us - info.start_us) / span))
        if progress is not None:
            progress(share)

    for item in recording.items():
        if isinstance(item, EventPacket):
            # Integers, not floats: microseconds since 1970 times bins would lose their last digits.
            place = np.clip((item.events.t - info.start_us) * bins // span, 0, bins - 1)
            counts += np.bincount(place, minlength=bins)
            told(item.complete_until_us)
            continue
        told((item.device_start_ns or 0) // 1000)
        if item.clock is FrameClock.DEVICE:
            own_clock = True
        else:
            start, end = item.device_start_ns, item.device_end_ns
            exposures.append(((start or 0) // 1000, None if end is None else end // 1000))
    if own_clock:
        exposures = recording.frame_times_us()
    rate: NDArray[np.float64] = counts.astype(np.float64) * np.float64(bins * 1e6 / span)
    return Timeline(info.start_us, info.end_us, rate, exposures, tuple(recording.report.problems))


def _of_packets(
    info: RecordingInfo,
    packets: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
    exposures: list[tuple[int, int | None]],
    bins: int,
) -> Timeline:
    span = info.end_us - info.start_us + 1
    first, until, amount = packets
    # In parts of the span, counted from its start; integers first, since times may be those since 1970.
    begin = np.clip((first - info.start_us) * (bins / span), 0.0, np.nextafter(bins, 0.0))
    end = np.clip((until + 1 - info.start_us) * (bins / span), begin, np.nextafter(bins, 0.0))
    a, b = begin.astype(np.int64), end.astype(np.int64)
    density = amount / np.maximum(end - begin, 1e-12)

    def summed(part: NDArray[np.int64], what: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(part, what, bins + 1).astype(np.float64)  # of nothing they would be integers

    whole = a == b
    counts = summed(a[whole], amount[whole])
    a, b, begin, end, density = a[~whole], b[~whole], begin[~whole], end[~whole], density[~whole]
    counts += summed(a, density * (a + 1 - begin)) + summed(b, density * (end - b))
    # What lies between its first and its last part: up behind the one, down at the other.
    counts += np.maximum(np.cumsum(summed(a + 1, density) - summed(b, density)), 0.0)
    rate: NDArray[np.float64] = counts[:bins] * (bins * 1e6 / span)
    return Timeline(info.start_us, info.end_us, rate, exposures, info.problems)
