"""Which device and number type a restorer runs on."""

from __future__ import annotations

import torch

from capture.errors import UsageError

DTYPES: dict[str, torch.dtype] = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def choose_device(name: str = "auto") -> torch.device:
    """The device of this name; `auto` is CUDA where there is one, else the CPU.

    Raises:
        UsageError: not a device name, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as e:
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
    try:
        return DTYPES[name]
    except (KeyError, TypeError) as e:
        raise UsageError(f"dtype {name!r} is not known; give one of {', '.join(DTYPES)}") from e
