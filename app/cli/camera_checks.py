"""What `halfmirror devices` finds, as checks of `halfmirror doctor`: a bug report about a camera needs it."""

from __future__ import annotations

from app.cli.checks import Check, State
from app.cli.device_survey import USBFS, USBFS_MB, Survey, facts_of, survey

_CHECKED = ("dv-processing", "Aravis")  # by checks of their own


def connected() -> list[Check]:
    """SDKs, cameras with firmware and USB speed, and the memory that the kernel gives to USB."""
    return checks_of(survey(), _usbfs_mb())


def checks_of(found: Survey, usbfs_mb: int | None) -> list[Check]:
    """A survey as lines of a table; `usbfs_mb` is None where the system does not say."""
    out = [
        Check(s["name"], State.OK if s["there"] else State.NOTE, s["facts"])
        for s in found.sdks if s["name"] not in _CHECKED
    ]  # fmt: skip
    for d in found.devices:
        served = bool(d.get("sdk")) and bool(d.get("access", True))
        facts = ", ".join([d["name"], *facts_of(d)] if d["name"] else facts_of(d))
        advice = "" if served else "see what halfmirror devices says is missing"
        out.append(Check("camera", State.OK if served else State.NOTE, facts, advice))
    if usbfs_mb is not None:
        enough = usbfs_mb >= USBFS_MB
        advice = f"several USB3 streams need {USBFS_MB}: echo {USBFS_MB} | sudo tee {USBFS}"
        state = State.OK if enough else State.NOTE
        out.append(Check("usbfs memory", state, f"{usbfs_mb} MB", "" if enough else advice))
    return out


def _usbfs_mb() -> int | None:
    try:
        return int(USBFS.read_text())
    except (OSError, ValueError):
        return None
