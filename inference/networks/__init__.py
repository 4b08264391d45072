"""Modules of the networks, one file each; those of published systems with the published entry names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from capture.errors import UsageError, first_line
from capture.validation import did_you_mean

if TYPE_CHECKING:
    from torch import nn

# name -> (module, class, options that are fixed by the name)
_NETWORKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "efnet": ("efnet", "EFNet", {}),
    "gem": ("gem", "GEM", {}),
    "sc-net": ("sc_net", "SCNet", {}),
    "stra": ("sc_net", "SCNet", {"spiking": "off"}),
    "cdvd-tsp": ("cdvd_tsp", "CDVDTSP", {}),
    "s-sdm-ldn": ("s_sdm_ldn", "LDN", {}),
    "s-sdm-bsn": ("s_sdm_bsn", "BSN", {}),
    "s-sdm-edsr": ("s_sdm_edsr", "EDSR", {}),
    "glint": ("glint", "Glint", {}),
    "glint-large": ("glint", "Glint", {}),
}
# name -> options that it has unless others are asked for
_SIZES: dict[str, dict[str, Any]] = {
    "glint-large": {"widths": (64, 128, 192), "blocks": (1, 3, 6, 3, 2)},
}


def names() -> tuple[str, ...]:
    """The names that `build` knows. Does not load PyTorch."""
    return tuple(_NETWORKS)


def build(name: str, **options: Any) -> nn.Module:
    """A network with PyTorch's or its paper's own initialisation, on the CPU, in float32.

    Names, shapes and order of `state_dict()` are those of the published checkpoints, which load with
    `strict=True` once their wrapper is taken off. What `forward` takes and gives is said at each class.

    Args:
        name: one of `names()`.
        options: as the published constructor names them; the defaults are those of the published weights.

    Raises:
        UsageError: an unknown network, an unknown option, or a value that the network cannot take.
    """
    if name not in _NETWORKS:
        near = did_you_mean(name, _NETWORKS)
        raise UsageError(f"no network is called {name!r}; {near}known: {', '.join(_NETWORKS)}")
    make, fixed = _constructor(name)
    known = usual(name)
    if unknown := sorted(set(options) - set(known)):
        near, all_ = did_you_mean(unknown[0], known), ", ".join(known) or "none"
        raise UsageError(f"{name} has no option {', '.join(unknown)}; {near}known: {all_}")
    try:
        net: nn.Module = make(**known | options, **fixed)
    except (TypeError, ValueError, LookupError, RuntimeError, MemoryError) as error:
        # PyTorch says RuntimeError of negative sizes and of those that no memory holds, in several lines.
        raise UsageError(f"{name} cannot be built: {first_line(error)}") from error
    return net


def usual(name: str) -> dict[str, Any]:
    """The options of one of `names()` with the values that it has unless others are asked for."""
    make, fixed = _constructor(name)
    own = {p.name: p.default for p in inspect.signature(make).parameters.values() if p.name not in fixed}
    return own | _SIZES.get(name, {})


def _constructor(name: str) -> tuple[Callable[..., nn.Module], dict[str, Any]]:
    """The class of a network, and the options that are fixed by the name."""
    module, kind, fixed = _NETWORKS[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), kind), fixed
