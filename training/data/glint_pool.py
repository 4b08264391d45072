"""Samples of a pool for glint: one after the other from the files, or all of them in a device's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from inference.networks.glint import COLOURS
from inference.representations.edi_stack import CHANNELS
from inference.restorers.ratio_filter import FINER_FROM
from inference.restorers.refine import refine_tensor
from training.data.order import Epochs, draws
from training.synthesis.pool import Pool, fingerprint

if TYPE_CHECKING:
    from training.task import Batch

SAMPLING = "cubic"
"""How coarse maps come onto the image's pixels; part of the data's fingerprint."""
_MOST = 0.6  # of a device's free memory may be taken for samples
_READERS = 4
_TOGETHER = 512  # samples that are brought to a device at a time


class Pooled:
    """Samples of a pool, in a new order each time through, turned and mirrored."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.pool = Pool(folder)
        self._order = Epochs(len(self.pool), seed)
        self._seed = seed

    def __getitem__(self, index: int) -> Batch:
        place, instant, turn = (int(x[0]) for x in self.chosen([index]))
        return tensors(self.pool.read(place, instant), turn)

    def chosen(self, indices: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Which sample of the pool stands at each index, which of its instants, how it is turned (0 … 7)."""
        places = np.array([self._order.place(i) for i in indices], np.int64)
        instants = draws(self._seed, indices, 1) % np.uint64(self.pool.instants)
        return (
            places,
            instants.astype(np.int64),
            (draws(self._seed, indices, 2) >> np.uint64(61)).astype(np.int64),
        )

    def fingerprint(self) -> str:
        """See `TrainingData`."""
        return f"{fingerprint(self.pool.about)}-{len(self.pool)}-{SAMPLING}"

    def resident(self, device: torch.device) -> Resident | None:
        """The same samples, kept on the device; None where they do not fit."""
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if Resident.nbytes(self.pool) > _MOST * free:
                return None
        return Resident(self, device)


class Resident:
    """A pool on a device: what `Pooled` gives, in whole batches, without worker processes.

    A GPU takes a network of glint's size through thousands of samples a second; files and processes on the CPU
    give it some hundreds.
    """

    def __init__(self, source: Pooled, device: torch.device) -> None:
        self._source, self._device = source, device
        pool, side, per = source.pool, source.pool.side, source.pool.instants
        total = len(pool) * per

        def empty(n: int, channels: int, dtype: torch.dtype) -> Tensor:
            return torch.empty((n, channels, side, side), dtype=dtype, device=device)

        self._frame = empty(len(pool), COLOURS, torch.uint8)
        self._pictures = {name: empty(total, COLOURS, torch.uint8) for name in ("edi", "truth")}
        self._stack = empty(total, CHANNELS, torch.float16)
        begins = range(0, len(pool), _TOGETHER)
        with ThreadPoolExecutor(_READERS) as readers:

            def asked(first: int) -> list[Future[dict[str, NDArray[Any]]]]:
                return [
                    readers.submit(pool.read_all, k) for k in range(first, min(first + _TOGETHER, len(pool)))
                ]

            # The next ones are read meanwhile, and no more: a pool need not fit into the host's memory.
            coming = asked(0)
            for first in begins:
                now, coming = coming, asked(first + _TOGETHER)
                self._take(first, [f.result() for f in now])

    def _take(self, first: int, samples: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Put samples of the pool from number `first` on where they belong, in few and large steps."""
        per, side = self._source.pool.instants, self._source.pool.side
        last = first + len(samples)
        frames = np.empty((len(samples), COLOURS, side, side), np.uint8)
        for k, one in enumerate(samples):
            frames[k] = one["frame"]
        self._frame[first:last] = torch.from_numpy(frames).to(self._device)
        for name, whole in self._pictures.items():
            pictures = np.empty((len(samples), per, COLOURS, side, side), np.uint8)
            for k, one in enumerate(samples):
                pictures[k] = one[name]
            whole[first * per : last * per] = torch.from_numpy(pictures).to(self._device).flatten(0, 1)
        sizes: dict[tuple[int, ...], list[int]] = {}
        for k, one in enumerate(samples):
            sizes.setdefault(one["stack"].shape[-2:], []).append(k)
        for of_one_size in sizes.values():
            maps = torch.from_numpy(np.concatenate([samples[k]["stack"] for k in of_one_size])).to(self._device)
            places = torch.tensor([(first + k) * per + i for k in of_one_size for i in range(per)])
            found = onto_picture(maps.float(), (side, side)).half()
            self._stack[places.to(self._device)] = found

    @staticmethod
    def nbytes(pool: Pool) -> int:
        """What a pool takes on a device, about."""
        return len(pool) * pool.side**2 * (COLOURS + pool.instants * 2 * (COLOURS + CHANNELS))

    def __getitem__(self, index: int) -> Batch:
        return {name: x[0] for name, x in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A batch on the device, in the order of the indices."""
        places, instants, turns = self._source.chosen(indices)
        at = torch.from_numpy(places * self._source.pool.instants + instants).to(self._device)
        scene, turn = (torch.from_numpy(x).to(self._device) for x in (places, turns))
        batch = {"frame": self._frame[scene], **{n: x[at] for n, x in self._pictures.items()}}
        return {name: turned(x, turn) for name, x in (*batch.items(), ("stack", self._stack[at]))}

    def fingerprint(self) -> str:
        """See `TrainingData`."""
        return self._source.fingerprint()


def tensors(one: Mapping[str, NDArray[Any]], turn: int) -> dict[str, Tensor]:
    """A sample on the image's pixels with three channels, in one of the eight ways to turn and mirror it.

    All channels of the stack are scalars, so they turn as the picture does.
    """
    maps = torch.from_numpy(np.asarray(one["stack"], np.float32))
    stack = onto_picture(maps[None], one["frame"].shape[-2:])[0].half()
    whole = {k: torch.from_numpy(one[k]).expand(COLOURS, -1, -1) for k in ("frame", "edi", "truth")}
    way = torch.tensor([turn])
    return {name: turned(x[None], way)[0].contiguous() for name, x in (*whole.items(), ("stack", stack))}


def onto_picture(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) → (N, C, *size), as the restorer samples the event grid.

    Refined where it is clearly coarser, then bilinearly, both covering the view edge to edge.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    finer = refine_tensor(maps) if size[-1] > FINER_FROM * maps.shape[-1] else maps
    return F.interpolate(finer, size, mode="bilinear", align_corners=False)


def turned(x: Tensor, turn: Tensor) -> Tensor:
    """(N, C, H, H), each item in one of eight ways.

    Args:
        turn: (N,) 0 … 7: mirrored across where bit 0 is set, along where bit 1 is, and transposed at last where
            bit 2 is.
    """
    bit = [((turn >> k) & 1).bool().view(-1, 1, 1, 1) for k in range(3)]
    x = torch.where(bit[0], x.flip(-1), x)
    x = torch.where(bit[1], x.flip(-2), x)
    return torch.where(bit[2], x.transpose(-1, -2), x)
