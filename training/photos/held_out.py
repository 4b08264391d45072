"""Photos that no training sees, so that validation tells what a network makes of new ones."""

from __future__ import annotations

EVERY = 13
"""One in so many; fewer photos are all trained on."""


def held_of(count: int) -> list[int]:
    """Which of `count` photos are held out."""
    return list(range(EVERY - 1, count, EVERY))


def kept_of(count: int) -> list[int]:
    """All others."""
    return sorted(set(range(count)) - set(held_of(count)))
