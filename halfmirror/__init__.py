"""Halfmirror for programs of one's own: docs/python.md. Commands and window: `halfmirror --help`."""

from halfmirror import _first  # noqa: F401

# isort: split

from app.library import deblur, exposures, live, published
from app.version import version as _version
from capture.errors import HalfmirrorError
from capture.packets import Events
from inference.arrays import Deblurrer
from inference.arrays import events_of as events
from inference.models import names as networks
from inference.restorers.base import Restored
from recordings.open import open_recording
from sync.exposure import AlignedExposure, RefusedExposure
from sync.rig import Rig

__version__ = _version()

__all__ = [
    "AlignedExposure",
    "Deblurrer",
    "Events",
    "HalfmirrorError",
    "RefusedExposure",
    "Restored",
    "Rig",
    "deblur",
    "events",
    "exposures",
    "live",
    "networks",
    "open_recording",
    "published",
]
