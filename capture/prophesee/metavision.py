"""Prophesee cameras through the vendor's SDK, where the user has installed it: `metavision[:SERIAL]`.

Metavision SDK and OpenEB are not on PyPI; what is called metavision there is something else.
"""

from __future__ import annotations

import contextlib
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

WAIT_S = 0.1
"""Longest that a call of `read` waits for something."""
POLL_S = 0.0005
TIMED_US = 1_000_000
"""A decoder that is farther ahead of the events that it has just given counts from somewhere else."""
EVENT = [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")]
EDGE = [("p", "<i2"), ("t", "<i8"), ("id", "<i2")]
_Batch = tuple[Any, bytes]
"""What a callback was given: its type of items, and their bytes."""


def library(name: str) -> Any:
    """Module metavision_hal. Raises `CameraError` where it is not there."""
    try:
        import metavision_hal
    except Exception as e:
        text = " ".join(str(e).split())[:120]
        raise CameraError(
            f"{name}: Prophesee's Metavision SDK or OpenEB is not there for this Python ({text}); install it "
            "with the vendor's installer, and start from an environment that sees system packages; or use evk4"
        ) from e
    return metavision_hal


class MetavisionSdk:
    """See `camera.Sdk`."""

    def __init__(self, config: PropheseeConfig) -> None:
        self._config, self._name = config, config.name
        self.model, self.serial = "Metavision", config.serial
        self.width = self.height = 0
        self.notes: dict[str, Any] = {}
        self._device: Any = None
        self._stream: Any = None
        self._decoder: Any = None
        self._events: list[_Batch] = []  # decoded and not handed over, as the SDK's callbacks gave them
        self._edges: list[_Batch] = []
        self._maker: PacketMaker | None = None
        self._timed = True  # the decoder tells times as its events have them
        self._foreign_edges = 0
        self._limit: float = 0
        self._limit_watch = LimitWatch()

    def open(self) -> None:
        """See `Sdk.open`.

        The SDK's iterator of events is not used: it gives nothing as long as no event comes, so that nobody
        could tell a silent scene from a camera that does not answer.
        """
        hal = library(self._name)
        c = self._config
        try:
            self._device = hal.DeviceDiscovery.open(c.serial)
        except Exception as e:
            raise CameraError(f"{self._name}: cannot be opened ({native.message(e)})") from e
        if self._device is None:
            raise CameraError(f"{self._name}: no camera answers that name; plug one in, or close who holds it")
        try:
            if c.triggers:
                trigger = self._part("get_i_trigger_in", "trigger input; set triggers = false")
                trigger.enable(hal.I_TriggerIn.Channel.MAIN)
            self._apply()
            self._begin()
        except CameraError:
            self.close()
            raise
        except Exception as e:
            self.close()
            raise CameraError(f"{self._name}: cannot be started ({native.message(e)})") from e

    def _begin(self) -> None:
        """Have the camera send, and the SDK hand over what it decodes."""
        size = self._part("get_i_geometry", "size")
        self.width, self.height = int(size.get_width()), int(size.get_height())
        self._maker = PacketMaker(self._name, self.width, self.height)
        self._events, self._edges = [], []
        events, edges = self._events, self._edges  # the device must not hold this object
        # What a callback is given is only there during the call, and is a few hundred events: copied as bytes,
        # which takes a fifth of the time of arrays with fields.
        self._part("get_i_event_cd_decoder", "events").add_event_buffer_callback(
            lambda batch: events.append((batch.dtype, batch.tobytes()))
        )
        if (triggers := self._device.get_i_event_ext_trigger_decoder()) is not None:
            triggers.add_event_buffer_callback(lambda batch: edges.append((batch.dtype, batch.tobytes())))
        self._decoder = self._part("get_i_events_stream_decoder", "decoder")
        self._stream = self._part("get_i_events_stream", "stream of events")
        self._stream.start()

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
        """See `Sdk.flush`. It is decoded even so, for time goes on in it."""
        if self._stream is None:
            return
        until = time.monotonic() + WAIT_S
        while self._decode() > 0 and time.monotonic() < until:
            pass
        self._events.clear()
        self._edges.clear()

    def _decode(self) -> int:
        """Decode the next buffer if there is one. More than 0: there was, less: the stream has ended."""
        found = int(self._stream.poll_buffer())
        if found > 0:
            self._decoder.decode(self._stream.get_latest_raw_data())
        return found

    def read(self) -> list[EventPacket]:
        """See `Sdk.read`. What comes within `batch_us` of the first is one packet."""
        if self._stream is None:
            raise CameraLost(f"{self._name}: is closed")
        until, first = time.monotonic() + WAIT_S, True
        try:
            while (now := time.monotonic()) < until:
                found = self._decode()
                if found < 0:
                    raise CameraLost(f"{self._name}: its stream ended; was it unplugged?")
                if found > 0 and first:
                    until, first = now + self._config.batch_us / 1e6, False
                elif not found:
                    time.sleep(POLL_S)
            now_us = int(self._decoder.get_last_timestamp())
        except CameraLost:
            raise
        except Exception as error:
            raise CameraLost(f"{self._name}: cannot be read ({native.message(error)})") from error
        return self._packets(now_us, time.monotonic_ns())

    def _packets(self, now_us: int, host_ns: int) -> list[EventPacket]:
        """What was decoded, or that there was nothing until `now_us`; less than 0 where that is not known."""
        assert self._maker is not None
        e, edges = _joined(self._events, EVENT), _joined(self._edges, EDGE)
        self._events.clear()
        self._edges.clear()
        self._limit_watch.add(len(e), host_ns, self._limit)
        ours = edges["id"] == self._config.trigger_channel
        self._foreign_edges += int(len(edges) - np.count_nonzero(ours))
        et, rising = edges["t"][ours].astype(np.int64), edges["p"][ours] != 0
        if len(e):
            self._timed = 0 <= now_us - int(e["t"][-1]) <= TIMED_US
        if len(e) or len(et):
            return [self._maker.make(e["t"], e["x"], e["y"], e["p"] != 0, et, rising, host_ns)]
        # Whatever the decoder gives next is behind the last time that it has read.
        silent = self._maker.quiet(now_us, host_ns) if now_us >= 0 and self._timed else None
        return [] if silent is None else [silent]

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
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(Exception):  # one that was unplugged
                stream.stop()
        self._decoder = self._device = None


def _joined(batches: list[_Batch], dtype: list[tuple[str, str]]) -> Any:
    """All of them as one array; its fields, and what lies between them, are as the SDK has them."""
    if not batches:
        return np.empty(0, dtype)
    return np.frombuffer(b"".join(data for _, data in batches), batches[0][0])
