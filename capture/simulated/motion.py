"""How things move in the simulated scene: sums of harmonics of the loop, so that every loop joins seamlessly.

A motion maps seconds within the loop to a `Pose`. All of them have the period `loop_s`: shake is band-limited
noise made of harmonics of the loop, turns are whole turns per loop, and an object that crosses is out of sight
when it starts again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a layer is: position of its anchor, its rotation and its size.

    Attributes:
        x, y: the anchor in scene coordinates (fine pixels, x right, y down).
        angle: radians, positive turns from x towards y (clockwise on screen).
        scale: 1 = drawn size.
        visible: False while it is out of sight.
    """

    x: float
    y: float
    angle: float = 0.0
    scale: float = 1.0
    visible: bool = True

    def matrix(self, anchor: tuple[float, float]) -> F64:
        """(3, 3): layer pixel → scene pixel; `anchor` is the layer's pixel that comes to lie at (x, y)."""
        c, s = self.scale * math.cos(self.angle), self.scale * math.sin(self.angle)
        ax, ay = anchor
        return np.array([[c, -s, self.x - c * ax + s * ay], [s, c, self.y - s * ax - c * ay], [0.0, 0.0, 1.0]])


Motion = Callable[[float], Pose]


@dataclass(frozen=True, slots=True)
class Wave:
    """One coordinate as band-limited noise: a sum of harmonics of the loop.

    Attributes:
        loop_s: the period.
        orders: (K,) numbers of the harmonics (whole periods per loop).
        amplitudes, phases: (K,) of each.
    """

    loop_s: float
    orders: F64
    amplitudes: F64
    phases: F64

    def __call__(self, t: float) -> float:
        """The value at `t` seconds."""
        w = 2.0 * math.pi / self.loop_s
        return float(np.dot(self.amplitudes, np.sin(w * self.orders * t + self.phases)))

    @classmethod
    def shake(
        cls, rng: np.random.Generator, loop_s: float, low_hz: float, high_hz: float, speed_rms: float
    ) -> Wave:
        """Noise between two frequencies whose **speed** has a flat spectrum and the given rms (units/s).

        Speed, not displacement, is what makes blur; a displacement spectrum that falls with frequency is what
        hands do.
        """
        first = max(1, round(low_hz * loop_s))
        last = max(first, round(high_hz * loop_s))
        orders = np.arange(first, last + 1, dtype=np.float64)
        phases = rng.uniform(0.0, 2.0 * math.pi, len(orders))
        strength = rng.uniform(0.6, 1.4, len(orders))
        w = 2.0 * math.pi * orders / loop_s
        amplitudes = strength / w
        rms = math.sqrt(float(np.sum((amplitudes * w) ** 2)) / 2.0)
        return cls(loop_s, orders, amplitudes * (speed_rms / rms), phases)


@dataclass(frozen=True, slots=True)
class Crossing:
    """An object that crosses along a straight line, with hops, and is out of sight for the rest of the loop.

    Attributes:
        start, end: (x, y) where it appears and where it is gone; both must lie out of sight.
        enter_s, duration_s: when it appears and how long it takes, `duration_s < loop_s`. It may
            still be on its way when the loop begins again.
        hops, hop_height: bounces on the way, and their height.
        spin: whole radians turned on the way.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    enter_s: float
    duration_s: float
    loop_s: float
    hops: int = 0
    hop_height: float = 0.0
    spin: float = 0.0
    scale: float = 1.0

    def __call__(self, t: float) -> Pose:
        """The pose at `t` seconds."""
        u = ((t - self.enter_s) % self.loop_s) / self.duration_s
        if u > 1.0:
            return Pose(self.start[0], self.start[1], visible=False)
        x = self.start[0] + u * (self.end[0] - self.start[0])
        y = self.start[1] + u * (self.end[1] - self.start[1])
        if self.hops:
            v = (u * self.hops) % 1.0
            y -= self.hop_height * 4.0 * v * (1.0 - v)
        return Pose(x, y, self.spin * u, self.scale)


@dataclass(frozen=True, slots=True)
class Turning:
    """An object that turns in place, `turns` whole turns per loop."""

    x: float
    y: float
    turns: int
    loop_s: float

    def __call__(self, t: float) -> Pose:
        """The pose at `t` seconds."""
        return Pose(self.x, self.y, 2.0 * math.pi * self.turns * t / self.loop_s)


@dataclass(frozen=True, slots=True)
class Swinging:
    """A pendulum: turns about its anchor between ± `reach` radians, `swings` whole swings per loop."""

    x: float
    y: float
    reach: float
    swings: int
    loop_s: float
    phase: float = 0.0

    def __call__(self, t: float) -> Pose:
        """The pose at `t` seconds."""
        a = self.reach * math.sin(2.0 * math.pi * self.swings * t / self.loop_s + self.phase)
        return Pose(self.x, self.y, a)


@dataclass(frozen=True, slots=True)
class Still:
    """An object that does not move of itself."""

    x: float = 0.0
    y: float = 0.0

    def __call__(self, t: float) -> Pose:
        """The pose, the same at any time."""
        return Pose(self.x, self.y)


@dataclass(frozen=True, slots=True)
class Held:
    """Something that would move, held still as it is: another motion's pose at one time."""

    pose: Pose

    def __call__(self, t: float) -> Pose:
        """The pose, the same at any time."""
        return self.pose


@dataclass(frozen=True, slots=True)
class CameraMotion:
    """How the rig itself moves: hand shake, roll and zoom about the middle of the view.

    Attributes:
        centre: scene point in the middle of the view.
        x, y: shift of the view (fine pixels).
        roll: radians.
        zoom: relative change of size.
    """

    centre: tuple[float, float]
    x: Wave
    y: Wave
    roll: Wave
    zoom: Wave

    def matrix(self, t: float, depth: float, view: tuple[float, float]) -> F64:
        """(3, 3): scene pixel → fine pixel of a view whose middle is at `view`.

        `depth` is 1 for the background; nearer layers (> 1) shift more: parallax.
        """
        a, s = self.roll(t), 1.0 + self.zoom(t)
        c, n = s * math.cos(a), s * math.sin(a)
        cx, cy = self.centre
        dx, dy = depth * self.x(t), depth * self.y(t)
        return np.array(
            [
                [c, -n, view[0] + dx - c * cx + n * cy],
                [n, c, view[1] + dy - n * cx - c * cy],
                [0.0, 0.0, 1.0],
            ]
        )

    @classmethod
    def hand(
        cls, rng: np.random.Generator, loop_s: float, centre: tuple[float, float], *,
        speed: float, sway_hz: float = 1.3, low_hz: float = 0.7, high_hz: float = 6.0, reach: float = 1200.0,
    ) -> CameraMotion:  # fmt: skip
        """A hand-held rig that is moved about at about `speed` fine pixels per second.

        A sway, round and round at nearly constant speed, carries 92 % of it, so that blur is always there;
        shake in both directions, roll and zoom come on top. Roll and zoom are sized so that at a distance of
        `reach`/2 they add about a tenth of that speed.
        """
        turn = 0.1 * speed / (reach / 2.0)
        sway, phase = max(1, round(sway_hz * loop_s)), float(rng.uniform(0, 2 * math.pi))
        radius = 0.92 * speed * loop_s / (2 * math.pi * sway)

        def both(angle: float, stretch: float) -> Wave:
            shake = Wave.shake(rng, loop_s, low_hz, high_hz, 0.2 * speed)
            return Wave(
                loop_s, np.append(shake.orders, float(sway)), np.append(shake.amplitudes, stretch * radius),
                np.append(shake.phases, angle),
            )  # fmt: skip

        return cls(
            centre,
            both(phase, 1.0),
            both(phase + math.pi / 2, 0.95),
            Wave.shake(rng, loop_s, low_hz, min(high_hz, 4.0), turn),
            Wave.shake(rng, loop_s, low_hz, min(high_hz, 2.0), 0.6 * turn),
        )


@dataclass(frozen=True, slots=True)
class Attached:
    """A part of something that moves, such as a wheel or a lamp of a car.

    Attributes:
        carrier: the motion of the whole.
        dx, dy: where the part sits, from the whole's anchor.
        radius: of a wheel that rolls without slipping on the way; None for a part that does not turn.
    """

    carrier: Motion
    dx: float
    dy: float
    radius: float | None = None

    def __call__(self, t: float) -> Pose:
        """The pose at `t` seconds."""
        p = self.carrier(t)
        angle = p.x / (self.radius * p.scale) if self.radius else 0.0
        return Pose(p.x + p.scale * self.dx, p.y + p.scale * self.dy, angle, p.scale, p.visible)
