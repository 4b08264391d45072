"""Event lists for the tests of representations."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events

START = 1_615_007_563_376_030  # as real stamps are: large numbers of µs


def random_events(
    seed: int, n: int, span: tuple[int, int], width: int = 17, height: int = 9, at: int | None = None
) -> Events:
    """`n` events within [span[0], span[1]), all at time `at` when that is given."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(*span, n)) if at is None else np.full(n, at)
    return Events.checked(
        t.astype(np.int64),
        rng.integers(0, width, n),
        rng.integers(0, height, n),
        rng.random(n) < 0.6,
        width,
        height,
    )


def packets(events: Events, seed: int, pieces: int) -> list[Events]:
    """The same events in packets of random lengths, some of them empty."""
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(events) + 1, pieces - 1))
    at = [0, *(int(c) for c in cuts), len(events)]
    return [events[a:b] for a, b in itertools.pairwise(at)]


def sign(events: Events) -> NDArray[np.int64]:
    return np.where(events.p, 1, -1)
