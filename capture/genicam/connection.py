"""The open camera behind the contract: handles, settings, stream. For the SDK's thread but for `pop`."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from capture.camera import Control
from capture.errors import CameraError
from capture.genicam import aravis
from capture.genicam.config import LAYOUTS, GenicamConfig
from capture.genicam.features import Features
from capture.genicam.finding import Place, same_serial
from capture.genicam.gvcp import Register
from capture.genicam.settings import RESHAPING, Settings
from capture.genicam.stream import RawFrame, Stream

SHUTTERS = {"Global": "global", "Rolling": "rolling", "GlobalReset": "global reset"}
"""Entries of the SFNC's `SensorShutterMode`, as `Capabilities.shutter` has them."""
_CONTROLLED = 0x3
"""Bits of the control register: some program controls the camera."""


_LEASE_S = 10.0
"""So long may a camera keep our control of before: its heartbeat's 3 s, and our last tries."""
_left: dict[str, float] = {}
"""When this process let go of a camera that it controlled, by handle."""


class Connection:
    """Takes control of a camera and sets it up.

    Raises:
        CameraError: not there, taken by another program, another serial number, a setting that is not possible.

    Attributes:
        gige: GigE Vision (False: USB3 Vision).
        model, serial: as the camera says.
        width, height: of the region.
        pixel_bytes: of a frame.
        period_ns: from frame to frame, None with a trigger.
        exposure_us: as set, for frames that do not say it.
        trigger: what starts exposures, "off" where the camera does by itself. With one, silence means nothing.
        shutter: see `Capabilities`.
        controls: as last read.
    """

    def __init__(self, config: GenicamConfig, place: Place) -> None:
        self._config, self._name = config, config.name
        self._a = aravis.load()
        self._stream: Stream | None = None
        self._streaming = False
        self._before: Counter[str] = Counter()  # counters of earlier streams
        self._controls = ""  # handle of the camera that it controls
        try:
            camera = self._a.camera_new(place.handle.encode())
        except aravis.AravisError as e:
            raise CameraError(
                f"{self._name}: no camera answers at {place.handle} ({e}); is it on, and on this network?"
            ) from e
        self._camera: int | None = camera
        try:
            self._take(place)
            self._set_up()
        except BaseException:
            self.release()
            raise

    def _take(self, place: Place) -> None:
        a = self._a
        assert self._camera is not None
        device = a.camera_get_device(self._camera)
        self.gige = bool(a.camera_is_gv_device(self._camera))
        if self.gige and not a.gv_device_is_controller(device):
            raise CameraError(f"{self._name}: {_who_controls(place.handle)}")
        self._controls = place.handle
        self._device = device
        a.device_set_range_check_policy(device, aravis.CHECK_RANGES)
        self._features = Features(a, device, self._name)
        self.model = self._word("DeviceModelName")
        self.serial = self._word("DeviceSerialNumber", "DeviceID")
        wanted = self._config.serial or place.serial
        if wanted and not same_serial(wanted, self.serial):
            raise CameraError(
                f"{self._name}: the camera at {place.handle} has serial number {self.serial or 'unknown'}, "
                f"not {wanted}"
            )

    def _word(self, *names: str) -> str:
        feature = self._features.first(*names)
        return self._features.text(feature) if feature else ""

    def _set_up(self) -> None:
        self.settings = Settings(self._features, self._config)
        self.settings.apply()
        self._chunks = self.settings.chunk_features()
        if self.gige:
            self._set_up_network()
        self._learn()

    def _set_up_network(self) -> None:
        a, c, camera = self._a, self._config, self._camera
        a.camera_gv_set_packet_size_adjustment(camera, aravis.NEVER_ADJUST)
        a.camera_gv_set_stream_options(camera, 0 if c.packet_socket else aravis.PACKET_SOCKET_DISABLED)
        try:
            if c.packet_size == "auto":
                a.camera_gv_auto_packet_size(camera)
            elif c.packet_size != "keep":
                a.camera_gv_set_packet_size(camera, c.packet_size)
            if c.packet_delay_ns is not None:
                a.camera_gv_set_packet_delay(camera, c.packet_delay_ns)
        except aravis.AravisError as e:
            raise CameraError(f"{self._name}: the packet size or delay is not possible ({e})") from e

    def _learn(self) -> None:
        """Read what frames are like now."""
        f = self._features
        self.width, self.height = f.whole("Width"), f.whole("Height")
        self.pixel_bytes = LAYOUTS[f.text("PixelFormat")].pixel_bytes
        self.period_ns = self.settings.period_ns()
        self.exposure_us = f.number("ExposureTime") if f.has("ExposureTime") else None
        self.controls: tuple[Control, ...] = self.settings.controls()
        self.shutter = SHUTTERS.get(f.text("SensorShutterMode"), "") if f.has("SensorShutterMode") else ""
        self.trigger = next((str(c.value) for c in self.controls if c.name == "trigger"), "off")

    @property
    def triggered(self) -> bool:
        """Frames come by a trigger."""
        return self.trigger != "off"

    # -- streaming -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to stream."""
        c = self._config
        assert self._camera is not None
        try:
            if self._stream is None:
                self._stream = Stream(
                    self._a, self._camera, chunks=self._chunks, buffers=c.buffers, resend=c.resend
                )
            self._stream.begin()
            self._a.camera_start_acquisition(self._camera)
        except aravis.AravisError as e:
            raise CameraError(f"{self._name}: the camera does not start ({e})") from e
        self._streaming = True

    def stop(self) -> None:
        """End streaming; frames that wait are dropped with the stream."""
        self._streaming = False
        try:
            self._a.camera_stop_acquisition(self._camera)
        finally:
            self._drop_stream()

    def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._before += Counter(stream.lost) + Counter(stream.counters())
            stream.release()

    def pop(self, timeout_s: float) -> RawFrame | str | None:
        """See `Stream.pop`; for the reader's thread."""
        stream = self._stream
        return None if stream is None else stream.pop(timeout_s)

    def leave(self) -> None:
        """It will be let go; a camera that does not answer may not hear of it. For any thread."""
        if self._controls:
            _left[self._controls] = time.monotonic()

    def release(self) -> None:
        """Let the camera go."""
        self.leave()
        camera, self._camera = self._camera, None
        if camera is None:
            return
        if self._streaming:
            self._streaming = False
            with contextlib.suppress(aravis.AravisError):  # gone
                self._a.camera_stop_acquisition(camera)
        self._drop_stream()
        self._a.release(camera)

    def probe(self) -> str:
        """ "" when the camera is there and ours, else what has happened. May take seconds to fail."""
        address = int(Register.CONTROL) if self.gige else 0
        try:
            value = int.from_bytes(self._a.memory(self._device, address, 4), "big")
        except aravis.AravisError as e:
            return f"the camera does not answer any more ({e})"
        if self.gige and not value & _CONTROLLED:
            return "the camera was switched off and on, or has let this program go"
        return ""

    def why_nothing(self, seconds: float) -> str:
        """Why no complete frame has come although the camera answers."""
        bad = Counter() if self._stream is None else self._stream.lost
        if bad.total():
            causes = ", ".join(f"{n} × {cause}" for cause, n in bad.most_common(3))
            return (
                f"no complete frame for {seconds:.0f} s ({causes}); lower packet_size or the camera's "
                "bandwidth, or use a better network adapter"
            )
        return (
            f"the camera answers but not one packet of a frame has come for {seconds:.0f} s; a firewall that "
            "drops UDP, or packets larger than the network carries (set packet_size = 1400)"
        )

    # -- requests ------------------------------------------------------------------------------------------

    def reshapes(self, wanted: Mapping[str, Any]) -> bool:
        """These settings change what a frame is."""
        return any(name in RESHAPING for name in wanted)

    def change(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings and read all of them back."""
        try:
            self.settings.change(wanted)
        finally:
            self._learn()
        return dict(self.settings.values())

    def change_anew(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The same with the stream stopped meanwhile and set up for the new frames."""
        self.stop()
        try:
            return self.change(wanted)
        finally:
            self.start()

    def read_controls(self) -> dict[str, Any]:
        """All controls as they are now, by name."""
        self._learn()
        return {c.name: asdict(c) for c in self.controls}

    def software_trigger(self) -> None:
        """One exposure. Raises `CameraError` when the trigger is not by software."""
        if self.settings.values().get("trigger") != "Software":
            raise CameraError(f"{self._name}: set trigger to Software before triggering by command")
        self._features.execute("TriggerSoftware")

    def counters(self) -> dict[str, int]:
        """Buffers that were no frame, by cause, and the library's own counters."""
        stream = self._stream
        now = Counter() if stream is None else Counter(stream.lost) + Counter(stream.counters())
        return dict(self._before + now)


def _who_controls(handle: str) -> str:
    """Why control of the camera was refused, and what to do."""
    if time.monotonic() - _left.get(handle, -math.inf) > _LEASE_S:
        return f"another program controls the camera at {handle}; close it there first"
    # A camera keeps the control of whom it does not hear any more until his heartbeat's time is over.
    return (
        f"the camera at {handle} still keeps the control that this program had of it, for up to 3 s; "
        "if it stays so, another program controls it: close it there"
    )
