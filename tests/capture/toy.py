"""A driver that tests steer: counted packets and frames, losses, errors, hangs and deaths on request.

Settings: `period_s` between items (0: as fast as they are asked for), `count` items in all (0: endless),
`open_s` how long opening takes, `missing` a file without which opening fails, `hang_open`.
Commands: `fault` with kind `lose`, `hang`, `raise`, `segv`; `echo`; `rewind`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from capture.camera import CameraBase, CameraInfo, CameraRole, EndOfStream, Progress
from capture.errors import CameraError, CameraLost, UsageError
from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from capture.registry import RigFacts

W, H = 16, 12


class ToyConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")
    period_s: float = 0.005
    count: int = 0
    events: int = 4
    open_s: float = 0.0
    missing: str = ""
    hang_open: bool = False


def event_packet(n: int, events: int = 4, epoch: int = 0) -> EventPacket:
    t = np.arange(events, dtype=np.int64) + 1000 * n
    return EventPacket(
        Events(t, (t % W).astype(np.uint16), (t % H).astype(np.uint16), t % 2 == 0, W, H),
        TriggerEdges.empty(), 1000 * (n + 1), time.monotonic_ns(), epoch=epoch,
    )  # fmt: skip


def frame(n: int, epoch: int = 0) -> Frame:
    return Frame(
        np.full((H, W), n % 256, np.uint8), PixelLayout.GRAY, n, 1_000_000 * n, 1_000_000 * (n + 1),
        FrameClock.EVENT, time.monotonic_ns(), epoch=epoch,
    )  # fmt: skip


class ToyCamera(CameraBase[Any]):
    def __init__(self, role: CameraRole, config: ToyConfig) -> None:
        self.info = CameraInfo(role, "toy", "toy", "", W, H)
        self.config, self.n, self.kind, self.epoch_ns, self.epoch = config, 0, "", 0, 0

    def open(self, progress: Progress | None = None) -> None:
        while self.config.hang_open:
            time.sleep(1)
        if self.config.missing and not Path(self.config.missing).exists():
            raise CameraError("toy: no such camera; plug it in")
        for i in range(10):
            time.sleep(self.config.open_s / 10)
            if progress is not None:
                progress(i / 10)

    def start(self, epoch_ns: int = 0) -> None:
        self.epoch_ns = epoch_ns
        self.next_at = time.monotonic()

    def read(self, timeout_s: float) -> Any:
        if self.kind == "lose":
            self.kind = ""
            raise CameraLost("toy: unplugged; plug it in again")
        if self.kind == "raise":
            raise ZeroDivisionError("toy went wrong")
        if self.kind == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        while self.kind == "hang":
            time.sleep(1)
        if self.config.count and self.n >= self.config.count:
            raise EndOfStream
        wait = self.next_at - time.monotonic()
        if self.config.period_s and wait > 0:
            time.sleep(min(wait, timeout_s))
            if wait > timeout_s:
                return None
        self.next_at += self.config.period_s
        self.n += 1
        if self.info.role is CameraRole.EVENTS:
            return event_packet(self.n - 1, self.config.events, self.epoch)
        return frame(self.n - 1, self.epoch)

    def command(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if verb == "fault":
            self.kind = arguments["kind"]
            return {}
        if verb == "echo":
            return {**arguments, "epoch_ns": self.epoch_ns}
        if verb == "rewind":
            self.n, self.epoch = 0, self.epoch + 1
            return {}
        return super().command(verb, arguments)


class ToyDriver:
    name = "toy"

    def configure(self, rest: str, settings: Mapping[str, Any]) -> ToyConfig:
        try:
            return ToyConfig(**settings)
        except ValidationError as e:
            raise UsageError(f"toy: {e.errors()[0]['loc'][0]}: {e.errors()[0]['msg']}") from e

    def discover(self) -> list[CameraInfo]:
        return []

    def event_camera(self, config: BaseModel) -> ToyCamera:
        assert isinstance(config, ToyConfig)
        return ToyCamera(CameraRole.EVENTS, config)

    def frame_camera(self, config: BaseModel) -> ToyCamera:
        assert isinstance(config, ToyConfig)
        return ToyCamera(CameraRole.FRAMES, config)

    def pair(self, config: BaseModel) -> tuple[ToyCamera, ToyCamera]:
        return self.event_camera(config), self.frame_camera(config)

    def rig_facts(self, config: BaseModel) -> RigFacts | None:
        return None


DRIVER = ToyDriver()
DRIVERS = {"toy": "tests.capture.toy:DRIVER"}
