"""Files of a run that appear whole or not at all: written beside their name, then renamed over it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import TrainingError, why

if TYPE_CHECKING:
    from torch import Tensor


def replace_bytes(path: Path, data: bytes | memoryview) -> None:
    """Put `data` under `path`; the old file stays until the new one is on the disk, and when that fails.

    Raises:
        TrainingError: disk full or not writable; names the place and what was kept.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        kept = "; the one written before stays as it is" if path.exists() else ""
        raise TrainingError(
            f"cannot write {path} ({why(error)}, {free_megabytes(path)} MB free there){kept}: "
            f"free some space, then {'go on with --resume' if _of_a_run(path) else 'give the command again'}"
        ) from error


def _of_a_run(path: Path) -> bool:
    """Whether a file lies in the folder of a run, or in one below it: that alone can be resumed."""
    return any((folder / "run.json").exists() for folder in path.parents[:2])


def replace_with(path: Path, buffer: io.BytesIO) -> None:
    """`replace_bytes` with what is in a buffer, without a copy.

    Raises:
        TrainingError: see `replace_bytes`.
    """
    # Released here: an error's traceback would hold the view, and a buffer cannot be closed while one is open.
    with buffer.getbuffer() as view:
        replace_bytes(path, view)


def replace_json(path: Path, value: Any) -> None:
    """`replace_bytes` with a value as indented UTF-8 JSON; names that are no UTF-8 are escaped.

    Raises:
        TrainingError: see `replace_bytes`.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    replace_bytes(path, text.encode(errors="backslashreplace"))


def save_tree(path: Path, tree: Any) -> None:
    """Write tensors in plain containers for `load_tree`, whole or not at all.

    Raises:
        TrainingError: see `replace_bytes`.
    """
    import torch

    # In memory first: PyTorch's own writer has no words for a full disk.
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    replace_with(path, buffer)


def load_tree(path: Path, map_location: Any = "cpu", mapped: bool = False) -> Any:
    """Read what `save_tree` wrote. Nothing in the file is run.

    Args:
        path, map_location: as at `torch.load`.
        mapped: tensors' values stay in the file until they are used: for a look at a large state.

    Raises:
        TrainingError: not there, damaged, or it holds more than tensors and plain containers.
    """
    import torch

    try:
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mapped)
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {why(error)}") from error
    except Exception as error:  # of many kinds, and none of them worth a traceback
        first = (str(error).splitlines() or [""])[0][:200]
        raise TrainingError(f"{path} is refused: damaged, or no state of a run ({first})") from error


def save_weights(path: Path, entries: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        TrainingError: see `replace_bytes`.
    """
    from safetensors.torch import save

    # Entries may share memory or be views, which the format has no words for.
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in entries.items()}
    replace_bytes(path, save(own, {"format": "pt", **metadata}))


def free_megabytes(path: Path) -> int:
    """Free space where `path` is or will be, in MB; 0 when unknown."""
    for folder in (path, *path.parents):
        try:
            return shutil.disk_usage(folder).free // 1_000_000
        except OSError:
            continue
    return 0
