"""What a picture says of the events it was made with, in the words of all restorers."""

from __future__ import annotations

from sync.geometry import covered_share
from sync.rig import Rig

NO_EVENTS_FLAG = "no events: frame passed through"
LOST_FLAG = "events lost in the exposure"
UNCALIBRATED_FLAG = "rig not calibrated"
COVER_FLAG = 0.95


def of_rig(rig: Rig) -> list[str]:
    """Flags where nobody has measured how events lie on the picture, and where they see clearly less of it."""
    share = covered_share(rig)
    flags = [UNCALIBRATED_FLAG] if rig.assumed else []
    return flags + [f"events cover {100 * share:.0f} % of the picture"] * (share < COVER_FLAG)
