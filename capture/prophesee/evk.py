"""EVK4 and EVK3 HD through the package neuromorphic-drivers: raw EVT3, decoded here."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from capture import native
from capture.camera import LIMITED, Control
from capture.errors import CameraError, CameraLost
from capture.packets import EventPacket
from capture.prophesee.config import PropheseeConfig
from capture.prophesee.limit import LimitWatch
from capture.prophesee.stream import Evt3Stream, compiled

WIDTH, HEIGHT = 1280, 720
TIMEOUT_S = 0.1
NO_CHANNEL = -1


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """A model: neuromorphic-drivers' module and names of it, USB speed that it needs."""

    module: str
    listed: str
    model: str
    has_clock: bool
    has_trigger_switch: bool


KINDS = {
    "evk4": _Kind("prophesee_evk4", "PROPHESEE_EVK4", "EVK4", True, True),
    "evk3": _Kind("prophesee_evk3_hd", "PROPHESEE_EVK3_HD", "EVK3 HD", False, False),
}
_CLOCKS = {"internal": "INTERNAL", "master": "INTERNAL_WITH_OUTPUT_ENABLED", "slave": "EXTERNAL"}


def library(name: str) -> Any:
    """The module neuromorphic_drivers. Raises `CameraError` when it cannot be imported."""
    try:
        import neuromorphic_drivers
    except Exception as e:
        text = " ".join(str(e).split())[:200]
        raise CameraError(
            f"{name}: needs neuromorphic-drivers, which cannot be loaded ({text}); install it: "
            "pip install 'halfmirror[prophesee]'"
        ) from e
    return neuromorphic_drivers


def listed(name: str, driver: str, nd: Any) -> list[Any]:
    """The cameras of this kind that are plugged in. Raises `CameraError`."""
    try:
        found = nd.list_devices()
    except Exception as e:
        why = native.message(e)
        if why == "Other error":
            why = "there is no USB subsystem here"
        raise CameraError(f"{name}: USB cannot be searched ({why})") from e
    wanted = nd.Name[KINDS[driver].listed]
    return [d for d in found if d.name == wanted]


class EvkSdk:
    """See `camera.Sdk`."""

    def __init__(self, config: PropheseeConfig) -> None:
        self._config, self._kind = config, KINDS[config.driver]
        self._name = config.name
        self.model, self.serial = self._kind.model, config.serial
        self.width, self.height = WIDTH, HEIGHT
        self.notes: dict[str, Any] = {}
        self._nd: Any = None
        self._device: Any = None
        self._settings: Any = None
        self._bounds: dict[str, tuple[int, int]] = {}
        self._clear()

    @property
    def _channel(self) -> int:
        """Whose edges are taken; of no channel where they are not wanted, since the EVK3 sends them anyway."""
        return self._config.trigger_channel if self._config.triggers else NO_CHANNEL

    def _clear(self) -> None:
        self.stream = Evt3Stream(self._name, self.width, self.height, self._channel)
        self._overflows = self._usb_dropped = 0
        self._limit_watch = LimitWatch()

    # -- life --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """See `Sdk.open`."""
        compiled()
        nd = self._nd = library(self._name)
        self._choose(listed(self._name, self._config.driver, nd))
        self._settings = self._configured(nd)
        try:
            self._device = nd.open(
                configuration=self._settings, iterator_timeout=TIMEOUT_S, raw=True,
                serial=self._config.serial or None,
            )  # fmt: skip
            self.serial = str(self._device.serial())
            size = self._device.properties()
            self.width, self.height = int(size.width), int(size.height)
            bounds = self._device.biases_bounds()
            self._bounds = {
                f.name: (int(getattr(bounds, f.name).minimum), int(getattr(bounds, f.name).maximum))
                for f in dataclasses.fields(bounds)
            }
            self.notes = {"usb_speed": self._device.connection().value, "clock": self._config.clock}
        except Exception as e:
            self.close()
            raise CameraError(f"{self._name}: cannot be opened ({_why(e)})") from e
        self._clear()
        for name, value in self._config.biases.items():
            self._check_bias(name, value)

    def _choose(self, found: list[Any]) -> None:
        serials = ", ".join(d.serial or d.error or "?" for d in found)
        wanted = self._config.serial
        if not found:
            raise CameraError(f"{self._name}: no {self._kind.model} is connected; see halfmirror devices")
        if not wanted and len(found) > 1:
            raise CameraError(
                f"{self._name}: {len(found)} {self._kind.model} are connected ({serials}); name one: "
                f"{self._config.driver}:{found[0].serial}"
            )
        if wanted and all(d.serial != wanted for d in found):
            raise CameraError(
                f"{self._name}: no {self._kind.model} of this serial number is connected; there is {serials}"
            )

    def close(self) -> None:
        """See `Sdk.close`."""
        device, self._device = self._device, None
        if device is not None:
            device.close()

    # -- reading -----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """See `Sdk.flush`."""
        if self._device is not None:
            self._device.clear_backlog(0)

    def read(self) -> list[EventPacket]:
        """See `Sdk.read`."""
        if self._device is None:
            raise CameraLost(f"{self._name}: is closed")
        try:
            status, packet = next(self._device)
        except StopIteration:
            raise CameraLost(f"{self._name}: its stream ended; opening it again") from None
        except Exception as e:
            raise CameraLost(f"{self._name}: cannot be read ({_why(e)})") from e
        if packet is None:
            return []
        return self.take(status, packet, time.monotonic_ns())

    def take(self, status: Any, packet: Any, host_ns: int) -> list[EventPacket]:
        """Packets out of what the library gave: raw bytes, or its own decoded arrays."""
        ring = getattr(status, "ring", None)
        lost = len(getattr(ring, "overflow_indices", None) or ())
        dropped = int(getattr(ring, "dropped_packets", 0) or 0)
        fresh, self._usb_dropped = max(0, dropped - self._usb_dropped), max(dropped, self._usb_dropped)
        if isinstance(packet, bytes | bytearray | memoryview):
            lost = max(lost, fresh)
            self._overflows += lost
            # How many events a lost USB packet held is not known: it counts as one, and the gap is marked.
            packets = self.stream.feed(bytes(packet), host_ns, dropped=lost, gap=lost > 0)
        else:
            packets = self._decoded(packet, max(lost, fresh), host_ns)
        limit = self._config.events_per_s if self._settings is None else self._limit()
        self._limit_watch.add(sum(len(p.events) for p in packets), host_ns, limit)
        return packets

    def _decoded(self, packet: Any, lost: int, host_ns: int) -> list[EventPacket]:
        indices = [
            getattr(packet, f"{k}_overflow_indices", None) for k in ("polarity_events", "trigger_events")
        ]
        lost = max(lost, *(0 if i is None else len(i) for i in indices))
        self._overflows += lost
        e, tr = packet.polarity_events, packet.trigger_events
        none = np.empty(0, np.int64)
        et, rising = none, np.empty(0, np.bool_)
        if tr is not None:
            ours = tr["id"] == self._channel
            et, rising = tr["t"][ours].astype(np.int64), tr["rising"][ours] != 0
        columns = (none, none, none, none) if e is None else (e["t"], e["x"], e["y"], e["on"])
        if e is None and not len(et) and not lost:
            return []
        t, x, y, on = columns
        return [self.stream.maker.make(t, x, y, on, et, rising, host_ns, dropped=lost, gap=lost > 0)]

    def counters(self) -> dict[str, int]:
        """See `Sdk.counters`."""
        maker = self.stream.maker
        resets = maker.axis.resets if maker.axis else 0
        return {
            "overflows": self._overflows, LIMITED: self._limit_watch.tenths,
            "clock_resets": resets, **self.stream.faults(),
        }  # fmt: skip

    # -- settings ----------------------------------------------------------------------------------------------

    def _module(self, nd: Any) -> Any:
        return getattr(nd, self._kind.module)

    def _configured(self, nd: Any) -> Any:
        """neuromorphic-drivers' configuration out of ours."""
        module, c = self._module(nd), self._config
        made = module.Configuration()
        known = [f.name for f in dataclasses.fields(made.biases)]
        for name, value in c.biases.items():
            if name not in known:
                raise CameraError(f"{self._name}: no bias {name!r}; known: {', '.join(known)}")
            setattr(made.biases, name, value)
        if c.events_per_s is not None:
            made.rate_limiter = self._limiter(module, c.events_per_s)
        if c.roi is not None:
            self._check_roi()
            mask = nd.RowColumnMask(self.width, self.height, True)
            mask.clear_rectangle(c.roi.x, c.roi.y, c.roi.width, c.roi.height)
            made.x_mask, made.y_mask = mask.x_mask(), mask.y_mask()
        if self._kind.has_clock:
            made.clock = module.Clock[_CLOCKS[c.clock]]
        elif c.clock != "internal":
            raise CameraError(
                f"{self._name}: clock = {c.clock!r} is not possible; its driver has no such choice"
            )
        if self._kind.has_trigger_switch:
            made.enable_external_trigger = c.triggers
        return made

    def _check_roi(self) -> None:
        r = self._config.roi
        assert r is not None
        if r.x + r.width > self.width or r.y + r.height > self.height:
            raise CameraError(
                f"{self._name}: roi {r.width}×{r.height} at ({r.x}, {r.y}) leaves the sensor of "
                f"{self.width}×{self.height}"
            )

    def _limiter(self, module: Any, events_per_s: int) -> Any:
        period = self._config.limiter_period_us
        most = max(1, round(events_per_s * period / 1e6))
        return module.RateLimiter(reference_period_us=period, maximum_events_per_period=most)

    def _limit(self) -> int | None:
        r = self._settings.rate_limiter
        return None if r is None else round(r.maximum_events_per_period * 1e6 / r.reference_period_us)

    def _bias_names(self) -> list[str]:
        return [f"bias_{n}" for n in ("pr", "fo", "hpf", "diff_on", "diff_off", "refr")] if (
            self._config.driver == "evk4"
        ) else [f"bias_{n}" for n in ("pr", "fo_p", "hpf", "diff_on", "diff_off", "refr")]  # fmt: skip

    def names(self) -> tuple[str, ...]:
        """See `Sdk.names`.

        The limiter is not among them: neuromorphic-drivers takes another limit without a word while the camera
        runs, but writes the registers of it when it opens the camera only.
        """
        return tuple(self._bias_names())

    def _check_bias(self, name: str, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise CameraError(f"{self._name}: bias_{name} = {value!r} is not possible; give a whole number")
        low, high = self._bounds.get(name, (-(2**15), 2**15 - 1))
        if not low <= value <= high:
            raise CameraError(
                f"{self._name}: bias_{name} {value} is out of range; it goes from {low} to {high}"
            )
        return value

    def change(self, wanted: dict[str, Any]) -> None:
        """See `Sdk.change`. All of them or none."""
        made = dataclasses.replace(self._settings, biases=dataclasses.replace(self._settings.biases))
        for name, value in wanted.items():
            short = name.removeprefix("bias_")
            setattr(made.biases, short, self._check_bias(short, value))
        try:
            self._device.update_configuration(made)
        except Exception as e:
            raise CameraError(f"{self._name}: {', '.join(wanted)} cannot be set ({_why(e)})") from e
        self._settings = made

    def values(self) -> dict[str, Any]:
        """See `Sdk.values`: as last sent to the camera, which cannot be asked."""
        biases = {n: int(getattr(self._settings.biases, n.removeprefix("bias_"))) for n in self._bias_names()}
        return {**biases, "events_per_s": self._limit() or 0}

    def controls(self) -> tuple[Control, ...]:
        """See `Sdk.controls`."""
        values, out = self.values(), []
        for name in self._bias_names():
            low, high = self._bounds.get(name.removeprefix("bias_"), (None, None))
            out.append(Control(name, values[name], low, high, 1))
        return tuple(out)


def _why(error: BaseException) -> str:
    """What the library said, and what to do where that is known."""
    text = native.message(error)
    if "NoDevice" in text:
        return "it was unplugged; plug it in again"
    if "already used" in text or "Busy" in text:
        return f"{text}: close the other program that holds it"
    if "Access" in text:
        return f"{text}: its udev rule is missing, see halfmirror devices"
    return text
