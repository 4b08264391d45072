"""The local store of weights: one safetensors file for each network, its card in the file's metadata.

A file that is added is read once by `weights.read_weights`, fitted strictly to its network and written anew, so
that what is loaded later is known to fit and needs no pickle. Card and values are one file: they cannot part.
"""

from __future__ import annotations

import fnmatch
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from capture.errors import UsageError
from capture.parts import own_part
from capture.validation import did_you_mean
from inference.cards import Card, ChannelOrder, Origin, Published, Recognised, Representation, card
from inference.weights_limits import WeightsError
from inference.weights_safetensors import read_header

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE = "HALFMIRROR_MODELS"
SHIPPED = Path(__file__).parent / "shipped"
"""Weights that come with the program; the user's own of the same network come first."""
_CARD = "halfmirror.card"
_SUFFIX = ".safetensors"

# Given the step's name and the share of it that is done.
Progress = Callable[[str, float], None]


class Status(NamedTuple):
    """Whether a network's weights are here.

    Attributes:
        usable: they are installed, and the file's header is whole.
        reason: why not, and the command that adds them; "" when usable.
    """

    usable: bool
    reason: str


def folder() -> Path:
    """Where weights are kept: the environment variable HALFMIRROR_MODELS, else the user's data folder."""
    if own := os.environ.get(VARIABLE):
        return Path(own).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("halfmirror", appauthor=False)) / "models"


def own_path(network: str) -> Path:
    """Where the user's weights of a network lie, there or not.

    Raises:
        UsageError: unknown network.
    """
    return folder() / f"{card(network).network}{_SUFFIX}"


def path_of(network: str) -> Path:
    """The file of a network's weights: the user's own; else the shipped one; else where the own would lie.

    Own ones count as there where the folder cannot be looked into: reading them says why.

    Raises:
        UsageError: unknown network.
    """
    own = own_path(network)
    shipped = SHIPPED / own.name
    return shipped if not _there(own) and shipped.exists() else own


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {error.strerror or error}") from error


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True


def has_file(network: str) -> bool:
    """Whether there is a file of the network's weights, sound or not, or none can be told.

    Raises:
        UsageError: unknown network.
    """
    return _there(path_of(network))


def is_shipped(network: str) -> bool:
    """Whether the weights in use came with the program.

    Raises:
        UsageError: unknown network.
    """
    return path_of(network).parent == SHIPPED


def installed(network: str, file: Path | None = None) -> Card | None:
    """The card of the installed weights; None when there are none. Loads neither PyTorch nor the values.

    Args:
        network: one of `cards.NAMES`.
        file: where `add` put weights that are not to be installed; None: the installed ones.

    Raises:
        UsageError: unknown network.
        WeightsError: the file is damaged or not one of this store.
    """
    path = file or path_of(network)
    try:
        stat = path.stat()
        found = _card_of(path, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except WeightsError as error:
        raise WeightsError(f"{path} is damaged: {error}; {_remedy(path)}") from error
    if found is None or found.network != network or found.origin is None:
        raise WeightsError(f"{path} has no card of {network}; {_remedy(path)}")
    return found


def _remedy(path: Path) -> str:
    """What to do about a file of weights that is of no use."""
    shipped = SHIPPED / path.name
    back = ", or remove it: the shipped weights come back" if path != shipped and shipped.exists() else ""
    return f"add the weights again with --overwrite{back}"


@functools.lru_cache(maxsize=32)
def _card_of(path: Path, changed_ns: int, size: int) -> Card | None:
    """The viewer asks for the list of networks again and again; a file is read anew when it has changed."""
    return card_in(read_header(path).metadata)


def card_in(metadata: Mapping[str, str] | None) -> Card | None:
    """The card in a safetensors file's metadata, or None.

    Raises:
        WeightsError: there is one, and it cannot be read.
    """
    text = (metadata or {}).get(_CARD)
    if text is None:
        return None
    try:
        return Card.model_validate_json(text)
    except ValueError as error:
        raise WeightsError("its model card cannot be read: it was written by another version") from error


def metadata_of(about: Card) -> dict[str, str]:
    """A card as it stands in a safetensors file's metadata."""
    return {_CARD: about.model_dump_json()}


def status(network: str, file: Path | None = None) -> Status:
    """Whether a network's weights are installed, and if not, how to add them. Cheap; never raises for a file.

    `file`: see `installed`.

    Raises:
        UsageError: unknown network.
    """
    try:
        if installed(network, file) is not None:
            return Status(True, "")
    except WeightsError as error:
        return Status(False, str(error))
    return Status(False, f"no weights; add them: halfmirror models add {network} FILE; {where(network)}")


def where(network: str) -> str:
    """One clause on where a network's weights come from.

    Raises:
        UsageError: unknown network.
    """
    address = card(network).published_at
    return f"the authors publish them at {address}" if address else "the authors publish none, so train them"


def add(
    network: str,
    file: Path,
    *,
    overwrite: bool = False,
    representation: str | None = None,
    channel_order: str | None = None,
    trained_on: str | None = None,
    into: Path | None = None,
    progress: Progress = lambda _step, _share: None,
) -> tuple[Card, tuple[str, ...]]:
    """Check a file of weights to the last entry and install it; returns its card and notes for the person.

    `into`: a file that is written and nothing installed; `installed`, `load` and restorers can be given it.

    What the file was trained with is taken from its own card (a file that this program wrote), from the list of
    published files, by checksum or else by name, and from what the caller states, which comes first.

    Raises:
        UsageError: unknown network, representation or channel order; no such file; weights are there already.
        WeightsError: the file is refused (see `weights.read_weights`, `weights_fit.fit`), or cannot be written.
    """
    from inference.weights import content_digest, file_digest, read_weights
    from inference.weights_fit import fit, known_as, require_channels

    base = card(network)
    _check("representation", representation, get_args(Representation))
    _check("channel order", channel_order, get_args(ChannelOrder))
    target = into or own_path(network)
    if not overwrite and _exists(target):
        raise UsageError(f"{network} has weights already ({target}); replace them with --overwrite")
    digest = file_digest(file, lambda share: progress("checksum", share))
    progress("reading", 0.0)
    found = read_weights(file)
    progress("fitting", 0.0)
    with _about(file):
        own = card_in(found.metadata)
        if own is not None and own.network != network:
            shapes = {name: tuple(t.shape) for name, t in found.entries.items()}
            meant = known_as(own.network, shapes)
            if meant != network:
                raise WeightsError(f"its card says {own.network}: halfmirror models add {meant} FILE")
            of_file = {k: getattr(own, k) for k in ("trained_on", "representation", "camera_tone", "origin")}
            own = base.model_copy(update=of_file)
        entries, options = fit(network, found.entries, own.options if own else {})
    described, recognised = _describe(base, own, file, digest)
    stated = {"representation": representation, "channel_order": channel_order, "trained_on": trained_on}
    origin = Origin(
        file=file.name, sha256=digest, recognised=recognised, content_sha256=content_digest(entries),
        added=date.today().isoformat(),
    )  # fmt: skip
    update = {k: v for k, v in stated.items() if v is not None} | {"origin": origin, "options": options}
    final = Card.model_validate(described.model_dump() | update)
    with _about(file):
        require_channels(network, options, final.representation)
    progress("writing", 0.0)
    write(target, entries, final)
    return final, found.notes


def load(
    network: str, *, representation: str, channel_order: str, file: Path | None = None
) -> tuple[dict[str, Tensor], Card]:
    """The installed weights, for `load_state_dict(strict=True)` of `build(network, **card.options)`.

    Args:
        network: one of `cards.NAMES`.
        representation: what the caller will feed: "scer", "voxel", "eger", "event-counts", "spikes", "none".
        channel_order: in which the caller will feed pictures: "rgb", "bgr", "gray".
        file: see `installed`.

    Raises:
        UsageError: unknown network; no weights, with the command that adds them; or the weights were trained
            with another representation or channel order, both named.
        WeightsError: the file is damaged.
    """
    found = installed(network, file)
    if found is None:
        raise UsageError(f"{network}: {status(network, file).reason}")
    for what, have, want in (
        ("representation", found.representation, representation),
        ("channel order", found.channel_order, channel_order),
    ):
        if have != want:
            raise UsageError(
                f"{network}: these weights take the {what} {have}, and {want} is to be fed; "
                f"choose {have}, or add weights that were trained with {want}"
            )
    from inference.weights import read_weights
    from inference.weights_fit import fit

    path = file or path_of(network)
    with _about(path):
        entries, options = fit(network, read_weights(path).entries, found.options)
    # Of a file that was added when the network had another size by default.
    return entries, found.model_copy(update={"options": options})


def verify(network: str) -> Card:
    """Read the installed weights whole and hold them against their card.

    Raises:
        UsageError: unknown network, or no weights.
        WeightsError: damaged, changed since they were added, or they no longer fit their network.
    """
    from inference.weights import content_digest

    found = installed(network)
    if found is None:
        raise UsageError(f"{network}: {status(network).reason}")
    entries, _ = load(network, representation=found.representation, channel_order=found.channel_order)
    assert found.origin is not None
    if content_digest(entries) != found.origin.content_sha256:
        path = path_of(network)
        raise WeightsError(f"{path} has changed since it was added; {_remedy(path)}")
    return found


def write(path: Path, entries: Mapping[str, Tensor], about: Card | None) -> None:
    """Write a safetensors file, whole or not at all, with its card.

    Raises:
        WeightsError: it cannot be written (disk full, no permission).
    """
    from safetensors import SafetensorError
    from safetensors.torch import save

    metadata = {"format": "pt"} | (metadata_of(about) if about else {})
    # Entries may share memory or be views, which the format has no words for.
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in entries.items()}
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = own_part(path)
        with part.open("wb") as file:  # safetensors' own files are their maker's alone, whatever the umask says
            file.write(save(own, metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        elsewhere = f"free some space or choose another place (of installed weights: {VARIABLE})"
        raise WeightsError(f"cannot write {path}: {why}; {elsewhere}") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Put the file's name before what is wrong with it."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{path} is refused: {error}") from error


def _check(what: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        near = did_you_mean(value, known)
        raise UsageError(f"no {what} is called {value!r}; {near}known: {', '.join(known)}")


def _describe(base: Card, own: Card | None, file: Path, digest: str) -> tuple[Card, Recognised]:
    """The card of a file, and how it was recognised."""
    published = [p for p in base.published if p.sha256 == digest]
    recognised: Recognised = "checksum" if published else ""
    if not published and own is None:
        # A name proves nothing: a file with a known checksum that differs is another one of the same name.
        published = [p for p in base.published if not p.sha256 and _named(p, file)]
        recognised = "name" if published else ""
    if published:
        one: Published = published[0]
        return base.model_copy(update={"trained_on": one.trained_on, "evaluation": one.evaluation}), recognised
    if own is not None:
        return own, own.origin.recognised if own.origin else ""
    # Results of others' weights are nothing that unknown ones should reproduce.
    return base.model_copy(update={"trained_on": "not stated", "evaluation": ()}), ""


def _named(published: Published, file: Path) -> bool:
    return fnmatch.fnmatchcase(file.name.lower(), published.file.lower())
