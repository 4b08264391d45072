"""Faults on request: what goes wrong with real rigs, asked for by configuration or while the rig runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, ValidationError

from capture.camera import CameraRole
from capture.errors import CameraError
from capture.validation import Strict

FaultKind = Literal["drop_frame", "drop_edge", "stall", "unplug", "burst"]

_FOR: dict[str, tuple[CameraRole, ...]] = {
    "drop_frame": (CameraRole.FRAMES,),
    "drop_edge": (CameraRole.EVENTS,),
    "burst": (CameraRole.EVENTS,),
    "stall": (CameraRole.EVENTS, CameraRole.FRAMES),
    "unplug": (CameraRole.EVENTS, CameraRole.FRAMES),
}


class Fault(Strict):
    """One fault.

    `drop_frame`: the next `count` frames are exposed and counted by the camera but never arrive.
    `drop_edge`: the next `count` trigger edges (of the kind `edge`) are missed.
    `stall`: nothing arrives for `seconds`; then all of it at once, or none of it with `lose`.
    `unplug`: the camera is gone for `seconds`; reading raises `CameraLost`, opening fails until it is back.
    `burst`: `events` events of random pixels within `seconds`, on top of the scene.
    """

    kind: FaultKind
    at_s: float = Field(
        default=0.0, ge=0.0, description="when, in seconds of the rig's time; faults on request: now"
    )
    seconds: float = Field(default=1.0, gt=0.0, le=3600.0, description="how long (stall, unplug, burst)")
    count: int = Field(default=1, ge=1, le=1_000_000, description="how many (drop_frame, drop_edge)")
    edge: Literal["rising", "falling", "both"] = Field(default="both", description="which edges (drop_edge)")
    events: int = Field(default=100_000, ge=1, le=5_000_000, description="how many (burst)")
    lose: bool = Field(default=False, description="a stall loses what it held back")
    camera: Literal["events", "frames", "both"] = Field(
        default="both", description="which camera (stall, unplug)"
    )

    def concerns(self, role: CameraRole) -> bool:
        """Whether this camera has it."""
        return role in _FOR[self.kind] and self.camera in ("both", role.value)


def fault_from(arguments: dict[str, Any], role: CameraRole, name: str) -> Fault:
    """The fault that a `command("fault", …)` asks of this camera.

    Raises:
        CameraError: unknown kind or key, value out of range, or a fault of the other camera.
    """
    try:
        fault = Fault.model_validate(arguments)
    except ValidationError as e:
        first = e.errors()[0]
        key = ".".join(str(k) for k in first["loc"]) or "kind"
        raise CameraError(f"{name}: fault {key!r}: {first['msg']}; kinds: {', '.join(_FOR)}") from e
    if role not in _FOR[fault.kind]:
        raise CameraError(f"{name}: fault {fault.kind!r} belongs to the other camera")
    return fault


@dataclass(slots=True)
class FaultBook:
    """The faults of one camera over time, asked in order of time.

    Times are µs on the event clock. A fault takes effect once `advance` has passed its time.
    """

    role: CameraRole
    waiting: list[Fault] = field(default_factory=list)
    frames_to_drop: int = 0
    edges_to_drop: dict[str, int] = field(default_factory=lambda: {"rising": 0, "falling": 0, "both": 0})
    held_until_us: int = -1
    lost: list[tuple[int, int]] = field(default_factory=list)
    unplugged: list[tuple[int, int]] = field(default_factory=list)
    bursts: list[tuple[int, int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, faults: tuple[Fault, ...], role: CameraRole) -> FaultBook:
        """The book of one camera out of a rig's schedule."""
        mine = sorted((f for f in faults if f.concerns(role)), key=lambda f: f.at_s)
        book = cls(role, mine)
        # Spans are known beforehand; only counts wait for their time.
        for f in mine:
            if f.kind in ("unplug", "burst") or (f.kind == "stall" and f.lose):
                book._enter(f, round(f.at_s * 1e6))
        counted = ("drop_frame", "drop_edge")
        book.waiting = [f for f in mine if f.kind in counted or (f.kind == "stall" and not f.lose)]
        return book

    def add(self, fault: Fault, now_us: int) -> None:
        """A fault that begins now."""
        self._enter(fault, now_us)

    def advance(self, now_us: int) -> None:
        """Let scheduled faults up to this time take effect."""
        while self.waiting and self.waiting[0].at_s * 1e6 <= now_us:
            f = self.waiting.pop(0)
            self._enter(f, round(f.at_s * 1e6))

    def _enter(self, f: Fault, at_us: int) -> None:
        until = at_us + round(f.seconds * 1e6)
        if f.kind == "drop_frame":
            self.frames_to_drop += f.count
        elif f.kind == "drop_edge":
            self.edges_to_drop[f.edge] += f.count
        elif f.kind == "burst":
            self.bursts.append((at_us, until, f.events))
        elif f.kind == "unplug":
            self.unplugged.append((at_us, until))
            self.lost.append((at_us, until))
        elif f.lose:
            self.lost.append((at_us, until))
        else:
            self.held_until_us = max(self.held_until_us, until)

    def take_frame(self) -> bool:
        """True when the next frame must be dropped; counts it."""
        if self.frames_to_drop > 0:
            self.frames_to_drop -= 1
            return True
        return False

    def take_edge(self, rising: bool) -> bool:
        """True when this edge must be missed; counts it."""
        for kind in ("rising" if rising else "falling", "both"):
            if self.edges_to_drop[kind] > 0:
                self.edges_to_drop[kind] -= 1
                return True
        return False

    def out_of_lost(self, t_us: int) -> int:
        """The first time from `t_us` on at which the camera delivers."""
        moved = True
        while moved:
            moved = False
            for a, b in self.lost:
                if a <= t_us < b:
                    t_us, moved = b, True
        return t_us

    def next_lost(self, t_us: int) -> int | None:
        """When the next loss begins after `t_us`, None when none is known."""
        later = [a for a, _ in self.lost if a > t_us]
        return min(later) if later else None

    def unplugged_until(self, now_us: float) -> int | None:
        """Until when the camera is gone, None while it is there."""
        for a, b in self.unplugged:
            if a <= now_us < b:
                return b
        return None
