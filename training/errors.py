"""Errors of training that a person may see."""

from __future__ import annotations

import os

from capture.errors import HalfmirrorError


class TrainingError(HalfmirrorError):
    """A training run cannot go on. The message is one line: what, where, what to do."""


class NotFinite(TrainingError):
    """The loss became NaN or infinite; the batch is saved for inspection."""


def why(error: OSError) -> str:
    """The system's own words for an error of the file system."""
    return os.strerror(error.errno) if error.errno else str(error)
