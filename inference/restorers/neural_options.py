"""Options that all restorers with a network share.

dtype: "auto" (default), "float32", "float16", "bfloat16": the number type of the network. On the CPU float32;
    on a GPU what the network is known to bear, and "auto" takes the first of these. Known from autocast on a
    CPU at 346×260: LDN with published weights changes by 0.001 dB in float16 and 0.011 dB in bfloat16; GEM with
    random ones by 0.10 and 0.27 codes (rms), EFNet by 0.17 in bfloat16, while float16 gives it NaN.
compile: False (default), True (`torch.compile`), "graphs" (with CUDA graphs, on a GPU).
padding: "reflect" (default) or "replicate": how a picture goes on where its size does not fit.
tone: "stored" (default): pictures go in with the values they have. "coded": those of a camera that is linear
    are gamma-coded for the network and decoded again. Most networks were trained on coded pictures; yet on
    frames of a DAVIS, which are linear, people run them as stored, and LDN, the only one whose weights
    could be had, is 0.65 dB better that way (simulated `davis`).
batch: instants of one exposure that are restored together, 1…64; more take more memory.
random_weights: True: no weights are loaded; for benchmarks, and the picture says so. At creation only.
grid: "image" or "event", for networks that can run on either (see each).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from capture.errors import UsageError

SHARED = ("dtype", "compile", "padding", "tone", "batch", "random_weights")

_CHOICES: dict[str, tuple[Any, ...]] = {
    "dtype": ("auto", "float32", "float16", "bfloat16"),
    "compile": (False, True, "graphs"),
    "padding": ("reflect", "replicate"),
    "tone": ("coded", "stored"),
    "random_weights": (False, True),
}


def one_of(network: str, option: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        UsageError: names the choices.
    """
    # `1 == True`: the type must agree as well.
    if not any(type(value) is type(c) and value == c for c in choices):
        words = ", ".join(str(c).lower() if isinstance(c, bool) else str(c) for c in choices)
        raise UsageError(f"{network}: {option} {value!r}: give one of {words}")


def whole_number(network: str, option: str, value: Any, low: int, high: int) -> None:
    """Refuse what is not a whole number in `low … high`.

    Raises:
        UsageError: names the range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{network}: {option} {value!r}: give a whole number from {low} to {high}")


def check_options(network: str, options: Mapping[str, Any], known: Sequence[str], grids: Sequence[str]) -> None:
    """Refuse unknown options, and values of the shared ones that make no sense.

    Raises:
        UsageError: one line.
    """
    for key, value in options.items():
        if key not in known:
            raise UsageError(f"{network}: unknown option {key!r}; known: {', '.join(known)}")
        if key in _CHOICES:
            one_of(network, key, value, _CHOICES[key])
        elif key == "grid":
            one_of(network, key, value, ("auto", *grids))
        elif key == "batch":
            whole_number(network, key, value, 1, 64)


def choose_autocast(name: str, dtype: str, allowed: Sequence[str], device: torch.device) -> torch.dtype:
    """The number type for this network on this device; float32 means no autocast.

    Raises:
        UsageError: one that the network does not bear, or on the CPU.
    """
    if dtype == "auto":
        dtype = allowed[0] if allowed and device.type == "cuda" else "float32"
    if dtype != "float32" and device.type != "cuda":
        raise UsageError(f"{name}: dtype {dtype}: only a CUDA device runs it; use float32")
    if dtype not in ("float32", *allowed):
        bears = ", ".join(("float32", *allowed))
        raise UsageError(f"{name}: dtype {dtype} costs this network its accuracy; it bears {bears}")
    found: torch.dtype = getattr(torch, dtype)
    return found
