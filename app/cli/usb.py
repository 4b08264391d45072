"""Whether USB cameras could be opened by this user."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from app.cli.checks import Check, State

# Vendor ids of the cameras that the drivers open.
VENDORS = {"152a": "iniVation (DAVIS, DVXplorer)", "04b4": "Prophesee EVK", "1e10": "FLIR (Blackfly S)"}
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
        advice = "install the udev rules of the camera's maker, then plug it in again"
        return Check("USB", State.MISSING, f"no permission: {', '.join(denied)}", advice)
    missing = [name for vendor, name in VENDORS.items() if not has_rule(vendor, rules)]
    facts = f"{len(plugged)} camera{'' if len(plugged) == 1 else 's'} plugged in"
    if missing and os.geteuid() != 0:
        advice = (
            f"no udev rules for {', '.join(missing)}: install those of the maker, or only root can open them"
        )
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
        if vendor in VENDORS:
            found.append((vendor, bus / f"{number[0]:03d}" / f"{number[1]:03d}"))
    return found


def has_rule(vendor: str, folders: Sequence[Path]) -> bool:
    """A udev rule names this vendor."""
    for folder in folders:
        for rule in folder.glob("*.rules") if folder.is_dir() else ():
            try:
                if vendor in rule.read_text(errors="replace").lower():
                    return True
            except OSError:
                continue
    return False
