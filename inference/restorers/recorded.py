"""Restorers whose whole work on a GPU can be recorded as a graph, from the events to the 8-bit picture."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.restorers.compiling import compiled
from inference.restorers.neural import NeuralRestorer
from inference.restorers.pictures import codes_of
from inference.restorers.precision import narrowed
from inference.restorers.recording import LEAST_EVENTS, Asked, Given, Recorder, packed, sent
from inference.restorers.work import Work
from sync.exposure import AlignedExposure
from sync.rig import Rig


class RecordedRestorer(NeuralRestorer):
    """A network as a restorer that can tell apart what the host does with an exposure and what the device does.

    On a CUDA device all that the device does is recorded and replayed, unless the option "compile" says False
    or True. What depends on the picture beyond that is done as ever: tiles, the event grid, float32 after an
    overflow, a watcher.
    """

    def __init__(
        self, rig: Rig, options: Mapping[str, Any] | None = None, device: str = "auto",
        weights: Path | None = None,
    ) -> None:  # fmt: skip
        self._recorder: Recorder | None = None
        super().__init__(rig, options, device, weights)

    @abstractmethod
    def _ask(self, work: Work) -> Asked | None:
        """The host's part: what the device is to be given. None: this work cannot be told apart."""

    @abstractmethod
    def _answer(self, given: Given, about: tuple[Any, ...]) -> Tensor:
        """The device's part: as `_infer`, from what was asked. Must not wait for the device.

        Args:
            given: the arrays of `Asked` by name; behind the events there may lie others that do not count.
            about: of `Asked`.
        """

    @abstractmethod
    def _infer_whole(self, work: Work) -> Tensor:
        """As `_infer`, where the two parts cannot be told apart: on a CPU, on the event grid."""

    def _infer(self, work: Work) -> Tensor:
        """See `NeuralRestorer`: one part after the other, unrecorded."""
        asked = None if self.uses_numba or self.on_event_grid() else self._ask(work)
        if asked is None:
            return self._infer_whole(work)
        return self._answer(sent(asked, self.device), asked.about)

    def _rehearsed(self) -> tuple[int, ...]:
        """See `NeuralRestorer`: the lists of events that most cameras will ask for are recorded beforehand."""
        return (1, LEAST_EVENTS + 1) if self._records() else super()._rehearsed()

    def _network_pictures(
        self, window: Sequence[AlignedExposure], at: tuple[float, ...], picture: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], bool]:
        """See `NeuralRestorer`; replayed where it can be."""
        found = self._replayed(window, at, picture) if self._records() else None
        # What is not finite is worth a second look, which is slower.
        return super()._network_pictures(window, at, picture) if found is None else (found, False)

    def _records(self) -> bool:
        return (
            self.device.type == "cuda" and self.options.get("compile", "auto") in ("auto", "graphs", "both")
            and not self.on_event_grid() and not self._overflowed and self._watcher is None
            and (self._recorder is None or self._recorder.able) and self._whole()
        )  # fmt: skip

    def _whole(self) -> bool:
        """Pictures are restored whole, not in tiles."""
        return True

    def _replayed(
        self, window: Sequence[AlignedExposure], at: tuple[float, ...], picture: NDArray[np.uint8]
    ) -> NDArray[np.uint8] | None:
        asked = self._ask(self._work(window, at, picture))
        if asked is None:
            return None
        self._load()
        net, gray, about = self._net, picture.ndim == 2, asked.about
        assert net is not None

        def work(given: Given, run: Any) -> Tensor:
            # A graph within a graph cannot be recorded.
            kept, self._run = self._run, run
            try:
                with torch.inference_mode(), narrowed(self.device, self.dtype, self.tuned):
                    values = self._answer(given, about).float()
            finally:
                self._run = kept
            with torch.inference_mode():
                return packed(codes_of(values, self.order, self.tone, gray=gray), values.isfinite().all())

        if self._recorder is None:
            self._recorder = self._new_recorder()
        flat = self._recorder(
            asked,
            lambda given: work(given, compiled(net, self.compile == "both")),
            lambda given: work(given, net),
        )
        if flat is None or not flat[-1] or not self._whole():
            return None
        return flat[:-1].reshape(len(at), *picture.shape)

    def _new_recorder(self) -> Recorder:
        return Recorder(self.device)

    def _changed(self) -> None:
        super()._changed()
        self._forget()

    def _use_rig(self, rig: Rig) -> None:
        if rig is not self.rig and rig != self.rig:
            self._forget()
        super()._use_rig(rig)

    def _forget(self) -> None:
        if self._recorder is not None:
            self._recorder.forget()
