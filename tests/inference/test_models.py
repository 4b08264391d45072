"""Networks by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from capture.errors import UsageError
from inference import models, networks, store
from inference.device import choose_device, choose_dtype
from inference.restorers.base import RANDOM_FLAG
from inference.restorers.passthrough import PassThrough
from tests.inference.moving_scene import rig_for

RIG = rig_for((8, 8))


def test_the_choices_can_be_made() -> None:
    assert {"edi", "none"} <= set(models.names())
    assert [c.name for c in models.choices()] == models.names()
    for choice in models.choices():
        assert choice.usable == (choice.reason == "")
    for name in ("edi", "none"):
        assert models.create(name, RIG, device="cpu").name == name


@pytest.fixture
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["efnet", "gem", "sc-net", "stra", "cdvd-tsp", "s-sdm-ldn"])
def test_without_weights_a_network_is_greyed(name: str, models_folder: Path) -> None:
    found = {c.name: c for c in models.choices()}[name]
    assert not found.usable
    assert f"no weights; add them: halfmirror models add {name} FILE; the authors publish" in found.reason
    with pytest.raises(UsageError, match=f"halfmirror models add {name} FILE"):
        models.create(name, RIG, device="cpu")


def test_a_registered_restorer_with_weights_is_usable(
    models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = models._MODELS["s-sdm-ldn"][0]
    monkeypatch.setitem(models._MODELS, "s-sdm-ldn", (row, None))
    torch.save(networks.build("s-sdm-ldn").state_dict(), models_folder / "w.pth")
    store.add("s-sdm-ldn", models_folder / "w.pth")

    def choice() -> models.ModelChoice:
        return {c.name: c for c in models.choices()}["s-sdm-ldn"]

    assert choice().reason == "this version has no restorer for s-sdm-ldn yet"
    with pytest.raises(UsageError, match="no restorer"):
        models.create("s-sdm-ldn", RIG)
    models.register("s-sdm-ldn", lambda rig, options, device: PassThrough(rig, options, device))
    assert (choice().usable, choice().reason) == (True, "")
    assert isinstance(models.create("s-sdm-ldn", RIG), PassThrough)
    store.path_of("s-sdm-ldn").unlink()
    assert not choice().usable
    with pytest.raises(UsageError, match="unknown network 'glimt'"):
        models.register("glimt", lambda rig, options, device: PassThrough(rig, options, device))


def test_with_random_weights_every_network_can_be_chosen_and_says_what_it_is(models_folder: Path) -> None:
    rows = {c.name: c for c in models.choices(random_weights=True)}
    assert all(c.usable for c in rows.values())
    for name in ("edi", "none"):
        assert "random" not in rows[name].weights
        assert models.create(name, RIG, {"random_weights": True}, "cpu").name == name
    for name in ("efnet", "gem", "sc-net", "stra", "cdvd-tsp", "s-sdm-ldn"):
        assert rows[name].weights == RANDOM_FLAG
    bare = {c.name: c for c in models.choices(random_weights=True, events=False)}
    assert [n for n, c in bare.items() if c.usable] == ["none", "cdvd-tsp"]
    assert bare["gem"].reason == "needs events, and this source has frames only"


def test_glint_large_stands_beside_glint_in_the_chooser(models_folder: Path) -> None:
    rows = models.choices()
    at = [c.name for c in rows].index("glint-large")
    assert rows[at - 1].name == "glint"
    assert (rows[at].usable, rows[at].any_latent, rows[at].events) == (True, True, True)
    assert "GPU" in rows[at].takes
    assert rows[at].weights == rows[at - 1].weights == "shipped (ours)"


def test_an_unknown_network_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown network 'edy'.*edi, glint, glint-large, none"):
        models.create("edy", RIG)


@pytest.mark.parametrize("name", ["edi", "none"])
def test_an_unknown_option_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: unknown option 'colour'"):
        models.create(name, RIG, {"colour": 1}, "cpu")


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")
    for name in ("gpu", "", "cpu:x", "meta"):
        with pytest.raises(UsageError, match="device"):
            choose_device(name)
    with pytest.raises(UsageError, match="use cpu"):
        choose_device("cuda:99")
    with pytest.raises(UsageError, match="device"):
        models.create("edi", RIG, device="abacus")


def test_numba_only_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.restorers.edi.surely_cpu", lambda name: False)
    monkeypatch.setattr("inference.restorers.edi.choose_device", lambda name: torch.device("meta"))
    with pytest.raises(UsageError, match="runs on the CPU"):
        models.create("edi", RIG, {"implementation": "numba"}, "meta")


def test_dtypes() -> None:
    assert choose_dtype("float32") is torch.float32
    with pytest.raises(UsageError, match="float64, float32"):
        choose_dtype("int8")
