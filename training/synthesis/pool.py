"""A pool of synthetic samples on disk, ready for training: frame, truth, EDI's pictures and stacks, in shards.

Drawing a sample costs about as much as training on it a few times, so samples are drawn once and used several
times, turned and mirrored. A shard is one safetensors file of `PER_SHARD` samples (no pickle; read lazily,
tensor by tensor, through the page cache). Sample i has the same bytes whoever draws it, so shards can be made
in any order, by any number of workers, and a pool can be grown or mended later.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from capture.documents import parse_json
from capture.errors import UsageError
from capture.parts import own_part
from inference.representations.edi_stack_numba import EdiStack
from training.photos.held_out import EVERY
from training.synthesis.config import SynthesisConfig
from training.synthesis.layers import LoadPhoto
from training.synthesis.sample import Sample, make
from training.synthesis.told import fed, told

PER_SHARD = 32
VERSION = 6
"""Raised whenever the same settings and seed give other bytes."""
_READ = (5, VERSION)
"""Versions whose samples can be read: 5 has less noise in sRGB frames."""
ABOUT = "pool.json"


def shard_path(folder: Path, shard: int) -> Path:
    """Where a shard lies, there or not."""
    return folder / f"shard-{shard:06d}.safetensors"


def about(config: SynthesisConfig, seed: int, photos: str) -> dict[str, Any]:
    """What makes a pool: two pools with the same one have the same bytes.

    Args:
        config, seed: of the samples.
        photos: fingerprint of the photos.
    """
    return {
        "version": VERSION, "seed": seed, "photos": photos, "held_out": EVERY,
        "synthesis": config.model_dump(mode="json"),
    }  # fmt: skip


def fingerprint(what: dict[str, Any]) -> str:
    """Sixteen hex digits that stand for a pool's content."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def arrays(sample: Sample, stack: EdiStack, seed: int, index: int) -> dict[str, NDArray[Any]]:
    """A sample as it is kept.

    Args:
        sample: number `index` of `seed`.
        stack: to compute with.

    Returns:
        frame: (C, H, W) uint8; truth, edi: (L, C, H, W) uint8; stack: (L, CHANNELS, h, w) float16 on the event
        sensor's pixels; facts: (8,) float64: exposure µs, ON and OFF threshold, gamma, events, and what is told
        of the camera: ON, OFF, 1 for sRGB.
    """
    known = told(sample, seed, index)
    given = fed(sample, known, stack)
    facts = [
        sample.exposure_us, *sample.threshold, sample.gamma, len(sample.events), known.contrast.on,
        known.contrast.off, known.tone == "srgb",
    ]  # fmt: skip
    return {
        "frame": _planes(sample.frame[None])[0], "truth": _planes(sample.truth), "edi": _planes(given["edi"]),
        "stack": given["stack"].astype(np.float16), "facts": np.array(facts, np.float64),
        "instants": sample.instants,
    }  # fmt: skip


def write_shard(
    folder: Path, shard: int, config: SynthesisConfig, load: LoadPhoto, photos: int, seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:  # fmt: skip
    """Draw and write one shard, whole or not at all.

    Raises:
        UsageError: it cannot be written (disk full, no permission).
    """
    path = shard_path(folder, shard)
    out: dict[str, NDArray[Any]] = {}
    stack = EdiStack()
    for k in range(PER_SHARD):
        index = shard * PER_SHARD + k
        sample = make(config, load, photos, seed, index)
        out.update({f"{k}.{name}": a for name, a in arrays(sample, stack, seed, index).items()})
        progress(k + 1)
    part = own_part(path)
    try:
        # One entry: several are written in an order that changes from process to process.
        about = {"halfmirror.samples": f"version {VERSION}, seed {seed}, from {shard * PER_SHARD}"}
        # By ourselves: files that safetensors makes are their maker's alone, whatever the umask says.
        part.write_bytes(save(out, about))
        os.replace(part, path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; free some space") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def write_about(folder: Path, what: dict[str, Any]) -> bool:
    """State what the pool in `folder` is made of; True: it is there as an older version drew it.

    Raises:
        UsageError: the folder holds another pool, or cannot be written.
    """
    path = folder / ABOUT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            found = _about(path)
            if found != what:
                if found.get("version") in _READ and {**found, "version": VERSION} == what:
                    return True
                raise UsageError(
                    f"{folder} holds a pool of other photos, seed or settings; choose another folder"
                )
            return False
        part = own_part(path)
        part.write_text(json.dumps(what, indent=1), encoding="utf-8")
        os.replace(part, path)
        return False
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is damaged ({error}); remove the folder, or choose another one") from error


def _about(path: Path) -> dict[str, Any]:
    """Raises `OSError`, and `ValueError` where it is no table."""
    found = parse_json(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no table")
    return found


class Pool:
    """A pool for reading. Picklable: files are opened where they are used.

    Args:
        folder: written by `halfmirror synthesise`.

    Raises:
        UsageError: no pool there, another version, or no shard.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.about = _about(folder / ABOUT)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{folder} is no pool of samples; make one: halfmirror synthesise -o DIR"
            ) from error
        if self.about.get("version") not in _READ:
            raise UsageError(f"{folder} was made by another version; make it anew: halfmirror synthesise")
        self.shards = sorted(folder.glob("shard-*.safetensors"))
        if not self.shards:
            raise UsageError(f"{folder} holds no samples yet; make some: halfmirror synthesise -o {folder}")
        try:
            self._size, self._instants = (int(self.about["synthesis"][k]) for k in ("size", "instants"))
        except (ValueError, LookupError, TypeError) as error:
            raise UsageError(
                f"{folder / ABOUT} is damaged; make the pool anew: halfmirror synthesise"
            ) from error
        self._open: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.shards) * PER_SHARD

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    @property
    def _remedy(self) -> str:
        if self.about.get("version") == VERSION:
            return "remove it: halfmirror synthesise makes it anew"
        return (
            "it is of an older version and cannot be made anew; make another pool: halfmirror synthesise -o DIR"
        )

    @property
    def instants(self) -> int:
        """Sharp pictures of each sample."""
        return self._instants

    @property
    def side(self) -> int:
        """Of a sample, image pixels."""
        return self._size

    def read(self, index: int, instant: int) -> dict[str, NDArray[Any]]:
        """One sample at one instant: frame, truth, edi (C, H, W), stack (CHANNELS, h, w), facts."""
        file, k = self._file(index)
        return {
            "frame": file.get_tensor(f"{k}.frame"), "facts": file.get_tensor(f"{k}.facts"),
            **{name: file.get_slice(f"{k}.{name}")[instant] for name in ("truth", "edi", "stack")},
        }  # fmt: skip

    def read_all(self, index: int) -> dict[str, NDArray[Any]]:
        """One sample at all its instants: truth, edi and stack have them in front."""
        file, k = self._file(index)
        return {name: file.get_tensor(f"{k}.{name}") for name in ("frame", "truth", "edi", "stack", "facts")}

    def _file(self, index: int) -> tuple[Any, int]:
        shard, k = divmod(index, PER_SHARD)
        if shard not in self._open:
            try:
                self._open[shard] = safe_open(self.shards[shard], framework="numpy")
            except (OSError, SafetensorError) as error:
                raise UsageError(f"{self.shards[shard]} is damaged ({error}); {self._remedy}") from error
        return self._open[shard], k


def _planes(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W[, 3]) → (N, C, H, W)."""
    return np.ascontiguousarray(np.moveaxis(pictures, -1, 1) if pictures.ndim == 4 else pictures[:, None])
