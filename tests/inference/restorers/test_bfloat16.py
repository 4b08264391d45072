"""Networks in bfloat16 on CPUs that have instructions for it: which do, and that pictures stay the same.

Whether *this* CPU has them decides about speed alone: PyTorch gives the same without them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from inference import device, models
from inference.restorers import precision
from inference.restorers.glint import GlintRestorer
from tests.inference.restorers.rigs import noise_exposure, one_grid, splitter

TOLD = "_is_avx512_bf16_supported"


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """What the machine has is asked once in a process; here before and after."""
    device.multiplies_bfloat16.cache_clear()
    yield
    device.multiplies_bfloat16.cache_clear()


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU with the instructions."""
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)


@pytest.mark.parametrize(
    ("limit", "has", "want"),
    [
        ("", True, True), ("", False, False), ("ALL", True, True), ("default", True, True),
        ("AVX512_CORE_BF16", True, True), ("avx512_core_amx", True, True), ("AVX10_1_512", True, True),
        ("AVX512_CORE_BF16", False, False), ("AVX512_CORE_VNNI", True, False), ("AVX512_CORE", True, False),
        ("AVX2", True, False), ("SSE41", True, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_instructions_count_where_pytorch_uses_them(
    variable: str, limit: str, has: bool, want: bool, monkeypatch: pytest.MonkeyPatch, asked_anew: None
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit:
        monkeypatch.setenv(variable, limit)
    monkeypatch.setattr(torch.cpu, TOLD, lambda: has)
    assert device.multiplies_bfloat16() is want


def test_a_pytorch_that_does_not_tell_has_none(monkeypatch: pytest.MonkeyPatch, asked_anew: None) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delattr(torch.cpu, TOLD)
    assert device.multiplies_bfloat16() is False


def test_this_pytorch_tells() -> None:
    """Were the name gone, all CPUs would fall back to float32 unnoticed."""
    assert isinstance(getattr(torch.cpu, TOLD)(), bool)


def test_on_such_a_cpu_no_product_goes_by_float32(able: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "WideSums", _refused)
    cpu = torch.device("cpu")
    with torch.inference_mode(), precision.narrowed(cpu, torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with pytest.raises(AssertionError, match="emulated"), precision.narrowed(cpu, torch.float16):
        pass


def _refused() -> Any:
    raise AssertionError("emulated")


@pytest.mark.parametrize("name", ["glint", "efnet", "gem", "s-sdm-ldn", "stra", "sc-net"])
@pytest.mark.parametrize("coarse", [False, True], ids=["one grid", "coarse events"])
def test_pictures_stay_what_they_are(name: str, coarse: bool, able: None) -> None:
    rig = splitter() if coarse else one_grid(64, 48)
    a = noise_exposure(rig)
    options = {} if name == "glint" else {"random_weights": True}
    shown = []
    for dtype in ("float32", "auto"):
        torch.manual_seed(0)
        restorer = models.create(name, rig, {**options, "dtype": dtype}, "cpu")
        assert restorer.dtype == (torch.float32 if dtype == "float32" else torch.bfloat16)  # type: ignore[attr-defined]
        found = restorer.restore([a], [0.5])
        assert not any("overflow" in f or "NaN" in f for f in found.flags)
        shown.append(np.stack(found.images).astype(np.int16))
    error = shown[1] - shown[0]
    # The eight bits of bfloat16, through a whole network: some of the last codes, never a shift.
    assert np.sqrt((error**2).mean()) < 1.0
    assert abs(error.mean()) < 0.1
    assert np.abs(error).max() <= 8
    assert name != "glint" or (error != 0).any()


def test_glint_goes_its_own_way_on_a_cpu_in_bfloat16_too(able: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = one_grid(64, 48)
    restorer = GlintRestorer(rig, {}, "cpu")
    monkeypatch.setattr(restorer, "_infer_whole", _refused)
    assert restorer.runs_on == "CPU, bfloat16"
    assert restorer.restore([noise_exposure(rig)], [0.5]).images[0].dtype == np.uint8


def test_a_process_with_such_a_cpu_runs_in_it() -> None:
    """In a process without what these tests set for themselves."""
    if not getattr(torch.cpu, TOLD)():
        pytest.skip("this CPU has no instructions for bfloat16")
    text = (
        "from inference.restorers.glint import GlintRestorer as G; from tests.inference.restorers.rigs import "
        "one_grid; print(G(one_grid(64, 48), {}, 'cpu').runs_on)"
    )
    clean = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    done = subprocess.run([sys.executable, "-c", text], env=clean, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "CPU, bfloat16", done.stderr
