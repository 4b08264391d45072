"""A session without a pipeline: pictures, events, figures and a timeline out of a moving scene.

For tests, for the paint benchmark, and for looking at the window:

    python -m tests.app.viewer.fake_session [--recording] [--screenshot FILE] [--size 1152x768] [--residual]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from app.recorder import RecorderWatch, RecordingState, RecordRequest
from app.session import NetworkChoice, Picture, Residual, SessionStatus, Timeline, WorkerStatus
from capture.camera import CameraState
from capture.packets import Events

NETWORKS = [
    NetworkChoice("edi", "blurry frame + events", "no weights needed", True, last_ms=11.8),
    NetworkChoice("none", "blurry frame, passed through", "no weights needed", True, last_ms=0.1),
    NetworkChoice("glint", "blurry frame + events", "weights shipped", True, any_latent=False, last_ms=24.0),
    NetworkChoice(
        "efnet", "blurry frame + SCER at image resolution", "EFNet .pth", False,
        "no weights: put EFNet_GoPro.pth into the folder of weights, or run halfmirror weights efnet",
    ),
]  # fmt: skip


@dataclass
class Scene:
    """A texture that moves to and fro, cut into frames; everything computed once."""

    width: int = 346
    height: int = 260
    scale: int = 1  # image pixels per event pixel; the event camera sees the scene mirrored when > 1
    gray: bool = False
    frames: int = 16
    exposure_us: int = 12_400
    period_us: int = 40_000
    events_per_frame: int = 20_000
    seed: int = 1
    texture: np.ndarray = field(init=False)
    pad: int = field(init=False)

    def __post_init__(self) -> None:
        self.pad = max(8, self.width // 12)
        self.texture = _texture(self.width + 4 * self.pad, self.height, self.seed)
        if self.gray:
            self.texture = np.asarray(cv2.cvtColor(self.texture, cv2.COLOR_RGB2GRAY))
        self._blurred: dict[int, np.ndarray] = {}
        self._events: dict[int, tuple[np.ndarray, ...]] = {}

    @property
    def image_from_event(self) -> np.ndarray:
        s = self.scale
        if s == 1:
            return np.eye(3)
        # Centres of pixels at integers: x_image = W - 1 - (s·x + (s - 1)/2), mirrored.
        return np.array([[-s, 0, self.width - 1 - (s - 1) / 2], [0, s, (s - 1) / 2], [0, 0, 1]], np.float64)

    def offset(self, k: float) -> float:
        return self.pad * 2 + 1.6 * self.pad * np.sin(2 * np.pi * k / self.frames)

    def sharp(self, k: int, latent: float) -> np.ndarray:
        x = round(self.offset((k + latent * 0.45) % self.frames))
        return np.ascontiguousarray(self.texture[:, x : x + self.width])

    def blurred(self, k: int) -> np.ndarray:
        k %= self.frames
        if k not in self._blurred:
            total = np.mean([self.sharp(k, f).astype(np.float32) for f in np.linspace(0, 1, 13)], axis=0)
            self._blurred[k] = np.round(total).astype(np.uint8)
        return self._blurred[k]

    def events(self, k: int, start_us: int) -> Events:
        k %= self.frames
        if k not in self._events:
            rng = np.random.default_rng(k)
            s = self.scale
            size = (self.width // s, self.height // s)
            a = cv2.resize(_luma(self.sharp(k, 0.0)), size, interpolation=cv2.INTER_AREA).astype(np.int16)
            b = cv2.resize(_luma(self.sharp(k, 1.0)), size, interpolation=cv2.INTER_AREA).astype(np.int16)
            change = (b - a)[:, ::-1] if s > 1 else b - a
            weight = np.abs(change).ravel().astype(np.float64) + 0.3
            where = rng.choice(weight.size, self.events_per_frame, p=weight / weight.sum())
            t = np.sort(rng.integers(0, self.exposure_us, self.events_per_frame))
            self._events[k] = (
                t.astype(np.int64), (where % size[0]).astype(np.uint16), (where // size[0]).astype(np.uint16),
                change.ravel()[where] > 0,
            )  # fmt: skip
        t, x, y, p = self._events[k]
        return Events(t + start_us, x, y, p, self.width // self.scale, self.height // self.scale)


def _luma(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def _texture(width: int, height: int, seed: int) -> np.ndarray:
    """Shelves of spines: many vertical edges, muted colours, small print."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), (52, 47, 44), np.uint8)
    shelf = height // 3
    for row in range(3):
        x = 0
        while x < width:
            w = int(rng.integers(shelf // 9, shelf // 4))
            h = int(shelf * rng.uniform(0.62, 0.92))
            base = np.array(rng.choice(_SPINES), np.float64) * rng.uniform(0.8, 1.1)
            c = tuple(int(v) for v in base.clip(0, 255))
            y1 = (row + 1) * shelf - shelf // 18
            cv2.rectangle(image, (x, y1 - h), (x + w - 2, y1), c, -1)
            light = tuple(min(255, v + 50) for v in c)
            for f in (0.12, 0.85):
                y = int(y1 - h * f)
                cv2.line(image, (x + 2, y), (x + w - 4, y), light, max(1, shelf // 80))
            for j in range(int(rng.integers(3, 8))):
                y = int(y1 - h * (0.25 + 0.07 * j))
                half = int(w * rng.uniform(0.1, 0.32))
                cv2.line(
                    image, (x + w // 2 - half, y), (x + w // 2 + half, y), (232, 228, 216), max(1, shelf // 90)
                )
            x += w
        cv2.rectangle(
            image, (0, (row + 1) * shelf - shelf // 18), (width, (row + 1) * shelf), (120, 92, 66), -1
        )
    noise = rng.normal(0, 5, image.shape)
    return np.ascontiguousarray((image + noise).clip(0, 255).astype(np.uint8))


_SPINES = [
    (146, 62, 54),
    (62, 88, 118),
    (196, 176, 138),
    (74, 98, 76),
    (178, 120, 60),
    (92, 76, 104),
    (206, 200, 190),
]


class FakeSession:
    """Every wish is noted in `calls`. Time comes from `clock`, so that tests may move it by hand."""

    elsewhere = False

    def __init__(
        self,
        scene: Scene | None = None,
        *,
        title: str = "simulated:handheld",
        fps: float = 25.0,
        recording: bool = False,
        seconds: float = 12.0,
        network: str = "edi",
        answer_s: float = 0.01,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scene = scene or Scene()
        self.title, self.is_recording, self.fps = title, recording, fps
        self.clock, self.answer_s, self.network = clock, answer_s, network
        self.calls: list[tuple[Any, ...]] = []
        self.running = False
        self.paused = False
        self.speed, self.loop = 1.0, False
        self.latents: tuple[float, ...] = (0.5,)
        self.held: int | None = None
        self.refusal = ""
        self.flags: tuple[str, ...] = ()
        self.with_events = True
        self.silent = False  # nothing comes, as behind a cable that was pulled
        self.latency_s = 0.03
        self.message = ""
        self.residual_every_s = 0.2
        self._residual_due: float | None = None  # None: nobody looks on
        self._residual_held: int | None = None  # the held exposure whose residual was given
        self.losses = {"ring events": 0, "camera frames": 0, "superseded (viewer)": 0}
        self.choices = list(NETWORKS)
        self.workers = tuple(
            WorkerStatus(n, CameraState.RUNNING, pid=4000 + i, fps=fps)
            for i, n in enumerate(("events", "frames", "restore"))
        )
        self.total = round(seconds * fps)
        self._next = 0  # ordinal of the next picture
        self._due = 0.0
        self._out = 0
        self._answers: list[tuple[float, int, tuple[float, ...]]] = []
        self._switch: tuple[float, str] | None = None
        self.recording = RecorderWatch()
        self.slow_disk: str | Exception = ""
        self._asked = self.requests = 0
        self.wanted_network = ""  # as the restoring worker tells it, "" for nothing told

    def start(self) -> None:
        self.calls.append(("start",))
        for k in range(self.scene.frames):  # so that no poll is slow
            self.scene.blurred(k)
            self.scene.events(k, 0)
        self.running, self._due = True, self.clock()

    def stop(self) -> None:
        self.calls.append(("stop",))
        self.running = False

    def poll(self) -> Picture | None:
        now = self.clock()
        if not self.running or self.silent:
            return None
        if self._switch is not None and now >= self._switch[0]:
            self.network, self._switch = self._switch[1], None
        if (measured := self._measured(now)) is not None:
            return measured
        for answer in list(self._answers):
            if now >= answer[0]:
                self._answers.remove(answer)
                return self.picture(answer[1], answer[2], held=True)
        if self.paused or now < self._due or (self.is_recording and self._next >= self.total):
            return None
        period = 1 / (self.fps * self.speed)
        late = int((now - self._due) / period)
        if late > 0:
            self.losses["superseded (viewer)"] += late
            self._next += late
        self._due += (late + 1) * period
        return self._emit()

    def _measured(self, now: float) -> Picture | None:
        """A re-blur residual when one is due: once of a held exposure, else of the last one now and then."""
        if self._residual_due is None or not self._any_latent():
            return None
        if self.held is not None:
            if self._residual_held == self.held:
                return None
            self._residual_held = self.held
            return replace(self.picture(self.held, (0.5,), held=True), sharp=None, residual=self.residual())
        if now < self._residual_due or not self._out:
            return None
        self._residual_due = now + self.residual_every_s
        return replace(self.picture(self._next - 1, self.latents), residual=self.residual())

    def residual(self) -> Residual:
        """High in the left half, nothing in the right one."""
        values = np.zeros((self.scene.height, self.scene.width), np.uint8)
        values[:, : self.scene.width // 2] = 100
        return Residual(2.4, values)

    def _any_latent(self) -> bool:
        return next((c.any_latent for c in self.choices if c.name == self.network), True)

    def _emit(self) -> Picture:
        k, self._next = self._next, self._next + 1
        self._out += 1
        if self.loop and self._next >= self.total:
            self._next = 0
        return self.picture(k, self.latents)

    def picture(self, k: int, latents: tuple[float, ...], *, held: bool = False) -> Picture:
        s = self.scene
        if not self._any_latent():
            latents = (0.5,)
        start = 1_000_000 + k * s.period_us
        now_ns = int(self.clock() * 1e9)
        sharp = None if self.refusal else np.stack([s.sharp(k, f) for f in latents])
        if sharp is not None and self.network == "none":
            sharp = np.stack([s.blurred(k)] * len(latents))
        return Picture(
            ordinal=k, blurred=s.blurred(k), sharp=sharp, latents=latents,
            exposure_start_us=None if self.refusal else start,
            exposure_end_us=None if self.refusal else start + s.exposure_us,
            source="" if self.refusal else "trigger", uncertainty_us=5.0, refusal=self.refusal,
            network=self.network,
            events=s.events(k, start) if self.with_events else None, image_from_event=s.image_from_event,
            exposure_end_host_ns=now_ns - round(self.latency_s * 1e9), ready_host_ns=now_ns, flags=self.flags,
            figures={"contrast_on": 0.21, "contrast_off": 0.21, "reblur_residual": 1.3}, held=held,
            time_us=start,
        )  # fmt: skip

    def status(self) -> SessionStatus:
        self._asked += 1
        if self.recording.state is RecordingState.FINISHING and self._asked > 20:
            self.recording.failed("nobody told how it ended")
        dropped = sum(v for name, v in self.losses.items() if name != "ring events")
        return SessionStatus(
            fps=self.fps - 0.1, stage_fps={"frames": self.fps, "restore": self.fps - 0.1},
            latency_p50_ms=31.0, latency_p95_ms=44.0, items_in=self._out + dropped + 1, items_out=self._out,
            waiting=1, losses=dict(self.losses), exposure_source="trigger", uncertainty_us=5.0,
            ended=self.is_recording and self._next >= self.total,
            workers=self.workers, event_rate_hz=self.scene.events_per_frame * self.fps, message=self.message,
            network=self.wanted_network,
        )  # fmt: skip

    def arm_recorder(self, preroll_s: float, *, ready: bool = False) -> None:
        self.calls.append(("arm", preroll_s, ready))
        self.recording.figures = {"armed": True, "held_s": preroll_s, "held": 0} if preroll_s else {}

    def begin_recording(self, request: RecordRequest) -> None:
        request.check()
        self.calls.append(("begin", request))
        self.recording.begun(request)

    def finish_recording(self) -> None:
        self.calls.append(("finish",))
        self.recording.state, self._asked = RecordingState.FINISHING, 0

    def disk_trial(self, folder: Path) -> str:
        self.calls.append(("trial", folder))
        if isinstance(self.slow_disk, Exception):
            raise self.slow_disk
        return self.slow_disk

    def timeline(self) -> Timeline | None:
        if not self.is_recording:
            return None
        s = self.scene
        starts = 1_000_000 + np.arange(self.total, dtype=np.int64) * s.period_us
        x = np.linspace(0, 9, 400)
        rate = (1.2 + np.sin(x) + 0.5 * np.sin(5.1 * x + 1)).clip(0.05) * 4e5
        return Timeline(
            1_000_000, 1_000_000 + self.total * s.period_us, rate.astype(np.float32),
            np.stack([starts, starts + s.exposure_us], axis=1),
        )  # fmt: skip

    def networks(self) -> list[NetworkChoice]:
        return self.choices

    def select_network(self, name: str) -> None:
        self.calls.append(("select_network", name))
        self._switch = (self.clock() + 3 * self.answer_s, name)

    def set_latents(self, latents: tuple[float, ...]) -> None:
        self.calls.append(("set_latents", latents))
        self.latents = latents

    def hold(self, ordinal: int | None) -> None:
        self.calls.append(("hold", ordinal))
        self.held = ordinal

    def request_latents(self, latents: tuple[float, ...], *, again: bool = False) -> None:
        self.calls.append(("request_latents", latents))
        if not again:
            self.requests += 1
            self._answers.clear()  # only the newest request's answer is handed on
        if self.held is not None and not self._answers:
            self._answers.append((self.clock() + self.answer_s, self.held, latents))

    def command(self, verb: str, **arguments: Any) -> None:
        self.calls.append((verb, arguments))
        if verb == "pause":
            self.paused = True
        elif verb == "play":
            self.paused, self._due = False, self.clock()
        elif verb == "speed":
            self.speed = min(arguments["factor"], 1000.0)
        elif verb == "residual":
            self._residual_due = self.clock() if arguments["on"] else None
            self._residual_held = None
        elif verb == "loop":
            self.loop = arguments["on"]
        elif verb == "step":
            self._answer_now(self._next - 1 + arguments["frames"])
        elif verb == "seek":
            self._due = self.clock()
            self._answer_now((arguments["time_us"] - 1_000_000) // self.scene.period_us)
        elif verb == "restart":
            self.workers = tuple(
                replace(w, state=CameraState.STARTING, detail="", restarts=w.restarts + 1)
                if w.name == arguments["worker"]
                else w
                for w in self.workers
            )

    def _answer_now(self, k: int) -> None:
        """A stepped or sought frame comes although time stands still."""
        self._next = min(max(0, k), self.total - 1) if self.is_recording else max(0, k)
        if self.paused:
            emit, self._next = self._next, self._next + 1
            self._out += 1
            pictures = self.poll
            session = self

            def once() -> Picture | None:
                del session.poll  # type: ignore[method-assign]
                return session.picture(emit, session.latents)

            assert pictures is not None
            self.poll = once  # type: ignore[method-assign]

    def fault(self, name: str, detail: str) -> None:
        """A worker stops with an error text."""
        self.workers = tuple(
            replace(w, state=CameraState.FAULTED, detail=detail, pid=None) if w.name == name else w
            for w in self.workers
        )

    def named(self, verb: str) -> list[tuple[Any, ...]]:
        """The calls of one kind."""
        return [c for c in self.calls if c[0] == verb]


def main() -> int:
    from app.viewer.main import run_viewer

    arguments = argparse.ArgumentParser()
    arguments.add_argument("--recording", action="store_true")
    arguments.add_argument("--size", default="1152x768")
    arguments.add_argument("--fps", type=float, default=25.0)
    arguments.add_argument("--screenshot", type=Path)
    arguments.add_argument("--residual", action="store_true")
    a = arguments.parse_args()
    width, height = (int(v) for v in a.size.split("x"))
    scene = Scene(width, height, scale=4 if width >= 1000 else 1)

    def factory(source: str | Path, network: str) -> FakeSession:
        return FakeSession(scene, title=str(source), fps=a.fps, recording=a.recording, network=network)

    return run_viewer(factory, "simulated:handheld", "edi", screenshot=a.screenshot, residual=a.residual)


if __name__ == "__main__":
    sys.exit(main())
