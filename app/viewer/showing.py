"""What is on screen and why: live, held by the user, or looping through one exposure.

No Qt here. The window calls `advance` at every tick of its timer and paints when that says so.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from statistics import median

from app.session import Picture, Residual, Session

STALE_MS = 100.0
STALE_FULL_MS = 400.0  # fully dimmed; between the two the dimming grows, so that a slow source does not flash
SELDOM_S = 1.0  # pictures that come still more seldom are stale before the next one
SLOW_MOTION_LATENTS = 25
SLOW_MOTION_S = 2.0  # there and back
SETTLE_S = 0.3  # the slider at rest so long is where new exposures are restored, too
SAME = 1e-4  # latents closer than this are one
MEASURED_S = 10.0  # a measured picture stays no longer than that when no other one comes


class Mode(Enum):
    """Why the picture is the one it is."""

    LIVE = auto()
    HELD = auto()
    SLOW_MOTION = auto()


class Showing:
    """Chooses the picture and the latent that are shown.

    At most one request for latents is under way; while it is, only the newest wish is kept.

    While re-blur residuals are wanted (`measure`), those pictures of the stream are shown that come with one, a
    few a second: a map over another picture than its own would show errors where there are none.
    """

    def __init__(self, session: Session, clock: Callable[[], float]) -> None:
        """`clock` gives seconds on the time base of `time.monotonic`."""
        self._session = session
        self._clock = clock
        self.picture: Picture | None = None
        self.index = 0
        self.mode = Mode.LIVE
        self.paused = False
        self.latent = 0.5
        self.any_latent = True
        self.received = 0
        self.measuring = False
        self._measured: Picture | None = None  # the newest with a residual
        self._measured_at, self._measured_every = -MEASURED_S, 1.0
        self._live: Picture | None = None  # newest picture of the stream, shown when the held one is let go
        self._strip: Picture | None = None  # answer with all instants of slow motion
        self._wanted: tuple[float, ...] | None = None
        self._in_flight: tuple[float, ...] | None = None
        self._sent_at = 0.0
        self._loop_from = 0.0
        self._settle_at: float | None = None
        self._arrivals: list[float] = []
        self.last_arrival = clock()

    # state ---------------------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """The user keeps one exposure."""
        return self.mode is not Mode.LIVE

    @property
    def waiting(self) -> bool:
        """An answer of the held exposure is under way."""
        return self._in_flight is not None

    @property
    def shown_latent(self) -> float | None:
        """The instant of the sharp picture on screen; None when it was refused."""
        p = self.picture
        if p is None or p.sharp is None or not p.latents:
            return None
        return p.latents[min(self.index, len(p.latents) - 1)]

    @property
    def residual(self) -> Residual | None:
        """The re-blur residual of the exposure on screen, None while it is not known."""
        m, p = self._measured, self.picture
        return m.residual if m is not None and p is not None and _same(m, p) else None

    def age_ms(self) -> float | None:
        """How long ago the exposure on screen ended; None without a picture."""
        p = self.picture
        if p is None:
            return None
        end = p.exposure_end_host_ns or p.ready_host_ns
        if not end:
            return None
        return max(0.0, self._clock() * 1e3 - end / 1e6)

    def stale(self) -> float:
        """0 fresh … 1 long out of date. Still by the user's wish is not stale."""
        age = self.age_ms()
        if age is None or self.held or self.paused:
            return 0.0
        if self._waits_for_measured(self._clock()):
            age = (self._clock() - self.last_arrival) * 1e3  # it is old because it was measured
        # A source of two pictures a second would else be dim half of the time, and no picture of it is late.
        seldom = min(self.interval_s() or 0.0, SELDOM_S) * 1e3
        begin = max(STALE_MS, 1.5 * seldom)
        return min(1.0, max(0.0, (age - begin) / (STALE_FULL_MS / STALE_MS - 1.0) / begin))

    def interval_s(self) -> float | None:
        """Median time between pictures of the stream, None while unknown."""
        if len(self._arrivals) < 3:
            return None
        return median(b - a for a, b in zip(self._arrivals, self._arrivals[1:], strict=False))

    # the user's wishes ---------------------------------------------------------------------------------

    def hold(self) -> bool:
        """Keep the exposure on screen. False when there is none to keep."""
        if self.picture is None:
            return False
        if self.mode is Mode.LIVE:
            self.mode = Mode.HELD
            self._session.hold(self.picture.ordinal)
        return True

    def move_to(self, latent: float) -> None:
        """Show the held exposure at this instant; holds the one on screen when none is held."""
        self.latent = min(1.0, max(0.0, latent))
        self._settle_at = self._clock() + SETTLE_S
        if not self.any_latent or not self.hold():
            return
        self.mode = Mode.HELD
        if self._strip is not None:  # the nearest known instant at once, the exact one when it comes
            self.picture = self._strip
            self.index = _nearest(self._strip.latents, self.latent)
        self._want((self.latent,))

    def slow_motion(self, on: bool) -> bool:
        """Loop through the exposure on screen, or stop at the instant that is shown. True when it loops."""
        if not on:
            if self.mode is Mode.SLOW_MOTION:
                self.mode = Mode.HELD
                at = self.shown_latent
                if at is not None:
                    self.latent = at
                    self._settle_at = self._clock() + SETTLE_S
            return False
        if not self.any_latent or self.picture is None or self.picture.sharp is None or not self.hold():
            return False
        self.mode = Mode.SLOW_MOTION
        self._loop_from = self._clock()
        if self._strip is None:
            self._want(tuple(i / (SLOW_MOTION_LATENTS - 1) for i in range(SLOW_MOTION_LATENTS)))
        return True

    def measure(self, on: bool) -> None:
        """Show pictures with their re-blur residual, or as they come."""
        if on == self.measuring:
            return
        self.measuring, self._measured = on, None
        self._session.command("residual", on=on)
        if not on and self.mode is Mode.LIVE and self._live is not None:
            self._show(self._live)

    def let_go(self) -> None:
        """Back to the stream."""
        if self.mode is Mode.LIVE:
            return
        self.mode = Mode.LIVE
        self._strip = self._wanted = self._in_flight = None
        self._session.hold(None)
        live, kept = self._live, self.picture
        if live is not None and kept is not None and live.network != kept.network and _same(live, kept):
            live = self._live = kept  # restored by another network meanwhile; nothing newer has come
        if live is not None:
            self._show(live)

    def restore_again(self) -> None:
        """The network has changed, or will: the exposure on screen is held and asked for once more.

        A network of one instant answers with that one.
        """
        self._strip = None
        if self.mode is Mode.SLOW_MOTION and self.slow_motion(True):
            return
        if self.hold():
            self.mode = Mode.HELD
            self._want((self.latent,))

    # time ----------------------------------------------------------------------------------------------

    def advance(self) -> bool:
        """Take what the session has, move the loop on. True when another picture is to be painted."""
        now = self._clock()
        changed = False
        picture = self._session.poll()
        if picture is not None:
            self.received += 1
            changed = self._take(picture, now)
        if self._in_flight is not None and now - self._sent_at > 2.0 + 0.5 * len(self._in_flight):
            # No answer: the network is slow, or the worker has died. Who is in work with it goes on.
            self._sent_at = now
            if self.held and self.picture is not None:
                self._session.hold(self.picture.ordinal)
                self._session.request_latents(self._in_flight, again=True)
        self._send(now)
        if self._settle_at is not None and now >= self._settle_at:
            self._settle_at = None
            self._session.set_latents((self.latent,))
        if self.mode is Mode.SLOW_MOTION and self._strip is not None:
            index = ping_pong((now - self._loop_from) / SLOW_MOTION_S, len(self._strip.latents))
            if self.picture is not self._strip or index != self.index:
                self.picture, self.index = self._strip, index
                changed = True
        return changed

    def _waits_for_measured(self, now: float) -> bool:
        """A picture with its residual is on screen, and the next one is due."""
        patience = min(MEASURED_S, 2 * self._measured_every + 0.5)
        return self.measuring and self._measured is not None and now - self._measured_at < patience

    def _measured_by(self, network: str) -> bool:
        """The measured picture is of this network; of another one it is of no interest any more."""
        return self._measured is not None and self._measured.network == network

    def _take_measured(self, picture: Picture, now: float) -> bool:
        if not self.measuring or picture.held != self.held:
            return False
        if self.held and (self.picture is None or not _same(picture, self.picture)):
            return False
        if not self.held:
            self._measured_every = min(MEASURED_S, now - self._measured_at)
            self._show(picture)
        self._measured, self._measured_at = picture, now
        return True

    def _take(self, picture: Picture, now: float) -> bool:
        if picture.residual is not None:
            return self._take_measured(picture, now)
        if not picture.held:
            self._live = picture
            self._arrivals = [*self._arrivals[-8:], now]
            self.last_arrival = now
            if self.held or (self._waits_for_measured(now) and self._measured_by(picture.network)):
                return False
            self._show(picture)
            return True
        if not self.held or self.picture is None or picture.ordinal != self.picture.ordinal:
            return False  # an answer that comes after its exposure was let go
        # A network of fixed instants answers with those, however many were asked for.
        asked, self._in_flight = self._in_flight, None
        if len(picture.latents) > 1:
            self._strip, self._loop_from = picture, now
            if self.mode is Mode.SLOW_MOTION:
                return False  # the loop shows it
            self.picture, self.index = picture, _nearest(picture.latents, self.latent)
            return True
        if self.mode is Mode.SLOW_MOTION:
            if asked is None or len(asked) == 1:
                return False  # from before the loop was wished for
            self.mode = Mode.HELD  # one instant is all there is
        self._show(picture)
        return True

    def _show(self, picture: Picture) -> None:
        self.picture = picture
        self.index = _nearest(picture.latents, self.latent)

    def _want(self, latents: tuple[float, ...]) -> None:
        self._wanted = latents
        self._send(self._clock())

    def _send(self, now: float) -> None:
        if self._wanted is None or self._in_flight is not None:
            return
        self._in_flight, self._wanted, self._sent_at = self._wanted, None, now
        self._session.request_latents(self._in_flight)


def ping_pong(turns: float, n: int) -> int:
    """Index into n pictures after so many times there and back."""
    if n < 2:
        return 0
    span = 2 * (n - 1)
    k = int(turns * span) % span
    return k if k < n else span - k


def _same(a: Picture, b: Picture) -> bool:
    """Pictures of one exposure."""
    return (a.ordinal, a.time_us) == (b.ordinal, b.time_us)


def _nearest(latents: tuple[float, ...], wish: float) -> int:
    return min(range(len(latents)), key=lambda i: abs(latents[i] - wish), default=0)
