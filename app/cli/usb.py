"""Whether USB cameras could be opened by this user."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from app.cli.checks import Check, State

# Vendor ids of the cameras that the drivers open.
VENDORS = {
    "152a": "iniVation (DAVIS, DVXplorer)", "04b4": "Prophesee EVK", "1e10": "FLIR (Blackfly S)",
    "31f7": "CenturyArks SilkyEvCam", "1409": "IDS event camera",
}  # fmt: skip
# Where a vendor id is on other devices too (04b4 is a maker of USB chips).
PRODUCTS = {"04b4": "00f[45]", "31f7": "000[34]", "1409": "8e00"}
RULE_FOLDERS = (Path("/etc/udev/rules.d"), Path("/usr/lib/udev/rules.d"), Path("/lib/udev/rules.d"))


def usb(
    bus: Path = Path("/dev/bus/usb"),
    devices: Path = Path("/sys/bus/usb/devices"),
    rules: Sequence[Path] = RULE_FOLDERS,
) -> Check:
    """USB there, udev rules for the cameras, and permission on those that are plugged in."""
    if platform.system() != "Linux":
        return Check("USB", State.OK, "by the system")
    if not bus.is_dir():
        advice = "for USB cameras run outside the container, or pass --device /dev/bus/usb"
        return Check("USB", State.NOTE, f"no USB here ({bus} is not there)", advice)
    plugged = _plugged(bus, devices)
    denied = [f"{VENDORS[v]} at {node}" for v, node in plugged if not os.access(node, os.R_OK | os.W_OK)]
    if denied:
        advice = "install udev rules, which halfmirror devices prints, then plug it in again"
        return Check("USB", State.MISSING, f"no permission: {', '.join(denied)}", advice)
    missing = [name for vendor, name in VENDORS.items() if not has_rule(vendor, rules)]
    facts = f"{len(plugged)} camera{'' if len(plugged) == 1 else 's'} plugged in"
    if missing and os.geteuid() != 0:
        advice = f"no udev rules for {', '.join(missing)}: only root opens them; halfmirror devices prints some"
        return Check("USB", State.NOTE, facts, advice)
    return Check("USB", State.OK, facts)


def _plugged(bus: Path, devices: Path) -> list[tuple[str, Path]]:
    """(vendor id, device node) of cameras that are connected."""
    found: list[tuple[str, Path]] = []
    if not devices.is_dir():
        return found
    for device in sorted(devices.iterdir()):
        try:
            vendor = (device / "idVendor").read_text().strip().lower()
            number = tuple(int((device / n).read_text()) for n in ("busnum", "devnum"))
        except (OSError, ValueError):
            continue
        if is_camera(vendor, device):
            found.append((vendor, bus / f"{number[0]:03d}" / f"{number[1]:03d}"))
    return found


def is_camera(vendor: str, device: Path) -> bool:
    """One of `VENDORS`' cameras, by its folder in the system's list; one that tells no product passes."""
    try:
        product = (device / "idProduct").read_text(errors="replace").strip().lower()
    except OSError:
        product = ""
    return vendor in VENDORS and (not product or bool(re.fullmatch(PRODUCTS.get(vendor, ".*"), product)))


def has_rule(vendor: str, folders: Sequence[Path]) -> bool:
    """A udev rule asks for this vendor; a number that stands there for anything else does not count."""
    asks = re.compile(rf'^[^#\n]*id_?vendor(?:_id)?\}}\s*==\s*"(?:[^"]*\|)?{vendor}[|"]', re.M)
    for folder in folders:
        for rule in folder.glob("*.rules") if folder.is_dir() else ():
            try:
                if asks.search(rule.read_text(errors="replace").lower()):
                    return True
            except OSError:
                continue
    return False
