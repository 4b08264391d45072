"""How many cores a live network gets."""

from __future__ import annotations

import os

import pytest

from inference.worker import most_cores


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (3, 2), (8, 7), (64, 8)])
def test_all_but_one_and_two_of_two(cores: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert most_cores() == threads
