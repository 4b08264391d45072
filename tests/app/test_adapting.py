"""Recordings as pairs of neighbouring exposures: which events come with them, and how many are held."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from app import adapting
from app.adapting import KEPT_US, Kept, pairs
from app.offline_input import OfflineInput
from capture.packets import EventPacket, Events
from sync.exposure import AlignedExposure
from tests.app.offline_source import EXPOSURE_US, PERIOD_US, exposure_of, items, source

FRAMES = 8


@pytest.fixture
def most_held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events were held at most."""
    most = [0]
    add = Kept.add

    def watched(self: Kept, events: Events) -> None:
        add(self, events)
        most[0] = max(most[0], len(self))

    monkeypatch.setattr(Kept, "add", watched)
    return most


def run(monkeypatch: pytest.MonkeyPatch, n: int, unexposed: tuple[int, ...]) -> tuple[list[Any], Events]:
    """The pairs of a recording whose frames named have no exposure, and all its events."""
    made = list(items(n, unexposed=unexposed))

    @contextmanager
    def opened(*_: object) -> Iterator[OfflineInput]:
        yield source(iter(made), n)

    monkeypatch.setattr(adapting, "open_input", opened)
    taken: list[tuple[AlignedExposure, AlignedExposure, Events]] = []
    read = pairs("test", 20.0, lambda a, b, events, k: taken.append((a, b, events)))
    assert read.frames == n == read.usable + sum(read.refused.values())
    assert read.pairs == len(taken)
    return taken, Events.concatenate([i.events for i in made if isinstance(i, EventPacket)])


@pytest.mark.parametrize(
    ("unexposed", "firsts"), [((), range(FRAMES - 1)), ((0, 3), (1, 4, 5, 6)), ((2, 4, 6), (0,))]
)
def test_a_pair_comes_with_all_events_from_one_to_the_other(
    monkeypatch: pytest.MonkeyPatch, unexposed: tuple[int, ...], firsts: tuple[int, ...]
) -> None:
    taken, events = run(monkeypatch, FRAMES, unexposed)
    assert [a.ordinal for a, _, _ in taken] == list(firsts)
    for a, b, given in taken:
        assert b.ordinal == a.ordinal + 1
        want = events.between(exposure_of(a.ordinal)[0], exposure_of(b.ordinal)[1])
        np.testing.assert_array_equal(given.t, want.t)
        np.testing.assert_array_equal(given.x, want.x)


@pytest.mark.parametrize(
    "unexposed", [tuple(range(1, 240, 2)), tuple(range(230)), tuple(range(1, 239))],
    ids=["every second", "at the beginning", "in the middle"],
)  # fmt: skip
def test_frames_without_exposures_do_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch, most_held: list[int], unexposed: tuple[int, ...]
) -> None:
    n = 240
    _, events = run(monkeypatch, n, unexposed)
    rate = len(events) / (n * PERIOD_US)
    assert most_held[0] < rate * (KEPT_US + 4 * PERIOD_US + EXPOSURE_US)
    assert most_held[0] < 0.6 * len(events)


def test_a_time_axis_that_begins_anew_leaves_nothing_of_the_old_one() -> None:
    kept = Kept()
    for begin in (9_000_000, 1_000_000):
        t = np.arange(begin, begin + 50, dtype=np.int64)
        kept.add(Events(t, np.zeros(50, np.uint16), np.zeros(50, np.uint16), np.ones(50, np.bool_), 4, 4))
    assert len(kept.between(0, 1 << 62)) == 50
    kept.since(2_000_000)
    assert len(kept.between(0, 1 << 62)) == 0
