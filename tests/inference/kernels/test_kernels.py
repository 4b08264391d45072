"""Our own kernels: right in Triton's interpreter and on a GPU, and left alone where they cannot serve."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inference.networks import build, kernels
from tests.inference.kernels.checks import CASES

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.timeout(600)
def test_the_interpreter_finds_every_kernel_right() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.inference.kernels.checks"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{name} holds" in done.stdout for name in CASES if "bfloat16" not in name)


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_finds_every_kernel_right(name: str) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    if not kernels.usable(device):
        pytest.skip(f"no kernels here: {kernels.hindrance(device)}")
    CASES[name]("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_kernels_are_recorded_in_graphs(dtype: torch.dtype) -> None:
    from inference.restorers.compiling import Graphed, on_cuda
    from inference.restorers.precision import narrowed

    device = torch.device("cuda")
    torch.manual_seed(0)
    net = build("gem").eval().requires_grad_(False).to(device)
    graphed = Graphed(net, on_cuda)
    with torch.inference_mode(), narrowed(device, dtype):
        for _ in range(3):
            events, image = torch.rand(1, 96, 16, 24, device=device), torch.rand(1, 3, 64, 96, device=device)
            for one, other in zip(net(events, image), graphed(events, image), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_a_cpu_has_none_and_does_not_load_triton() -> None:
    """As in a live run: a network is called."""
    code = (
        "import sys, torch\n"
        "from inference.networks import build\n"
        "with torch.inference_mode():\n"
        "    build('gem')(torch.zeros(1, 96, 16, 16), torch.zeros(1, 3, 16, 16))\n"
        "assert not [m for m in sys.modules if m.startswith('inference.networks.kernels.')]\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.fixture
def fresh() -> None:
    kernels.usable.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_why_not_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.delenv("HALFMIRROR_TRITON", raising=False)
    gpu = torch.device("cuda", 7)
    with caplog.at_level(logging.INFO):
        assert [kernels.usable(gpu) for _ in range(3)] == [False] * 3
    assert caplog.messages == ["no Triton kernels on cuda:7: its compute capability is 7.5, below 8.0"]
    kernels.usable.cache_clear()


@pytest.mark.parametrize(
    ("device", "variable", "hip", "why"),
    [
        ("cpu", None, None, "it is no CUDA device"),
        ("cuda:7", "0", None, "HALFMIRROR_TRITON is 0"),
        ("cuda:7", None, "6.2", "its PyTorch is for ROCm"),
        ("cuda:7", "1", None, "OSError: no compiler"),
    ],
)
def test_what_hinders(
    device: str, variable: str | None, hip: str | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("no compiler")

    probe = type(sys)("inference.networks.kernels.probe")
    probe.works = lambda _: fail()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, probe.__name__, probe)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.delenv("HALFMIRROR_TRITON", raising=False)
    if variable is not None:
        monkeypatch.setenv("HALFMIRROR_TRITON", variable)
    assert kernels.hindrance(torch.device(device)) == why


def test_autocast_is_seen_where_it_is_on() -> None:
    x = torch.zeros(1)
    assert kernels.autocast_type(x) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert kernels.autocast_type(x) == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        assert kernels.autocast_type(x) is None
