"""Which device and number type a restorer runs on.

Importing torch takes one to two seconds of a program's start; what can be answered without it, is.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

from capture.errors import UsageError

_ISA_WITH_BFLOAT16 = ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX10")
DTYPES = ("float64", "float32", "float16", "bfloat16")


def surely_cpu(name: str) -> bool:
    """This device can only be the CPU, as far as can be told without torch.

    True for "cpu", and for "auto" on a Linux machine without an NVIDIA device file (`/dev/dxg` is the one of
    Windows Subsystem for Linux).
    """
    if name == "cpu":
        return True
    if name != "auto" or sys.platform != "linux" or "torch" in sys.modules:
        return False
    return not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists()


def choose_device(name: str = "auto") -> torch.device:
    """The device of this name; `auto` is CUDA where there is one, else the CPU.

    Raises:
        UsageError: not a device name, or this machine has no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as e:
        raise UsageError(f"device {name!r} is not one; give auto, cpu, cuda, cuda:1 or mps") from e
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise UsageError(
            f"device {name!r}: this machine shows {torch.cuda.device_count()} CUDA devices; use cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device 'mps' is not available on this machine; use cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"device {name!r} is not supported; give auto, cpu, cuda, cuda:1 or mps")
    return device


def choose_dtype(name: str) -> torch.dtype:
    """The dtype of this name.

    Raises:
        UsageError: unknown name; lists the known ones.
    """
    import torch

    if name not in DTYPES:
        raise UsageError(f"dtype {name!r} is not known; give one of {', '.join(DTYPES)}")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


@cache
def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16 numbers, and PyTorch uses them: convolutions
    then take half the time of float32.

    They are AVX512-BF16's (AMD from Zen 4, Intel's Xeons from Cooper Lake and Sapphire Rapids), which every CPU
    with AMX has too. Without them PyTorch's bfloat16 is three to eight times slower than float32. PyTorch's
    library leaves them alone where ONEDNN_MAX_CPU_ISA, read once, names what came before them.
    """
    import torch

    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    if limit not in ("", "DEFAULT", "ALL") and not limit.startswith(_ISA_WITH_BFLOAT16):
        return False
    # By its name PyTorch's own affair: where it is gone, float32.
    told = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    able = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(able and told is not None and told())


def _tf32() -> object:
    import torch

    cudnn: Any = torch.backends.cudnn
    if not hasattr(cudnn, "conv"):  # before PyTorch 2.9
        return cudnn.allow_tf32
    # One by one: allow_tf32 cannot be read where these differ, as a program may have set them.
    return cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision


def _set_tf32(value: Any) -> None:
    import torch

    cudnn: Any = torch.backends.cudnn
    if not hasattr(cudnn, "conv"):
        cudnn.allow_tf32 = value
        return
    if isinstance(value, bool):
        # allow_tf32 alone would leave it to `torch.backends.fp32_precision`, which may ask for TF32.
        value = ("tf32", "tf32") if value else ("ieee", "ieee")
    cudnn.allow_tf32 = "tf32" in value  # first: it sets the others
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = value


def _benchmark() -> object:
    import torch

    return torch.backends.cudnn.benchmark


def _set_benchmark(value: Any) -> None:
    import torch

    torch.backends.cudnn.benchmark = value


class _Switch:
    """One of cuDNN's switches, which are the process's, as those want it that are inside, in any thread.

    Args:
        read: how it stands.
        put: set it, to a truth value or to what `read` gave.
    """

    _lock = threading.Lock()

    def __init__(self, read: Callable[[], object], put: Callable[[Any], None]) -> None:
        self._read, self._put = read, put
        self._wants: list[bool] = []
        self._before: object = None

    @contextmanager
    def at(self, value: bool) -> Iterator[None]:
        """Inside, the switch is at `value`; where wishes differ, off."""
        with self._lock:
            if not self._wants:
                self._before = self._read()
            self._wants.append(value)
            self._put(all(self._wants))
        try:
            yield
        finally:
            with self._lock:
                self._wants.remove(value)
                self._put(all(self._wants) if self._wants else self._before)


_TF32, _TRIES = _Switch(_tf32, _set_tf32), _Switch(_benchmark, _set_benchmark)


def without_tf32() -> AbstractContextManager[None]:
    """Inside, a GPU's float32 convolutions do not round to the ten bits of TF32; all else of cuDNN stays.

    Not `torch.backends.cudnn.flags(allow_tf32=False)`: that sets *every* switch, and what it is not told to a
    default of its own, which for `enabled` is False. Convolutions then run without cuDNN: several times slower.
    """
    return _TF32.at(False)


def trying_kernels() -> AbstractContextManager[None]:
    """Inside, cuDNN tries its kernels on the first convolution of a kind, some seconds for a network, and takes
    the fastest. What it takes unasked can be several times as slow (float32, kernels of 5×5)."""
    return _TRIES.at(True)


def no_new_trials() -> AbstractContextManager[None]:
    """Inside, cuDNN does not begin to try kernels where it does not now, whatever another thread wants: a graph
    that is recorded could not bear it. Where it does, run what is recorded inside, once, before."""
    import torch

    return _TRIES.at(torch.backends.cudnn.benchmark)
