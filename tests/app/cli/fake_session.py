"""A session that a test scripts: pictures, status, faults."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from app.session import NetworkChoice, Picture, SessionStatus, Timeline, WorkerStatus
from capture.camera import CameraState


def picture(ordinal: int, *, refusal: str = "", latents: tuple[float, ...] = (0.5,)) -> Picture:
    """A small one; the sharp picture's level says which latent time it is."""
    level = 30 + ordinal % 200
    blurred = np.full((48, 64, 3), level, np.uint8)
    sharp = np.stack([np.full((48, 64, 3), round(200 * v), np.uint8) for v in latents])
    end = 1_000_000 + 40_000 * ordinal
    return Picture(
        ordinal=ordinal, blurred=blurred, sharp=None if refusal else sharp, latents=latents,
        exposure_start_us=None if refusal else end - 10_000, exposure_end_us=None if refusal else end,
        source="" if refusal else "trigger", uncertainty_us=5.0, refusal=refusal, network="edi", events=None,
        image_from_event=np.eye(3), exposure_end_host_ns=0, ready_host_ns=time.monotonic_ns(),
        figures={} if refusal else {"contrast_on": 0.2 + 0.01 * (ordinal % 3)},
    )  # fmt: skip


class FakeSession:
    """Gives `pictures`, then nothing. `workers` and `cautions` are what `status` shows."""

    def __init__(
        self, pictures: list[Picture], *, is_recording: bool = False, every_s: float = 0.0,
        error: BaseException | None = None,
    ) -> None:  # fmt: skip
        self.title = "fake"
        self.is_recording, self.elsewhere = is_recording, False
        self.calls: list[str] = []
        self.workers: tuple[WorkerStatus, ...] = (WorkerStatus("replay", CameraState.RUNNING),)
        self.cautions: tuple[str, ...] = ()
        self._pictures = list(pictures)
        self._every_s = every_s
        self._error = error
        self._next = 0.0
        self._given = 0
        self._ended = False
        self._total = len(pictures)

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def poll(self) -> Picture | None:
        if time.monotonic() < self._next:
            return None
        if not self._pictures:
            if self._error is not None:
                raise self._error
            self._ended = self.is_recording
            return None
        self._next = time.monotonic() + self._every_s
        self._given += 1
        return self._pictures.pop(0)

    def status(self) -> SessionStatus:
        return SessionStatus(
            fps=25.0, stage_fps={"frames": 25.0, "restore": 24.0}, latency_p50_ms=31.0, latency_p95_ms=44.0,
            items_in=self._given + 2, items_out=self._given, waiting=0, losses={"camera frames": 2, "ring": 0},
            exposure_source="trigger", uncertainty_us=5.0, workers=self.workers, message="preparing",
            cautions=self.cautions, ended=self._ended,
        )  # fmt: skip

    def timeline(self) -> Timeline | None:
        return None

    def networks(self) -> list[NetworkChoice]:
        return []

    def select_network(self, name: str) -> None:
        pass

    def set_latents(self, latents: tuple[float, ...]) -> None:
        pass

    def hold(self, ordinal: int | None) -> None:
        pass

    def request_latents(self, latents: tuple[float, ...], *, again: bool = False) -> None:
        pass

    def command(self, verb: str, **arguments: Any) -> None:
        pass
