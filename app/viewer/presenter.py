"""Brings what a player has onto the window's widgets: pictures at every tick, figures now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.session import Picture, SessionStatus
from app.viewer import states
from app.viewer.event_art import EventArtist, commission
from app.viewer.modes import View
from app.viewer.player import Player
from app.viewer.showing import Mode
from app.viewer.words import sentence

if TYPE_CHECKING:
    from app.viewer.window import ViewerWindow

FIGURES_EVERY = 12  # ticks between two readings of the figures: five times a second, so that they can be read
TOAST_S = 5.0
NO_EVENTS_S = 2.0  # so long without one event, and the events view says so


class Presenter:
    """What is on screen of one window.

    Attributes:
        ticks: so many so far.
        status: the session's last figures.
    """

    def __init__(self, window: ViewerWindow) -> None:
        self._w = window
        self.ticks = 0
        self.status: SessionStatus | None = None
        self._toast, self._toast_until = "", 0.0
        self._events_at = window.clock()
        self._oldest_ms: float | None = None  # age on screen at its worst since the last reading
        self._artist = EventArtist()
        self._fault = ""  # the artist's that was said

    def clear(self) -> None:
        """Another source is being opened."""
        self.status = self._oldest_ms = None
        self._toast = ""
        self._w.picture.clear()
        self._w.strip.clear()
        self._w.exposure.clear()
        self._w.transport.hide()

    def forget_events(self) -> None:
        """What is drawn of events is of another source or view."""
        self._artist.forget()
        self._fault = ""

    def stop(self) -> None:
        """End what runs beside."""
        self._artist.stop()

    def say(self, text: str, seconds: float = TOAST_S) -> None:
        """One line at the foot of the picture, for a while."""
        self._toast, self._toast_until = text, self._w.clock() + seconds
        self._write_banner()

    # ticks ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """60 times a second: the newest picture; a few times a second: the figures."""
        self.ticks += 1
        w, player = self._w, self._w.player
        if (done := self._artist.take()) is not None:
            w.picture.set_events_art(done[1])
        fault, before = self._artist.fault, self._fault
        self._fault = fault
        if fault and fault != before:  # it stays as long as every picture has it; the line does not
            self.say(fault)
        if player is None:
            if self.ticks % FIGURES_EVERY == 0:
                self.look()
            return
        try:
            if player.advance():
                self.show()
            age = player.showing.age_ms()
            if age is not None:
                self._oldest_ms = max(age, self._oldest_ms or 0.0)
            w.picture.set_stale(0.0 if player.ended else player.showing.stale())
            if self.ticks % FIGURES_EVERY == 0:
                self.look()
        except Exception as error:  # a session that fails must not take the window with it
            self.say(sentence(error))

    def show(self) -> None:
        """Put the player's picture and mode on screen."""
        w, player = self._w, self._w.player
        if player is None:
            return
        s, p = player.showing, player.picture
        looping = s.mode is Mode.SLOW_MOTION
        w.keys["slow"].setChecked(looping)
        w.keys["loop"].setChecked(player.loop)
        state = states.word(player)
        w.exposure.set_mode(
            held=s.held, slow=looping, waiting=s.waiting, recording=player.recording, state=state
        )
        w.transport.set_playing(not (s.paused or player.ended))
        w.transport.set_speed(player.speed)
        w.transport.set_loop(player.loop)
        w.top.set_network(player.network, player.wanted)
        w.picture.set_pill(states.pill(player))
        if p is None:
            return
        if not w.own_page:
            w.pages.setCurrentWidget(w.empty if self.nothing_to_see(p) else w.picture)
        at = s.shown_latent
        sharp = None if p.sharp is None else p.sharp[s.index]
        refusal = states.refusal(player, str(w.source))
        w.picture.show_picture(p.blurred, sharp, refusal=refusal, label=states.label(player))
        self._show_residual(player)
        start, end = p.exposure_start_us, p.exposure_end_us
        length = None if start is None or end is None else end - start
        w.exposure.set_fixed(None if s.any_latent else (at if at is not None else 0.5), player.network)
        w.exposure.set_exposure(length, at if looping and at is not None else s.latent)
        w.strip.set_picture(p)
        w.transport.set_position(p.time_us)
        self._draw_events(p, at if s.held else None)
        self._write_banner()

    def _show_residual(self, player: Player) -> None:
        found = player.showing.residual
        words, tip = states.residual(player)
        self._w.picture.set_residual(None if found is None else found.map, words)
        self._w.strip.set_residual(None if found is None else found.rms, tip)

    def nothing_to_see(self, p: Picture) -> bool:
        """The events view without events: a still scene gives none for a while, so not at once."""
        now = self._w.clock()
        if p.events is not None or self._w.player is None:
            self._events_at = now
        return self._w.picture.view is View.EVENTS and now - self._events_at > NO_EVENTS_S

    def _draw_events(self, p: Picture, latent: float | None) -> None:
        if not self._w.picture.needs_events:
            return
        if p.events is None:
            self._w.picture.set_events_art(None)
            return
        self._artist.ask(commission(p, latent))

    def look(self) -> None:
        """Figures, timeline, empty states."""
        w, player = self._w, self._w.player
        if player is not None:
            self.status = player.session.status()
            if line := player.look_after(self.status):
                self.say(line)
            w.strip.set_status(self.status, w.picture.paint_rate.hz())
            w.strip.set_age(self._oldest_ms, still=states.still(player))
            self._oldest_ms = player.showing.age_ms()
            if player.recording and w.transport.seek.timeline is None:
                timeline = player.session.timeline()
                if timeline is not None:
                    w.transport.set_timeline(timeline)
                    w.marking.show()
            w.transport.setVisible(player.recording and not w.own_page and not states.unopened(self.status))
            w.recorder.show()
            w.remember_network()
            if player.picture is not None:
                self.show()
        w.way_out.look(player, w.clock())
        nothing = states.nothing(w, player, self.status)
        if nothing is not None:
            w.empty.say(nothing.text, nothing.action)
            w.helpful = nothing.help_out
        if not w.own_page:
            w.pages.setCurrentWidget(w.picture if nothing is None else w.empty)
        self._write_banner()

    def _write_banner(self) -> None:
        p = self._w.player.picture if self._w.player else None
        toast = self._toast if self._w.clock() < self._toast_until else ""
        self._w.notice.say("" if self._w.pages.currentWidget() is self._w.picture else toast)
        if toast:
            self._w.picture.set_banner(toast)
        elif self.status is not None and self.status.message:
            self._w.picture.set_banner(self.status.message)
        else:
            self._w.picture.set_banner(" · ".join(p.flags) if p is not None else "")
