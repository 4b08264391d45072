"""Event lists for the tests of representations."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.halfway import MOST_US

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


def set_back(events: Events, start_us: int) -> Events:
    """Events half-way to their neighbours by the definition, pixel by pixel, in order of time again."""
    moved = events.t.copy()
    for y in range(events.height):
        for x in range(events.width):
            mine = np.flatnonzero((events.x == x) & (events.y == y))
            t = events.t[mine].tolist()
            for k, i in enumerate(mine):
                gaps = [2 * MOST_US, *(t[k] - b for b in t[k - 1 : k]), *(a - t[k] for a in t[k + 1 : k + 2])]
                moved[i] = max(start_us, t[k] - min(gaps) // 2)
    order = np.argsort(moved, kind="stable")
    return Events(moved[order], events.x[order], events.y[order], events.p[order], events.width, events.height)
