"""What `halfmirror devices` finds: cameras by their drivers, USB as the system sees it, what is missing."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.cli.probes import probe
from app.cli.usb import RULE_FOLDERS, VENDORS, has_rule, is_camera
from capture import registry
from capture.registry import ThirdParty

USBFS = Path("/sys/module/usbcore/parameters/usbfs_memory_mb")
USBFS_MB = 1000
"""What several USB3 streams need for their buffers; the kernel's own 16 MB are too few."""

RULES = {
    "152a": 'SUBSYSTEM=="usb", ATTRS{idVendor}=="152a", ATTRS{idProduct}=="84[0-1]?", MODE="0666"',
    "04b4": 'SUBSYSTEM=="usb", ATTRS{idVendor}=="04b4", ATTRS{idProduct}=="00f[4-5]", MODE="0666"',
    "1e10": 'SUBSYSTEM=="usb", ATTRS{idVendor}=="1e10", MODE="0666"',
    "31f7": 'SUBSYSTEM=="usb", ATTRS{idVendor}=="31f7", ATTRS{idProduct}=="000[3-4]", MODE="0666"',
    "1409": 'SUBSYSTEM=="usb", ATTRS{idVendor}=="1409", ATTRS{idProduct}=="8e00", MODE="0666"',
}
_SERIAL = re.compile(r"[A-Za-z0-9_.-]{1,20}")
RULE_FILE = "/etc/udev/rules.d/65-halfmirror.rules"
PROPHESEE = "04b4"
BY_VENDOR = {"152a": "davis346", PROPHESEE: "evk4", "1e10": "flir", "31f7": "evk4", "1409": "evk4"}
METAVISION, SPINNAKER = "metavision", "flir-spinnaker"
ASKED_FOR = (METAVISION, SPINNAKER)
"""Drivers that somebody must choose by name: the first lists nothing, the second what Aravis lists already."""

SDKS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "dv-processing", "import dv_processing as m\nanswer({'version': m.__version__})", ("davis346",),
        "pip install dv-processing",
    ),
    (
        "neuromorphic-drivers",
        "import neuromorphic_drivers\nfrom importlib.metadata import version\n"
        "answer({'version': version('neuromorphic-drivers')})",
        ("evk4", "evk3"), "pip install 'halfmirror[prophesee]'",
    ),
    (
        "Metavision SDK", "import metavision_hal as m\nanswer({'version': getattr(m, '__version__', '')})",
        (METAVISION,), "the vendor's installer (Metavision SDK or OpenEB); it is not on PyPI",
    ),
    (
        "Aravis", "import ctypes\nctypes.CDLL('libaravis-0.8.so.0')\nanswer({'version': '0.8'})",
        ("flir", "genicam"), "sudo apt-get install libaravis-0.8-0",
    ),
    (
        "Spinnaker",
        "import rotpy.system\nfrom importlib.metadata import version\n"
        "answer({'version': f\"(rotpy {version('rotpy')})\"})",
        (SPINNAKER,), "pip install 'halfmirror[spinnaker]' (Python 3.11); Aravis does without it",
    ),
)  # fmt: skip
"""Name, code that a child runs, drivers that need it, how it is installed."""

_THIRD_PARTY = """
from dataclasses import asdict
from capture import registry
try:
    d, why = registry.driver({name!r}), ""
except Exception as e:
    d, why = None, str(e)
found, failed = [], ""
try:
    found = [asdict(c) for c in d.discover()] if d is not None else []
except Exception as e:
    failed = f"{{type(e).__name__}}: {{e}}"
answer({{"why": why, "found": found, "failed": failed}})
"""

_DISCOVER = """
from dataclasses import asdict
from capture import registry
found = []
for n in {names!r}:
    try:
        found += [asdict(c) for c in registry.driver(n).discover()]
    except Exception as e:
        found.append({{"name": n, "error": str(e)}})
answer({{"found": found}})
"""


@dataclass(frozen=True)
class Survey:
    """Plain values, as `--json` prints them.

    Attributes:
        devices: name (what opens it, "" where nothing does), model, serial, role, width, height, usb_speed,
            firmware, access, can (capabilities), sdk.
        sdks: name, there, facts, drivers: libraries, then drivers that other packages bring, by their names.
        missing: what, and do: lines to follow or to copy.
    """

    devices: list[dict[str, Any]] = field(default_factory=list)
    sdks: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)


def survey(
    bus: Path = Path("/sys/bus/usb/devices"), rules: Sequence[Path] = RULE_FOLDERS, usbfs: Path = USBFS
) -> Survey:
    """Look at everything; each SDK in a child process of its own. Never raises."""
    groups = [drivers for _, _, drivers, _ in SDKS if not set(ASKED_FOR) & set(drivers)] + [("webcam",)]
    with ThreadPoolExecutor(4) as pool:
        sdks = list(pool.map(_sdk, SDKS))
        lists = list(pool.map(_discovered, groups))
        others = list(pool.map(_third_party, registry.third_parties()))
    served = {d: s["name"] for s in sdks if s["there"] for d in s["drivers"]}
    for line, found in others:
        if line["there"]:
            served[line["name"]] = line["package"] or line["target"]
        sdks.append(line)
        lists.append(found)
    served.setdefault("webcam", "OpenCV")
    devices = [_device(d, served) for found in lists for d in found if "error" not in d]
    plugged = _plugged(bus)
    devices += _unfound(devices, plugged, served)
    for d in devices:
        _add_usb(d, plugged)
    return Survey(devices, sdks, _missing(sdks, plugged, rules, usbfs))


def changes(before: Survey, now: Survey) -> list[tuple[str, dict[str, Any]]]:
    """("gone" or "new", device) between two looks."""
    keys = [{(d["name"], d["role"], d["serial"], d["model"]): d for d in s.devices} for s in (before, now)]
    gone = [("gone", d) for k, d in keys[0].items() if k not in keys[1]]
    return gone + [("new", d) for k, d in keys[1].items() if k not in keys[0]]


def _sdk(sdk: tuple[str, str, tuple[str, ...], str]) -> dict[str, Any]:
    name, code, drivers, install = sdk
    p = probe(code, timeout_s=30)
    facts = f"{p.facts['version']} serves {', '.join(drivers)}".strip() if p.ok else f"is not there; {install}"
    return {"name": name, "there": p.ok, "facts": facts, "drivers": list(drivers), "why": "" if p.ok else p.why}


def _third_party(t: ThirdParty) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A driver that another package brings, and what it finds; in a child, for nobody knows what it does."""
    origin = f"driver of {t.package} ({t.target})" if t.package else f"driver at {t.target}"
    line = {
        "name": t.name, "there": False, "facts": origin, "drivers": [t.name], "why": "", "package": t.package,
        "target": t.target,
    }  # fmt: skip
    if t.hidden:
        why = "another driver has this name; it can never be chosen"
        return line | {"facts": f"{origin}: {why}", "why": why}, []
    p = probe(_THIRD_PARTY.format(name=t.name), timeout_s=30)
    why = _line(p.facts["why"] if p.ok else p.why)
    if why:
        what = why.removeprefix(f"camera {t.name!r}: its driver {t.target} ")
        return line | {"facts": f"{origin} {what}" if what != why else f"{origin}: {why}", "why": why}, []
    failed = _line(p.facts["failed"])
    facts = f"{origin}; looking for its cameras failed: {failed}" if failed else origin
    return line | {"there": True, "facts": facts, "why": failed}, p.facts["found"]


def _line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]


def _discovered(names: tuple[str, ...]) -> list[dict[str, Any]]:
    p = probe(_DISCOVER.format(names=list(names)), timeout_s=30)
    found: list[dict[str, Any]] = p.facts["found"] if p.ok else []
    return found


def _device(info: dict[str, Any], served: dict[str, str]) -> dict[str, Any]:
    cap = info["capabilities"]
    can = [
        word for key, word in (
            ("triggers", "trigger input"), ("exposure_stamps", "exposure stamps"), ("event_clock", "one clock"),
        ) if cap.get(key)
    ]  # fmt: skip
    return {
        "name": info["name"], "model": info["model"], "serial": info["serial"], "role": str(info["role"]),
        "width": info["width"], "height": info["height"], "usb_speed": "", "firmware": "", "access": True,
        "can": can, "settings": list(cap.get("settings", ())),
        "sdk": served.get(str(info["name"]).partition(":")[0], ""),
    }  # fmt: skip


def _plugged(devices: Path) -> list[dict[str, Any]]:
    """Cameras as the system's USB lists them: vendor, serial, speed, product, firmware, access."""
    found: list[dict[str, Any]] = []
    for d in sorted(devices.iterdir()) if devices.is_dir() else ():
        vendor = _text(d / "idVendor").lower()
        if not is_camera(vendor, d):
            continue
        release = _text(d / "bcdDevice")
        bus, number = _text(d / "busnum"), _text(d / "devnum")
        known = bus.isdigit() and number.isdigit()
        node = Path(f"/dev/bus/usb/{int(bus):03d}/{int(number):03d}") if known else None
        found.append(
            {
                "vendor": vendor, "serial": _text(d / "serial"), "product": _text(d / "product"),
                "speed": _speed(_text(d / "speed")), "firmware": release,
                "access": node is None or not node.exists() or os.access(node, os.R_OK | os.W_OK),
            }
        )  # fmt: skip
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _speed(mbit: str) -> str:
    """In words; a USB3 camera at 480 Mbit/s hangs at the wrong port or cable."""
    names = {"12": "USB 1, 12 Mbit/s", "480": "USB 2, 480 Mbit/s", "5000": "USB 3, 5 Gbit/s"}
    names |= {"10000": "USB 3, 10 Gbit/s", "20000": "USB 3, 20 Gbit/s"}
    return names.get(mbit, f"{mbit} Mbit/s" if mbit else "")


def _unfound(
    devices: list[dict[str, Any]], plugged: list[dict[str, Any]], served: dict[str, str]
) -> list[dict[str, Any]]:
    """What is plugged in but no driver has found: the vendor's SDK, which lists nothing, may serve it all the
    same.
    """
    known = {d["serial"] for d in devices}
    rest = [p for p in plugged if p["serial"] not in known]
    several = sum(p["vendor"] == PROPHESEE for p in rest) > 1
    out = []
    for p in rest:
        by_vendor = p["vendor"] == PROPHESEE and METAVISION in served
        # One alone is opened without its number, which need not be the one that the SDK knows it by.
        name = f"{METAVISION}:{p['serial']}" if several and _SERIAL.fullmatch(p["serial"]) else METAVISION
        out.append(
            {
                "name": name if by_vendor else "", "model": p["product"] or VENDORS[p["vendor"]],
                "serial": p["serial"], "role": "events" if by_vendor else "", "width": 0, "height": 0,
                "usb_speed": "", "firmware": "", "access": True, "can": [], "settings": [],
                "sdk": served[METAVISION] if by_vendor else "",
            }
        )  # fmt: skip
    return out


def _add_usb(d: dict[str, Any], plugged: list[dict[str, Any]]) -> None:
    for p in plugged:
        if p["serial"] == d["serial"]:
            d.update(usb_speed=p["speed"], firmware=p["firmware"], access=p["access"])


def _missing(
    sdks: list[dict[str, Any]], plugged: list[dict[str, Any]], rules: Sequence[Path], usbfs: Path
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    vendors_sdk = any(s["there"] and METAVISION in s["drivers"] for s in sdks)
    need = {BY_VENDOR[p["vendor"]] for p in plugged if not (vendors_sdk and p["vendor"] == PROPHESEE)}
    out += [
        {"what": f"{s['name']} {s['facts']}", "do": []}
        for s in sdks if not s["there"] and need & set(s["drivers"])
    ]  # fmt: skip
    ruleless = [v for v in RULES if not has_rule(v, rules)]
    if ruleless and os.name == "posix":
        names = ", ".join(VENDORS[v] for v in ruleless)
        out.append(
            {
                "what": f"no udev rules for {names}: only root can open them on USB. Put into {RULE_FILE}:",
                "do": [
                    *(RULES[v] for v in ruleless),
                    "then: sudo udevadm control --reload-rules && sudo udevadm trigger",
                ],
            }
        )  # fmt: skip
    memory = _text(usbfs)
    if memory.isdigit() and int(memory) < USBFS_MB:
        out.append(
            {
                "what": f"usbfs_memory_mb is {memory}; several USB3 streams need {USBFS_MB}:",
                "do": [f"echo {USBFS_MB} | sudo tee {usbfs}"],
            }
        )
    return out


def facts_of(d: dict[str, Any]) -> list[str]:
    """A device of a `Survey` in words, but for its name."""
    size = f"{d['width']}×{d['height']}" if d.get("width") else ""
    served = f"by {d['sdk']}" if d.get("sdk") else "nothing serves it here"
    firmware = f"firmware {d['firmware']}" if d.get("firmware") else ""
    can = ", ".join(d.get("can", ()))
    access = "" if d.get("access", True) else "no permission"
    facts = [
        d.get("model", ""), d.get("serial", ""), d.get("role", ""), size, d.get("usb_speed", ""), firmware, can,
        served, access,
    ]  # fmt: skip
    return [f for f in facts if f]
