"""Which camera is meant: by address, by serial number, or the only one there is."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from capture.camera import CameraInfo, CameraRole, Capabilities
from capture.errors import CameraError
from capture.genicam import aravis, gvcp
from capture.genicam.config import FLIR, GenicamConfig

_USB_SERIAL = re.compile(r"[0-9A-Fa-f]{8}")
_FLIR_VENDORS = re.compile(r"flir|point grey|teledyne", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """A camera that can be opened.

    Attributes:
        handle: what Aravis opens it by: an address (GigE Vision) or its own id (USB3 Vision).
        serial: that it must have, "" when any will do.
        vendor, model: as found, "" when it was not looked for.
    """

    handle: str
    serial: str = ""
    vendor: str = ""
    model: str = ""


def same_serial(a: str, b: str) -> bool:
    """Whether both are one number: a FLIR's USB descriptor, which Aravis reads, has its label's in hex."""
    if a == b:
        return True
    pairs = ((a, b), (b, a))
    return any(_USB_SERIAL.fullmatch(h) and d.isdecimal() and int(h, 16) == int(d) for h, d in pairs)


def present() -> list[Place]:
    """Cameras that answer: GigE Vision by broadcast, USB3 Vision by the bus.

    Raises:
        CameraError: Aravis is not installed.
    """
    a = aravis.load()
    places = [Place(f.address, f.serial, f.vendor, f.model) for f in gvcp.discover()]
    # Our own search is told which networks to ask; Aravis would ask them all.
    a.disable_interface(b"GigEVision")
    try:
        a.update_device_list()
        for k in range(a.get_n_devices()):
            raw = (
                a.get_device_id(k),
                a.get_device_serial_nbr(k),
                a.get_device_vendor(k),
                a.get_device_model(k),
            )
            handle, serial, vendor, model = ((w or b"").decode("utf-8", "replace") for w in raw)
            if handle.startswith("Fake_"):
                continue
            places.append(Place(handle, serial, vendor, model))
    finally:
        a.enable_interface(b"GigEVision")
    return places


def _described(places: list[Place]) -> str:
    return ", ".join(f"{p.model or 'camera'} {p.serial} at {p.handle}" for p in places)


def is_flir(place: Place) -> bool:
    """Made by FLIR, under any of its names."""
    return bool(_FLIR_VENDORS.search(place.vendor))


def locate(config: GenicamConfig) -> Place:
    """The camera that a configuration means. An address is not looked for: it is opened as it is.

    Raises:
        CameraError: none, or more than one that fits; the message lists what is there.
    """
    name, target = config.name, config.target
    aravis.load()
    if config.driver != FLIR and target:
        known = [] if _is_address(target) else [p for p in present() if target in (p.serial, p.handle)]
        # Only where it is, not who: Aravis has a USB camera's number from another place than the camera itself.
        return Place(known[0].handle if len(known) == 1 else target)
    if _is_address(target):
        return Place(target, config.serial)
    there = [p for p in present() if config.driver != FLIR or is_flir(p)]
    wanted = target or config.serial
    fitting = [p for p in there if not wanted or same_serial(p.serial, wanted)]
    if not fitting:
        what = f"no camera with serial number {wanted}" if wanted else "no camera found"
        hint = f"there is {_described(there)}" if there else "is it plugged in, and on this network?"
        raise CameraError(f"{name}: {what}; {hint}")
    if len(fitting) > 1:
        by_serial = config.driver == FLIR and not wanted
        how = "say which: flir:SERIAL" if by_serial else "open one by its address: genicam:ADDRESS"
        raise CameraError(f"{name}: {len(fitting)} cameras fit ({_described(fitting)}); {how}")
    return fitting[0]


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def infos(driver: str) -> list[CameraInfo]:
    """What `discover` of a driver tells. Never raises."""
    try:
        places = present()
    except CameraError:
        return []
    out = []
    for p in places:
        if (driver == FLIR) != is_flir(p):
            continue
        name = f"{driver}:{p.serial if driver == FLIR and p.serial else p.handle}"
        capabilities = Capabilities(exposure_stamps=True)
        out.append(
            CameraInfo(
                CameraRole.FRAMES, name, f"{p.vendor} {p.model}".strip(), p.serial, 0, 0, 0.0, capabilities
            )
        )
    return out
