"""The matcher and the acquisition by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from sync.acquisition import Evidence, Stamp, acquire
from sync.edges import MAX_EDGES, EdgeLine
from sync.matching import TriggerMatcher

PERIOD, LENGTH = 16_667, 6_000


def stamps(starts: list[int], lengths: list[int], offset_us: int = 40_000) -> list[Stamp]:
    return [
        Stamp(k, (a + offset_us) * 1000, (a + n + offset_us) * 1000, k)
        for k, (a, n) in enumerate(zip(starts, lengths, strict=True))
    ]


def edges_of(starts: list[int], lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(starts), np.array(starts) + np.array(lengths)


def lengths_of(n: int, seed: int = 0) -> list[int]:
    return [int(v) for v in np.random.default_rng(seed).integers(4_000, 9_000, n)]


def test_an_alternating_pattern_leaves_every_second_shift_open() -> None:
    # Exposure bracketing: long, short, long, short. Shifts by two fit as well; nothing may be decided.
    starts = [PERIOD * k for k in range(1, 25)]
    lengths = [4_000, 9_000] * 12
    verdict = acquire(stamps(starts, lengths)[4:20], *edges_of(starts, lengths), Evidence((0, 500_000)))
    assert not verdict.decided
    assert "open" in verdict.why
    lengths[11] = 7_000
    verdict = acquire(stamps(starts, lengths)[4:20], *edges_of(starts, lengths), Evidence((0, 500_000)))
    assert verdict.decided
    assert verdict.how == "pattern"
    assert verdict.pairs[0] == ((starts[4] + 40_000) * 1000, starts[4])


@pytest.mark.parametrize("shift", [-3, -1, 0, 1, 3])
def test_frames_that_begin_before_or_after_the_edges(shift: int) -> None:
    starts, lengths = [PERIOD * k for k in range(1, 31)], lengths_of(30)
    own = slice(max(0, shift), 30 + min(0, shift))
    s, e = edges_of(starts[own], lengths[own])
    frames = stamps(starts, lengths)[max(0, -shift) : 30 - max(0, shift)]
    verdict = acquire(frames, s, e, Evidence((int(s[0]) - 10, int(e[-1]) + 1_000)))
    assert verdict.decided
    truth = {f.start_ns: f.start_ns // 1000 - 40_000 for f in frames}
    assert all(truth[d] == t for d, t in verdict.pairs)


def test_edges_of_another_device_are_not_taken() -> None:
    rng = np.random.default_rng(3)
    starts, lengths = [PERIOD * k for k in range(1, 31)], lengths_of(30)
    alien = np.sort(rng.integers(0, 500_000, 30))
    verdict = acquire(
        stamps(starts, lengths), alien, alien + rng.integers(100, 3_000, 30), Evidence((0, 500_000))
    )
    assert not verdict.decided


@pytest.mark.parametrize("constant", [False, True])
def test_a_wrong_polarity_is_named(constant: bool) -> None:
    starts = [PERIOD * k for k in range(1, 31)]
    lengths = [LENGTH] * 30 if constant else lengths_of(30)
    s, e = edges_of(starts, lengths)
    verdict = acquire(stamps(starts, lengths), e, s, Evidence((0, 520_000)))
    assert not verdict.decided
    assert "other polarity" in verdict.why
    assert "active_high" in verdict.why


@pytest.mark.parametrize("frames", [1, 2])
def test_two_frames_are_too_few_to_name_a_polarity(frames: int) -> None:
    """Pulses of another device, as long as the pauses between the exposures, do the same."""
    starts, lengths = [PERIOD * k for k in range(1, frames + 1)], [LENGTH] * frames
    s, e = edges_of(starts, lengths)
    verdict = acquire(stamps(starts, lengths), e, s, Evidence((0, PERIOD * (frames + 1)), final=True))
    assert not verdict.decided
    assert "are they of the frame camera's exposure signal?" in verdict.why


def test_edges_at_the_frames_rate_that_fit_neither_way_are_no_polarity() -> None:
    starts, lengths = [PERIOD * k for k in range(1, 31)], lengths_of(30)
    s, _ = edges_of(starts, lengths)
    verdict = acquire(stamps(starts, lengths), s, s + 1_000, Evidence((0, 520_000)))
    assert not verdict.decided
    assert "are they of the frame camera's exposure signal?" in verdict.why


def test_pulses_longer_than_the_exposure_by_a_constant() -> None:
    starts, lengths = [PERIOD * k for k in range(1, 31)], lengths_of(30)
    s, e = edges_of(starts, lengths)
    verdict = acquire(stamps(starts, lengths), s, e + 60, Evidence((0, 520_000)))
    assert verdict.decided
    assert verdict.end_bias_us == pytest.approx(60, abs=3)


def fed(m: TriggerMatcher, starts: list[int], lengths: list[int], skip: tuple[int, ...] = ()) -> None:
    for k, (a, n) in enumerate(zip(starts, lengths, strict=True)):
        if k not in skip:
            m.add_edges(np.array([a, a + n]), np.array([True, False]))
    m.covered(0, starts[-1] + 2 * PERIOD)


def driven(m: TriggerMatcher, frames: list[Stamp]) -> dict[int, int]:
    """Starts by key, asked for as each frame comes."""
    got: dict[int, int] = {}
    waiting: list[int] = []
    for f in frames:
        m.add_frame(f)
        waiting.append(f.key)
        while waiting and (found := m.match(waiting[0])) is not None:
            got[waiting.pop(0)] = found.start_us
    for key in waiting:
        if (found := m.match(key, final=True)) is not None:
            got[key] = found.start_us
        m.give_up(key)
    return got


def test_frames_are_answered_in_order_only() -> None:
    m = TriggerMatcher()
    for f in stamps([PERIOD, 2 * PERIOD], [LENGTH, LENGTH]):
        m.add_frame(f)
    with pytest.raises(ValueError, match="not the next"):
        m.match(1)


def test_one_noise_edge_at_the_predicted_place_does_not_hide_a_jump() -> None:
    starts, lengths = [PERIOD * k for k in range(1, 31)], lengths_of(30)
    m = TriggerMatcher()
    fed(m, starts, lengths)
    frames = stamps(starts, lengths)
    jumped = [Stamp(f.key, f.start_ns + 2_000_000, f.end_ns + 2_000_000, f.sequence) for f in frames[20:]]
    # Where the old clock now looks for frame 20's start, noise happens to stand.
    m.add_edges(np.array([starts[20] + 2_000]), np.array([True]))
    got = driven(m, frames[:20] + jumped)
    assert all(got[k] == starts[k] for k in got)
    assert len(got) > 20


def test_arrivals_before_the_end_of_the_exposure_call_a_match_into_question() -> None:
    starts, lengths = [PERIOD * k for k in range(1, 41)], lengths_of(40)
    m = TriggerMatcher()
    fed(m, starts, lengths)
    frames = [
        Stamp(f.key, f.start_ns, f.end_ns, f.sequence, a + n + (-9_000 if f.key >= 30 else 3_000))
        for f, a, n in zip(stamps(starts, lengths), starts, lengths, strict=True)
    ]
    driven(m, frames)
    assert m.resets == {"frames arrived before their exposures ended": 1}


def test_a_noisy_input_cannot_fill_the_memory() -> None:
    line = EdgeLine()
    for t in range(MAX_EDGES + 500):
        line.add(t)
    assert len(line) == MAX_EDGES
    assert line.unmatched == 500
    assert line.nearest(0, 100) is None
    assert line.nearest(700.4, 1) == 700
    line.use(700)
    assert line.nearest(700.4, 0.5) is None
    line.discard_before(1_000)
    assert line.unmatched == 500 + 499


def test_too_little_is_said_in_words() -> None:
    none = np.empty(0, np.int64)
    assert "no edges" in acquire(stamps([1], [5]), none, none, Evidence((0, 1))).why
    s, e = edges_of([100], [5_000])
    assert "from 3 frames or more, 1 came" in acquire(stamps([100], [5_000]), s, e, Evidence((0, 9_000))).why
