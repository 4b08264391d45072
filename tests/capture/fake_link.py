"""A worker's link without a supervisor: what the worker says is kept, what it is told comes from a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from capture.camera import CameraState
from capture.messages import Command


class FakeLink:
    """Calls `each(link)` at every poll; the script sets `stopping` and appends to `commands`."""

    name = "toy"
    beat_due = True

    def __init__(self, each: Callable[[FakeLink], None], incarnation: int = 0, polls: int = 5000) -> None:
        self.incarnation, self.stopping, self.epoch_ns = incarnation, False, 1
        self.stop_asked = 0.0
        self.stop_given_s: float | None = None
        self.each, self.left = each, polls
        self.commands: list[Command] = []
        self.said: list[tuple[CameraState, str]] = []
        self.figures: dict[str, Any] = {}
        self.replies: list[tuple[int, Mapping[str, Any], str]] = []
        self.published: list[tuple[str, Mapping[str, Any]]] = []

    def status(self, state: CameraState, detail: str = "", **figures: Any) -> None:
        if not self.said or self.said[-1] != (state, detail):
            self.said.append((state, detail))
        self.figures = figures or self.figures

    beat = status

    def publish(self, topic: str, body: Mapping[str, Any]) -> bool:
        self.published.append((topic, body))
        return True

    def reply(self, command: Command, result: Mapping[str, Any] | None = None, error: str = "") -> None:
        self.replies.append((command.number, result or {}, error))

    def poll(self, timeout_s: float = 0.0) -> list[Command]:
        self.each(self)
        self.left -= 1
        self.stopping |= self.left <= 0
        commands, self.commands = self.commands, []
        return commands

    def wait_start(self, detail: str = "") -> int | None:
        return None if self.stopping else self.epoch_ns
