"""Another source in the window: what must not be taken away for it, what it waits for, what it begins with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.session import Session
from app.viewer.player import Player
from app.viewer.words import sentence

if TYPE_CHECKING:
    from app.viewer.window import ViewerWindow


class Opening:
    """For one window.

    Args:
        window: whose player it makes.
        speed, loop: what the window's factory starts recordings with.

    Attributes:
        rigs: of recordings, by their whole paths, where a rig file was calibrated from one in this window.
    """

    def __init__(self, window: ViewerWindow, speed: float, loop: bool) -> None:
        self._w, self._speed, self._loop = window, speed, loop
        self.rigs: dict[Path, Path] = {}

    def open(self, source: str | Path, network: str = "") -> None:
        """Show another source; what goes wrong is said where the picture would be."""
        w = self._w
        if w.recorder.desk.busy:
            w.say("This is being recorded; end the recording first (R).")
            return
        if w.calibration.run.running:
            w.say("The calibration goes on; G stops it.")
            return
        # What restores elsewhere need not be there for this program.
        own = w.player if w.player is not None and not w.player.session.elsewhere else None
        wanted = network or (own.network if own is not None else w.remembered.network) or "edi"
        if (w.player is not None or w.own_page) and (why := self._useless(source, wanted)):
            w.say(why, 10.0)  # what runs is worth more than an error in its place
            return
        if w.own_page:
            w.calibration.shut()
            w.rig.shut()
            w.set_page(None)
        w.close_session()
        w.source, w.problem = str(source), ""
        w.presenter.clear()
        w.setWindowTitle(f"Halfmirror – {source}")
        w.closing.then(lambda: self._begin(source, wanted, named=bool(network)))
        w.presenter.look()

    def _begin(self, source: str | Path, wanted: str, *, named: bool) -> None:
        """Nothing else runs any more."""
        w, name = self._w, str(source)
        try:
            w.player = p = self._player(source, wanted, named=named)
        except Exception as error:
            w.problem = sentence(error)
            w.top.set_source("")
            w.top.set_network("")
            w.keys.set_recording(False)
            w.marking.take(None)
            w.presenter.look()
            return
        p.learn_network()
        w.recorder.take(p.session)
        if p.recording or name.lower().endswith(".toml"):  # remembered for programs of other folders
            name = str(Path(name).resolve()) if Path(name).exists() else name
        if p.recording:
            w.remembered.opened(name)
        w.remembered.source = name
        w.setWindowTitle(f"Halfmirror – {p.session.title or name}")
        w.top.set_source(name)
        w.top.set_network(p.network)
        w.keys.set_recording(p.recording)
        w.transport.setVisible(p.recording)
        w.transport.set_timeline(None)
        w.marking.take(Path(name) if p.recording else None)
        if (rig := self._rig_of(source)) is not None:
            w.say(f"Opened with the rig file {rig}", 8.0)
        if w.keys["residual"].isChecked():
            w.wish(lambda p: p.showing.measure(True))
        w.presenter.look()

    def _player(self, source: str | Path, wanted: str, *, named: bool) -> Player:
        def made(network: str) -> Player:
            session = self._make(source, network)
            return Player(session, network, self._w.clock, speed=self._speed, loop=self._loop)

        try:
            return made(wanted)
        except Exception as error:
            if named or wanted == "edi":
                raise
            # A remembered network that cannot run any more must not keep the window shut.
            player = made("edi")
            self._w.say(f"{wanted} cannot run: {sentence(error)} edi runs instead.", 15.0)
            return player

    def _make(self, source: str | Path, network: str) -> Session:
        factory, rig = self._w.factory, self._rig_of(source)
        return factory(source, network) if rig is None else factory(source, network, rig=rig)

    def _rig_of(self, source: str | Path) -> Path | None:
        """The rig file that was calibrated from this recording, if it is still there."""
        rig = self.rigs.get(Path(source).resolve())
        return rig if rig is not None and rig.exists() else None

    def _useless(self, source: str | Path, network: str) -> str:
        """Why nothing can be made of a source, as far as that is known without starting it; "" when it can."""
        try:
            self._make(source, network)
        except Exception:
            try:
                self._make(source, "edi")  # the network may be the reason: that has another end
            except Exception as error:
                return sentence(error)
        return ""
