"""What a recurrent network hands on, and when not."""

from __future__ import annotations

import torch

from inference.restorers.recurrence import KEPT, Recurrence
from tests.inference.restorers.streams import exposures


def feature(n: int) -> torch.Tensor:
    return torch.full((1,), float(n))


def run(memory: Recurrence, ordinals: list[int], epoch: int = 0) -> list[float | None]:
    """The feature that each exposure gets; each leaves its ordinal."""
    out: list[float | None] = []
    for a in exposures(ordinals, epoch=epoch):
        given = memory.before(a)
        memory.after(a, given, feature(a.ordinal))
        out.append(None if given.feature is None else float(given.feature))
    return out


def test_each_step_gets_the_one_before() -> None:
    assert run(Recurrence(4), [0, 1, 2, 3]) == [None, 0, 1, 2]


def test_a_jump_within_reach_is_bridged_a_larger_one_is_not() -> None:
    memory = Recurrence(3)
    assert run(memory, [0, 3, 7, 8]) == [None, 0, None, 7]
    (far,) = exposures([12])
    assert memory.before(far) == (None, True, 4, False)


def test_a_new_epoch_and_reset_begin_anew() -> None:
    memory = Recurrence(4)
    run(memory, [5, 6])
    assert run(memory, [0, 1], epoch=1) == [None, 0]
    memory.reset()
    assert run(memory, [2, 3], epoch=1) == [None, 2]


def test_restored_again_gets_the_same_and_leaves_nothing() -> None:
    memory = Recurrence(4)
    given = exposures([0, 1, 2, 3])
    for a in given[:3]:
        memory.after(a, memory.before(a), feature(a.ordinal))
    for n in (1, 2, 0):
        again = memory.before(given[n])
        assert not again.step
        assert not again.forgotten
        assert again.feature == (None if n == 0 else feature(n - 1))
        memory.after(given[n], again, feature(99))
    assert memory.before(given[3]).feature == feature(2)


def test_what_was_long_ago_is_forgotten_and_told() -> None:
    memory = Recurrence(4)
    given = exposures(list(range(KEPT + 2)))
    for a in given:
        memory.after(a, memory.before(a), feature(a.ordinal))
    assert memory.before(given[0]).forgotten
    assert not memory.before(given[2]).forgotten
    assert memory.before(given[2]).feature == feature(1)


def test_a_feature_of_no_use_is_not_handed_on() -> None:
    memory = Recurrence(4)
    a, b = exposures([0, 1])
    memory.after(a, memory.before(a), None)
    assert memory.before(b) == (None, True, 0, False)
