"""What the simulated camera sees: the simulated rig's frames, or a pattern that costs nothing to prepare."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from capture.camera import Progress
from capture.errors import HalfmirrorError
from capture.packets import PixelLayout
from capture.simulated.loops import frame_loop
from capture.simulated.presets import SimulatedConfig
from capture.simulated.sources import FrameSource

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One exposure.

    Attributes:
        image: (H, W) gray or Bayer, or (H, W, 3) RGB, of the whole sensor.
        place: which picture of the loop it is; the same place and `version` is the same picture.
        version: changes when all pictures do.
        start_ns, end_ns: of the exposure, on the camera's clock.
    """

    image: U8
    place: int
    version: int
    start_ns: int
    end_ns: int


_AHEAD = 3
"""Frames from one that is due to the first with a new exposure: none of them has begun to be exposed yet."""


class Pictures(Protocol):
    """A sensor. Frame times are host times, `time.monotonic_ns`."""

    width: int
    height: int
    layout: PixelLayout
    linear: bool
    """Values are proportional to light (False: sRGB)."""
    rolling: bool
    """Rows are exposed one after another."""

    def exposure_range_us(self) -> tuple[float, float]:
        """Shortest and longest exposure."""

    def rate_range_hz(self) -> tuple[float, float]:
        """Lowest and highest frame rate."""

    def begin(self) -> None:
        """An acquisition starts: what lies before now is not waited for."""

    def set_exposure_us(self, value: float) -> None:
        """Expose so long, as soon as that is possible. Returns at once."""

    def set_rate_hz(self, value: float) -> None:
        """From frame to frame, 1 / value seconds."""

    @property
    def exposure_us(self) -> float:
        """As set."""

    @property
    def rate_hz(self) -> float:
        """As set."""

    def due_ns(self) -> int:
        """When the next exposure will have ended."""

    def take(self) -> Picture:
        """The next picture."""


class RigPictures:
    """The frame camera of a simulated rig, in step with its event camera.

    The pictures are those of the rig: its frame rate is fixed, since the scene's loop hangs on it. A new
    exposure is rendered in the background (seconds; from the cache after that) and comes into force when it is
    done; until then frames go on, and their exposures say what they are.

    Args:
        config: of the rig.
        epoch_ns: `time.monotonic_ns` at which the rig's time axis begins; the event camera's must be the same.
        exposed: told of a new exposure (µs) and of its first frame, which has not begun yet: for the trigger
            edges, which are the event camera's.
    """

    def __init__(
        self, config: SimulatedConfig, epoch_ns: int = 0, progress: Progress | None = None,
        exposed: Callable[[int, int], None] = lambda _exposure_us, _first: None,
    ) -> None:  # fmt: skip
        self.config, self._exposed = config, exposed
        self.width, self.height = config.image_width, config.image_height
        self.layout, self.linear = config.frame_sensor.layout, config.frame_sensor.tone == "linear"
        self.rolling = config.rolling_us != 0
        self._source = FrameSource(config, frame_loop(config, progress or (lambda share: None)))
        self._epoch_ns = epoch_ns or time.monotonic_ns()
        self._version = 0
        self._next: list[tuple[int, FrameSource]] = []  # rendered ones, with the first frame of each
        self._lock = threading.Lock()
        self._wanted = config.exposure_us
        self._rendering: threading.Thread | None = None
        self.failure = ""

    def exposure_range_us(self) -> tuple[float, float]:
        """Up to the frame period, less the time to read out."""
        return 20.0, float(self.config.period_us - max(1, self.config.period_us // 50))

    def rate_range_hz(self) -> tuple[float, float]:
        """The rig's rate only."""
        return self.config.rate_hz, self.config.rate_hz

    def begin(self) -> None:
        """See `Pictures.begin`."""
        with self._lock:
            self._source.begin_at(max(0, (time.monotonic_ns() - self._epoch_ns) // 1000))
            self._take_over()

    def set_exposure_us(self, value: float) -> None:
        """See `Pictures.set_exposure_us`."""
        self._wanted = round(value)
        if self._rendering is None or not self._rendering.is_alive():
            self._rendering = threading.Thread(target=self._render, name="rendering", daemon=True)
            self._rendering.start()

    def _render(self) -> None:
        while self._wanted != [self._source, *(s for _, s in self._next)][-1].config.exposure_us:
            wanted = self._wanted
            config = self.config.model_copy(update={"exposure_us": wanted})
            try:
                source = FrameSource(config, frame_loop(config))
            except (HalfmirrorError, OSError, MemoryError) as e:
                self.failure = f"exposure of {wanted} µs cannot be rendered ({e})"
                return
            with self._lock:
                first = self._source.number + _AHEAD
                self._next.append((first, source))
                self._exposed(wanted, first)

    def _take_over(self) -> None:
        """Pictures of the new exposure, from its first frame on. The lock is held."""
        while self._next and self._source.number >= self._next[0][0]:
            _, source = self._next.pop(0)
            # Its faults too: those of the past must not come again.
            source.number, source.book, self._source = self._source.number, self._source.book, source
            self._version += 1

    def set_rate_hz(self, value: float) -> None:
        """Nothing to do: see the class."""

    @property
    def exposure_us(self) -> float:
        """Of the pictures that come now; one that was set may still be rendered."""
        return float(self._source.config.exposure_us)

    @property
    def rate_hz(self) -> float:
        """The rig's."""
        return self.config.rate_hz

    def due_ns(self) -> int:
        """See `Pictures.due_ns`."""
        with self._lock:
            return self._epoch_ns + 1000 * self._source.due_us()

    def take(self) -> Picture:
        """See `Pictures.take`."""
        with self._lock:
            frame, version = self._source.take(), self._version
            self._take_over()
            place = frame.sequence % len(self._source.frames)
            assert frame.device_start_ns is not None
            assert frame.device_end_ns is not None
            return Picture(frame.image, place, version, frame.device_start_ns, frame.device_end_ns)


class Pattern:
    """A bright bar that walks over a fine random texture, at any exposure and rate.

    Args:
        width, height: pixels of the sensor.
        layout: what its pixels mean.
        loop: pictures before it begins again.
        clock_ns: what the camera's clock shows at host time 0.
    """

    def __init__(
        self, width: int = 640, height: int = 480, layout: PixelLayout = PixelLayout.BAYER_RGGB, *,
        rate_hz: float = 30.0, exposure_us: float = 5000.0, loop: int = 8, clock_ns: int = 73_412_500_000,
    ) -> None:  # fmt: skip
        self.width, self.height, self.layout, self.linear = width, height, layout, True
        self.rolling = False
        self.rate_hz, self.exposure_us, self._clock_ns = rate_hz, exposure_us, clock_ns
        shape = (height, width, 3) if layout is PixelLayout.RGB else (height, width)
        texture = np.random.default_rng(1).integers(16, 128, shape, np.uint8)
        self.images: list[U8] = []
        for k in range(loop):
            image = texture.copy()
            image[:, k * width // loop : (k + 1) * width // loop] += 96
            self.images.append(image)
        self._next = 0
        self._start_ns = 0

    def exposure_range_us(self) -> tuple[float, float]:
        """Up to half a minute, as a Blackfly S."""
        return 10.0, 30e6

    def rate_range_hz(self) -> tuple[float, float]:
        """Up to 500 a second."""
        return 0.1, 500.0

    def set_exposure_us(self, value: float) -> None:
        """See `Pictures.set_exposure_us`."""
        self.exposure_us = value

    def set_rate_hz(self, value: float) -> None:
        """See `Pictures.set_rate_hz`."""
        self.rate_hz = value

    def begin(self) -> None:
        """See `Pictures.begin`."""
        self._start_ns = time.monotonic_ns()

    def due_ns(self) -> int:
        """See `Pictures.due_ns`."""
        return self._start_ns + round(1000 * self.exposure_us)

    def take(self) -> Picture:
        """See `Pictures.take`."""
        k, start, exposure = self._next, self._start_ns, round(1000 * self.exposure_us)
        self._next += 1
        self._start_ns = start + max(round(1e9 / self.rate_hz), exposure)
        place, now = k % len(self.images), self._clock_ns + start
        return Picture(self.images[place], place, 0, now, now + exposure)
