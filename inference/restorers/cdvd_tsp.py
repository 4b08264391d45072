"""CDVD-TSP as a restorer: the sharp picture of a frame from it and its four neighbours, without events.

J. Pan, H. Bai, J. Tang, CVPR 2020, arXiv 2004.02501; the module is `inference.networks.cdvd_tsp`, its way
through a stream `inference.restorers.cdvd_stream`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from capture.errors import UsageError
from capture.packets import Frame
from inference.networks.cdvd_tsp import CDVDTSP, Known
from inference.restorers.base import LatentTimes, Needs
from inference.restorers.cdvd_stream import MULTIPLE, TILE_MULTIPLE, TILE_OVERLAP, CdvdStream, Stages
from inference.restorers.neural import NeuralRestorer
from inference.restorers.neural_options import whole_number
from inference.restorers.padding import crop, pad_to_multiple
from inference.restorers.pictures import ColourOrder
from inference.restorers.tiling import tile_option
from inference.restorers.work import Work
from sync.exposure import AlignedExposure

FARTHEST = 100  # ordinals; beyond, a neighbour shows another scene


class CdvdTspRestorer(NeuralRestorer):
    """CDVD-TSP for one rig. It looks two frames ahead: the picture lags two frames behind the newest.

    In a stream each frame takes up what was computed for the ones before: one triple of either stage a frame,
    the same bits as the network gives for all five. An exposure that is restored again, such as a held one,
    uses what is known and leaves the stream as it was.

    A neighbour that is missing (superseded, refused, lost: the ordinals jump) would double the motion, which
    the network does not expect; the frame next to the gap then stands in for all beyond it, as the authors
    advise, and the picture is flagged. Where nearly every frame has gaps beside it, because the machine is too
    slow for the camera, `reach` admits neighbours from farther away.

    Options beside the shared ones:
        reach: largest jump of ordinals between neighbours, 1 (default) … 100. What was computed before a larger
            jump is dropped.
        tile: None (default): whole pictures; or a side in pixels, at least 256: computed in tiles where the
            memory is short. Motion that leaves a tile's overlap of 128 pixels is not found, see
            `inference.restorers.tiling`.
        compile: True, but no graphs: what is computed of a stream differs from frame to frame.

    Flow, warps and the prior run in float32 whatever the type of the rest.
    """

    name = "cdvd-tsp"
    network = "cdvd-tsp"
    multiple = MULTIPLE
    # Not bfloat16: it changed the picture by 0.9 grey levels rms, 0.16 dB at 35 dB (results/precision.md).
    autocast = ("float16",)
    own = ("reach", "tile")
    tuned = True  # its float32 flow would else run by way of Fourier transforms, at half the speed on an H200
    needs = Needs(
        frames_before=2, frames_after=2, events=False, latent=LatentTimes.FIXED, fixed_latents=(0.5,),
        stateful=True, note="5 blurry frames, no events; lags two frames; the middle of the exposure only",
    )  # fmt: skip

    _stream: CdvdStream | None = None
    _newest: tuple[int, int] | None = None  # epoch and ordinal of the stream's newest restored frame

    @property
    def representation(self) -> str:
        """See `NeuralRestorer`."""
        return "none"

    @property
    def order(self) -> ColourOrder:
        """See `NeuralRestorer`."""
        return "rgb"

    def reset(self) -> None:
        """Forget all frames."""
        self._newest = None
        if self._stream is not None:
            self._stream.reset()

    def _check_own(self, options: Mapping[str, Any]) -> None:
        whole_number(self.name, "reach", options.get("reach", 1), 1, FARTHEST)
        tile_option(options.get("tile"), self.name, TILE_MULTIPLE, TILE_OVERLAP)
        if (mode := options.get("compile", "auto")) not in ("auto", False, True):
            raise UsageError(
                f"{self.name}: compile {mode}: a stream runs parts of the network, which have no graphs; "
                "give true or false"
            )

    def _changed(self) -> None:
        # Whatever was computed under other options (padding, tone, tiles) must not meet what follows.
        self._stream, self._newest = None, None

    def _infer(self, work: Work) -> Tensor:
        reach = int(self.options.get("reach", 1))
        window = without_holes(work.window, work.index, reach)
        self._tell(window)
        pictures = {e.frame: p for e, p in zip(work.window, work.pictures, strict=True)}

        def tensor(frame: Any) -> Tensor:
            return pad_to_multiple(self.tensors([pictures[frame]]), self.multiple, self.padding)

        # A frame object is its own key: equal keys are equal pictures, whatever became of ordinals.
        frames: list[Frame] = [e.frame for e in window]
        height, width = pictures[frames[work.index]].shape[:2]
        # Restored again, such as a held one: what is known serves it, and stays as it is for the stream.
        here = (work.exposure.frame.epoch, work.exposure.ordinal)
        keep = self._newest is None or here > self._newest  # epochs count up
        # What a gap cuts off is in no window any more, so the stream drops it by itself.
        out = self._ready_stream().run(frames, tensor, keep=keep)
        if keep:
            self._newest = here
        return crop(out, height, width)

    def _tell(self, window: Sequence[AlignedExposure]) -> None:
        missing = len(window) - len({e.frame for e in window})
        if missing:
            self._note(f"{missing} of {len(window) - 1} neighbours missing, nearer frames repeated")
        farthest = max(b.ordinal - a.ordinal for a, b in pairwise(window))
        if farthest > 1:
            self._note(f"neighbours up to {farthest} frames apart")

    def _ready_stream(self) -> CdvdStream:
        if self._stream is None:
            self._load()
            net = self._net
            assert isinstance(net, CDVDTSP)
            stages: Stages = _Compiled(net) if self.compile else net
            tile = tile_option(self.options.get("tile"), self.name, TILE_MULTIPLE, TILE_OVERLAP)
            self._stream = CdvdStream(stages, tile)
        return self._stream


class _Compiled:
    """The two functions that a stream calls, compiled; the module's own `forward` is never used."""

    def __init__(self, net: CDVDTSP) -> None:
        self._know: Any = torch.compile(net.know, dynamic=False)
        self._restore: Any = torch.compile(net.restore, dynamic=False)

    def know(self, frame: Tensor) -> Known:
        """See `CDVDTSP.know`."""
        out: Known = self._know(frame)
        return out

    def restore(self, previous: Known, centre: Known, following: Known) -> Tensor:
        """See `CDVDTSP.restore`."""
        out: Tensor = self._restore(previous, centre, following)
        return out


def without_holes(window: Sequence[AlignedExposure], index: int, reach: int) -> list[AlignedExposure]:
    """The window with what lies beyond a gap replaced by the frame before it, seen from the middle.

    Args:
        window: exposures in order of time; repeated ones are no gap.
        index: of the middle.
        reach: the largest jump of ordinals that is no gap.
    """
    out = list(window)
    for i in range(index - 1, -1, -1):
        if not _near(window[i], window[i + 1], reach):
            out[: i + 1] = [window[i + 1]] * (i + 1)
            break
    for i in range(index + 1, len(window)):
        if not _near(window[i - 1], window[i], reach):
            out[i:] = [window[i - 1]] * (len(window) - i)
            break
    return out


def _near(a: AlignedExposure, b: AlignedExposure, reach: int) -> bool:
    return a.frame.epoch == b.frame.epoch and 0 <= b.ordinal - a.ordinal <= reach
