"""Options that all restorers with a network share.

dtype: "auto" (default), "float32", "float16", "bfloat16": the number type of the network. "auto" is on a GPU
    the type of which the network's card says that it costs next to nothing; on a CPU that has instructions for
    bfloat16 that one, where the card says so of it, and float32 on every other CPU. The narrow types run there
    too, slower and as a GPU would compute them: to see what they cost. Measured differences are in the cards
    (`halfmirror models info NAME`).
compile: "auto" (default), False, True (`torch.compile`), "graphs" (CUDA graphs, on a GPU), "both". The first
    picture of a size waits for it; `prepare` makes it. "auto" is, on an NVIDIA GPU, one graph for the whole way
    from events to picture where the network has one (`recorded`), else and elsewhere False.
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

from capture.errors import UsageError
from capture.validation import did_you_mean

SHARED = ("dtype", "compile", "padding", "tone", "batch", "random_weights")

_CHOICES: dict[str, tuple[Any, ...]] = {
    "dtype": ("auto", "float32", "float16", "bfloat16"),
    "compile": ("auto", False, True, "graphs", "both"),
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
            near = did_you_mean(key, known)
            raise UsageError(f"{network}: unknown option {key!r}; {near}known: {', '.join(known)}")
        if key in _CHOICES:
            one_of(network, key, value, _CHOICES[key])
        elif key == "grid":
            one_of(network, key, value, tuple(dict.fromkeys(("auto", *grids))))
        elif key == "batch":
            whole_number(network, key, value, 1, 64)
