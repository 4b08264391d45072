"""Adapting finds out which tone curve the frames follow, and the weights say so to whoever runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from app.cli.program import execute
from inference import store
from inference.restorers.glint import GlintRestorer
from tests.training.test_adapt import RIG, SIZE, collected, exposures
from training.adapt import tones, tune
from training.adapt.camera import Camera
from training.adapt.pairs import Collector, kind_of
from training.adapt.run import adapt, start
from training.adapt.tones import Choice, Samples, chosen, samples_for, told_by


def camera_of(power: float) -> Camera:
    return Camera(0.3, power, 0.3 * power, 0.3 * power, 5000, 0.5)


@pytest.mark.parametrize(
    ("power", "tone"), [(1.2, "linear"), (0.9, "linear"), (0.7, ""), (0.65, ""), (0.5, "srgb"), (0.3, "srgb")]
)
def test_the_power_tells_the_curve_where_it_is_clear(power: float, tone: str) -> None:
    assert told_by(camera_of(power)) == tone


@pytest.mark.parametrize(
    ("power", "other", "expected"),
    [(1.1, 0.09, True), (1.1, 0.11, False), (0.45, 0.09, False), (0.7, 0.09, False)],
)
def test_power_and_neighbours_both_have_to_speak_for_it(
    power: float, other: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Collector] = []
    samples = samples_for("glint", RIG, {}, kind_of("glint"), asked.append, SIZE)
    assert samples.tone == "linear"  # the rig says sRGB
    monkeypatch.setattr(
        tones, "judged", lambda _n, _k, held, _c: np.array([0.1 if held is samples.own.held else other])
    )
    choice = chosen(torch.nn.Identity(), samples, camera_of(power))
    assert choice.samples is (asked[-1] if expected else samples.own)
    assert (choice.samples is samples.own) is not expected
    assert (choice.tone, choice.before) == ("linear" if expected else "", 0.1)
    # The recordings are read again only where the power asks for it.
    assert len(asked) == (2 if power > 1 else 1)


def test_both_ways_see_the_same_exposures() -> None:
    def collect(collector: Collector) -> None:
        for k in range(8):
            collector.add(exposures()[k], exposures()[k + 1], exposures()[k].exposure_events(), k)

    samples = samples_for("glint", RIG, {"contrast": 0.2}, kind_of("glint"), collect, SIZE)
    assert samples.collect_other is not None
    for own, other in zip(samples.own.train, samples.collect_other().train, strict=True):
        assert torch.equal(own.before.frame, other.before.frame)
        assert torch.equal(own.counts, other.counts)
        assert not torch.equal(own.before.inputs[2], other.before.inputs[2])
        assert own.before.told is not None
        assert other.before.told is not None
        assert (own.before.told[1], other.before.told[1]) == (pytest.approx(1 / 2.2), 1.0)


def test_others_are_not_told_a_curve() -> None:
    assert samples_for("gem", RIG, {}, kind_of("gem"), lambda _c: None).collect_other is None


def test_the_weights_carry_the_curve_to_the_live_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = collected("glint", {}), collected("glint", {"camera_tone": "linear"})
    choice = Choice(other, "linear", 0.1)
    monkeypatch.setattr("training.adapt.run.chosen", lambda *_: choice)
    settings = tune.Settings(steps=0)
    about = {"recordings": ["kitchen", "street"], "samples_of": [12, 0]}
    done = adapt(start("glint", None), Samples(own, lambda: other, "linear"), settings, tmp_path, about, "cpu")
    assert (done.changed, done.tone) == (True, "linear")
    assert json.loads((tmp_path / "adapt.json").read_text())["camera_tone"] == "linear"

    assert GlintRestorer(RIG, device="cpu").rig.image.tone == "srgb"
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
    card, _ = store.add("glint", done.weights)
    assert card.camera_tone == "linear"
    assert "adapted to kitchen (" in card.trained_on
    assert execute(["models", "info", "glint"]) == 0
    assert "taken as linear" in capsys.readouterr().out
    live = GlintRestorer(RIG, device="cpu")
    live.restore([exposures()[3]], [0.5])
    assert live.told[1] == 1.0
    # Adapted once more, they are fed as they are live.
    assert start("glint", None).options == {
        "camera_tone": "linear", "representation": card.representation,
    }  # fmt: skip
    live.set({"camera_tone": "srgb"})
    live.restore([exposures()[4]], [0.5])
    assert live.told[1] == pytest.approx(1 / 2.2)
