"""AEDAT 2.0: whatever is damaged, and however long it is, the sound records keep their times."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.packets import Events
from recordings.formats import aedat2
from recordings.formats.aedat2_times import NO_TIME_US, Counted, count_on, count_over, first_sound
from recordings.open import open_recording
from tests.recordings.make_aedat import write_aedat2
from tests.recordings.reading import events_and_frames, same_events

SIZE = (346, 260)
KINDS = ("zeros", "ones", "one stamp", "noise", "another clock")


class Damage(NamedTuple):
    """Sound records first, then so many damaged ones."""

    behind: int
    length: int
    kind: str
    seed: int

    def stamps(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        wild = rng.integers(0, 2**32, self.length)
        ramp = int(wild[0]) + np.arange(self.length) * 7
        kinds = (
            np.zeros(self.length),
            np.full(self.length, 2**32 - 1),
            np.full(self.length, wild[0]),
            wild,
            ramp,
        )
        return kinds[KINDS.index(self.kind)].astype(np.int64) % 2**32


def damages(longest: int, kinds: tuple[str, ...] = KINDS) -> st.SearchStrategy[Damage]:
    return st.builds(
        Damage, st.integers(20, 600), st.integers(1, longest), st.sampled_from(kinds), st.integers(0, 2**32)
    )


def counted(stamps: np.ndarray, block: int, ahead: int) -> tuple[np.ndarray, int]:
    """Times of all, block by block as the source counts them, and how often the clock was set back."""
    s = stamps.astype(np.uint32)
    found = first_sound(s)
    first = int(s[0]) if found is None else found
    now, parts = Counted(first, first), []
    for a in range(0, len(s), block):
        behind = partial(np.copy, s[a + block : a + block + ahead])
        t, then = count_on(now, s[a : a + block], behind)
        assert count_over(now, s[a : a + block], behind) == then
        now = then
        parts.append(t)
    return np.concatenate(parts), now.set_back


@settings(max_examples=150)
@given(
    begin_us=st.one_of(st.integers(2_000_000, 60_000_000), st.integers(2_000_000, 2**32 - 3_000_000)),
    apart_us=st.integers(1, 1_500),
    some=st.lists(st.one_of(damages(600), damages(4_000, KINDS[:4])), min_size=1, max_size=4),
    at_first=st.sampled_from(["", *KINDS[:4]]),
    reset=st.one_of(st.none(), st.integers(0, 3)),
    block=st.integers(100, 3_000),
)
def test_damage_moves_nothing_that_is_sound_and_a_reset_moves_all_behind_it(
    begin_us: int, apart_us: int, some: list[Damage], at_first: str, reset: int | None, block: int
) -> None:
    pieces = [Damage(0, 30, at_first, 5), *some] if at_first else some
    sound = np.concatenate([*(np.repeat([True, False], d[:2]) for d in pieces), np.ones(40, np.bool_)])
    true = np.cumsum(np.random.default_rng(begin_us).integers(0, 2 * apart_us, len(sound)))
    if reset is None:
        true += begin_us
    else:
        at = sum(sum(d[:2]) for d in pieces[: len(pieces) - len(some) + reset % len(some)]) + 10
        true[at:] += 2_000_000 - true[at]  # quiet at first: what lies within a second is not told from it
        true[:at] += 100_000_000 + begin_us % 2**30
    stamps = true % 2**32
    stamps[~sound] = np.concatenate([d.stamps() for d in pieces])
    t, set_back = counted(stamps, block, 1_200)
    steps = np.diff(true[sound])
    steps[steps < -1_000_000] = 1
    assert np.array_equal(t[sound], stamps[sound][0] + np.concatenate([[0], np.cumsum(steps)]))
    assert set_back == (reset is not None)


@pytest.mark.parametrize("at", [0, 30_000, aedat2.BLOCK - 32, aedat2.BLOCK, 199_936])
@pytest.mark.parametrize(("kind", "length"), [("zeros", 64), ("one stamp", 2), ("noise", 64)])
def test_a_damaged_sector_costs_its_own_events(tmp_path: Path, at: int, kind: str, length: int) -> None:
    true = 30_000_000 + np.arange(200_000, dtype=np.int64) * 100
    damaged = true.copy()
    damaged[at : at + length] = Damage(0, length, kind, 1).stamps()
    n = np.arange(len(true))
    e = Events(damaged, (n % 346).astype(np.uint16), (n % 260).astype(np.uint16), n % 3 == 0, *SIZE)
    keep = (n < at) | (n >= at + length)
    with open_recording(write_aedat2(tmp_path / "a.aedat", e)) as r:
        got, _ = events_and_frames(r)
        assert r.info.problems == ()
        assert r.info.end_us == true[keep][-1]
        assert r.report.events_rejected_decreasing == length
    assert same_events(got, Events(true[keep], e.x[keep], e.y[keep], e.p[keep], *SIZE))


def test_every_second_stamp_may_be_damaged() -> None:
    true = 10_000_000 + np.arange(5_000) * 50
    stamps = true.copy()
    stamps[1::2] = np.random.default_rng(7).integers(100_000_000, 2**31, 2_500)
    t, set_back = counted(stamps, 1_000, 1_000)
    assert np.array_equal(t[::2], true[::2])
    assert (t[1::2] == NO_TIME_US).all()
    assert set_back == 0


def test_seconds_without_events_are_no_damage() -> None:
    dense = np.arange(50) * 100
    true = 5_000_000 + np.concatenate([np.arange(50) * 2_000_000, 110_000_000 + dense, 500_000_000 + dense])
    assert np.array_equal(counted(true, 30, 30)[0], true)
