"""`health.json` of our own recordings, read as what it is: text from a file that anybody may have changed."""

from __future__ import annotations

import json
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
    """The last report with checked types: state, message, counts, losses (place → number), disk, cameras.

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
        return {
            **told, "cameras": cameras,
            "state": str(told["state"]), "message": str(told.get("message", "")), "losses": losses,
            "disk": {k: int(disk.get(k, 0)) for k in ("bytes", "chunks", "waiting_bytes")},
            **{k: int(told.get(k, 0)) for k in _COUNTS},
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
