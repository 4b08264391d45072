"""A restorer's whole work on a device as one CUDA graph: from an exposure's events and frame to 8-bit pictures.

A GPU does in microseconds what it takes the host ten times as long to ask for. A graph is asked for once; but
it repeats what was recorded with the same sizes, at the same addresses. So what an exposure brings is copied
into memory of its own, its events into the front of a longer list, and where they begin and end is told by
numbers beside them (`inference.representations.pixel_runs_torch`).
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from capture.packets import Events
from inference.representations.pixel_runs_torch import since_start
from inference.representations.scatter_torch import pixel_of, to_device, to_host
from inference.restorers.compiling import Capture, on_cuda

log = logging.getLogger(__name__)

LEAST_EVENTS = 1 << 16
GROWTH = 4
"""Lists of events have room for `LEAST_EVENTS`, or `GROWTH` times as many, and so on."""
KEPT = 8
"""Recordings that are kept: one for each length of list, kind of frame and choice of instants. When there are
so many, a kind is recorded the second time that it is met: one that passes by must not cost others theirs."""
_MET = 32
_ALIGN = 256

Given = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What one exposure brings to the device.

    Attributes:
        events: (N,) arrays by name, N at least 1. Of the list that the work gets, what lies behind them is
            undefined.
        fixed: arrays by name, of the same shapes for every exposure of a kind.
        about: all else on which the work depends.
    """

    events: Mapping[str, NDArray[Any]]
    fixed: Mapping[str, Any]
    about: tuple[Any, ...] = ()

    @property
    def room(self) -> int:
        """Length of the list that the events go into."""
        count, room = len(next(iter(self.events.values()))), LEAST_EVENTS
        while room < count:
            room *= GROWTH
        return room


def events_of(events: Events, start_us: int) -> dict[str, NDArray[Any]]:
    """Columns of events as `Asked.events`: pixels, polarity, µs since the exposure's start (int32)."""
    # Not every device has uint16 and bool from the host; the bits travel.
    return {
        "x": events.x.view(np.int16), "y": events.y.view(np.int16), "on": events.p.view(np.uint8),
        "since": since_start(events.t, start_us),
    }  # fmt: skip


def cells_of(given: Given, width: int, height: int) -> Tensor:
    """(N,) int64 the pixel of each event of `events_of` on the sensor, row by row; −1 beside it."""
    x, y = (given[name].to(torch.int32) & 0xFFFF for name in ("x", "y"))
    return pixel_of(x, y, width, height)


def sent(asked: Asked, device: torch.device) -> dict[str, Tensor]:
    """Everything on the device, as long as it is: for work that is not recorded."""
    every = {**asked.events, **asked.fixed}
    if device.type == "mps":  # it has no float64
        every = {name: a.astype(np.float32) if a.dtype == np.float64 else a for name, a in every.items()}
    return {name: to_device(a, device) for name, a in every.items()}


def packed(pictures: Tensor, good: Tensor) -> Tensor:
    """Pictures (uint8) and one truth value as one flat tensor, so that one copy brings both to the host."""
    return torch.cat([pictures.flatten(), good.to(torch.uint8).view(1)])


class Recorder:
    """Records work for each kind of exposure, and replays it.

    Args:
        device: a CUDA device.
        capture: see `compiling.on_cuda`; None: that, all recordings sharing their memory.
    """

    def __init__(self, device: torch.device, capture: Capture | None = None) -> None:
        self._device = device
        # Results are taken to the host before anything else is replayed.
        self._capture = capture or partial(on_cuda, pool=torch.cuda.graph_pool_handle())
        self._known: OrderedDict[Any, _Recording] = OrderedDict()
        self._met: deque[Any] = deque(maxlen=_MET)
        self._able = True

    @property
    def able(self) -> bool:
        """False after work could not be recorded."""
        return self._able

    @property
    def kinds(self) -> int:
        """Recordings that are kept now."""
        return len(self._known)

    def forget(self) -> None:
        """The work will not be the same any more."""
        self._known.clear()

    def __call__(
        self, asked: Asked, work: Callable[[Given], Tensor], plain: Callable[[Given], Tensor] | None = None
    ) -> NDArray[np.uint8] | None:
        """What the work gives for this exposure; None: it is not recorded, for now or at all.

        Args:
            asked: the exposure.
            work: of the tensors by name; must depend on nothing else but `asked.about`, must not wait for the
                device, and gives (M,) uint8.
            plain: the same, not compiled; None: `work` is not.
        """
        shapes = tuple((name, a.shape, a.dtype.str) for name, a in asked.fixed.items())
        kind = (asked.room, shapes, asked.about)
        if kind not in self._known:
            if len(self._known) >= KEPT and kind not in self._met:
                self._met.append(kind)
                return None
            recording = self._record(asked, work, plain or work)
            if recording is None:
                return None
            self._known[kind] = recording
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(kind)
        staged, result, replay, _ = self._known[kind]
        with _on(self._device):
            staged.send(asked)
            replay()
            found: NDArray[np.uint8] = to_host(result)
        return found

    def _record(
        self, asked: Asked, work: Callable[[Given], Tensor], plain: Callable[[Given], Tensor]
    ) -> _Recording | None:
        staged = _Staged(asked, self._device)
        staged.send(asked)
        try:
            with _on(self._device):
                plain(staged.tensors)  # makes the tables that are kept
                with _Used() as used:
                    plain(staged.tensors)
                return (*(staged, *self._capture(lambda: work(staged.tensors))), used.tensors)
        except (
            RuntimeError
        ) as e:  # of memory too: what is done step by step takes less, and can be done in tiles
            log.warning("a restoration could not be recorded as a graph: %s", str(e).splitlines()[0])
            self._able = False
            return None


def _on(device: torch.device) -> AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


class _Used(TorchDispatchMode):
    """Keeps the tensors that are used inside and were there before: a recording knows their addresses only."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._made: set[int] = set()
        self._kept: dict[int, Tensor] = {}

    @property
    def tensors(self) -> list[Tensor]:
        """Weights, tables, what was given."""
        return list(self._kept.values())

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Every operation comes here."""
        for x in tree_leaves((args, kwargs)):
            if isinstance(x, Tensor) and (its := _storage(x)) not in self._made:
                self._kept.setdefault(its, x)
        out = func(*args, **(kwargs or {}))
        self._made.update(_storage(x) for x in tree_leaves(out) if isinstance(x, Tensor))
        self._made.difference_update(self._kept)
        return out


def _storage(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)


# What comes in, what comes out, how it is done again, and what must live as long.
_Recording = tuple["_Staged", Tensor, Callable[[], None], list[Tensor]]


class _Staged:
    """Memory for what exposures of one kind bring, on the host and on the device: one copy brings all."""

    def __init__(self, asked: Asked, device: torch.device) -> None:
        sizes = {name: (a.dtype, (asked.room,)) for name, a in asked.events.items()}
        sizes |= {name: (a.dtype, a.shape) for name, a in asked.fixed.items()}
        places, total = {}, 0
        for name, (dtype, shape) in sizes.items():
            places[name] = total
            total += -(-dtype.itemsize * int(np.prod(shape)) // _ALIGN) * _ALIGN
        self._here = torch.zeros(total, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._there = torch.zeros(total, dtype=torch.uint8, device=device)
        bytes_ = self._here.numpy()
        given = {**asked.events, **asked.fixed}
        self._views: dict[str, NDArray[Any]] = {}
        self.tensors: dict[str, Tensor] = {}
        for name, (dtype, shape) in sizes.items():
            part = slice(places[name], places[name] + dtype.itemsize * int(np.prod(shape)))
            self._views[name] = bytes_[part].view(dtype).reshape(shape)
            # Events over and over, not zeros behind them: what is added to one pixel has to queue.
            self._views[name][...] = np.resize(given[name], shape)
            kind = torch.from_numpy(np.empty(0, dtype)).dtype
            self.tensors[name] = self._there[part].view(kind).view(shape)

    def send(self, asked: Asked) -> None:
        """Bring an exposure of this kind to the device. The one before must have been dealt with."""
        for name, a in asked.events.items():
            self._views[name][: len(a)] = a
        for name, a in asked.fixed.items():
            self._views[name][...] = a
        self._there.copy_(self._here, non_blocking=True)
