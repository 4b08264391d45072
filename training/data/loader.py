"""The loader: worker processes that make samples, and how long the trainer waited for them."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from capture.cores import usable_cores
from capture.errors import HalfmirrorError
from training.errors import TrainingError

_MOST_WORKERS = 16
_ALIVE_S = 2.0  # between looks whether the trainer is still there
_TERMINALS = (signal.SIGINT, signal.SIGHUP)
"""What a terminal sends to the whole group; SIGTERM comes so, too, from `timeout` or a service manager."""


def worker_count(wanted: int | None, processes: int = 1) -> int:
    """Workers of one process: as wanted, else what `processes` trainers leave of this machine's cores."""
    if wanted is not None:
        return wanted
    cores = usable_cores()
    return max(1, min(_MOST_WORKERS, (cores - processes) // processes))


class WaitingTime:
    """Seconds that `next` took since they were last asked for."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count a wait."""
        self._seconds += seconds

    def take(self) -> float:
        """The seconds, and begin anew."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


class TimedLoader(DataLoader[Any]):
    """A DataLoader over lists of indices that counts how long its user waits.

    Args:
        data: map-style; see `training.task.TrainingData`.
        batches: lists of indices, in order.
        workers: processes; 0: samples are made where they are used.
        prefetch: batches that each worker keeps ready.
        pin: into page-locked memory, for a GPU.
        waiting: where waits are counted.
        stop: asked before each batch; True: no more are given.
    """

    def __init__(
        self,
        data: Any,
        batches: Iterable[list[int]],
        *,
        workers: int = 0,
        prefetch: int = 2,
        pin: bool = False,
        waiting: WaitingTime | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.waiting, self._stop = waiting, stop
        super().__init__(
            cast("Dataset[Any]", _Speaking(data)), batch_sampler=cast(Any, batches), num_workers=workers,
            collate_fn=collate, pin_memory=pin, prefetch_factor=prefetch if workers else None,
            persistent_workers=workers > 0, worker_init_fn=functools.partial(quiet_worker, trainer=os.getpid()),
            multiprocessing_context=_workers_context() if workers else None,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        with _born_deaf() if self.num_workers else contextlib.nullcontext():
            inner = super().__iter__()
        while not self._stop():
            began = time.perf_counter()
            try:
                batch = next(inner)
            except StopIteration:
                return
            except (RuntimeError, EOFError, ConnectionError) as error:
                if _worker_died(error):
                    raise TrainingError(
                        "a process that makes samples died, most likely for want of memory: set data.workers "
                        "or data.prefetch lower, then --resume"
                    ) from error
                raise
            if self.waiting is not None:
                self.waiting.add(time.perf_counter() - began)
            if isinstance(batch, _Fault):
                raise TrainingError(batch.text)
            yield batch


def _workers_context() -> Any:
    """Forks of a clean process that has PyTorch loaded, once, for all workers.

    A fork of the trainer itself would copy the locks of its threads as they happen to be.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _worker_died(error: Exception) -> bool:
    """Whether an error means that, and is none which the samples' own code raised in a worker."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker (pid")
    return "in DataLoader worker process" not in str(error)  # a connection to it broke


class _Fault:
    """An error with a message for a person, on its way out of a worker."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Speaking:
    """Samples of a data set; its own errors as a value, since PyTorch would put a traceback into their text."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def __getitems__(self, indices: list[int]) -> Any:
        try:
            if hasattr(self._data, "__getitems__"):
                return self._data.__getitems__(indices)
            return [self._data[i] for i in indices]
        except HalfmirrorError as error:
            return _Fault(str(error))


def collate(samples: Any) -> Any:
    """Samples → a batch; what a data set made as a batch itself stays as it is."""
    return default_collate(samples) if isinstance(samples, list) else samples


def quiet_worker(_: int, trainer: int) -> None:
    """In a worker: Ctrl+C, a hangup and the first SIGTERM are the trainer's business; it gets one thread.

    It ends with its trainer, whatever ends that: its parent is the server that forked it, which never tells.
    """
    threading.Thread(target=_end_with, args=(trainer,), name="orphan", daemon=True).start()
    for number in _TERMINALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _first_is_not_ours)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*_TERMINALS, signal.SIGTERM})
    torch.set_num_threads(1)


def _end_with(trainer: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.kill(trainer, 0)
            time.sleep(_ALIVE_S)
    os._exit(1)


def _first_is_not_ours(number: int, frame: FrameType | None) -> None:
    """A second one ends the worker: that is how one that hangs is got rid of."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _born_deaf() -> Iterator[None]:
    """Processes started meanwhile hear no signal to the whole group; this one hears it afterwards.

    It is for the server that forks the workers, which never listens again: without it they end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        # Where it is started, SIGINT and SIGTERM are heard again.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {*_TERMINALS, signal.SIGTERM})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
