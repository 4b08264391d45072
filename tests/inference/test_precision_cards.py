"""Measured costs of half precision: every type a network may run in has one, and no default costs anything."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from app.cli import main
from inference.cards import Precision, card
from inference.restorers.neural import NeuralRestorer

ALLOWED_DB = 0.02  # lost to float32 on the simulated sequences
RESTORERS = {
    "glint": ("glint", "GlintRestorer"),
    "glint-large": ("glint", "GlintLargeRestorer"),
    "efnet": ("efnet", "EfnetRestorer"),
    "gem": ("gem", "GemRestorer"),
    "cdvd-tsp": ("cdvd_tsp", "CdvdTspRestorer"),
    "sc-net": ("sc_net", "ScNetRestorer"),
    "stra": ("sc_net", "StraRestorer"),
    "s-sdm-ldn": ("s_sdm", "LdnRestorer"),
}


def allowed(network: str) -> tuple[str, ...]:
    module, kind = RESTORERS[network]
    restorer = getattr(import_module(f"inference.restorers.{module}"), kind)
    assert issubclass(restorer, NeuralRestorer)
    return restorer.autocast


@pytest.mark.parametrize("network", RESTORERS)
def test_every_type_a_network_may_run_in_is_measured(network: str) -> None:
    measured = card(network).precision
    assert {p.dtype for p in measured} == set(allowed(network)) - {"float32"}
    for p in measured:
        assert p.device
        assert p.data
        # Without weights there is no truth to lose.
        assert (p.loss_db is None) == ("random" in p.weights)
        assert 0 < p.difference <= p.largest


@pytest.mark.parametrize("network", RESTORERS)
def test_the_default_on_a_gpu_costs_next_to_nothing(network: str) -> None:
    default = allowed(network)[0]
    costs = [p.cost_db for p in card(network).precision if p.dtype == default]
    assert default == "float32" or costs
    assert all(c <= ALLOWED_DB for c in costs)


def test_what_a_picture_of_35_db_would_lose() -> None:
    def made(difference: float, loss: float | None = None) -> Precision:
        return Precision(
            dtype="float16", device="CPU", weights="w", data="d", loss_db=loss, difference=difference, largest=9
        )

    # An error as large as the one that is there already doubles its square: 3.01 dB.
    assert made(255 / 10 ** (35 / 20)).cost_db == pytest.approx(3.0103, abs=1e-3)
    assert made(0).cost_db == 0
    assert made(5, loss=0.25).cost_db == 0.25


def test_models_info_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path))
    assert main.run(["models", "info", "efnet"]) == 0
    shown = capsys.readouterr().out
    for word in (
        "float16",
        "bfloat16",
        "differs from float32 by",
        "random weights",
        "where a picture has 35 dB",
    ):
        assert word in shown
