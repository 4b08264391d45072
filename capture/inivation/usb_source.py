"""A DAVIS346 on USB through dv-processing: finding it, opening it, reading it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from itertools import islice
from typing import Any

from capture import native
from capture.camera import Control
from capture.errors import CameraError, CameraLost
from capture.inivation.batch import Batch, EventBatch, RawFrame
from capture.inivation.config import HEIGHT, WIDTH, DavisConfig
from capture.inivation.davis_settings import DavisSettings
from capture.inivation.dv import dv_processing

OPEN_S = 20.0
"""Longest that opening may take: the camera's logic is set up over USB."""
_MOST = 64


@dataclass(frozen=True, slots=True)
class Connected:
    """A DAVIS346 that is plugged in; `descriptor` is dv-processing's."""

    model: str
    serial: str
    firmware: int
    descriptor: Any


def connected(name: str) -> list[Connected]:
    """Every DAVIS that is plugged in. Raises `CameraError`."""
    dv = dv_processing(name)
    try:
        with native.limited(OPEN_S):
            found = dv.io.camera.discover()
    except Exception as e:
        raise CameraError(f"{name}: USB cannot be searched ({native.message(e)})") from e
    models = (dv.io.camera.CameraModel.DAVIS, dv.io.camera.CameraModel.DAVIS_GEN2)
    return [
        Connected(str(d.cameraModel.name), str(d.serialNumber), int(d.firmwareVersion), d)
        for d in found
        if d.cameraModel in models
    ]


class UsbSource:
    """See `batch.Source`."""

    def __init__(self, name: str, config: DavisConfig) -> None:
        self._name, self._config = name, config
        self.model, self.serial = "DAVIS346", config.serial
        self.event_size = self.image_size = WIDTH, HEIGHT
        self.triggers = config.edges != "off"
        self.notes: dict[str, Any] = {}
        self._camera: Any = None
        self._running = False
        self._settings: DavisSettings | None = None

    def open(self) -> None:
        """See `Source.open`."""
        dv = dv_processing(self._name)
        chosen = self._choose(connected(self._name))
        try:
            with native.limited(OPEN_S):
                camera = dv.io.camera.open(chosen.descriptor)
                self._settings = DavisSettings(self._name, camera, dv)
                self._settings.apply(self._config)
                self._stand_by(camera)
        except CameraError:
            raise
        except Exception as e:
            raise CameraError(
                f"{self._name}: cannot be opened ({native.message(e)}); another program holds it, or its udev "
                "rule is missing: see halfmirror devices"
            ) from e
        self._camera = camera
        self.serial = chosen.serial
        offset = camera.getTimestampOffset()
        self.notes = {
            "firmware": chosen.firmware, "usb_speed": camera.getConnectionSpeed().name,
            "clock_offset_us": round(offset / datetime.timedelta(microseconds=1)),
            "clock_master": bool(camera.isMaster()),
        }  # fmt: skip
        if (size := camera.getEventResolution()) is not None:
            self.event_size = int(size[0]), int(size[1])
        if (size := camera.getFrameResolution()) is not None:
            self.image_size = int(size[0]), int(size[1])

    def _choose(self, found: list[Connected]) -> Connected:
        serials = ", ".join(c.serial or "?" for c in found)
        if not found:
            raise CameraError(f"{self._name}: no DAVIS346 is connected; plug one in, or see halfmirror devices")
        if not self._config.serial:
            if len(found) > 1:
                raise CameraError(
                    f"{self._name}: {len(found)} DAVIS346 are connected ({serials}); name one: "
                    f"davis346:{found[0].serial}"
                )
            return found[0]
        for c in found:
            if c.serial == self._config.serial:
                return c
        raise CameraError(f"{self._name}: no DAVIS346 of this serial number is connected; there is {serials}")

    def _stand_by(self, camera: Any) -> None:
        camera.setEventsRunning(False)
        camera.setFramesRunning(False)

    def start(self, events: bool, frames: bool) -> None:
        """See `Source.start`. What has gathered before is thrown away, unless one of them runs already."""
        camera = self._opened()
        try:
            if not self._running:
                self.poll(0)
            self._running = True
            camera.setDetectorRunning(events and self._config.edges != "off")
            camera.setEventsRunning(events)
            camera.setFramesRunning(frames)
        except CameraLost:
            raise
        except Exception as e:
            raise CameraLost(f"{self._name}: cannot be started ({native.message(e)})") from e

    def poll(self, host_ns: int) -> Batch:
        """See `Source.poll`."""
        camera, batch = self._opened(), Batch()
        try:
            running = camera.isRunning()
            for store in islice(iter(camera.getNextEventBatch, None), _MOST):
                if store.size():
                    batch.events.append(EventBatch.of(store))
            # After the events: what was read of all kinds is handed on at once, so no edge is late.
            for triggers in islice(iter(camera.getNextTriggerBatch, None), _MOST):
                batch.take_triggers(triggers)
            batch.frames += map(RawFrame.of, islice(iter(camera.getNextFrame, None), _MOST))
            for samples in islice(iter(camera.getNextImuBatch, None), _MOST):
                batch.take_imu(samples)
        except Exception as e:
            raise CameraLost(f"{self._name}: cannot be read ({native.message(e)}); opening it again") from e
        if not running and not (batch.events or batch.frames or batch.edges):
            raise CameraLost(f"{self._name}: was unplugged, or its USB connection broke; plug it in again")
        return batch

    def names(self) -> tuple[str, ...]:
        """See `Source.names`."""
        return DavisSettings.NAMES

    def change(self, name: str, value: Any) -> None:
        """See `Source.change`."""
        self._opened()
        assert self._settings is not None
        self._settings.change(name, value)

    def values(self) -> dict[str, Any]:
        """See `Source.values`."""
        self._opened()
        assert self._settings is not None
        return self._settings.values()

    def controls(self) -> tuple[Control, ...]:
        """See `Source.controls`."""
        return () if self._settings is None else self._settings.controls()

    def stop(self) -> None:
        """See `Source.stop`."""
        self._running = False
        if self._camera is not None:
            try:
                self._stand_by(self._camera)
            except Exception as e:  # it may be gone
                raise CameraLost(f"{self._name}: cannot be stopped ({native.message(e)})") from e

    def close(self) -> None:
        """See `Source.close`. dv-processing lets go of the device when nobody holds the object any more."""
        self._camera = self._settings = None
        self._running = False

    def _opened(self) -> Any:
        if self._camera is None:
            raise CameraError(f"{self._name}: open the camera first")
        return self._camera
