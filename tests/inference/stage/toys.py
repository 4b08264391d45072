"""What the restore stage is fed with: frames, events, and a network that waits and fails when told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from capture.packets import EventPacket, Events, Frame, FrameClock, FrameKind, PixelLayout, TriggerEdges
from inference.restore_stage import RestoreStage
from inference.restorers.base import Needs, Restored
from inference.restorers.passthrough import PassThrough
from sync.exposure import AlignedExposure

W, H = 24, 16
PERIOD_US, EXPOSURE_US = 40_000, 30_000


def frame(k: int, *, kind: FrameKind = FrameKind.SENSOR, epoch: int = 0) -> Frame:
    start = (100_000 + k * PERIOD_US) * 1000
    image = np.full((H, W), 10 + k % 200, np.uint8)
    return Frame(
        image, PixelLayout.GRAY, k, start, start + EXPOSURE_US * 1000, FrameClock.EVENT, 0, kind, epoch
    )


def packet(k: int, *, epoch: int = 0) -> EventPacket:
    """Events of the period that ends with frame k's exposure."""
    end = 100_000 + k * PERIOD_US + EXPOSURE_US
    t = np.arange(end - PERIOD_US, end, 500, dtype=np.int64)
    x, y = (t // 500 % W).astype(np.uint16), (t // 700 % H).astype(np.uint16)
    return EventPacket(
        Events(t, x, y, (t // 500 % 2).astype(bool), W, H), TriggerEdges.empty(), end, epoch=epoch
    )


class Slow(PassThrough):
    """Waits for `gate` before each picture, and fails when told to."""

    name = "slow"
    gate = threading.Event()
    failures = 0
    error: Exception = RuntimeError("no kernel image\nand a stack trace")
    calls: list[int] = []  # noqa: RUF012

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        type(self).calls.append(window[0].ordinal)
        assert self.gate.wait(20)
        if type(self).failures > 0:
            type(self).failures -= 1
            raise self.error
        r = super().restore(window, latents)
        return Restored(r.ordinal, r.latents, r.times_us, r.images, self.name)


def with_needs(monkeypatch: pytest.MonkeyPatch, needs: Needs, error: Exception | None = None) -> None:
    """`Slow` has these needs from now on; it gives the middle of its window back, or fails each time."""
    original = Slow.__init__

    def init(self: Slow, *a: Any) -> None:
        original(self, *a)
        self.needs = needs

    def restore(self: Slow, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        if error is not None:
            raise error
        return PassThrough.restore(self, window[needs.frames_before :][:1], latents)

    monkeypatch.setattr(Slow, "__init__", init)
    monkeypatch.setattr(Slow, "restore", restore)


Make = Callable[..., RestoreStage]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.002)


def feed(stage: RestoreStage, ks: Sequence[int]) -> None:
    for k in ks:
        stage.feed_events(packet(k))
        stage.feed_frame(frame(k))
        stage.tick(None)


def adds_up(stage: RestoreStage) -> bool:
    c = stage.status()["stage"]
    return bool(
        c["exposures_in"] == c["restored"] + c["refused"] + c["failed"] + c["superseded"] + c["waiting"]
    )
