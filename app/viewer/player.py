"""The user's wishes, turned into calls on a session: hold, play, step, seek, networks.

Sits between the window's widgets and one session. No widget here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from app.session import NetworkChoice, Picture, Session, SessionStatus
from app.viewer.showing import Showing
from capture.camera import CameraState

SEEK_EVERY_S = 0.06  # a dragged seek bar asks no more often
STEP = 0.02  # of the exposure, for the arrow keys
RESTORE = "restore"
SWITCH_LIMIT_S = 30.0  # a network not ready by then will not come, unless its worker is at it
REFUSED_S = 3.0  # a worker that runs has heard by then which network is wanted
STILL_S = 1.5  # no picture for so long: none is on its way that a step or a seek has asked for


class Player:
    """One session and what the user does with it."""

    def __init__(
        self,
        session: Session,
        network: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        speed: float = 1.0,
        loop: bool = False,
    ) -> None:
        """Starts the session; whatever `session.start` raises comes out of here.

        `speed` and `loop` are those that the session was made with.
        """
        self.session = session
        self.clock = clock
        self.made_at = self.began_at = clock()  # begun: since then no worker has been starting
        self.showing = Showing(session, clock)
        self.network = network
        self.wanted = ""  # a network that is being made ready
        self.ran = ""  # the network of the last picture that was restored
        self.speed = speed
        self.loop = loop
        self.ended = False
        self._gave_way = ""  # a network that another one has replaced without being asked to
        self._wanted_at = self._stepped_at = 0.0
        self._accepted = False  # the worker is making the wanted network ready
        self._told_late = False  # that this takes long
        self._restarts = self._restarts_chosen = 0  # of the restoring worker; when a network was chosen
        self._play_on = False  # a recording that was playing when its frame was held
        self._seek_to: int | None = None
        self._sought_at = -1.0
        try:
            session.start()
        except BaseException:
            session.stop()  # what had already come up
            raise

    @property
    def recording(self) -> bool:
        """Whether time can be stopped, stepped and sought."""
        return self.session.is_recording

    @property
    def picture(self) -> Picture | None:
        """What is on screen."""
        return self.showing.picture

    # inside the exposure -------------------------------------------------------------------------------

    def move_to(self, latent: float) -> None:
        """Show this instant of the exposure on screen."""
        was_held = self.showing.held
        self.showing.move_to(latent)
        self._stop_time(was_held)

    def nudge(self, steps: int) -> None:
        """The arrow keys."""
        self.move_to(self.showing.latent + steps * STEP)

    def slow_motion(self, on: bool) -> bool:
        """Loop through the exposure on screen; True when it does."""
        was_held = self.showing.held
        looping = self.showing.slow_motion(on)
        self._stop_time(was_held)
        return looping

    def let_go(self) -> None:
        """Back to the stream; a recording plays on if it did when its frame was held."""
        if not self.showing.held:
            return
        self.showing.let_go()
        if self._play_on:
            self._play_on = False
            self._set_paused(False)

    def _stop_time(self, was_held: bool) -> None:
        # Elsewhere the recording would run away under the frame that is being looked at.
        time_goes = self.recording and not self.showing.paused and not self.ended
        if self.showing.held and not was_held and time_goes:
            self._play_on = True
            self._set_paused(True)

    # time ----------------------------------------------------------------------------------------------

    def play_or_pause(self) -> None:
        """Space: play, pause; a live picture is held and let go."""
        if not self.recording:
            if self.showing.held:
                self.let_go()
            else:
                self.showing.hold()
            return
        if self.showing.held:
            self._play_on = True
            self.let_go()
        elif self.ended:
            self.ended = False
            timeline = self.session.timeline()
            if timeline is not None:
                self.session.command("seek", time_us=timeline.start_us)
            self._set_paused(False)
        else:
            self._set_paused(not self.showing.paused)

    def step(self, frames: int) -> None:
        """One frame on or back; time stands still then."""
        if not self.recording:
            return
        self._play_on = False
        self.let_go()
        if not self.showing.paused:
            self._set_paused(True)
        self.ended = False
        self._stepped_at = self.clock()
        self.session.command("step", frames=frames)

    def seek(self, time_us: int) -> None:
        """Go there; the newest wish is sent at most every 60 ms."""
        if not self.recording:
            return
        self.let_go()
        self.ended = False
        self._seek_to = time_us

    def set_speed(self, factor: float) -> None:
        """Play at this speed."""
        if self.recording:
            self.speed = factor
            self.session.command("speed", factor=factor)

    def set_loop(self, on: bool) -> None:
        """Start again at the end."""
        if self.recording:
            self.loop = on
            self.session.command("loop", on=on)

    def _set_paused(self, paused: bool) -> None:
        self.showing.paused = paused
        self.session.command("pause" if paused else "play")

    # networks ------------------------------------------------------------------------------------------

    def choice(self, name: str) -> NetworkChoice | None:
        """The row of this network."""
        return next((c for c in self.session.networks() if c.name == name), None)

    def select(self, name: str) -> None:
        """Switch; the old picture stays until the new one is there."""
        if name == (self.wanted or self.network):
            return
        self.wanted, self._wanted_at, self._accepted = name, self.clock(), False
        self._told_late = False
        self._restarts_chosen = self._restarts
        self.session.select_network(name)
        if self.showing.held or self._still:
            self.showing.restore_again()

    @property
    def _still(self) -> bool:
        """No picture comes by itself."""
        return self.showing.paused or self.ended

    # ticks ---------------------------------------------------------------------------------------------

    def advance(self) -> bool:
        """Every tick: True when another picture is to be painted."""
        now = self.clock()
        if self._seek_to is not None and now - self._sought_at >= SEEK_EVERY_S:
            at, self._seek_to, self._sought_at = self._seek_to, None, now
            self._stepped_at = now
            self.session.command("seek", time_us=at)
        changed = self.showing.advance()
        if changed:
            self.ended = False
        p = self.picture
        if changed and p is not None and p.network:
            self.ran = p.network
        if changed and p is not None and p.network and p.network != self.network:
            self._gave_way = "" if p.network == self.wanted else self.network
            self.network = p.network
            self.learn_network()
        if self.wanted and self.wanted == self.network:
            self.wanted = ""
        return changed

    def look_after(self, status: SessionStatus) -> str:
        """A few times a second: slow affairs. Returns a line for the user, "" for none."""
        now = self.clock()
        self.learn_network()
        self._restarts = sum(w.restarts for w in status.workers if w.name == RESTORE)
        if any(w.state is CameraState.STARTING for w in status.workers):
            self.began_at = now
        if self.wanted and now - self._wanted_at > SWITCH_LIMIT_S and (line := self._late(status)):
            return line
        if self.wanted and self._refused(status, now):
            self.wanted = ""  # the session says why
        if self.wanted or (status.network and status.network != self.network):
            self._catch_up(now)
        self.ended = self.recording and status.ended and not self.showing.held
        if self._gave_way and not status.message:  # else the session is saying something, maybe why
            before, self._gave_way = self._gave_way, ""
            # Else it is one that was chosen a moment ago, before the last one.
            if self._restarts > self._restarts_chosen:
                self._restarts_chosen, new = self._restarts, self.network
                return f"{new} restores now, no longer {before}: the worker began anew. N: choose again"
        return ""

    def _late(self, status: SessionStatus) -> str:
        """The wanted network takes long: a line for the user, "" when that has been said."""
        wanted, long = self.wanted, f"{SWITCH_LIMIT_S:.0f} s"
        if status.network != wanted:
            self.wanted = ""
            return f"{wanted} did not get ready within {long}; {self.network} goes on"
        if self._told_late:
            return ""
        self._told_late = True
        return f"{wanted} takes longer than {long} to get ready; {self.network} goes on until then"

    def _refused(self, status: SessionStatus, now: float) -> bool:
        """The worker does not make the wanted network ready, or no longer."""
        if not status.network:
            return False
        if status.network == self.wanted:
            self._accepted = True
            return False
        runs = all(w.state is CameraState.RUNNING for w in status.workers)
        return self._accepted or (runs and now - self._wanted_at > REFUSED_S)

    def _catch_up(self, now: float) -> None:
        """What stands on screen is not of the network that restores, or will."""
        s = self.showing
        still = self._still and now - max(s.last_arrival, self._stepped_at) > STILL_S
        if not s.waiting and (s.held or still):
            s.restore_again()

    def learn_network(self) -> None:
        """What the current network can do."""
        choice = self.choice(self.network)
        self.showing.any_latent = choice is None or choice.any_latent

    def ask(self, verb: str, **arguments: Any) -> None:
        """Any other command."""
        self.session.command(verb, **arguments)

    def stop(self) -> None:
        """End the session."""
        self.session.stop()
