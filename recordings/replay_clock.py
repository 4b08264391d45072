"""When each item of a replayed recording is due: pace, pause, step. Pure arithmetic, no waiting."""

from __future__ import annotations

from capture.errors import UsageError

SLOWEST, FASTEST = 0.1, 8.0


def checked_speed(value: object) -> float:
    """A speed: 0 (as fast as possible) or 0.1 … 8 times real time.

    Raises:
        UsageError: anything else.
    """
    try:
        speed = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        speed = -1.0
    if speed == 0 or SLOWEST <= speed <= FASTEST:
        return speed
    raise UsageError(
        f"speed {value!r} is out of range: {SLOWEST} … {FASTEST:g} times real time, or 0 = as fast as possible"
    )


class ReplayClock:
    """Maps the recording's time axis (µs) to the host's (`time.monotonic_ns`).

    Playing, the axis runs at `speed`; paused, it stands, and nothing is due but what lies up to `limit_us`
    (a step, or the picture of a seek).

    Attributes:
        speed: times real time, 0 = as fast as possible.
        paused: the axis stands.
        limit_us: while paused, items up to here (inclusive) are due at once; None = nothing is.
        reached_us: axis time of the latest item handed out, or where a seek put it.
    """

    def __init__(self, start_us: int, speed: float, now_ns: int) -> None:
        self.speed = speed
        self.paused = False
        self.limit_us: int | None = None
        self.reached_us = start_us
        self._anchor_us, self._anchor_ns = start_us, now_ns

    def due_ns(self, axis_us: int, now_ns: int) -> int | None:
        """The host time at which an item of this axis time is due; None: not while paused."""
        if self.paused:
            return now_ns if self.limit_us is not None and axis_us <= self.limit_us else None
        if self.speed == 0:
            return now_ns
        return self._anchor_ns + round((axis_us - self._anchor_us) * 1000 / self.speed)

    def handed_out(self, axis_us: int) -> None:
        """An item was given to the reader."""
        self.reached_us = max(self.reached_us, axis_us)

    def pause(self) -> None:
        """Stand still: nothing more is due."""
        self.paused, self.limit_us = True, None

    def play(self, now_ns: int) -> None:
        """Go on from where it stood; while playing this changes nothing."""
        if self.paused:
            self.paused, self.limit_us = False, None
            self._anchor(self.reached_us, now_ns)

    def go_on(self, now_ns: int) -> None:
        """After a stop: the time that passed meanwhile does not count."""
        if not self.paused:
            self._anchor(self.reached_us, now_ns)

    def step_to(self, axis_us: int) -> None:
        """Hand out everything up to this time, then stand."""
        self.paused, self.limit_us = True, axis_us

    def jump(self, axis_us: int, now_ns: int) -> None:
        """After a seek: what lies up to this time is due now, what follows at pace (or not, while paused)."""
        self.reached_us = axis_us
        self._anchor(axis_us, now_ns)
        if self.paused:
            self.limit_us = axis_us

    def set_speed(self, speed: float, now_ns: int) -> None:
        """Change pace without a jump."""
        if not self.paused:
            self._anchor(self._position(now_ns), now_ns)
        self.speed = speed

    def _position(self, now_ns: int) -> int:
        """Where the axis stands now, while playing."""
        if self.speed == 0:
            return self.reached_us
        return self._anchor_us + round((now_ns - self._anchor_ns) * self.speed / 1000)

    def _anchor(self, axis_us: int, now_ns: int) -> None:
        self._anchor_us, self._anchor_ns = axis_us, now_ns
