"""Is there a display? Qt aborts the whole process when there is none, so this is asked before."""

from __future__ import annotations

import ctypes.util
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

HEADLESS = ("offscreen", "minimal", "vnc", "linuxfb", "eglfs")  # Qt platforms that need no display server
_XCB_LIBRARIES = {"xcb-cursor": "libxcb-cursor0", "xkbcommon-x11": "libxkbcommon-x11-0", "EGL": "libegl1"}


def display_available(environ: Mapping[str, str] | None = None) -> tuple[bool, str]:
    """Whether a window can be opened, and if not why, in one line.

    Looks at QT_QPA_PLATFORM, WAYLAND_DISPLAY and DISPLAY and knocks at the server that they name.
    """
    env = os.environ if environ is None else environ
    if not sys.platform.startswith("linux"):
        return True, ""
    platform = env.get("QT_QPA_PLATFORM", "").split(";")[0].split(":")[0]
    if platform in HEADLESS:
        return True, ""
    reasons = []
    if not platform.startswith("xcb") and env.get("WAYLAND_DISPLAY"):
        problem = _wayland(env)
        if not problem:
            return True, ""
        reasons.append(problem)
    if not platform.startswith("wayland") and env.get("DISPLAY"):
        problem = _x11(env["DISPLAY"]) or _libraries()
        if not problem:
            return True, ""
        reasons.append(problem)
    if not reasons:
        reasons = ["no display: neither DISPLAY nor WAYLAND_DISPLAY is set"]
    return False, "; ".join(reasons)


def _wayland(env: Mapping[str, str]) -> str:
    path = Path(env.get("XDG_RUNTIME_DIR", "")) / env["WAYLAND_DISPLAY"]
    return "" if _answers(socket.AF_UNIX, str(path)) else f"the Wayland display {path} does not answer"


def _x11(display: str) -> str:
    host, _, rest = display.rpartition(":")
    number = rest.split(".")[0]
    if not number.isdigit():
        return f"DISPLAY={display} is not a display"
    if host in ("", "unix"):
        path = f"/tmp/.X11-unix/X{number}"
        found = _answers(socket.AF_UNIX, path) or _answers(socket.AF_UNIX, f"\0{path}")
    else:
        found = _answers(socket.AF_INET, (host, 6000 + int(number)))
    return "" if found else f"the X display {display} does not answer"


def _libraries() -> str:
    missing = [package for lib, package in _XCB_LIBRARIES.items() if ctypes.util.find_library(lib) is None]
    return f"Qt needs the system libraries {' '.join(missing)}" if missing else ""


def _answers(family: int, address: str | tuple[str, int]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(2.0)
            s.connect(address)
            return True
    except OSError:
        return False
