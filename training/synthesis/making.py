"""Makes a pool with several worker processes: shards in any order, each whole or absent."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.cores import usable_cores
from capture.errors import UsageError
from training.photos.held_out import kept_of
from training.processes import processes
from training.synthesis import pool
from training.synthesis.config import SynthesisConfig

_AHEAD = 2  # shards handed to each worker before its first is done


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made.

    Attributes:
        folder: of the pool.
        count: samples; rounded up to whole shards.
        config, seed: of the samples.
        photos: what `training.photos.open_photos` gives.
        workers: processes; 0: one for each core.
    """

    folder: Path
    count: int
    config: SynthesisConfig
    seed: int
    photos: Any
    workers: int = 0

    @property
    def shards(self) -> int:
        """Whole shards."""
        return -(-self.count // pool.PER_SHARD)


def make_pool(order: Order, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
    """Make what is missing of a pool; gives the number of samples drawn now.

    Shards that are there stay: an interrupted call goes on where it stopped, and a larger count grows the pool.
    Photos that are held out for validation are left out.

    Raises:
        UsageError: another pool is in the folder, or one of an older version that lacks samples; a photo cannot
        be read any more, or a shard cannot be written. KeyboardInterrupt: stopped; finished shards stay.
    """
    photos = order.photos
    older = pool.write_about(order.folder, pool.about(order.config, order.seed, photos.fingerprint))
    missing = [s for s in range(order.shards) if not pool.shard_path(order.folder, s).exists()]
    if missing and older:
        raise UsageError(
            f"{order.folder} holds a pool that was drawn by an older version: it can be read, not added to; "
            "choose another folder"
        )
    have = order.shards - len(missing)
    progress(have * pool.PER_SHARD, order.shards * pool.PER_SHARD)
    workers = min(order.workers or usable_cores(), max(1, len(missing)))
    done = 0
    with processes(workers, _begin, order) as executor:
        coming = iter(missing)
        running: set[Future[int]] = {
            executor.submit(_shard, s) for s in itertools.islice(coming, workers * _AHEAD)
        }
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                done += 1
                progress((have + done) * pool.PER_SHARD, order.shards * pool.PER_SHARD)
                running |= {executor.submit(_shard, s) for s in itertools.islice(coming, 1)}
    return done * pool.PER_SHARD


_order: Order | None = None
_load: Any = None


def _begin(order: Order) -> None:
    """In a worker: one thread, and the photos kept as they are decoded."""
    import signal

    import cv2
    import torch

    from training.synthesis.photo_cache import PhotoCache

    global _order, _load
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _order, _load = order, PhotoCache(order.photos, kept_of(len(order.photos)))


def _shard(shard: int) -> int:
    assert _order is not None
    if not len(_load):
        raise UsageError("no photos to draw from")
    pool.write_shard(_order.folder, shard, _order.config, _load.load, len(_load), _order.seed)
    return shard
