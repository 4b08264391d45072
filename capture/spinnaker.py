"""`flir-spinnaker[:SERIAL]`: a FLIR camera through the maker's library (Spinnaker, in the package rotpy).

A second way to the cameras that `flir` opens through Aravis; for those who want the maker's own. The library
looks for cameras on every network interface, and it does not ask for lost packets again.

All calls are made on one thread with a deadline each. An exposure's length is the setting as it is read back.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from capture.camera import Breaks, CameraBase, CameraInfo, CameraRole, Capabilities, Control, Progress
from capture.errors import CameraError, CameraLost, UsageError, first_line
from capture.genicam.sequence import GIGE_IDS, FrameCounter
from capture.packets import Frame, FrameClock, PixelLayout
from capture.registry import FramesOnlyDriver
from capture.sdk_thread import SdkThread
from capture.validation import Strict, camera_config

NAME = "flir-spinnaker"
OPEN_S, ASK_S, CLOSE_S, SLICE_S = 20.0, 0.8, 0.8, 0.05
FIND_S = 4.0
"""The library finds a camera some seconds after it was asked first."""
SILENT_S, SILENT_PERIODS = 0.6, 3
TIMED_OUT = "[-1011]"
"""The library's number of an error: nothing came in time."""
LAYOUTS = {
    "BayerRG8": PixelLayout.BAYER_RGGB, "BayerGR8": PixelLayout.BAYER_GRBG, "BayerGB8": PixelLayout.BAYER_GBRG,
    "BayerBG8": PixelLayout.BAYER_BGGR, "RGB8": PixelLayout.RGB, "Mono8": PixelLayout.GRAY,
}  # fmt: skip
NODES = {"exposure_us": "ExposureTime", "gain_db": "Gain", "rate_hz": "AcquisitionFrameRate"}
UNITS = {"exposure_us": "µs", "gain_db": "dB", "rate_hz": "Hz"}


class SpinnakerConfig(Strict):
    """What the name and a rig file's settings can say; not given: as the camera has it, as fast as it can."""

    serial: str = ""
    exposure_us: float | None = Field(default=None, gt=0)
    gain_db: float | None = None
    rate_hz: float | None = Field(default=None, gt=0)
    strobe_line: str = ""
    stamp: Literal["start", "end"] = "start"
    stamp_offset_us: float = 0.0


@dataclass(frozen=True, slots=True)
class _Image:
    pixels: NDArray[np.uint8]
    layout: PixelLayout
    frame_id: int
    stamp_ns: int


def _library() -> tuple[Any, Any]:
    """rotpy's modules `system` and `camera`. Raises `CameraError`."""
    try:
        return importlib.import_module("rotpy.system"), importlib.import_module("rotpy.camera")
    except ImportError as e:
        raise CameraError(
            f"{NAME}: Spinnaker cannot be loaded ({str(e).splitlines()[0]}); pip install rotpy (Python 3.10 or "
            "3.11), or open the camera as flir through Aravis"
        ) from e


class SpinnakerCamera(CameraBase[Frame]):
    """See the module. Requests: `set`, `controls`.

    Attributes:
        incomplete: images that came with parts missing.
    """

    def __init__(self, config: SpinnakerConfig) -> None:
        self.config, self.superseded, self.incomplete, self.delivered = config, 0, 0, 0
        name = f"{NAME}:{config.serial}" if config.serial else NAME
        # Each FLIR camera has a Bayer or a gray format of 8 bits, which is what it is set to.
        self.info = CameraInfo(CameraRole.FRAMES, name, "", "", 0, 0, pixel_bytes=1)
        self._sdk: SdkThread | None = None
        self._system: Any = None
        self._camera: Any = None
        self._running, self._lost = False, ""
        self._counter, self._breaks = FrameCounter(), Breaks()
        self._exposure_us, self._rate_hz, self._heard = 0.0, 0.0, 0.0

    def open(self, progress: Progress | None = None) -> None:
        """See `Camera.open`."""
        if self._sdk is not None and not self._lost:
            return
        self.close()
        system, cameras = _library()
        self._sdk, self._lost = SdkThread(self.info.name), ""
        try:
            self.info = self._ask(lambda: self._connect(system, cameras), OPEN_S, "opening it")
        except BaseException:
            self.close()
            raise

    def _connect(self, system: Any, cameras: Any) -> CameraInfo:
        self._system = system.SpinSystem()
        found = self._find(cameras)
        c = self.config
        try:
            found.init_cam()
            self._camera = found
            nodes = found.camera_nodes
            for auto in ("ExposureAuto", "GainAuto"):
                _try(lambda auto=auto: getattr(nodes, auto).set_node_value_from_str("Off"))  # type: ignore[misc]
            self._choose_format(nodes.PixelFormat)
            # Frames come by themselves; the last one's rate does not stand in the way of this one's exposure.
            _try(lambda: nodes.TriggerMode.set_node_value_from_str("Off"))
            _try(lambda: nodes.AcquisitionFrameRateEnable.set_node_value(False))
            if c.strobe_line:
                nodes.LineSelector.set_node_value_from_str(c.strobe_line)
                nodes.LineMode.set_node_value_from_str("Output")
                nodes.LineSource.set_node_value_from_str("ExposureActive")
            for setting in NODES:
                if (value := getattr(c, setting)) is not None:
                    self._change(setting, value)
            self._read_times()
            pixels = nodes.PixelFormat.get_node_value_as_str()
            if pixels not in LAYOUTS:
                raise CameraError(
                    f"{self.info.name}: its pixel format {pixels} is none of {', '.join(LAYOUTS)}; choose one "
                    "with its maker's program"
                )
            told = [
                _try(lambda n=n: str(getattr(nodes, n).get_node_value())) or ""  # type: ignore[misc]
                for n in ("DeviceModelName", "DeviceSerialNumber")
            ]
            controls = self._controls()
            return CameraInfo(
                CameraRole.FRAMES, self.info.name, told[0], told[1], int(nodes.Width.get_node_value()),
                int(nodes.Height.get_node_value()), self._rate_hz,
                Capabilities(exposure_stamps=True, settings=tuple(NODES), controls=controls),
                LAYOUTS[pixels].pixel_bytes,
            )  # fmt: skip
        except CameraError:
            raise
        except Exception as e:  # the library's own errors, several lines long
            raise CameraError(f"{self.info.name}: {first_line(e)}") from e

    @staticmethod
    def _choose_format(node: Any) -> None:
        """Bayer as the sensor has it; else what is set, if it is read; else gray."""
        for name in (n for n in LAYOUTS if n.startswith("Bayer")):
            _try(lambda name=name: node.set_node_value_from_str(name))  # type: ignore[misc]
            if node.get_node_value_as_str() == name:
                return
        if node.get_node_value_as_str() not in LAYOUTS:
            _try(lambda: node.set_node_value_from_str("Mono8"))

    def _find(self, cameras: Any) -> Any:
        deadline = time.monotonic() + FIND_S
        while True:
            found = cameras.CameraList.create_from_system(self._system, True, True)
            if found.get_size():
                try:
                    if self.config.serial:
                        return found.create_camera_by_serial(self.config.serial)
                    return found.create_camera_by_index(0)
                except Exception as e:
                    raise CameraError(
                        f"{self.info.name}: no camera of this serial number; there are others ({first_line(e)})"
                    ) from e
            if time.monotonic() > deadline:
                raise CameraError(f"{self.info.name}: no camera was found; is it plugged in?")
            time.sleep(0.1)

    def _ask(self, work: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """A call to the library; one that hangs, or that fails in mid-stream, means that the camera is lost."""
        if self._sdk is None:
            raise CameraError(f"{self.info.name}: open the camera before {what}")
        try:
            return self._sdk.call(work, timeout_s, what)
        except CameraLost as e:
            self._lost = str(e)
            raise

    def start(self, epoch_ns: int = 0) -> None:
        """See `Camera.start`."""
        if self._running:
            return
        if self._lost:
            raise CameraLost(self._lost)
        self._ask(lambda: self._camera.begin_acquisition(), ASK_S, "starting it")
        self._counter.restart()
        self._breaks.begin()
        self._heard, self._running = time.monotonic(), True

    def read(self, timeout_s: float) -> Frame | None:
        """See `Camera.read`. Incomplete images are counted and left out."""
        deadline = time.monotonic() + max(0.0, timeout_s)
        while True:
            if self._sdk is None:
                raise CameraError(f"{self.info.name}: open the camera before reading from it")
            if self._lost:
                raise CameraLost(self._lost)
            if not self._running:
                return None
            wait = min(SLICE_S, max(0.001, deadline - time.monotonic()))
            image = self._ask(partial(self._pop, wait), ASK_S, "reading from it")
            now = time.monotonic()
            if image is not None:
                self._heard = now
                return self._frame(image)
            longest_s = max(1.0 / self._rate_hz if self._rate_hz else 0.0, self._exposure_us / 1e6)
            silent = max(SILENT_S, SILENT_PERIODS * longest_s)
            if self._running and now - self._heard > silent:
                self._lost = f"{self.info.name}: no frame for {now - self._heard:.1f} s; is it plugged in?"
            elif now >= deadline:
                return None

    def _pop(self, wait_s: float) -> _Image | None:
        """The next complete image, copied; None when there is none in time."""
        if not self._running:
            return None
        try:
            image = self._camera.get_next_image(timeout=wait_s)
        except ValueError:
            self.incomplete += 1
            return None
        except Exception as e:
            if TIMED_OUT in str(e):  # rotpy promises None; with the library's 2.6 it is this error
                return None
            raise CameraLost(f"{self.info.name}: {first_line(e)}") from e
        if image is None:
            return None
        try:
            layout = LAYOUTS.get(image.get_pix_fmt())
            if layout is None:
                raise CameraError(f"{self.info.name}: an image of the unknown format {image.get_pix_fmt()}")
            shape = (image.get_height(), image.get_width(), *((3,) if layout is PixelLayout.RGB else ()))
            pixels = np.frombuffer(image.get_image_data(), np.uint8)[: int(np.prod(shape))].reshape(shape)
            return _Image(pixels, layout, int(image.get_frame_id()), int(image.get_frame_timestamp()))
        finally:
            image.release()

    def _frame(self, image: _Image) -> Frame:
        now = time.monotonic_ns()
        period = 1e9 / self._rate_hz if self._rate_hz else None
        # Ids are those of the protocol: on GigE Vision they wrap, on USB they never come so far at once.
        self._counter = self._counter if image.frame_id <= GIGE_IDS else FrameCounter(0)
        sequence = self._counter.take(image.frame_id, image.stamp_ns, now, period)
        stamp, length = (
            image.stamp_ns + round(1e3 * self.config.stamp_offset_us),
            round(1e3 * self._exposure_us),
        )
        start = stamp if self.config.stamp == "start" else stamp - length
        self.delivered += 1
        return self._breaks.mark(
            Frame(image.pixels, image.layout, sequence, start, start + length, FrameClock.DEVICE, now)
        )

    def _node(self, setting: str) -> Any:
        return getattr(self._camera.camera_nodes, NODES[setting])

    def _read_times(self) -> None:
        """Exposure and rate as they have become."""
        nodes = self._camera.camera_nodes
        self._exposure_us = float(nodes.ExposureTime.get_node_value())
        rates = (
            _try(lambda n=n: float(getattr(nodes, n).get_node_value()))  # type: ignore[misc]
            for n in ("AcquisitionResultingFrameRate", "AcquisitionFrameRate")
        )
        self._rate_hz = next((r for r in rates if r), 0.0)

    def _change(self, setting: str, value: Any) -> None:
        if setting != "rate_hz":
            self._write(setting, value)
            return
        switch = self._camera.camera_nodes.AcquisitionFrameRateEnable
        was = _try(switch.get_node_value)
        _try(lambda: switch.set_node_value(True))
        try:
            self._write(setting, value)
        except CameraError:
            _try(lambda: switch.set_node_value(was))
            raise

    def _write(self, setting: str, value: Any) -> None:
        node = self._node(setting)
        low, high = float(node.get_min_value()), float(node.get_max_value())
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise CameraError(
                f"{self.info.name}: {setting} = {value!r} is not possible; give {low:g} to {high:g}"
            )
        node.set_node_value(float(value))

    def _controls(self) -> tuple[Control, ...]:
        out = []
        for setting, unit in UNITS.items():
            node = self._node(setting)
            now, low, high = (float(f()) for f in (node.get_node_value, node.get_min_value, node.get_max_value))
            out.append(Control(setting, now, low, high, None, unit))
        return tuple(out)

    def command(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """`set` (exposure_us, gain_db, rate_hz; gives them as read back) and `controls`.

        Raises:
            CameraError: unknown request or setting, out of range, refused by the camera.
        """
        if verb == "controls":
            found = self._ask(self._controls, ASK_S, "reading its settings")
            return {c.name: asdict(c) for c in found}
        if verb == "set":
            for name in arguments:
                if name not in NODES:
                    raise CameraError(f"{self.info.name}: no setting {name!r}; known: {', '.join(NODES)}")

            def change() -> dict[str, Any]:
                for name, value in arguments.items():
                    self._change(name, value)
                self._read_times()
                self._heard = time.monotonic()  # the next frame may be as far away as the new rate says
                return {name: float(self._node(name).get_node_value()) for name in NODES}

            return dict(self._ask(change, ASK_S, "setting it"))
        return super().command(verb, arguments)

    def counters(self) -> dict[str, int]:
        """See `Camera.counters`."""
        return {
            "delivered": self.delivered, "missing": self._counter.missing, "incomplete": self.incomplete
        }  # fmt: skip

    def stop(self) -> None:
        """See `Camera.stop`."""
        running, self._running = self._running, False
        if running and self._sdk is not None and not self._lost and not self._sdk.hung:
            camera = self._camera
            _try(lambda: self._ask(lambda: camera.end_acquisition(), ASK_S, "stopping it"))

    def close(self) -> None:
        """See `Camera.close`. Leaving the process with an open camera would abort it: everything is let go."""
        self.stop()
        sdk, camera = self._sdk, self._camera
        self._sdk = self._camera = None
        if sdk is None:
            return

        def release() -> None:
            if camera is not None:
                for step in (camera.end_acquisition, camera.deinit_cam, camera.release):
                    _try(step)
            self._system = None

        sdk.finish(release, 0.0 if sdk.hung else CLOSE_S)


def _try(work: Callable[[], Any]) -> Any:
    """The library raises where a camera lacks a feature; None then."""
    try:
        return work()
    except Exception:
        return None


class SpinnakerDriver(FramesOnlyDriver):
    """See `capture.registry.Driver`. It does not look for cameras: `flir` does, without the maker's library."""

    name = NAME

    def configure(self, rest: str, settings: Mapping[str, Any]) -> SpinnakerConfig:
        """`rest` is the serial number."""
        if rest and not rest.isalnum():
            raise UsageError(f"{NAME}:{rest}: give the camera's serial number, or nothing for the only one")
        named = {"serial": rest} if rest else {}
        return camera_config(SpinnakerConfig, f"{NAME}:{rest}" if rest else NAME, settings, named)

    def frame_camera(self, config: BaseModel) -> SpinnakerCamera:
        """The camera, closed."""
        if not isinstance(config, SpinnakerConfig):
            raise CameraError(f"{NAME}: expected its own configuration, got {type(config).__name__}")
        return SpinnakerCamera(config)


DRIVER = SpinnakerDriver()
