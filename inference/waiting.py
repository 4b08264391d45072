"""How threads of a network wait between its layers. Standard library alone: this runs before torch loads."""

from __future__ import annotations

import os

_CHOSEN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
ROUNDS = "3000"
"""Some microseconds, as long as the next layer takes to come. On two cores glint's exposures took a tenth less
so than with the default of some milliseconds, in which waiting threads keep the cores from capture, and from
what goes before and behind the network."""


def wait_briefly() -> None:
    """Set GNU OpenMP's spinning for this process and those it starts, unless the user has chosen."""
    if not any(name in os.environ for name in _CHOSEN):
        os.environ["GOMP_SPINCOUNT"] = ROUNDS
