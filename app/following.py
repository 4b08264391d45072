"""The pictures of a running session, one after the other, until a recording ends or nothing can come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from app.session import Picture, Session, SessionStatus
from capture.camera import CameraState
from capture.errors import HalfmirrorError
from inference.worker import PREPARING, PREPARING_S

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


class Following:
    """Iterates over the stream's pictures of a session that was started; the newest where several have come.

    Gives None where none came for a moment (2 ms), so that who iterates can see to other things, or leave. Ends
    where a recording has been played to its end; a live session never ends by itself, unless `faults_end`.

    Args:
        session: started already.
        progress: called now and then with the seconds since the first picture and the session's figures.
        start_limit_s: how long the first picture may take.
        fault_patience_s: how long a worker may be down before the first picture.
        quiet_s: how long nothing may come after it; None: for ever.
        faults_end: a worker that was given up ends it after the first picture, too; a camera that is gone does
            not, since it is tried again for as long as it takes.

    Raises while one iterates:
        PipelineError: no picture came.
    """

    def __init__(
        self,
        session: Session,
        progress: Callable[[float, SessionStatus], None] = lambda _t, _s: None,
        *,
        start_limit_s: float = START_LIMIT_S,
        fault_patience_s: float | None = None,
        quiet_s: float | None = None,
        faults_end: bool = False,
    ) -> None:
        self._session = session
        self._progress = progress
        self._start_limit_s = start_limit_s
        self._fault_patience_s = FAULT_PATIENCE_S if fault_patience_s is None else fault_patience_s
        self._quiet_s = quiet_s
        self._faults_end = faults_end
        self._first_s: float | None = None
        self._last_s = self._prepared_s = 0.0
        self._ended_s: float | None = None
        self._faulted_s: float | None = None

    @property
    def seconds(self) -> float:
        """Since the first picture; 0 before it."""
        return 0.0 if self._first_s is None else time.monotonic() - self._first_s

    def __iter__(self) -> Iterator[Picture | None]:
        started = time.monotonic()
        status_at = 0.0
        while True:
            picture = self._session.poll()
            now = time.monotonic()
            if picture is not None and not picture.held:
                self._first_s = now if self._first_s is None else self._first_s
                self._last_s = now
                yield picture
            else:
                yield None
            if now - status_at >= _STATUS_EVERY_S:
                status_at = now
                status = self._session.status()
                self._progress(self.seconds, status)
                if self._ended(status, now):
                    if self._first_s is None:
                        raise PipelineError(
                            "the recording ended without one picture; look at it with: halfmirror deblur"
                        )
                    return
                if self._first_s is None:
                    down_s = max(
                        (w.down_s for w in status.workers if w.state is CameraState.FAULTED), default=0.0
                    )
                    self._check_start(status, now - started, self._down(faults(status), now - started, down_s))
                elif self._faults_end and self._down(_given_up(status), now - started):
                    return
                elif self._quiet_s is not None and now - self._last_s > self._quiet_s:
                    raise PipelineError(f"no picture came for {self._quiet_s:g} s ({_states(status)})")
            if picture is None:
                time.sleep(_POLL_S)

    def _ended(self, status: SessionStatus, now: float) -> bool:
        """The recording has been played to its end (a live session never ends by itself)."""
        if not self._session.is_recording:
            return False
        if not status.ended:
            self._ended_s = None
            quiet = self._first_s is not None and now - self._last_s > _END_QUIET_S
            # A slow network takes longer than that for one picture.
            return quiet and (not status.waiting or bool(_given_up(status)))
        self._ended_s = now if self._ended_s is None else self._ended_s
        return now - max(self._ended_s, self._last_s) > _SETTLE_S

    def _down(self, faulted: list[str], now_s: float, down_s: float = 0.0) -> list[str]:
        """Workers that fail, if some have for as long as one waits: one that is started again is no reason."""
        if not faulted:
            self._faulted_s = None
        elif self._faulted_s is None:
            self._faulted_s = now_s
        lasting = self._faulted_s is not None and now_s - self._faulted_s >= self._fault_patience_s
        # One that is tried again and again is starting in between, for seconds where nothing answers.
        return faulted if lasting or (faulted and down_s >= self._fault_patience_s) else []

    def _check_start(self, status: SessionStatus, waited_s: float, down: list[str]) -> None:
        if down:
            raise PipelineError(f"no picture came, because a worker failed ({'; '.join(down)})")
        # A network that is being compiled says so; its limit is another one.
        if any(w.state is CameraState.STARTING and w.detail.startswith(PREPARING) for w in status.workers):
            self._prepared_s = min(waited_s, PREPARING_S)
        if waited_s - self._prepared_s > self._start_limit_s:
            raise PipelineError(
                f"no picture came within {waited_s:.0f} s (workers: {_states(status)}); try: halfmirror doctor"
            )


def faults(status: SessionStatus) -> list[str]:
    """One line for each worker that is down, with what it said."""
    return [w.told for w in status.workers if w.state is CameraState.FAULTED]


def _given_up(status: SessionStatus) -> list[str]:
    """Those of `faults` that nobody tries any more, or that are just being started again."""
    return faults(replace(status, workers=tuple(w for w in status.workers if w.pid is None)))


def _states(status: SessionStatus) -> str:
    said = (f"{w.name} {w.state}" + (f", {w.detail}" if w.detail else "") for w in status.workers)
    return "; ".join(said) or "none"
