"""Networks by name."""

from __future__ import annotations

import pytest
import torch

from capture.errors import UsageError
from inference import models
from inference.device import choose_device, choose_dtype
from tests.inference.moving_scene import rig_for

RIG = rig_for((8, 8))


def test_the_choices_can_be_made() -> None:
    assert {"edi", "none"} <= set(models.names())
    assert [c.name for c in models.choices()] == models.names()
    for choice in models.choices():
        assert choice.usable == (choice.reason == "")
    for name in ("edi", "none"):
        assert models.create(name, RIG, device="cpu").name == name


def test_an_unknown_network_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown network 'edy'.*edi, none"):
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
