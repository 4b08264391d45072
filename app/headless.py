"""A session without a window: the same pipeline, its pictures kept in a folder or not, its figures summed."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.following import START_LIMIT_S, Following
from app.output.atomic import OutputError
from app.output.contact import EvenSample, Pair, contact_sheet
from app.output.flags import flag_kind
from app.output.labels import UNCHANGED, stamped
from app.output.png import write_png
from app.output.report import write_json
from app.output.spread import Spread, residual_report
from app.output.video_thread import VideoThread, middle
from app.session import Picture, Session, SessionStatus
from inference.restorers.base import RESIDUAL_FIGURE
from inference.switching import PASS_THROUGH, PASSES

KEPT_FIGURES = 100_000
"""Values of a figure that its median is taken of: an hour at 25 pictures a second."""
VIDEO, SHEET, SUMMARY = "side-by-side.mp4", "contact-sheet.png", "summary.json"


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
        restored_by: pictures that were not refused, by the network that made them.
        unchanged: of those, the ones that came as they were because the network asked for had given way.
        gave_way: what was said about that, "" where nothing was heard.
        back: at the end the network asked for restored.
        video_frames, video_dropped: pictures in the video, and those that the encoder had no time for.
        video_fitted: of those in it that came in another size than the first, and were scaled to it.
        video_full_s: its length where it ended before the disk was full, None: it did not.
        video_after_full: pictures that came after that.
        interrupted: Ctrl+C, SIGTERM or SIGHUP ended it early; what had come until then is kept.
    """

    seconds: float = 0.0
    pictures: int = 0
    refused: int = 0
    status: SessionStatus | None = None
    figures: dict[str, float] = field(default_factory=dict)
    residual: Spread | None = None
    flags: dict[str, int] = field(default_factory=dict)
    restored_by: dict[str, int] = field(default_factory=dict)
    unchanged: int = 0
    gave_way: str = ""
    back: bool = False
    video_frames: int = 0
    video_dropped: int = 0
    video_fitted: int = 0
    video_full_s: float | None = None
    video_after_full: int = 0
    codec: str = ""
    interrupted: bool = False


def run_headless(
    session: Session,
    folder: Path | None,
    *,
    seconds: float | None,
    about: dict[str, Any],
    final: Path | None = None,
    progress: Callable[[float, SessionStatus], None] = lambda _t, _s: None,
    start_limit_s: float = START_LIMIT_S,
    fault_patience_s: float | None = None,
    no_residual: str = "",
    published: bool = False,
    say: Callable[[str], None] = lambda _: None,
    ending: Callable[[], None] = lambda: None,
    complete: Callable[[], None] = lambda: None,
) -> HeadlessRun:
    """Run `session` for `seconds` from its first picture on (None: until the recording ends, or Ctrl+C).

    Leaves a side-by-side MP4, a contact sheet and `summary.json` in `folder`, nothing where that is None: the
    pictures are then for those who subscribe to them, and a worker that stays down ends the run. `about`
    (source, network, command) goes into the summary, `final` is the folder's name in messages, `no_residual`
    says why there is no re-blur residual although it was asked for. Ctrl+C ends the run early and keeps what
    came, and so do SIGTERM and SIGHUP (`SystemExit`): `ending` is called, then what came is written, a second
    or two in which one more interrupt leaves nothing of it. A run that ends by itself calls `complete` before
    it writes (see `signals.kept_when_complete`). The session is stopped in every case.

    A disk that is nearly full ends the video, which is kept, and with it the run; where the pictures are
    `published` that goes on, and `say` is told.

    Raises:
        PipelineError: no picture came. OutputError: disk full or not writable.
    """
    final = final or folder
    video = None if folder is None or final is None else VideoThread(folder / VIDEO, final=final / VIDEO)
    # What another program publishes was asked for there.
    asked = "" if session.elsewhere else str(about.get("network", ""))
    heard = _Heard(progress)
    pictures = Following(
        session, heard, start_limit_s=start_limit_s, fault_patience_s=fault_patience_s,
        faults_end=folder is None,
    )  # fmt: skip
    watch = _Watch(session, video, seconds, pictures, asked, say if published else None)
    try:
        try:
            watch.loop(complete)
            if watch.run.interrupted:
                ending()
        finally:
            if video is not None:
                video.end()
            session.stop()
        if not watch.run.pictures and watch.ended_by is not None:
            raise watch.ended_by
        if video is not None:
            video.close()
    except BaseException:
        if video is not None:
            video.abandon()
        raise
    run = watch.run
    if run.status is not None and heard.hear(run.status):
        run.back = False
    run.gave_way = heard.gave_way
    if video is None or folder is None or final is None:
        return run
    run.video_frames, run.video_dropped, run.codec = video.writer.count, video.dropped, video.writer.codec
    run.video_fitted, run.video_full_s, run.video_after_full = video.fitted, video.full_s, video.after_full
    sheet = contact_sheet(watch.sample.items(), title=f"{about.get('source', '')}   {about.get('network', '')}")
    write_png(folder / SHEET, sheet, final=final / SHEET)
    residual = {"reblur_residual": residual_report(run.residual, no_residual)}
    write_json(folder / SUMMARY, {"program": "halfmirror", **about, **_summary(run), **residual})
    return run


class _Heard:
    """Hands progress on, and keeps what a worker said last about a network that gave way."""

    def __init__(self, progress: Callable[[float, SessionStatus], None]) -> None:
        self._progress = progress
        self.gave_way = ""

    def __call__(self, seconds: float, status: SessionStatus) -> None:
        self.hear(status)
        self._progress(seconds, status)

    def hear(self, status: SessionStatus) -> bool:
        """Whether a network has given way just now."""
        said = next((w.detail for w in status.workers if PASSES in w.detail), "")
        self.gave_way = said or self.gave_way
        return bool(said)


class _Watch:
    """The poll loop and what it gathers.

    `asked`: the network asked for, "" unknown. `goes_on`: where the video ends early the run does not, and this
    is told so; None: it ends.
    """

    def __init__(
        self,
        session: Session,
        video: VideoThread | None,
        seconds: float | None,
        pictures: Following,
        asked: str,
        goes_on: Callable[[str], None] | None,
    ) -> None:
        self.run = HeadlessRun()
        self.ended_by: BaseException | None = None
        self.sample: EvenSample[Pair] = EvenSample(8)
        self._session = session
        self._video = video
        self._seconds = seconds
        self._pictures = pictures
        self._asked, self._goes_on = asked, goes_on
        self._told_full = False
        # Of hours without a folder a figure's last values are enough.
        self._figures: dict[str, deque[float]] = {}

    def loop(self, complete: Callable[[], None]) -> None:
        try:
            self._session.start()
            for picture in self._pictures:
                if picture is not None:
                    self._take(picture)
                enough = self._seconds is not None and self._pictures.seconds >= self._seconds
                if (enough and self.run.pictures) or self._video_is_all():
                    break
            complete()  # a signal before this line is caught below, one after it breaks nothing off
        except (KeyboardInterrupt, SystemExit) as e:
            self.run.interrupted, self.ended_by = True, e
        self.run.seconds = self._pictures.seconds
        self.run.status = self._session.status()
        self.run.figures = {k: statistics.median(v) for k, v in self._figures.items() if v}
        self.run.residual = Spread.of(self._figures.get(RESIDUAL_FIGURE, ()))

    def _take(self, picture: Picture) -> None:
        self.run.pictures += 1
        sharp = middle(picture)
        if sharp is None:
            self.run.refused += 1
        else:
            picture = self._made_by(picture)
        for name, value in picture.figures.items():
            self._figures.setdefault(name, deque(maxlen=KEPT_FIGURES)).append(float(value))
        for flag in picture.flags:
            kind = flag_kind(flag)
            self.run.flags[kind] = self.run.flags.get(kind, 0) + 1
        if self._video is None:
            return
        try:
            self._video.offer(picture)
        except OutputError as e:
            if self._goes_on is None:
                raise
            # `close` raises it when all is over: who subscribes to the pictures needs no video.
            self._goes_on(f"publishing goes on without a video: {e}")
            self._video = None
            return
        if self.sample.wants():
            copy = None if sharp is None else np.array(stamped(sharp, picture.flags))
            self.sample.add(Pair(np.array(picture.blurred), copy, _label(picture)))
        else:
            self.sample.skip()

    def _video_is_all(self) -> bool:
        """The video has ended before the disk was full, and nothing else is to be done."""
        if self._video is None or self._video.full_s is None:
            return False
        if self._goes_on is not None and not self._told_full:
            self._goes_on(f"the video {ends_at(self._video.full_s)}; publishing goes on")
        self._told_full = True
        return self._goes_on is None

    def _made_by(self, p: Picture) -> Picture:
        """Count it by its network; one that came as it was though a network was asked for says so."""
        by = self.run.restored_by
        by[p.network] = by.get(p.network, 0) + 1
        unchanged = p.network == PASS_THROUGH and self._asked not in ("", PASS_THROUGH)
        self.run.back = not unchanged
        if not unchanged:
            return p
        self.run.unchanged += 1
        return replace(p, flags=(*p.flags, f"{UNCHANGED}: {self._asked} gave way"))


def ends_at(seconds: float) -> str:
    """What became of a video that ended before the disk was full."""
    minutes, s = divmod(int(seconds), 60)
    return f"ends at {minutes // 60}:{minutes % 60:02}:{s:02}, the disk is full"


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
        "pictures": {"shown": run.pictures, "refused": run.refused, "unchanged": run.unchanged},
        "restored_by": run.restored_by,
        "gave_way": run.gave_way,
        "video": {
            "file": VIDEO,
            "codec": run.codec,
            "frames": run.video_frames,
            "dropped": run.video_dropped,
            "fitted": run.video_fitted,
            "disk_full_after_s": run.video_full_s,
            "after_disk_full": run.video_after_full,
        },
        "figures_median": run.figures,
        "flags": run.flags,
        "status": run.status,
    }
