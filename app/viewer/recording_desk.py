"""From the wish to record to the report: the steps of a recording made from the window. No widget here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum, auto
from math import ceil
from pathlib import Path

from app.patience import ANSWERS_S, Waiting
from app.recorder import RecordingState, RecordRequest
from app.session import Session
from app.viewer import recording_words as words
from app.viewer.recording_words import Pace
from app.viewer.words import sentence
from recordings.recorder.take import Limits

TRIAL_GOOD_S = 120.0  # so long a measured disk counts as known


class Step(Enum):
    """How far it is."""

    IDLE = auto()
    ASKING = auto()  # name and figures are being chosen; the disk is tried meanwhile
    COUNTING = auto()
    RUNNING = auto()
    REPORT = auto()


class RecordingDesk:
    """The steps of recording one session at a time. `tick` often; everything returns at once.

    Attributes:
        step: where it is.
        folder: recordings are made in it.
        name: of this one.
        preroll_s, countdown_s: as the user has them.
        problem: one line that stands in the way, "" for none.
        slow: the disk is too slow, in one sentence; starting then means "all the same".
        report: three lines after the end; `troubled`: something in them is wrong.
        made: the folder of the recording that was made last; `there`: after the end, it can be opened.
    """

    def __init__(self, clock: Callable[[], float], reserve: int | None = None) -> None:
        """`reserve`: bytes that stay free on the disk, see `Limits`."""
        self._clock, self._reserve = clock, reserve
        self._session: Session | None = None
        self.step = Step.IDLE
        self.folder, self.name = Path(), ""
        self.preroll_s = self.countdown_s = 0.0
        self.problem = self.slow = ""
        self.report: list[str] = []
        self.troubled = False
        self.made: Path | None = None
        self.there = False
        # What the disk has not answered yet: is the name taken, is there what was recorded.
        self._taken: Waiting[bool] | None = None
        self._left: Waiting[bool] | None = None
        self._late = self._failed = False
        self._network = ""
        self._armed = (0.0, False)
        self._until = 0.0
        self._pace = Pace()
        self._trial: _Trial | None = None
        self._starting = False  # start was wished for while the disk was being tried

    # whose -------------------------------------------------------------------------------------------------

    def take(self, session: Session | None) -> None:
        """Another session, or none. What is being recorded has to be ended before."""
        self._session, self._armed = session, (0.0, False)
        self.step, self.problem, self.slow, self._starting = Step.IDLE, "", "", False
        self._arm()

    def why_not(self) -> str:
        """Why nothing can be recorded, "" when it can."""
        if self._session is None:
            return "Nothing is open that could be recorded"
        if self._session.elsewhere:
            return "Published pictures come without events; record where the cameras are"
        return (
            "A recording cannot be recorded; halfmirror export converts it"
            if self._session.is_recording
            else ""
        )

    @property
    def busy(self) -> bool:
        """Something is being recorded, or about to be."""
        return self.step in (Step.COUNTING, Step.RUNNING)

    def _arm(self) -> None:
        wish = (self.preroll_s, self.step in (Step.ASKING, Step.COUNTING))
        if self._session is not None and not self.why_not() and wish != self._armed:
            self._armed = wish
            self._session.arm_recorder(wish[0], ready=wish[1])

    # wishes ------------------------------------------------------------------------------------------------

    def toggle(self, folder: Path, name: str, network: str) -> None:
        """The one key: ask, start, take it back, end."""
        if self.step is Step.RUNNING:
            self.finish()
        elif self.step is Step.COUNTING:
            self.cancel()
        elif self.step is Step.ASKING:
            self.start()
        elif not self.why_not():
            self.step, self.slow, self._starting, self._network = Step.ASKING, "", False, network
            self.folder, self.name = folder, name
            self._check()
            self._try_disk()
            self._arm()

    def choose(
        self,
        *,
        folder: Path | None = None,
        name: str | None = None,
        preroll_s: float | None = None,
        countdown_s: float | None = None,
    ) -> None:
        """The form has changed."""
        if folder is not None and folder != self.folder:
            self.folder, self.slow = folder, ""
            self._try_disk()
        self.name = self.name if name is None else name
        self.countdown_s = self.countdown_s if countdown_s is None else countdown_s
        if preroll_s is not None and preroll_s != self.preroll_s:
            self.preroll_s = preroll_s
            self._arm()
        self._check()

    def _check(self) -> None:
        self._taken = None if words.bad_name(self.name) else words.looked_for(self.folder, self.name)
        self._late = self._taken is not None and self._taken.going
        self.problem = words.name_problem(self.folder, self.name, self._taken)

    def _try_disk(self) -> None:
        known = self._trial is not None and self._trial.good(self.folder, self._session, self._clock())
        if self._session is not None and not known:
            self._trial = _Trial(self._session, self.folder, self._clock())

    def start(self) -> None:
        """Begin, once the disk is known; a disk that is too slow takes a second wish."""
        if self.step is not Step.ASKING:
            return
        self._check()
        if self.problem:
            return
        if self._trial is not None and not self._trial.done:
            self._starting = True
            return
        if self._trial is not None and self._trial.problem:
            self.problem, self._trial = self._trial.problem, None
            return
        if self._trial is not None and self._trial.slow and not self.slow:
            self.slow = self._trial.slow
            return
        self.step, self._until = Step.COUNTING, self._clock() + self.countdown_s
        if not self.countdown_s:
            self._begin()

    @property
    def trying(self) -> bool:
        """The start waits for the disk's trial."""
        return self._starting

    def cancel(self) -> None:
        """Take the wish back, or close the report. What is being recorded is not touched."""
        if self.step is not Step.RUNNING:
            self.step, self._starting, self.problem, self.slow = Step.IDLE, False, "", ""
            self._arm()

    def finish(self) -> None:
        """End the recording; the report comes when everything is on the disk."""
        if self.step is Step.RUNNING and self._session is not None:
            self._session.finish_recording()

    def _begin(self) -> None:
        assert self._session is not None
        made = self.folder / self.name
        request = RecordRequest(made, limits=Limits(reserve=self._reserve), network=self._network)
        try:
            self._session.begin_recording(request)
        except Exception as error:  # whatever it is, it is said where the name stands
            self.step, self.problem = Step.ASKING, sentence(error)
            return
        self.made, self.step, self._pace = made, Step.RUNNING, Pace()

    # time --------------------------------------------------------------------------------------------------

    @property
    def countdown(self) -> str:
        """The figures over the picture."""
        left = self._until - self._clock()
        return str(ceil(left)) if self.step is Step.COUNTING and left > 0 else ""

    @property
    def recording(self) -> bool:
        """Items are being written, as the recorder itself says."""
        s = self._session
        return self.step is Step.RUNNING and s is not None and s.recording.state is RecordingState.RECORDING

    def figures(self) -> tuple[list[str], str]:
        """What is said while it runs: figures, and what was lost ("" for nothing)."""
        s = self._session
        if s is None or self.step is not Step.RUNNING:
            return [], ""
        w, f = s.recording, s.recording.figures
        if w.state is RecordingState.FINISHING:
            return ["writing what waits…"], ""
        if w.state is RecordingState.BEGINNING or "frames" not in f:
            return ["the recorder is starting…"], ""
        self._pace.add(f["elapsed_s"], f["bytes"])
        return words.running(f, self._pace.hz), words.losses(f["losses"])

    @property
    def kept(self) -> str:
        """What is kept for a recording to come, "" for nothing."""
        s = self._session
        f = {} if s is None else s.recording.figures
        if not self.preroll_s or not f.get("armed"):
            return ""
        return f"{f['held_s']:.1f} of {self.preroll_s:g} s before the start are kept"

    def tick(self) -> bool:
        """Move on. True when the step has changed."""
        before = (self.step, self.problem, self.slow, self.there, *self.report)
        self._hear_the_disk()
        if self._starting and self._trial is not None and self._trial.done:
            self._starting = False
            self.start()
        if self.step is Step.COUNTING and self._clock() >= self._until:
            self._begin()
        if self.step is Step.RUNNING and self._session is not None:
            w = self._session.recording
            if w.state is RecordingState.OFF:
                self._conclude()
        return before != (self.step, self.problem, self.slow, self.there, *self.report)

    def _hear_the_disk(self) -> None:
        """A disk that slept answers late: what was said of it is said anew."""
        if self.step is Step.ASKING and self._late and self._taken is not None and not self._taken.going:
            self._late = False
            self.problem = words.name_problem(self.folder, self.name, self._taken)
        if self.step is Step.REPORT and self._left is not None and not self._left.going:
            self._look_at_what_is_left(self._left)
            self._left = None

    def _look_at_what_is_left(self, look: Waiting[bool]) -> None:
        self.there = words.can_be_opened(look)
        if self._failed:
            self.report[2:] = [words.left((self.made or Path()).absolute(), look)]

    def _conclude(self) -> None:
        assert self._session is not None
        w, made = self._session.recording, str((self.made or Path()).absolute())
        self.step = Step.REPORT
        self._failed = made not in w.health
        if not self._failed:
            self.report, self.troubled = words.report(made, w.health[made])
            if w.problem:
                self.report[1], self.troubled = w.problem, True
        else:
            name = Path(made).name
            said = sentence(w.problem or "the recorder gives no reason")
            self.report = [f"{name}: the recorder failed", said]
            self.troubled = True
        self._left = Waiting(Path(made).is_dir, ANSWERS_S)
        self._look_at_what_is_left(self._left)
        self._arm()


class _Trial:
    """Tries the disk on a thread of its own."""

    def __init__(self, session: Session, folder: Path, now: float) -> None:
        self.slow = self.problem = ""
        self.done = False
        self._of, self._at = (folder, session), now
        threading.Thread(target=self._run, name="disk trial", daemon=True).start()

    def good(self, folder: Path, session: Session | None, now: float) -> bool:
        """It tells of this folder and is not old."""
        return self._of == (folder, session) and now - self._at < TRIAL_GOOD_S and not self.problem

    def _run(self) -> None:
        folder, session = self._of
        try:
            self.slow = session.disk_trial(folder)
        except Exception as error:  # on a thread of its own: whatever it is, it must be seen
            self.problem = sentence(error)
        self.done = True
