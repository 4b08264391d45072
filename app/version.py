"""The program's own version."""

from __future__ import annotations


def version() -> str:
    """As installed, e.g. "0.1.0"; "0.0.0+source" when run from a tree that was never installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("halfmirror")
    except PackageNotFoundError:
        return "0.0.0+source"
