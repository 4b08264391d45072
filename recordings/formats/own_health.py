"""`health.json` of our own recordings, read as what it is: text from a file that anybody may have changed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from recordings.formats.own_about import HEALTH

_LARGEST = 4 << 20
REPAIRED, REPAIRED_WITH_LOSSES = "repaired", "repaired with losses"
"""States that `recordings repair` leaves."""
DAMAGED = ("damaged event packets", "damaged frames", "damaged items")
"""Places of losses that `recordings repair` adds: what was on the disk and is not readable any more."""
_COUNTS = ("frames", "events", "event_packets", "edges")


def read_health(folder: Path) -> dict[str, Any] | None:
    """The last report with checked types: state, message, counts, losses (place → number), disk, cameras,
    ended_early (stream → seconds of silence before the end).

    None when it is missing or not readable. What is not there is "" or 0.
    """
    try:
        with (folder / HEALTH).open("rb") as f:
            told = json.loads(f.read(_LARGEST))
        losses = {str(k): int(v) for k, v in dict(told["losses"]).items()}
        disk = dict(told.get("disk") or {})
        cameras = {
            str(k): {str(n): int(c) for n, c in v.items()} for k, v in (told.get("cameras") or {}).items()
        }
        # Recordings of versions before have no such entry.
        early = {str(k): float(v) for k, v in dict(told.get("ended_early") or {}).items()}
        early = {k: s for k, s in early.items() if k in ("events", "frames") and 0 < s < math.inf}
        return {
            **told, "cameras": cameras, "ended_early": early,
            "state": str(told["state"]), "message": str(told.get("message", "")), "losses": losses,
            "disk": {k: int(disk.get(k, 0)) for k in ("bytes", "chunks", "waiting_bytes")},
            **{k: int(told.get(k, 0)) for k in _COUNTS},
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def ended_early(health: dict[str, Any]) -> list[str]:
    """Of each stream that had stopped before its recording ended, one line; none where nothing says so."""
    early = health.get("ended_early") or {}
    return [f"{stream} stopped {seconds:.1f} s before the end" for stream, seconds in early.items()]
