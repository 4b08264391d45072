"""Prophesee cameras through the vendor's SDK, where the user has installed it: `metavision[:SERIAL]`.

Metavision SDK and OpenEB are not on PyPI; what is called metavision there is something else.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from capture import native
from capture.camera import LIMITED, Control
from capture.errors import CameraError, CameraLost
from capture.packets import EventPacket
from capture.prophesee.config import PropheseeConfig
from capture.prophesee.limit import LimitWatch
from capture.prophesee.stream import PacketMaker


def library(name: str) -> tuple[Any, Any, Any]:
    """Modules metavision_hal, event_io and event_io.raw_reader. Raises `CameraError` where they are not."""
    try:
        import metavision_hal
        from metavision_core import event_io
        from metavision_core.event_io import raw_reader
    except Exception as e:
        text = " ".join(str(e).split())[:120]
        raise CameraError(
            f"{name}: Prophesee's Metavision SDK or OpenEB is not there for this Python ({text}); install it "
            "with the vendor's installer, and start from an environment that sees system packages; or use evk4"
        ) from e
    return metavision_hal, event_io, raw_reader


class MetavisionSdk:
    """See `camera.Sdk`."""

    def __init__(self, config: PropheseeConfig) -> None:
        self._config, self._name = config, config.name
        self.model, self.serial = "Metavision", config.serial
        self.width = self.height = 0
        self.notes: dict[str, Any] = {}
        self._device: Any = None
        self._iterator: Any = None
        self._batches: Any = None
        self._maker: PacketMaker | None = None
        self._edges = 0
        self._foreign_edges = 0
        self._limit: float = 0
        self._limit_watch = LimitWatch()

    def open(self) -> None:
        """See `Sdk.open`."""
        hal, event_io, raw_reader = library(self._name)
        c = self._config
        try:
            if c.serial or not c.triggers:
                self._device = hal.DeviceDiscovery.open(c.serial)
                if self._device is not None and c.triggers:
                    self._device.get_i_trigger_in().enable(hal.I_TriggerIn.Channel.MAIN)
            else:
                self._device = raw_reader.initiate_device(
                    "", use_external_triggers=[hal.I_TriggerIn.Channel.MAIN]
                )
        except Exception as e:
            raise CameraError(f"{self._name}: cannot be opened ({native.message(e)})") from e
        if self._device is None:
            raise CameraError(f"{self._name}: no camera answers that name; plug one in, or close who holds it")
        try:
            self._apply()
            self._iterator = event_io.EventsIterator.from_device(device=self._device, delta_t=c.batch_us)
            self.height, self.width = map(int, self._iterator.get_size())
            self._batches = iter(self._iterator)
        except CameraError:
            self.close()
            raise
        except Exception as e:
            self.close()
            raise CameraError(f"{self._name}: cannot be started ({native.message(e)})") from e
        self._maker = PacketMaker(self._name, self.width, self.height)
        self._edges = 0

    def _apply(self) -> None:
        c = self._config
        for name, value in c.biases.items():
            self._set_bias(name, value)
        if c.roi is not None:
            roi = self._part("get_i_roi", "a region of interest")
            roi.set_window(type(roi).Window(c.roi.x, c.roi.y, c.roi.width, c.roi.height))
            roi.enable(True)
        if c.events_per_s is not None:
            self._set_limit(c.events_per_s)
        sync = {"master": "set_mode_master", "slave": "set_mode_slave"}.get(c.clock)
        if sync is not None and not getattr(self._part("get_i_camera_synchronization", "clock modes"), sync)():
            raise CameraError(f"{self._name}: clock = {c.clock!r} was refused by the camera")

    def _part(self, getter: str, what: str) -> Any:
        """A facility of the device. Raises `CameraError` where this camera has none."""
        part = getattr(self._device, getter, lambda: None)()
        if part is None:
            raise CameraError(f"{self._name}: this camera has no {what}")
        return part

    def _biases(self) -> Any:
        return self._part("get_i_ll_biases", "biases")

    def _set_bias(self, name: str, value: Any) -> None:
        biases = self._biases()
        full = f"bias_{name.removeprefix('bias_')}"
        known = biases.get_all_biases()
        if full not in known:
            raise CameraError(f"{self._name}: no bias {name!r}; known: {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise CameraError(f"{self._name}: {full} = {value!r} is not possible; give a whole number")
        try:
            done = biases.set(full, int(value))
        except Exception as e:
            raise CameraError(f"{self._name}: {full} {value} is out of range ({native.message(e)})") from e
        if not done:
            raise CameraError(f"{self._name}: {full} {value} is out of range; the camera refused it")

    def _set_limit(self, value: Any) -> None:
        limiter = self._part("get_i_erc_module", "event rate limiter")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2e9:
            raise CameraError(f"{self._name}: events_per_s {value!r} is not possible; give 0 (no limit) to 2e9")
        limiter.enable(value > 0)
        if value > 0:
            limiter.set_cd_event_rate(int(value))
        self._limit = value

    def flush(self) -> None:
        """Nothing: the iterator gives what there is from its first call on."""

    def read(self) -> list[EventPacket]:
        """See `Sdk.read`."""
        if self._batches is None or self._maker is None:
            raise CameraLost(f"{self._name}: is closed")
        try:
            e = next(self._batches)
            edges = self._iterator.get_ext_trigger_events()
        except StopIteration:
            raise CameraLost(f"{self._name}: its stream ended; was it unplugged?") from None
        except Exception as error:
            raise CameraLost(f"{self._name}: cannot be read ({native.message(error)})") from error
        self._limit_watch.add(len(e), time.monotonic_ns(), self._limit)
        # The SDK gives all edges so far, every time, until it is told to forget them.
        fresh, self._edges = edges[self._edges :], len(edges)
        if self._edges > 10_000 and hasattr(self._iterator.reader, "clear_ext_trigger_events"):
            self._iterator.reader.clear_ext_trigger_events()
            self._edges = 0
        ours = fresh["id"] == self._config.trigger_channel
        self._foreign_edges += int(len(fresh) - np.count_nonzero(ours))
        et, rising = fresh["t"][ours].astype(np.int64), fresh["p"][ours] != 0
        if not len(e) and not len(et):
            return []
        return [
            self._maker.make(e["t"], e["x"], e["y"], e["p"] != 0, et, rising, time.monotonic_ns())
        ]  # fmt: skip

    def names(self) -> tuple[str, ...]:
        """See `Sdk.names`: which biases a camera has is known once it is open."""
        if self._device is None:
            return ("events_per_s",)
        return tuple(self.values())

    def change(self, wanted: dict[str, Any]) -> None:
        """See `Sdk.change`."""
        for name, value in wanted.items():
            if name == "events_per_s":
                self._set_limit(value)
            else:
                self._set_bias(name, value)

    def values(self) -> dict[str, Any]:
        """See `Sdk.values`."""
        out: dict[str, Any] = {}
        if self._device.get_i_ll_biases() is not None:
            out |= {k: int(v) for k, v in sorted(self._biases().get_all_biases().items())}
        limiter = getattr(self._device, "get_i_erc_module", lambda: None)()
        if limiter is not None:
            out["events_per_s"] = int(limiter.get_cd_event_rate()) if limiter.is_enabled() else 0
        return out

    def controls(self) -> tuple[Control, ...]:
        """See `Sdk.controls`."""
        return tuple(Control(name, value) for name, value in self.values().items())

    def counters(self) -> dict[str, int]:
        """See `Sdk.counters`."""
        resets = self._maker.axis.resets if self._maker and self._maker.axis else 0
        return {
            LIMITED: self._limit_watch.tenths, "clock_resets": resets,
            "edges_of_other_channels": self._foreign_edges,
        }  # fmt: skip

    def close(self) -> None:
        """See `Sdk.close`. The device object must go before the interpreter does."""
        self._batches = self._iterator = self._device = None
