"""What a picture says of the events it was made with, in the words of all restorers."""

from __future__ import annotations

from sync.geometry import covered_share
from sync.rig import Rig

NO_EVENTS_FLAG = "no events: frame passed through"
LOST_FLAG = "events lost in the exposure"
COVER_FLAG = 0.95


def covering(rig: Rig) -> list[str]:
    """A flag where events see clearly less than the whole picture."""
    share = covered_share(rig)
    return [f"events cover {100 * share:.0f} % of the picture"] if share < COVER_FLAG else []
