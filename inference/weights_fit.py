"""Which network a file of weights belongs to, and whether it fits to the last entry."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capture.errors import UsageError
from capture.validation import did_you_mean
from inference import networks
from inference.representations.spikes import FIRST
from inference.weights_limits import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]

# From this share of equal entries on a file is taken for an altered one of that network.
_ALIKE = 0.5
_WIDEST = 512
_LONGEST = 64
_CHANNELS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "efnet": {"ev_chn": (6, 7)},
    "gem": {"ev_in_channel": (96,)},
}
"""Of events that can be fed; the first is the published number."""
LARGE = "glint-large"
"""A size of glint that has a name and weights of its own."""
_FORMER: Mapping[str, tuple[int, ...]] = {"widths": (64, 128, 192), "blocks": (1, 2, 3, 2, 2)}
"""The size that glint-large had before; files of it are glint-large still."""
_SETTLED: Mapping[str, frozenset[str]] = {
    "efnet": frozenset({"ev_chn"}),
    "s-sdm-ldn": frozenset({"spike_dim"}),
    "sc-net": frozenset({"base_channel", "num_res"}),
    "stra": frozenset({"base_channel", "num_res"}),
    "glint": frozenset({"widths", "blocks"}),
    LARGE: frozenset({"widths", "blocks"}),
}
_SEVERAL = {"widths": 3, "blocks": 5, "num_heads": 3}  # options that are so many numbers


def fit(
    network: str, entries: Mapping[str, Tensor], stated: Mapping[str, Any] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The network's state dict with these values, in its own order and types, and the options to build it with.

    Options that a file settles by its shapes (event channels, spike frames, width and depth of SC-Net) are
    taken from it; `stated` are others, as a card has them, of sizes those that are not the usual ones.
    Floating-point values of another precision become float32.

    Raises:
        UsageError: unknown network.
        WeightsError: an entry is missing, unexpected, of another shape or kind, or not finite; the line says
            which network the file looks like. Or they fit, and take an input that nothing here makes.
    """
    import torch

    shapes = {name: tuple(t.shape) for name, t in entries.items()}
    if known_as(network, shapes) != network:
        raise WeightsError(f"these are no weights of {network}, but of a larger size; {looks_like(shapes)}")
    settling = options_of(network, shapes)
    options = _unusual(network, _sane(stated or {})) | settling
    net = networks.build(network, **options)
    own = net.state_dict()
    adapted = {}
    for name, tensor in entries.items():
        wanted = own.get(name)
        if wanted is not None and wanted.is_floating_point() != tensor.is_floating_point():
            raise WeightsError(f"entry {name} is {tensor.dtype}, where {network} has {wanted.dtype}")
        adapted[name] = tensor if wanted is None else tensor.to(wanted.dtype)
        if not bool(torch.isfinite(adapted[name]).all()):
            raise WeightsError(f"entry {name} holds NaN or infinite values: the file is damaged")
    try:
        net.load_state_dict(adapted, strict=True)
    except RuntimeError as error:
        raise WeightsError(_difference(network, shapes, options)) from error
    _require_input(network, options)
    return {name: t.detach().contiguous() for name, t in net.state_dict().items()}, options


def require_channels(network: str, options: Mapping[str, Any], representation: str) -> None:
    """Refuse weights whose representation has not the channels that they take.

    Args:
        network, options: as `fit` takes and gives them.
        representation: of the card.

    Raises:
        WeightsError: an empty channel between the halves, which SCER alone has.
    """
    usual = _CHANNELS["efnet"]["ev_chn"][0]
    found = options.get("ev_chn", usual)
    if network == "efnet" and representation == "voxel" and found != usual:
        raise WeightsError(
            f"these weights of efnet take {found} channels of events; voxel has {usual}: if they were trained "
            "with scer, state --representation scer"
        )


def _require_input(network: str, options: Mapping[str, Any]) -> None:
    """Refuse a form of a network whose input no representation here has."""
    if network == "s-sdm-ldn":
        frames = options.get("spike_dim", 21)
        if frames % 2 == 0 or frames > 2 * FIRST + 1:
            raise WeightsError(
                f"these weights of {network} take {frames} spike frames; an odd number of at most "
                f"{2 * FIRST + 1} can be fed, so that the instant lies in their middle"
            )
    for name, known in _CHANNELS.get(network, {}).items():
        if (found := options.get(name, known[0])) not in known:
            could = " or ".join(map(str, known))
            raise WeightsError(
                f"these weights of {network} take {found} channels of events; {could} can be fed"
            )


def _unusual(network: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """What is stated, without sizes that are the usual ones: cards say only where theirs differ."""
    usual, by_shape = networks.usual(network), settled(network)
    whole = {name: tuple(v) if isinstance(v, list) else v for name, v in stated.items()}
    return {n: v for n, v in stated.items() if n not in by_shape or whole[n] != usual.get(n)}


def _sane(stated: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in stated.items():
        if name in _SEVERAL:
            several = isinstance(value, list | tuple) and len(value) == _SEVERAL[name]
            sound = several and all(type(v) is int and 0 <= v <= _WIDEST for v in value)
        else:
            sound = isinstance(value, str | bool | float) or (type(value) is int and 0 <= value <= _WIDEST)
        if not sound:
            raise WeightsError(f"its card states the option {name} out of range")
    return dict(stated)


def identify(shapes: Shapes) -> tuple[str, float]:
    """The network that a file looks most like, and the share of entries that agree (1: all of them)."""
    best, share = "", 0.0
    for name in networks.names():
        own = _shapes_of(name, tuple(sorted(options_of(name, shapes).items())))
        same = sum(own.get(n) == s for n, s in shapes.items())
        found = same / max(len(own.keys() | shapes.keys()), 1)
        if found > share:
            best, share = name, found
    return known_as(best, shapes), share


def options_of(network: str, shapes: Shapes) -> dict[str, Any]:
    """Options that the shapes of a file settle, where they differ from the published ones.

    Raises:
        UsageError: unknown network.
    """
    if network not in networks.names():
        near = did_you_mean(network, networks.names())
        raise UsageError(f"no network is called {network!r}; {near}known: {', '.join(networks.names())}")
    out: dict[str, Any] = {}
    if network == "efnet":
        out["ev_chn"] = _size(shapes, "conv_ev1.weight", 1, 6)
    elif network == "s-sdm-ldn":
        out["spike_dim"] = _size(shapes, "spike_enc.0.weight", 1, 21)
    elif network in ("sc-net", "stra"):
        out["base_channel"] = _size(shapes, "feat_extract.0.main.0.weight", 0, 32)
        blocks = {n.split(".")[3] for n in shapes if n.startswith("Encoder.0.layers.") and n.count(".") > 3}
        out["num_res"] = len(blocks) if 0 < len(blocks) <= _LONGEST else 4
        if network == "sc-net" and _size(shapes, "snn.conv1.weight", 0, 8) == 6:
            out["spiking"] = "window"
    elif network == "glint":
        out = size_of_glint(shapes)
    elif network == LARGE and size_of_glint(shapes) == _FORMER:
        out = dict(_FORMER)
    standard = networks.usual(network)
    return {k: v for k, v in out.items() if standard.get(k) != v}


def settled(network: str) -> frozenset[str]:
    """Names of the options that the shapes of a network's entries say in full; empty for an unknown one."""
    return _SETTLED.get(network, frozenset())


def size_of_glint(shapes: Shapes) -> dict[str, Any]:
    """Widths and blocks of glint or glint-large with these entries, also where they are the usual ones."""
    levels = zip(("stem", "half1", "half2"), networks.usual("glint")["widths"], strict=True)
    return {
        "widths": tuple(_size(shapes, f"{name}.weight", 0, usual) for name, usual in levels),
        "blocks": tuple(_blocks(shapes, name) for name in ("down1", "down2", "bottom", "up2", "up1")),
    }


def _blocks(shapes: Shapes, name: str) -> int:
    """Residual blocks of one of glint's levels."""
    return min(len({n.split(".")[1] for n in shapes if n.startswith(f"{name}.")}), _LONGEST)


def known_as(network: str, shapes: Shapes) -> str:
    """The name of a network in the size of a file: glint of certain sizes is glint-large."""
    if network != "glint":
        return network
    large = (_shapes_of(LARGE, ()), _shapes_of(LARGE, tuple(_FORMER.items())))
    return LARGE if dict(shapes) in large else network


def looks_like(shapes: Shapes) -> str:
    """One clause on which network a file belongs to."""
    name, share = identify(shapes)
    if share == 1.0:
        return f"the file looks like {name}: halfmirror models add {name} FILE"
    if share >= _ALIKE:
        return f"the file looks like {name} with {int(share * 100)} % of its entries"
    for candidate in networks.names():
        own = _shapes_of(candidate, ())
        prefix = _common_prefix(own, shapes)
        if prefix:
            return f"the file looks like a part of {candidate} ({prefix.rstrip('.')})"
    return "it looks like no known network"


def _common_prefix(own: Shapes, part: Shapes) -> str:
    """What has to stand before every name of `part` to make it an entry of `own`, or ""."""
    first = next(iter(part), "")
    for name in own:
        prefix = name[: -len(first)] if first and name.endswith("." + first) else ""
        if prefix and all(own.get(prefix + n) == s for n, s in part.items()):
            return prefix
    return ""


def _difference(network: str, shapes: Shapes, options: Mapping[str, Any]) -> str:
    # A card's lists, which the memory of `_shapes_of` cannot take.
    settled = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    own = _shapes_of(network, tuple(sorted(settled.items())))
    # The kernels of spiking layers follow from the neuron; a file need not hold them.
    missing = [n for n in own if n not in shapes and not n.endswith(("srmKernel", "refKernel"))]
    unexpected = [n for n in shapes if n not in own]
    other = [n for n in own if n in shapes and own[n] != shapes[n]]
    parts = []
    if missing:
        parts.append(f"{_entries(missing)} missing (such as {missing[0]})")
    if unexpected:
        parts.append(f"{_entries(unexpected)} unknown (such as {unexpected[0][:80]})")
    if other:
        n = other[0]
        parts.append(
            f"{_entries(other)} of another shape ({n}: {_shape(shapes[n])} instead of {_shape(own[n])})"
        )
    return f"these are no weights of {network}: {', '.join(parts)}; {looks_like(shapes)}"


def _entries(names: list[str]) -> str:
    return "1 entry" if len(names) == 1 else f"{len(names)} entries"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"


def _size(shapes: Shapes, name: str, axis: int, default: int) -> int:
    shape = shapes.get(name, ())
    # Bounded, since building squares what one entry of a small file states.
    return shape[axis] if len(shape) > axis and 0 < shape[axis] <= _WIDEST else default


@functools.lru_cache(maxsize=32)
def _shapes_of(network: str, options: tuple[tuple[str, Any], ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's entries. Built without memory for the values."""
    import torch

    with torch.device("meta"):
        net = networks.build(network, **dict(options))
    return {name: tuple(t.shape) for name, t in net.state_dict().items()}
