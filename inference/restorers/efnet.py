"""EFNet as a restorer: the sharp picture of the middle of an exposure.

L. Sun et al., ECCV 2022; the module is `inference.networks.efnet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.packets import Events
from inference.representations import mask_torch, scer_numba, scer_torch, voxel_numba, voxel_torch
from inference.representations.coding import Columns, Mode
from inference.representations.normalise import by_deviation, by_maximum, by_percentile
from inference.representations.scer import bounds
from inference.representations.voxel import scaled_times
from inference.restorers.base import LatentTimes, Needs
from inference.restorers.neural_options import one_of
from inference.restorers.padding import crop, pad_to_multiple
from inference.restorers.pictures import ColourOrder, of_codes
from inference.restorers.placement import represent, represent_there
from inference.restorers.recording import Asked, Given, cells_of, events_of
from inference.restorers.tiled import TiledRestorer
from inference.restorers.work import Work

# From this many image pixels per event pixel the event grid is the cheaper one by more than its square.
EVENT_GRID_FROM = 1.5
BINS = 6


class EfnetRestorer(TiledRestorer):
    """EFNet for one rig.

    Options beside the shared ones:
        grid: "image": the events' representation is brought onto the image's pixels. "event": the picture is
            brought onto the event sensor's pixels, and what the network changes there is added to the frame.
            "auto" (default): "event" on the CPU where an event pixel is wider than `EVENT_GRID_FROM` image
            pixels, else "image". At scale 4 the event grid costs a sixteenth, and events and picture meet at
            the resolution at which EFNet was trained. What it cannot restore is detail finer than an event
            pixel; still, a perfect network there would gain 5.7 dB on the simulated `handheld` and 5.5 dB on
            `traffic` (EDI gains 3.1 and 2.5).
        representation: "scer" or "voxel" (weights trained on HighREV); "auto" (default): as the weights' card
            says. Weights that know the other one are refused.
        channel_order: "bgr" (GoPro and REBlur) or "rgb" (HighREV); "auto" (default): as the card says.
        normalise: "maximum" (as published), "percentile" (for sensors with hot pixels; 1 and 99), of SCER. The
            voxel grid is always normalised by mean and deviation.
        mask: True (with SCER, as published), False (always with the voxel grid).
        mode: "relative" (as published on a clock of its own), "corrected".
            Of these three the default is what the weights' card says that they were trained with, else the
            first.
        tile: see `TiledRestorer`; at least 256. In tiles the attention between the channels of picture and
            events knows its tile alone, not the whole picture as it was trained: results change everywhere, and
            may differ from tile to tile.
    """

    name = "efnet"
    network = "efnet"
    multiple = 4
    autocast = ("float16", "bfloat16")
    grids = ("image", "event")
    own = ("representation", "channel_order", "normalise", "mask", "mode", "tile")
    overlap = 128
    needs = Needs(
        latent=LatentTimes.FIXED, fixed_latents=(0.5,),
        note="blurry frame + events of its exposure; the middle of the exposure only",
    )  # fmt: skip

    @property
    def representation(self) -> str:
        """See `NeuralRestorer`."""
        chosen = str(self.options.get("representation", "auto"))
        if chosen == "auto":
            chosen = "scer" if self.card is None else self.card.representation
        return "voxel" if chosen == "voxel" else "scer"

    @property
    def order(self) -> ColourOrder:
        """See `NeuralRestorer`."""
        chosen = str(self.options.get("channel_order", "auto"))
        if chosen == "auto":
            chosen = "bgr" if self.card is None else self.card.channel_order
        return "rgb" if chosen == "rgb" else "bgr"

    def on_event_grid(self) -> bool:
        """See the class's option "grid"."""
        grid = self.options.get("grid", "auto")
        if grid == "auto":
            grid = "event" if self.device.type == "cpu" and self.rig.scale > EVENT_GRID_FROM else "image"
        return grid == "event" and not self.rig.identity

    def _check_own(self, options: Mapping[str, Any]) -> None:
        super()._check_own(options)
        for option, choices in (
            ("representation", ("auto", "scer", "voxel")),
            ("channel_order", ("auto", "bgr", "rgb")),
            ("normalise", ("maximum", "percentile")),
            ("mask", (False, True)),
            ("mode", ("relative", "corrected")),
        ):
            if option in options:
                one_of(self.name, option, options[option], choices)

    def _infer_whole(self, work: Work) -> Tensor:
        counts = represent(work.exposure.exposure_events(), work.rig, 1, lambda e: self._counts(e, work))
        return self._through(self.tensors([work.pictures[work.index]]), counts)

    def _ask(self, work: Work) -> Asked | None:
        exposure, events = work.exposure.exposure, work.exposure.exposure_events()
        columns, picture = events_of(events, exposure.start_us), work.pictures[work.index]
        if self.representation == "voxel":
            if self._mode is Mode.CORRECTED:
                return None
            columns["scaled"] = scaled_times(events.t, BINS, relative=self._mode is Mode.RELATIVE)
            return Asked(columns, {"count": np.array([len(events)]), "picture": picture})
        if self._normalise == "percentile":
            return None
        at = bounds(Columns.of(events), exposure.start_us, exposure.end_us, BINS, self._mode)
        return Asked(columns, {"bounds": at, "picture": picture})

    def _answer(self, given: Given, about: tuple[Any, ...]) -> Tensor:
        pixel = cells_of(given, self.rig.events.width, self.rig.events.height)
        make = (
            partial(scer_torch.of_placed, on=given["on"], at=given["bounds"], zero_middle=self._seven)
            if self.representation == "scer"
            else partial(
                voxel_torch.of_placed, on=given["on"], scaled=given["scaled"], count=given["count"], bins=BINS
            )
        )
        counts = represent_there(pixel, self.rig, 1, make)
        return self._through(of_codes(given["picture"][None], self.order, self.tone), counts)

    def _through(self, exact: Tensor, counts: Tensor) -> Tensor:
        """The network on a picture (1, 3, H, W) and counts (6 or 7, H, W)."""
        height, width = exact.shape[-2:]
        image = pad_to_multiple(exact, self.multiple, self.padding)
        masks: list[Tensor] = []
        if self.representation == "scer" and self._option("mask", True):
            mask = (mask_torch.event_mask(counts) != 0).to(image.dtype)
            masks = [pad_to_multiple(mask[None], self.multiple, self.padding)]
        event = pad_to_multiple(self._normal(counts)[None], self.multiple, self.padding)
        event = event.contiguous(memory_format=torch.channels_last)
        net = self.net
        return crop(self.tiled(lambda *parts: net(*parts)[-1], [image, event, *masks]), height, width)

    def _counts(self, events: Events, work: Work) -> Tensor:
        """(6 or 7, h, w) on the device."""
        span = (work.exposure.exposure.start_us, work.exposure.exposure.end_us)
        scer = self.representation == "scer"
        more = {"zero_middle": self._seven} if scer else {}
        if self.uses_numba:
            numba_ = scer_numba.scer if scer else voxel_numba.voxel_grid
            return torch.from_numpy(numba_(events, *span, mode=self._mode, **more))
        torch_ = scer_torch.scer if scer else voxel_torch.voxel_grid
        return torch_(events, *span, mode=self._mode, device=self.device, **more)

    @property
    def _seven(self) -> bool:
        """Weights of the first release: an empty channel lies between the halves of SCER."""
        return bool(self.built_with.get("ev_chn", BINS) == BINS + 1)

    @property
    def _mode(self) -> Mode:
        return Mode(self._option("mode", "relative"))

    @property
    def _normalise(self) -> str:
        return str(self._option("normalise", "maximum"))

    def _normal(self, counts: Tensor) -> Tensor:
        if self.representation == "voxel":
            return by_deviation(counts)
        return by_percentile(counts) if self._normalise == "percentile" else by_maximum(counts)
