"""Reads files of weights: PyTorch's formats, pickles and safetensors, from anybody, without running them.

The structure is looked at first (`weights_files`): what a file declares is held against its size and the
limits, and every name in it against a short list. Only then are values read: by PyTorch's weights-only loader,
and where that refuses a file that holds nothing but tensors, arrays and plain containers beside stand-ins, from
the places that the structure gives.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from capture.errors import UsageError
from inference import weights_safetensors
from inference.weights_files import Scan, scan
from inference.weights_limits import LIMITS, Limits, WeightsError, megabytes, plain
from inference.weights_tree import ArrayRef, Inert, TensorRef

if TYPE_CHECKING:
    from torch import Tensor

# Keys under which programs put the entries of a network, the likeliest first.
_WRAPPERS = (
    "params", "params_ema", "state_dict", "model_state_dict", "model", "network", "net", "net_g", "generator",
    "weights", "module",
)  # fmt: skip
# What programs put before the names of entries.
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.", "net_g.", "generator.")
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Weights:
    """What a file holds.

    Attributes:
        entries: tensors by name, wrappers and prefixes off, on the CPU, as they are in the file.
        notes: what was taken off or left out, for the person who added the file.
        metadata: texts of a safetensors file.
    """

    entries: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] | None = None


def read_weights(path: Path, limits: Limits = LIMITS) -> Weights:
    """The tensors of a .pth, .pt, .pkl, .ckpt or .safetensors file; its contents say which of them it is.

    Nothing that the file names is imported or called.

    Raises:
        UsageError: no such file.
        WeightsError: one line with the path and why it is refused: damaged, hostile, beyond the limits, or it
            holds no tensors by name.
    """
    with _named(path):
        _checked_size(path, limits)
        if weights_safetensors.looks_like(path):
            return _read_safetensors(path, limits)
        with path.open("rb") as file:
            return _read_pickled(file, limits)


def read_arrays(path: Path, limits: Limits = LIMITS) -> dict[str, Tensor]:
    """All tensors and arrays of a pickled file whatever nests them, by the keys above them: `"a.b.kernel"`.

    For files of values that are no network of this program. Nothing that the file names is imported or called.

    Raises:
        UsageError: no such file.
        WeightsError: as `read_weights`.
    """
    with _named(path):
        _checked_size(path, limits)
        with path.open("rb") as file:
            tree = scan(file, limits).tree
        if not (leaves := dict(_leaves(tree))):
            raise WeightsError("holds no tensors")
        return {name: _value(leaf) for name, leaf in leaves.items()}


def file_digest(path: Path, progress: Callable[[float], None] | None = None) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits; `progress` is told the share that is done.

    Raises:
        UsageError: no such file.
        OSError: it cannot be read.
    """
    size = max(_size(path), 1)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            if progress:
                progress(min(file.tell() / size, 1.0))
    return digest.hexdigest()


def content_digest(entries: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, whatever the file around them."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(entries):
        tensor = entries[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _size(path: Path) -> int:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the file of weights in it")
    if not path.is_file():
        raise UsageError(f"{path} does not exist, or is no file; give a file of weights")
    return path.stat().st_size


def _checked_size(path: Path, limits: Limits) -> None:
    if (size := _size(path)) > limits.total_bytes:
        raise WeightsError(f"has {megabytes(size)}; at most {megabytes(limits.total_bytes)} are read")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Every way in which a file can be bad, as one line with its path."""
    try:
        yield
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise WeightsError(f"{path} is refused: it does not fit into the memory") from error
    except (zipfile.BadZipFile, EOFError) as error:
        raise WeightsError(f"{path} is refused: it is damaged or cut off ({error})") from error
    except WeightsError as error:
        raise WeightsError(f"{path} is refused: {error}") from error


# --- values -----------------------------------------------------------------------------------------------


def _read_safetensors(path: Path, limits: Limits) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = weights_safetensors.read_header(path, limits)
    try:
        entries = load_file(path, device="cpu")
    except SafetensorError as error:
        raise WeightsError(f"it is damaged ({error})") from error
    if not entries:
        raise WeightsError("it holds no tensors")
    names, notes = _strip(list(entries), lightning=False)
    return Weights({new: entries[old] for old, new in names.items()}, _plain(notes), header.metadata)


def _read_pickled(file: IO[bytes], limits: Limits) -> Weights:
    found = scan(file, limits)
    tree = _by_torch(file, found)
    leaves, notes = _find(found.tree if tree is None else tree)
    values = {name: _value(leaf) for name, leaf in leaves.items()}
    if tree is None and found.inert:
        # Named, so that nobody is in doubt what a checkpoint with foreign objects lost on its way in.
        some = ", ".join(sorted(found.inert)[:3]) + (", …" if len(found.inert) > 3 else "")
        notes.append(f"objects that no weights need were left out: {some}")
    return Weights(values, _plain(notes))


def _plain(notes: list[str]) -> tuple[str, ...]:
    return tuple(plain(note, 300) for note in notes)


def _by_torch(file: IO[bytes], found: Scan) -> Any:
    """The tree with its values as PyTorch reads it, or None where it refuses."""
    if not found.by_torch or found.inert:
        return None
    import warnings

    import torch

    file.seek(0)
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # of many kinds; our own reader decides, and says why not
        return None


def _value(leaf: Any) -> Tensor:
    import torch

    if isinstance(leaf, torch.Tensor):
        return leaf.detach()
    ref = leaf.tensor if isinstance(leaf, ArrayRef) else leaf
    if ref is None:
        raise WeightsError("holds a NumPy array without contents")
    storage = ref.storage
    raw = storage.fetch()
    if len(raw) < storage.numel * storage.itemsize:
        raise WeightsError("its values are cut off")
    dtype = getattr(torch, storage.dtype)
    if not raw or not ref.numel:
        return torch.empty(ref.shape, dtype=dtype)
    # A copy, since bytes cannot be written to and several tensors may share them.
    flat = torch.frombuffer(bytearray(raw), dtype=dtype, count=storage.numel)
    return flat.as_strided(ref.shape, ref.stride, ref.offset).clone(memory_format=torch.contiguous_format)


# --- wrappers ---------------------------------------------------------------------------------------------


def _is_leaf(value: Any) -> bool:
    if isinstance(value, TensorRef | ArrayRef):
        return True
    return type(value).__module__.startswith("torch") and hasattr(value, "data_ptr")


def _leaves(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    if _is_leaf(value):
        yield above, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{above}.{key}" if above else str(key))


def _holds_leaves(value: Any, depth: int = 0) -> bool:
    if not isinstance(value, dict) or depth > _DEEPEST:
        return False
    return any(_is_leaf(v) for v in value.values()) or any(
        _holds_leaves(value.get(w), depth + 1) for w in _WRAPPERS
    )


def _find(tree: Any) -> tuple[dict[str, Any], list[str]]:
    """The entries of a network inside what a program saved with them, and notes."""
    notes: list[str] = []
    if isinstance(tree, Inert):
        raise WeightsError(f"holds a whole pickled model ({tree.of}), not its weights; ask for the state dict")
    lightning = isinstance(tree, dict) and "pytorch-lightning_version" in tree
    for _ in range(_DEEPEST):
        key = _inner(tree)
        if key is None:
            break
        others = [w for w in _WRAPPERS if w != key and _holds_leaves(tree.get(w))]
        notes.append(f"read from {key!r}" + (f"; also there: {', '.join(others)}" if others else ""))
        tree = tree[key]
    leaves = {k: v for k, v in tree.items() if _is_leaf(v)} if isinstance(tree, dict) else {}
    if not leaves:
        kind = "a " + type(tree).__name__ if not isinstance(tree, dict) else _keys(tree)
        raise WeightsError(f"holds no tensors by name, but {kind}")
    if not all(isinstance(k, str) for k in leaves):
        raise WeightsError("holds tensors whose names are no text")
    names, more = _strip(list(leaves), lightning)
    return {new: leaves[old] for old, new in names.items()}, notes + more


def _inner(tree: Any) -> Any:
    """The key to go on with, or None when the entries are here."""
    if not isinstance(tree, dict):
        return None
    for wrapper in _WRAPPERS:
        if _holds_leaves(tree.get(wrapper)):
            return wrapper
    if any(_is_leaf(v) for v in tree.values()):
        return None
    inner = [k for k, v in tree.items() if isinstance(k, str) and _holds_leaves(v)]
    return inner[0] if len(inner) == 1 else None


def _keys(tree: dict[Any, Any]) -> str:
    names = [k[:40] if isinstance(k, str) else type(k).__name__ for k in list(tree)[:5]]
    return f"entries named {', '.join(names)}" if names else "nothing"


def _strip(names: list[str], lightning: bool) -> tuple[dict[str, str], list[str]]:
    """{name in the file: name without prefixes}, and notes. Only what all entries share is taken off."""
    notes: list[str] = []
    kept = {n: n for n in names}
    if lightning:
        prefix = next((p for p in _PREFIXES if any(n.startswith(p) for n in names)), "")
        others = [n for n in names if not n.startswith(prefix)]
        if others:
            notes.append(f"{len(others)} entries outside {prefix!r} were left out (such as {others[0][:60]})")
        kept = {n: n for n in names if n.startswith(prefix)}
    taken = ""
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in kept.values())), ""):
        kept = {old: new[len(prefix) :] for old, new in kept.items()}
        taken += prefix
    return kept, notes + ([f"prefix {taken!r} taken off"] if taken else [])
