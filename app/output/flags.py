"""Named states of a restorer, counted."""

from __future__ import annotations

import re


def flag_kind(flag: str) -> str:
    """A flag without its figures, so that "saturated 2 %" and "saturated 3 %" count as one state."""
    return re.sub(r"\d+(\.\d+)?", "…", flag)
