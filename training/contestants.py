"""What stands in a table of networks: a network by its name, or one with the weights of a file.

`glint` is the network with the weights that are installed; `glint=runs/mine/weights.safetensors` the same one
with those of the file, which is called `glint:mine` in the table. Nothing is installed: the file is checked and
read as `halfmirror models add` does it, and written for its restorer into a folder that the caller gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from capture.errors import UsageError
from inference import models, store
from inference.weights_limits import WeightsError

_ADVICE = re.compile(r"halfmirror models add (\S+) FILE")
_COMMON = frozenset({"weights", "state", "model", "best", "last", "latest"})
"""Names of files that tell nothing: the folder's is taken instead."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a file, for one network.

    Attributes:
        network: its name.
        file: as given.
        path: as `store.add` wrote them.
    """

    network: str
    file: Path
    path: Path


def contestants(texts: Iterable[str], folder: Path) -> dict[str, Weights | None]:
    """Labels of what stands in the table, in order; None: the network of this name as it is installed.

    Args:
        texts: `NETWORK` or `NETWORK=FILE`; what is given twice stands there once.
        folder: takes the weights of files.

    Raises:
        UsageError: an unknown network, one without weights given some, no such file.
        WeightsError: the file is refused.
    """
    out: dict[str, Weights | None] = {}
    for text in dict.fromkeys(texts):
        network, given, name = text.partition("=")
        if not given:
            out[network] = None
            continue
        if network not in models.names():
            models.check(network)
        if not name:
            raise UsageError(f"{text}: give a file of weights, such as {network}=runs/mine/weights.safetensors")
        file = Path(name).expanduser()
        models.require_weights(network, file)
        label = _label(network, file, out)
        path = folder / f"{len(out)}.safetensors"
        try:
            store.add(network, file, into=path)
        except WeightsError as error:
            # Here nothing is to be installed: the other network is named in front of the file.
            raise WeightsError(_ADVICE.sub(r"\1=FILE", str(error))) from error
        out[label] = Weights(network, file, path)
    return out


def check(label: str, weights: Mapping[str, Weights], options: Mapping[str, object] | None) -> None:
    """Refuse what cannot run here, before anything is loaded. See `inference.models.check`.

    Raises:
        UsageError: says why.
    """
    if label not in weights:
        models.check(label, options)


def meant(label: str, weights: Mapping[str, Weights]) -> tuple[str, Path | None]:
    """Network and file of a label, for `inference.models.create`; no file: the installed weights."""
    own = weights.get(label)
    return (label, None) if own is None else (own.network, own.path)


def _label(network: str, file: Path, taken: Iterable[str]) -> str:
    """NETWORK:NAME, without what has a meaning in `--option LABEL.KEY=VALUE`."""
    whole = file.absolute()
    name = whole.parent.name if whole.stem.lower() in _COMMON else whole.stem
    plain = "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-") or "file"
    names = [f"{network}:{plain}", *(f"{network}:{plain}-{k}" for k in range(2, 1000))]
    known = set(taken)
    free = next((n for n in names if n not in known), None)
    if free is None:
        raise UsageError(f"{file}: a thousand files of {network} are called alike")
    return free
