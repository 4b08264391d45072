"""A rig, a stage and its results, for every test here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from inference import models
from inference.models import ModelChoice
from inference.outcomes import Result
from inference.restore_stage import RestoreStage
from sync.rig import Clock, EventEntry, ImageEntry, Rig
from tests.inference.stage.toys import H, Make, Slow, W


@pytest.fixture
def rig() -> Rig:
    return Rig(
        events=EventEntry(camera="toy", width=W, height=H),
        image=ImageEntry(camera="toy", width=W, height=H),
        clock=Clock(relation="same"),
    )


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> type[Slow]:
    Slow.gate, Slow.failures, Slow.calls = threading.Event(), 0, []
    monkeypatch.setattr(Slow, "error", Slow.error)
    monkeypatch.setitem(
        models._MODELS, "slow", (ModelChoice("slow", "toy", "none"), lambda rig, o, d: Slow(rig, o, d))
    )
    return Slow


@pytest.fixture
def results() -> list[Result]:
    return []


@pytest.fixture
def make(rig: Rig, results: list[Result]) -> Iterator[Make]:
    stages: list[RestoreStage] = []

    def build(network: str, **options: Any) -> RestoreStage:
        stage = RestoreStage(rig, network, results.append, live=False, **options)
        stage.start()
        stages.append(stage)
        return stage

    yield build
    Slow.gate.set()
    for s in stages:
        s.stop()
