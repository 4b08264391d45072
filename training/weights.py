"""First weights from a file: checked to the last entry before they are taken."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.documents import parse_json
from inference import networks, store
from inference.weights import read_weights
from inference.weights_fit import settled
from inference.weights_limits import WeightsError
from training.growth import fits, grown
from training.recipe import NetworkEntry
from training.run import WEIGHTS_VERSION

if TYPE_CHECKING:
    from torch import Tensor, nn


def initialise(network: nn.Module, file: Path, entry: NetworkEntry, grows: bool = False) -> bool:
    """Load a file of weights into a network.

    Args:
        network: takes the values.
        file: .safetensors of a run, or any file that `inference.weights` reads (a published checkpoint).
        entry: the recipe's name and options of the network, for the file's own statement to be held against.
        grows: weights of a smaller network of this kind are taken as well, see `training.growth`.

    Returns:
        Whether they are a smaller network's.

    Raises:
        UsageError: no such file.
        WeightsError: one line with the reason: another version, network or options, entries that
            are missing, unknown or of another shape, values that are not finite.
    """
    found = read_weights(file)
    entries, smaller = found.entries, grows and fits(network, found.entries)
    try:
        fault = _stated(found.metadata or {}, entry)
    except WeightsError as error:
        fault = str(error)
    if smaller:
        entries = grown(network, entries)
    if fault := fault or _fault(network, entries):
        raise WeightsError(f"{file} is refused: {fault}")
    network.load_state_dict(entries, strict=True)
    return smaller


def _stated(metadata: Mapping[str, str], entry: NetworkEntry) -> str:
    """What a file says of itself that does not suit the recipe; "" where all does."""
    version = metadata.get("halfmirror.weights", WEIGHTS_VERSION)
    if version != WEIGHTS_VERSION:
        return f"its weights are of version {version[:20]!r}; this program reads version {WEIGHTS_VERSION}"
    name = metadata.get("halfmirror.network", entry.name)
    if name != entry.name:
        return f"these are weights of {name[:40]!r}, and {entry.name!r} is to be trained"
    stated, wanted = _options_in(metadata), _plain(entry.options)
    if stated is None:
        return ""
    usual = _plain(networks.usual(entry.name)) if entry.name in networks.names() else {}
    own, asked = usual | stated, usual | wanted  # what is left out has its usual value
    # What shapes say is held against the shapes, which may be a smaller network's.
    names = sorted((own.keys() | asked.keys()) - settled(entry.name))
    other = [n for n in names if n not in own or n not in asked or own[n] != asked[n]]
    if not other:
        return ""
    sets = [f"--set {shlex.quote(f'network.options.{n}={json.dumps(own[n])}')}" for n in other if n in own]
    way = f"; to train with those: {' '.join(sets)[:200]}" if sets else ""
    found, here = (json.dumps(options, sort_keys=True) for options in (stated, wanted))
    return f"it was trained with the network options {found[:200]}, and the recipe has {here}{way}"


def _options_in(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """The options that a file's network was built with: of a run, or of the card of a file of the store."""
    text = metadata.get("halfmirror.options")
    if text is None:
        card = store.card_in(metadata)
        return None if card is None else _plain(card.options)
    try:
        found = parse_json(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise WeightsError("what it says of its network's options is damaged")
    return found


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(options)))
    return plain


def _fault(network: nn.Module, entries: Mapping[str, Tensor]) -> str:
    own = network.state_dict()
    missing = [n for n in own if n not in entries]
    unknown = [n for n in entries if n not in own]
    other = [n for n in own if n in entries and own[n].shape != entries[n].shape]
    broken = _not_finite(entries)
    parts = [
        f"{len(names)} {what} (such as {names[0][:80]})"
        for names, what in (
            (missing, "missing"), (unknown, "unknown"), (other, "of another shape"),
            (broken, "with NaN or infinite values"),
        )
        if names
    ]  # fmt: skip
    return f"of its entries are {', '.join(parts)}" if parts else ""


def _not_finite(entries: Mapping[str, Tensor]) -> list[str]:
    return [n for n, t in entries.items() if t.is_floating_point() and not bool(t.isfinite().all())]
