"""`webcam:INDEX`: any camera that OpenCV opens, frames only. See docs/cameras.md."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
from pydantic import BaseModel, Field, model_validator

from capture.camera import Breaks, CameraBase, CameraInfo, CameraRole, Capabilities
from capture.errors import CameraError, CameraLost, UsageError
from capture.packets import Frame, FrameClock, PixelLayout
from capture.registry import FramesOnlyDriver
from capture.sdk_thread import SdkThread
from capture.validation import Strict, camera_config


class WebcamConfig(Strict):
    """What the name and a rig file's settings can say."""

    index: int = Field(ge=0, le=99)
    width: int | None = Field(default=None, ge=16, le=16_384, description="of the picture; both or neither")
    height: int | None = Field(default=None, ge=16, le=16_384)
    rate_hz: float = Field(default=30.0, gt=0, le=1000)
    exposure_us: int | None = Field(
        default=None, ge=100, le=1_000_000, description="expose so long (steps of 100 µs); automatic without it"
    )

    @model_validator(mode="after")
    def _both(self) -> WebcamConfig:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together; give both or neither")
        return self


# Of V4L2's controls: manual exposure, and its unit.
_MANUAL, _UNIT_US = 1, 100
_STAMP_WITHIN_NS = 2_000_000_000


class Webcam(CameraBase[Frame]):
    """Frames with the exposure that a rig file sets.

    Without one nothing is known of it, and networks that need events refuse these frames by name.
    """

    def __init__(self, config: WebcamConfig) -> None:
        self.config, self.info = config, CameraInfo(CameraRole.FRAMES, f"webcam:{config.index}", "", "", 0, 0)
        self._sdk: SdkThread | None = None
        self._running, self._lost, self._count = False, "", 0
        self._breaks = Breaks()

    def open(self, progress: Any = None) -> None:
        """Open it and look at one frame for the size. Raises `CameraError`."""
        if self._sdk is not None and not self._lost:
            return
        self.close()
        try:
            self._open()
        except BaseException:
            self.close()  # what is half open must not pass for open the next time
            raise

    def _open(self) -> None:
        with contextlib.suppress(AttributeError):  # that there is no camera is said in one line, not by OpenCV
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._sdk, self._video, self._lost = SdkThread(self.info.name), cv2.VideoCapture(), ""
        there = self._sdk.call(lambda: self._video.open(self.config.index), 10.0, "opening it")
        if there:
            self._sdk.call(self._set_size, 5.0, "setting its size")
        if there and self.config.exposure_us is not None:
            self._sdk.call(self._set_exposure, 5.0, "setting its exposure")
        good, image = self._sdk.call(self._video.read, 5.0, "reading from it") if there else (False, None)
        if not good or image is None:
            raise CameraError(
                f"{self.info.name}: no camera there, or another program has it; try another index"
            )
        height, width = image.shape[:2]
        if self.config.width is not None and (width, height) != (self.config.width, self.config.height):
            raise CameraError(
                f"{self.info.name}: pictures of {self.config.width}×{self.config.height} are not possible, it "
                f"gives {width}×{height}; set width and height to a size that it has"
            )
        self.info = CameraInfo(
            CameraRole.FRAMES, self.info.name, "webcam", "", width, height, self.config.rate_hz,
            Capabilities(exposure_stamps=self.config.exposure_us is not None),
        )  # fmt: skip

    def _set_size(self) -> None:
        """And the rate, which hangs on it."""
        if self.config.width is not None and self.config.height is not None:
            self._video.set(cv2.CAP_PROP_FRAME_WIDTH, self.config.width)
            self._video.set(cv2.CAP_PROP_FRAME_HEIGHT, self.config.height)
        self._video.set(cv2.CAP_PROP_FPS, self.config.rate_hz)

    def _set_exposure(self) -> None:
        """As the rig file says, or `CameraError`: frames may not claim another exposure than theirs."""
        wanted = self.config.exposure_us
        assert wanted is not None
        name, video = self.info.name, self._video
        if video.getBackendName() != "V4L2":
            raise CameraError(f"{name}: its exposure can be set on Linux (V4L2) only; leave exposure_us out")
        there = video.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL)
        there = video.set(cv2.CAP_PROP_EXPOSURE, round(wanted / _UNIT_US)) and there
        got = video.get(cv2.CAP_PROP_EXPOSURE) * _UNIT_US
        if not there or abs(got - wanted) > _UNIT_US:
            took = f", it took {got:g} µs" if got > 0 else ""
            raise CameraError(
                f"{name}: an exposure of {wanted} µs is not possible{took}; set exposure_us to one that it "
                "takes, or leave it out"
            )

    def _stamps(self, host_ns: int) -> tuple[int, int] | tuple[None, None]:
        """Start and end of the exposure of the frame that was read last, on the clock of its stamps.

        V4L2 stamps a frame when its first bytes arrive, on the clock of `time.monotonic_ns`. By how much that
        is late is the same for all frames: the calibration finds it (`host_latency_ms`).
        """
        if self.config.exposure_us is None:
            return None, None
        stamp = round(self._video.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        if not 0 <= host_ns - stamp < _STAMP_WITHIN_NS:
            stamp = host_ns
        return stamp - 1000 * self.config.exposure_us, stamp

    def start(self, epoch_ns: int = 0) -> None:
        """Grab on the SDK's thread; the thirty newest frames wait for the reader."""
        if self._sdk is None:
            raise CameraError(f"{self.info.name}: open the camera before starting it")
        self._frames: queue.Queue[Frame] = queue.Queue(30)
        self._breaks.begin()
        self._running, self._heard = True, time.monotonic()
        self._sdk.submit(self._grab)

    def _grab(self) -> None:
        while self._running:
            good, image = self._video.read()
            if not good:
                self._lost = f"{self.info.name}: the camera is gone; plug it in again"
                return
            host = time.monotonic_ns()
            start, end = self._stamps(host)
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            if self._frames.full():  # the oldest goes; the jump in the sequence counts it
                with contextlib.suppress(queue.Empty):
                    self._frames.get_nowait()
            self._frames.put(Frame(rgb, PixelLayout.RGB, self._count, start, end, FrameClock.DEVICE, host))  # type: ignore[arg-type]
            self._count += 1

    @property
    def _longest_silence_s(self) -> float:
        # A long exposure stretches the period, whatever rate was asked for.
        return 0.7 + 3 * max(1 / self.config.rate_hz, (self.config.exposure_us or 0) / 1e6)

    def read(self, timeout_s: float) -> Frame | None:
        """See `Camera.read`. Silent for about a second, it is taken for lost."""
        deadline = time.monotonic() + max(0.0, timeout_s)
        while True:
            if self._sdk is None:
                raise CameraError(f"{self.info.name}: open the camera before reading from it")
            if not self._running:
                return None
            try:
                frame = self._frames.get(timeout=min(0.05, max(0.001, deadline - time.monotonic())))
            except queue.Empty:
                silent_s = time.monotonic() - self._heard
                if not self._lost and silent_s > self._longest_silence_s:
                    self._lost = f"{self.info.name}: no frame for {silent_s:.1f} s; is the camera plugged in?"
                if self._lost:
                    raise CameraLost(self._lost) from None
                if time.monotonic() >= deadline:
                    return None
            else:
                self._heard = time.monotonic()
                return self._breaks.mark(frame)

    def stop(self) -> None:
        """See `Camera.stop`."""
        self._running = False

    def close(self) -> None:
        """See `Camera.close`; a read that hangs is left to end by itself."""
        self._running = False
        if self._sdk is not None:
            sdk, self._sdk = self._sdk, None
            sdk.finish(self._video.release, 0.0 if self._lost else 0.8)


class WebcamDriver(FramesOnlyDriver):
    """See `capture.registry.Driver`."""

    name = "webcam"

    def configure(self, rest: str, settings: Mapping[str, Any]) -> WebcamConfig:
        """`webcam` is `webcam:0`."""
        if rest and not (rest.isascii() and rest.isdigit()):
            raise UsageError(f"webcam:{rest}: give the camera's number, such as webcam:0")
        return camera_config(WebcamConfig, f"webcam:{rest}", settings, {"index": int(rest or 0)})

    def discover(self) -> list[CameraInfo]:
        """What Linux lists; nothing is opened."""
        numbers = sorted(int(p.name[5:]) for p in Path("/dev").glob("video*") if p.name[5:].isdigit())
        return [CameraInfo(CameraRole.FRAMES, f"webcam:{n}", "webcam", "", 0, 0) for n in numbers]

    def frame_camera(self, config: BaseModel) -> Webcam:
        """The camera, closed."""
        assert isinstance(config, WebcamConfig)
        return Webcam(config)


DRIVER = WebcamDriver()
