"""Another source in the window: what must not be taken away for it, what it waits for, what it begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.patience import SLOW_S, Waiting, no_answer
from app.session import Session
from app.viewer.marking import NONE
from app.viewer.player import Player
from app.viewer.words import sentence
from capture.errors import UsageError
from recordings.marks import Marks, load

if TYPE_CHECKING:
    from app.viewer.window import ViewerWindow


AT_ONCE_S = 0.2  # most sources are looked at within this; those that are not keep the window for no longer

LOOKING_S = 2.0


@dataclass(frozen=True)
class Ready:
    """A source as it was found, before anything is taken away for it.

    Attributes:
        source: as it was asked for.
        named: the network was asked for with it.
        session: made for it, not started; None when it cannot be used.
        network: that the session was made with.
        name: of the source, as it is remembered.
        rig: the rig file that it is opened with, of a recording that was calibrated.
        marks: of a recording.
        note: one line for the user, "" for none.
        useless: why nothing at all can be made of the source, "" where another network might.
        problem: why there is no session.
    """

    source: str | Path
    named: bool
    session: Session | None
    network: str
    name: str = ""
    rig: Path | None = None
    marks: Marks = NONE
    note: str = ""
    useless: str = ""
    problem: str = ""


class Opening:
    """For one window.

    A file may be on a disk that does not answer, so the window's thread never looks at it.

    Args:
        window: whose player it makes.
        speed, loop: what the window's factory starts recordings with.

    Attributes:
        rigs: of recordings, by their whole paths, where a rig file was calibrated from one in this window.
        looking: the source that is being looked at, "" for none.
    """

    def __init__(self, window: ViewerWindow, speed: float, loop: bool) -> None:
        self._w, self._speed, self._loop = window, speed, loop
        self.rigs: dict[Path, Path] = {}
        self.looking = ""
        self._waiting: Waiting[Ready] | None = None
        self._asked_at = 0.0

    def open(self, source: str | Path, network: str = "") -> None:
        """Show another source; what goes wrong is said where the picture would be."""
        w = self._w
        if self._in_use():
            return
        # What restores elsewhere need not be there for this program.
        own = w.player if w.player is not None and not w.player.session.elsewhere else None
        wanted = network or (own.network if own is not None else w.remembered.network) or "edi"
        self.looking, self._asked_at = str(source), w.clock()
        self._waiting = Waiting(lambda: self._look_at(source, wanted, named=bool(network)), AT_ONCE_S)
        if self._waiting.going and w.player is not None:
            w.say(f"Looking at {source}…", SLOW_S)
        self.look()
        w.presenter.look()

    def look(self) -> None:
        """Often: go on with a source that has been looked at, give up one that does not answer."""
        w, waiting = self._w, self._waiting
        if waiting is None:
            return
        if not waiting.going:
            self.forget()
            try:
                ready = waiting.result()
            except Exception as error:
                self._give_up(sentence(error))
                return
            self._take(ready)
        elif w.clock() - self._asked_at > SLOW_S:
            source = self.looking
            self.forget()
            self._give_up(sentence(no_answer(source, SLOW_S)))

    @property
    def slow(self) -> bool:
        """It takes so long that one may want to look at something else."""
        return self._waiting is not None and self._w.clock() - self._asked_at > LOOKING_S

    def forget(self) -> None:
        """Nothing is to be opened any more."""
        self._waiting, self.looking = None, ""

    def _in_use(self) -> bool:
        w = self._w
        if w.recorder.desk.busy:
            w.say("This is being recorded; end the recording first (R).")
            return True
        if w.calibration.run.running:
            w.say("The calibration goes on; G stops it.")
            return True
        return False

    def _give_up(self, why: str) -> None:
        """A source that is of no use: what runs is worth more than an error in its place."""
        w = self._w
        if w.player is not None or w.own_page:
            w.say(why, 10.0)
        else:
            self._shut(why)

    def _take(self, ready: Ready) -> None:
        """Put a source in the place of what runs."""
        w, source = self._w, ready.source
        if self._in_use():  # since it was asked for
            return
        if (w.player is not None or w.own_page) and ready.useless:
            w.say(ready.useless, 10.0)
            return
        if w.own_page:
            w.calibration.shut()
            w.rig.shut()
            w.set_page(None)
        w.close_session()
        w.source, w.problem = str(source), ""
        w.presenter.clear()
        w.setWindowTitle(f"Halfmirror – {source}")
        w.closing.then(lambda: self._begin(ready))
        w.presenter.look()

    def _shut(self, problem: str) -> None:
        w = self._w
        w.problem = problem
        w.top.set_source("")
        w.top.set_network("")
        w.keys.set_recording(False)
        w.marking.take(None)
        w.presenter.look()

    def _begin(self, ready: Ready) -> None:
        """Nothing else runs any more."""
        w = self._w
        try:
            w.player = p = self._player(ready)
        except Exception as error:
            self._shut(sentence(error))
            return
        name = ready.name
        p.learn_network()
        w.recorder.take(p.session)
        if p.recording:
            w.remembered.opened(name)
        w.remembered.source = name
        w.setWindowTitle(f"Halfmirror – {p.session.title or name}")
        w.top.set_source(name)
        w.top.set_network(p.network)
        w.keys.set_recording(p.recording)
        w.transport.setVisible(p.recording)
        w.transport.set_timeline(None)
        w.marking.take(Path(name) if p.recording else None, ready.marks)
        if ready.rig is not None:
            w.say(f"Opened with the rig file {ready.rig}", 8.0)
        if w.keys["residual"].isChecked():
            w.wish(lambda p: p.showing.measure(True))
        w.presenter.look()

    def _player(self, ready: Ready) -> Player:
        w = self._w

        def started(session: Session, network: str) -> Player:
            return Player(session, network, w.clock, speed=self._speed, loop=self._loop)

        if ready.session is None:
            raise UsageError(ready.problem)
        try:
            player = started(ready.session, ready.network)
        except Exception as error:
            if ready.named or ready.network == "edi":
                raise
            player = started(self._make(ready.source, "edi", ready.rig), "edi")
            w.say(_instead(ready.network, error), 15.0)
            return player
        if ready.note:
            w.say(ready.note, 15.0)
        return player

    # on a thread of its own ----------------------------------------------------------------------------

    def _look_at(self, source: str | Path, wanted: str, *, named: bool) -> Ready:
        """What can be made of a source, as far as that is known without starting it."""

        def refused(problem: str, useless: str = "") -> Ready:
            return Ready(source, named, None, wanted, useless=useless, problem=problem)

        rig = self._rig_of(source)
        network, note = wanted, ""
        try:
            session = self._make(source, wanted, rig)
        except Exception as error:
            if wanted == "edi":
                return refused(sentence(error), sentence(error))
            try:
                session = self._make(source, "edi", rig)  # the network may be the reason: that has another end
            except Exception as useless:
                why = sentence(useless)
                return refused(sentence(error) if named else why, why)
            if named:
                return refused(sentence(error))
            # A remembered network that cannot run any more must not keep the window shut.
            network, note = "edi", _instead(wanted, error)
        name = str(source)
        if session.is_recording or name.lower().endswith(".toml"):  # remembered for programs of other folders
            name = str(Path(name).resolve()) if Path(name).exists() else name
        marks = load(Path(name)) if session.is_recording else NONE
        return Ready(source, named, session, network, name, rig, marks, note)

    def _make(self, source: str | Path, network: str, rig: Path | None) -> Session:
        factory = self._w.factory
        return factory(source, network) if rig is None else factory(source, network, rig=rig)

    def _rig_of(self, source: str | Path) -> Path | None:
        """The rig file that was calibrated from this recording, if it is still there."""
        rig = self.rigs.get(Path(source).resolve()) if self.rigs else None
        return rig if rig is not None and rig.exists() else None


def _instead(network: str, error: object) -> str:
    return f"{network} cannot run: {sentence(error)} edi runs instead."
