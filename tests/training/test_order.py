from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from capture.errors import UsageError
from training.data.loader import TimedLoader, WaitingTime
from training.data.order import Epochs, GlobalBatches, draws, generator_seed, share
from training.errors import TrainingError


def first(batches: GlobalBatches, n: int) -> list[list[int]]:
    return list(itertools.islice(batches, n))


def test_two_processes_see_what_one_with_twice_the_batch_sees() -> None:
    a, b = first(GlobalBatches(8, 2, 0, 2), 3), first(GlobalBatches(8, 2, 1, 2), 3)
    assert [x + y for x, y in zip(a, b, strict=True)] == first(GlobalBatches(8, 4), 3)


def test_draws_depend_on_seed_index_and_number_alone_and_are_even() -> None:
    some = draws(3, range(4000), 1)
    assert draws(3, [17, 4], 1).tolist() == [some[17], some[4]]
    assert len(set(some.tolist())) == 4000
    for other in (draws(4, range(4000), 1), draws(3, range(4000), 2)):
        assert np.mean((some ^ other) & np.uint64(1)) == pytest.approx(0.5, abs=0.03)
    for low, high in ((0, 3), (61, 64)):  # lowest and highest bits, in neighbours too
        eighths = (some >> np.uint64(low)) & np.uint64(7) if low == 0 else some >> np.uint64(low)
        assert np.bincount(eighths.astype(int), minlength=8) == pytest.approx(500, abs=90), high
        pairs = eighths[:-1] * np.uint64(8) + eighths[1:]
        assert np.bincount(pairs.astype(int), minlength=64).min() > 30


def test_epochs_visit_each_item_once_in_another_order_each_time() -> None:
    order = Epochs(7, seed=3)
    epochs = [[order.place(7 * e + i) for i in range(7)] for e in range(3)]
    assert all(sorted(e) == list(range(7)) for e in epochs)
    assert epochs[0] != epochs[1]
    assert [Epochs(7, seed=3).place(i) for i in (20, 3)] == [epochs[2][6], epochs[0][3]]


def test_seeds_depend_on_every_index() -> None:
    seeds = {generator_seed(s, i, r) for s in range(3) for i in range(3) for r in range(3)}
    assert len(seeds) == 27


@pytest.mark.parametrize(("length", "world"), [(7, 2), (1, 3), (8, 1)])
def test_validation_is_shared_out(length: int, world: int) -> None:
    shares = [share(length, 3, rank, world) for rank in range(world)]
    assert sorted(i for s in shares for batch in s for i in batch) == list(range(length))


class Squares:
    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == 50:
            raise UsageError("sample 50 is broken; remove it")
        return {"x": torch.tensor(index * index)}


class Batched(Squares):
    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        return {"x": torch.tensor([i * i for i in indices])}


@pytest.mark.parametrize("data", [Squares(), Batched()])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_batches_from_any_number_of_workers(data: Any, workers: int) -> None:
    waiting = WaitingTime()
    batches = TimedLoader(data, GlobalBatches(3, 2), workers=workers, waiting=waiting)
    got = [b["x"].tolist() for b in itertools.islice(batches, 4)]
    assert got == [[9, 16], [25, 36], [49, 64], [81, 100]]
    assert waiting.take() > 0
    assert waiting.take() == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_sample_stays_one_line(workers: int) -> None:
    with pytest.raises(TrainingError, match=r"^sample 50 is broken; remove it$"):
        list(itertools.islice(TimedLoader(Squares(), GlobalBatches(48, 2), workers=workers), 3))
