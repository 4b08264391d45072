"""A session without a window: the same pipeline, its pictures kept in a folder, its figures in a summary."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.output.contact import EvenSample, Pair, contact_sheet
from app.output.flags import flag_kind
from app.output.labels import stamped
from app.output.png import write_png
from app.output.report import write_json
from app.output.spread import Spread, residual_report
from app.output.video_thread import VideoThread, middle
from app.session import Picture, Session, SessionStatus
from capture.camera import CameraState
from capture.errors import HalfmirrorError
from inference.restorers.base import RESIDUAL_FIGURE

VIDEO, SHEET, SUMMARY = "side-by-side.mp4", "contact-sheet.png", "summary.json"
_POLL_S = 0.002
_STATUS_EVERY_S = 0.25
_SETTLE_S = 0.3  # the last pictures may still be on their way when the session says that it has ended
# A recording whose session never says so (its worker died) is over when nothing has come for so long.
_END_QUIET_S = 15.0
# What the first picture may need: scene preparation, compilation for a new frame size.
START_LIMIT_S = 120.0
FAULT_PATIENCE_S = 5.0


class PipelineError(HalfmirrorError):
    """The pipeline gave no picture; the message says what its workers reported."""


@dataclass(slots=True)
class HeadlessRun:
    """What a headless run gave.

    Attributes:
        seconds: from the first picture to the end.
        pictures, refused: pictures that came, and how many of them were not restored.
        status: the session's last figures before it was stopped.
        figures: median of every figure the restorer gave (contrast, re-blur residual).
        residual: of the re-blur residuals of the pictures that came, None when none has one.
        flags: named states of the restorer and how often each came.
        video_frames, video_dropped: pictures in the video, and those that the encoder had no time for.
        interrupted: Ctrl+C ended it early; what had come until then is kept.
    """

    seconds: float = 0.0
    pictures: int = 0
    refused: int = 0
    status: SessionStatus | None = None
    figures: dict[str, float] = field(default_factory=dict)
    residual: Spread | None = None
    flags: dict[str, int] = field(default_factory=dict)
    video_frames: int = 0
    video_dropped: int = 0
    codec: str = ""
    interrupted: bool = False


def run_headless(
    session: Session,
    folder: Path,
    *,
    seconds: float | None,
    about: dict[str, Any],
    final: Path | None = None,
    progress: Callable[[float, SessionStatus], None] = lambda _t, _s: None,
    start_limit_s: float = START_LIMIT_S,
    fault_patience_s: float | None = None,
    no_residual: str = "",
) -> HeadlessRun:
    """Run `session` for `seconds` from its first picture on (None: until the recording ends).

    Leaves a side-by-side MP4, a contact sheet and `summary.json` in `folder`; `about` (source, network,
    command) goes into the summary, `final` is the folder's name in messages, `no_residual` says why there is no
    re-blur residual although it was asked for. Ctrl+C ends the run early and keeps what came; the session is
    stopped in every case.

    Raises:
        PipelineError: no picture came. OutputError: disk full or not writable.
    """
    final = final or folder
    video = VideoThread(folder / VIDEO, final=final / VIDEO)
    patience_s = FAULT_PATIENCE_S if fault_patience_s is None else fault_patience_s
    watch = _Watch(session, video, seconds, progress, start_limit_s, patience_s)
    try:
        try:
            watch.loop()
        finally:
            video.end()
            session.stop()
        if not watch.run.pictures and watch.run.interrupted:
            raise KeyboardInterrupt
        video.close()
    except BaseException:
        video.abandon()
        raise
    run = watch.run
    run.video_frames, run.video_dropped, run.codec = video.writer.count, video.dropped, video.writer.codec
    sheet = contact_sheet(watch.sample.items(), title=f"{about.get('source', '')}   {about.get('network', '')}")
    write_png(folder / SHEET, sheet, final=final / SHEET)
    residual = {"reblur_residual": residual_report(run.residual, no_residual)}
    write_json(folder / SUMMARY, {"program": "halfmirror", **about, **_summary(run), **residual})
    return run


class _Watch:
    """The poll loop and what it gathers."""

    def __init__(
        self,
        session: Session,
        video: VideoThread,
        seconds: float | None,
        progress: Callable[[float, SessionStatus], None],
        start_limit_s: float,
        fault_patience_s: float,
    ) -> None:
        self.run = HeadlessRun()
        self.sample: EvenSample[Pair] = EvenSample(8)
        self._session = session
        self._video = video
        self._seconds = seconds
        self._progress = progress
        self._start_limit_s = start_limit_s
        self._fault_patience_s = fault_patience_s
        self._figures: dict[str, list[float]] = {}
        self._first_s: float | None = None
        self._last_s = 0.0
        self._ended_s: float | None = None
        self._faulted_s: float | None = None

    def loop(self) -> None:
        try:
            self._session.start()
            self._poll()
        except KeyboardInterrupt:
            self.run.interrupted = True
        now = time.monotonic()
        self.run.seconds = 0.0 if self._first_s is None else now - self._first_s
        self.run.status = self._session.status()
        self.run.figures = {k: statistics.median(v) for k, v in self._figures.items() if v}
        self.run.residual = Spread.of(self._figures.get(RESIDUAL_FIGURE, []))

    def _poll(self) -> None:
        started = time.monotonic()
        status_at = 0.0
        while True:
            picture = self._session.poll()
            now = time.monotonic()
            if picture is not None and not picture.held:
                self._first_s = now if self._first_s is None else self._first_s
                self._last_s = now
                self._take(picture)
            running = 0.0 if self._first_s is None else now - self._first_s
            if self._seconds is not None and self._first_s is not None and running >= self._seconds:
                return
            if now - status_at >= _STATUS_EVERY_S:
                status_at = now
                status = self._session.status()
                self._progress(running, status)
                if self._ended(status, now):
                    if self._first_s is None:
                        raise PipelineError(
                            "the recording ended without one picture; look at it with: halfmirror deblur"
                        )
                    return
                if self._first_s is None:
                    self._check_start(status, now - started)
            if picture is None:
                time.sleep(_POLL_S)

    def _take(self, picture: Picture) -> None:
        self.run.pictures += 1
        sharp = middle(picture)
        if sharp is None:
            self.run.refused += 1
        self._video.offer(picture)
        for name, value in picture.figures.items():
            self._figures.setdefault(name, []).append(float(value))
        for flag in picture.flags:
            kind = flag_kind(flag)
            self.run.flags[kind] = self.run.flags.get(kind, 0) + 1
        if self.sample.wants():
            copy = None if sharp is None else np.array(stamped(sharp, picture.flags))
            self.sample.add(Pair(np.array(picture.blurred), copy, _label(picture)))
        else:
            self.sample.skip()

    def _ended(self, status: SessionStatus, now: float) -> bool:
        """The recording has been played to its end (a live session never ends by itself)."""
        if not self._session.is_recording:
            return False
        if not status.ended:
            self._ended_s = None
            return self._first_s is not None and now - self._last_s > _END_QUIET_S
        self._ended_s = now if self._ended_s is None else self._ended_s
        return now - max(self._ended_s, self._last_s) > _SETTLE_S

    def _check_start(self, status: SessionStatus, waited_s: float) -> None:
        faulted = faults(status)
        if not faulted:
            self._faulted_s = None
        elif self._faulted_s is None:
            self._faulted_s = waited_s
        # A faulted worker is started again; one that stays so is what a person must hear of.
        if self._faulted_s is not None and waited_s - self._faulted_s >= self._fault_patience_s:
            raise PipelineError(f"no picture came, because a worker failed ({'; '.join(faulted)})")
        if waited_s > self._start_limit_s:
            states = ", ".join(f"{w.name} {w.state}" for w in status.workers)
            raise PipelineError(
                f"no picture came within {waited_s:.0f} s (workers: {states or 'none'}); try: halfmirror doctor"
            )


def faults(status: SessionStatus) -> list[str]:
    """One line for each worker that is down, with what it said."""
    return [f"{w.name}: {w.detail or 'no detail'}" for w in status.workers if w.state is CameraState.FAULTED]


def _label(p: Picture) -> str:
    if p.sharp is None:
        return f"#{p.ordinal}  refused: {p.refusal}"
    if p.exposure_start_us is None or p.exposure_end_us is None:
        return f"#{p.ordinal}  blurred | sharp"
    ms = (p.exposure_end_us - p.exposure_start_us) / 1e3
    return f"#{p.ordinal}  exposure {ms:.1f} ms  blurred | sharp"


def _summary(run: HeadlessRun) -> dict[str, Any]:
    return {
        "seconds": run.seconds,
        "interrupted": run.interrupted,
        "pictures": {"shown": run.pictures, "refused": run.refused},
        "video": {"file": VIDEO, "codec": run.codec, "frames": run.video_frames, "dropped": run.video_dropped},
        "figures_median": run.figures,
        "flags": run.flags,
        "status": run.status,
    }
