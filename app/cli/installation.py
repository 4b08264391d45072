"""What `doctor` says of the installation itself: extras, and files that would hide its packages."""

from __future__ import annotations

import os
from importlib.util import find_spec

from app.cli.checks import Check, State
from app.hindrance import IMPORTED, namesakes

EXTRAS = {
    "train": ("pytorch_lightning", "tensorboardX"),
    "ros": ("rosbags",),
    "datasets": ("hdf5plugin",),
    "prophesee": ("neuromorphic_drivers",),
}
"""Extras of pyproject.toml that bring packages for a purpose of their own, and what is imported of them."""


def extras() -> Check:
    """Which optional packages are installed; imports none."""
    there = {name: all(find_spec(m) is not None for m in modules) for name, modules in EXTRAS.items()}
    facts = ", ".join(f"{name} {'✓' if found else '–'}" for name, found in there.items())
    lacking = ",".join(name for name, found in there.items() if not found)
    how = f" (pip install 'halfmirror[{lacking}]')" if lacking else ""
    return Check("extras", State.OK, facts + how)


def names() -> Check:
    """Whether a Python program in this folder could import ours. The commands do not mind what lies there."""
    here = os.getcwd()
    found = [place for _, place in namesakes(IMPORTED, [here])]
    if not found:
        return Check("names", State.OK, f"nothing in {here} hides a package of ours")
    advice = "rename it, or programs in this folder fail at `import halfmirror`; commands do not mind"
    return Check("names", State.NOTE, f"{', '.join(found)}: named like a package of ours", advice)
