"""GEM as a restorer: the sharp picture of any instant, with events at their own resolution.

X. Zhang et al., ICCV 2023; the module is `inference.networks.gem`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.packets import Events
from inference.representations import eger_torch
from inference.representations.eger import Spans, runs
from inference.representations.eger_numba import Eger
from inference.restorers.base import LatentTimes, Needs
from inference.restorers.padding import crop, pad_to, pad_to_multiple
from inference.restorers.pictures import ColourOrder, of_codes
from inference.restorers.placement import represent, represent_there
from inference.restorers.recording import Asked, Given, cells_of, events_of
from inference.restorers.tiled import TiledRestorer
from inference.restorers.work import Work

BINS = 16
LEVELS = 16  # the coarsest features are this many times smaller than picture and events alike


class GemRestorer(TiledRestorer):
    """GEM for one rig.

    Option beside the shared ones:
        tile: see `TiledRestorer`; at least 512. The network has no operator over the whole picture: only what a
            pixel sees from beyond a quarter of the overlap is missing.

    The network wants picture and events to cover the same view edge to edge, one a whole number of times
    as fine as the other. Events are therefore counted on square cells of the image: as many image pixels
    wide as an event pixel, rounded. Where that is nearly true of the rig already (mirrored and turned a
    little, as a beam splitter leaves it) every event moves to the cell under it and counts stay whole; where
    it is not, the counts are sampled (`placement.represent`).

    The picture is encoded once for all instants of a batch.
    """

    name = "gem"
    network = "gem"
    multiple = LEVELS
    own = ("tile",)
    overlap = 256
    autocast = ("float16", "bfloat16")
    needs = Needs(
        latent=LatentTimes.ANY, note="blurry frame + events of its exposure, at any resolution; any instant"
    )

    @property
    def representation(self) -> str:
        """See `NeuralRestorer`."""
        return "eger"

    @property
    def order(self) -> ColourOrder:
        """See `NeuralRestorer`."""
        return "bgr"

    @property
    def cell(self) -> int:
        """Image pixels along one side of a cell of events."""
        return max(1, round(self.rig.scale))

    @property
    def tile_multiple(self) -> int:
        """See `TiledRestorer`: on both grids the levels halve as in the whole picture."""
        return LEVELS * self.cell

    def _infer_whole(self, work: Work) -> Tensor:
        out, exact = [], self.tensors([work.pictures[work.index]])
        events = work.exposure.exposure_events()
        for first in range(0, len(work.at), self.batch):
            times = work.times_us[first : first + self.batch]
            counts = represent(events, work.rig, self.cell, partial(self._eger, work=work, times=times))
            out.append(self._through(exact, counts))
        return torch.cat(out)

    def _through(self, exact: Tensor, counts: Tensor) -> Tensor:
        """The network on a picture (1, 3, H, W) and counts (L, 96, h, w) on its cells."""
        height, width = exact.shape[-2:]
        # Both sides a multiple of 16 on both grids: then the levels halve evenly and stay aligned.
        image = pad_to_multiple(exact, self.tile_multiple, self.padding)
        net = self.net
        rows, columns = image.shape[-2] // self.cell, image.shape[-1] // self.cell
        counts = pad_to(counts, rows, columns, self.padding).contiguous(memory_format=torch.channels_last)
        latent = self.tiled(lambda image, counts: net(counts, image)[0], [image, counts], [1, self.cell])
        return crop(latent, height, width)

    def _eger(self, events: Events, work: Work, times: tuple[int, ...]) -> Tensor:
        """(L, 96, h, w) on the CPU."""
        exposure = work.exposure.exposure
        counter = Eger(events.width, events.height, (exposure.start_us, exposure.end_us), bins=BINS)
        counter.push(events)
        return torch.from_numpy(counter.results([(t, t) for t in times]))

    def _ask(self, work: Work) -> Asked:
        exposure, events = work.exposure.exposure, work.exposure.exposure_events()
        blur = (exposure.start_us, exposure.end_us)
        told = [eger_torch.bounds_of(runs(events.t, Spans(blur, (t, t), BINS))) for t in work.times_us]
        fixed = {"bounds": np.stack(told), "picture": work.pictures[work.index]}
        return Asked(events_of(events, exposure.start_us), fixed)

    def _answer(self, given: Given, about: tuple[Any, ...]) -> Tensor:
        pixel = cells_of(given, self.rig.events.width, self.rig.events.height)
        exact = of_codes(given["picture"][None], self.order, self.tone)
        out = []
        for bounds in torch.split(given["bounds"], self.batch):
            make = partial(eger_torch.of_placed, on=given["on"], bounds=bounds)
            counts = represent_there(pixel, self.rig, self.cell, make)
            out.append(self._through(exact, counts))
        return torch.cat(out)
