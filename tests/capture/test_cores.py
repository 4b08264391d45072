"""Cores are those that this process may use."""

from __future__ import annotations

import os

import pytest

from capture.cores import usable_cores
from training.synthesis import making


def test_a_process_that_is_held_to_one_core_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_cores() == 1
    assert making.usable_cores is usable_cores


def test_a_system_that_does_not_tell_has_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
