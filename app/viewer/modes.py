"""What the picture area can show."""

from __future__ import annotations

from enum import StrEnum


class View(StrEnum):
    """The five ways to look at a picture, keys 1 to 5."""

    WIPE = "wipe"
    SIDE_BY_SIDE = "side by side"
    SHARP = "sharp only"
    DIFFERENCE = "difference"
    EVENTS = "events only"


class EventsMode(StrEnum):
    """Where events are drawn besides the events view; E goes through them."""

    OFF = "off"
    INSET = "inset"
    OVERLAY = "overlay"

    def next(self) -> EventsMode:
        """The mode that the key E goes to."""
        order = list(EventsMode)
        return order[(order.index(self) + 1) % len(order)]
