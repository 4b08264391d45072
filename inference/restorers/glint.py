"""glint as a restorer: our own network. Any instant, any size, gray or colour, any event scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capture.packets import Events
from inference.networks.glint import Glint
from inference.representations import edi_stack_torch
from inference.representations.edi_stack import follow
from inference.representations.edi_stack_numba import EdiStack
from inference.restorers.base import LatentTimes, Needs
from inference.restorers.contrast_options import ContrastRestorer
from inference.restorers.edi import event_from_image
from inference.restorers.glint_cpu import CELL, compose, pack
from inference.restorers.neural import Work
from inference.restorers.padding import crop, pad_to_multiple
from inference.restorers.picture import picture_of
from inference.restorers.pictures import ColourOrder
from inference.restorers.placement import represent
from inference.restorers.ratio_filter import REFINE
from inference.restorers.refine import refine, refine_tensor, refined
from sync.exposure import AlignedExposure
from sync.geometry import scaled_homography
from sync.rig import Rig

SRGB_POWER = 1 / 2.2
"""Of light, in the values of an sRGB picture: the curve's power over most of its range."""


class GlintRestorer(ContrastRestorer):
    """glint for one rig. Options: the shared ones.

    grid: "image" (default, or "auto"): the stack of ratios and counts is made on the event pixels, refined
        (`glint_cpu.refine`) and sampled at each image pixel; "event": the picture is brought onto the event
        pixels, and what the network changed there is brought back. The latter is several times faster where
        events are coarse, and no better than EDI.

    contrast, contrast_on, contrast_off: of the event sensor, see `contrast_learner.CONTRAST_OPTIONS`. The
        network begins with the double integral at this contrast and corrects it pixel by pixel; it need not be
        exact.
    """

    name = "glint"
    network = "glint"
    multiple = 8
    autocast = ("float16", "bfloat16")
    grids = ("auto", "image", "event")
    needs = Needs(
        latent=LatentTimes.ANY, note="blurry frame + events of its exposure; any instant; no settings"
    )

    def __init__(self, rig: Rig, options: Mapping[str, Any] | None = None, device: str = "auto") -> None:
        self._stack = EdiStack()
        super().__init__(rig, options, device)

    @property
    def representation(self) -> str:
        """See `NeuralRestorer`."""
        return "edi-stack"

    @property
    def order(self) -> ColourOrder:
        """See `NeuralRestorer`."""
        return "rgb"

    def on_event_grid(self) -> bool:
        """See the class's option "grid"."""
        return self.options.get("grid", "auto") == "event" and not self.rig.identity

    def _network_pictures(
        self, window: Sequence[AlignedExposure], at: tuple[float, ...], picture: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], bool]:
        """See `NeuralRestorer`; on a CPU the way in and out is `glint_cpu`'s, where it applies."""
        net = self.net
        if not (isinstance(net, Glint) and self._plain(net)):
            return super()._network_pictures(window, at, picture)
        a = window[0]
        span = (a.exposure.start_us, a.exposure.end_us)
        times = [a.exposure.time_at(f) for f in at]
        stacks = self._stack.stacks(a.exposure_events(), *span, times)
        m = None if self.rig.identity else event_from_image(self.rig)
        if m is not None and refined(self.rig):
            m = scaled_homography(REFINE) @ m
        start = self._follow(a, picture)
        images, bad = np.empty((len(at), *picture.shape), np.uint8), 0
        for k, stack in enumerate(stacks):
            packed = pack(picture, refine(stack, self.rig), start, m, self.multiple, self.padding)
            with torch.inference_mode():
                # Rows of channels are a channels-last tensor as they lie.
                y = net.features(torch.from_numpy(packed).permute(2, 0, 1)[None])
                rows = y[0].permute(1, 2, 0).contiguous().numpy()
            images[k], lost = compose(picture, packed, rows)
            bad += lost
        return images, bad > 0

    def _plain(self, net: Glint) -> bool:
        """The picture goes in as stored, in float32, on a CPU, at the image's resolution."""
        return (
            self.device.type == "cpu" and self.dtype == torch.float32 and self.tone == "srgb"
            and net.cell == CELL and net.output == "ratio" and not self.on_event_grid()
        )  # fmt: skip

    def _infer(self, work: Work) -> Tensor:
        height, width = work.pictures[work.index].shape[:2]
        image = pad_to_multiple(self.tensors([work.pictures[work.index]]), self.multiple, self.padding)
        events = work.exposure.exposure_events()
        # The contrast is the camera's, so it is learnt on its own picture, not on one brought elsewhere.
        own = picture_of(work.exposure.frame)
        start = torch.from_numpy(self._follow(work.exposure, own)).to(image.device)
        out = []
        for first in range(0, len(work.at), self.batch):
            times = work.times_us[first : first + self.batch]
            stack = represent(events, work.rig, 1, partial(self._stacks, work=work, times=times))
            stack = pad_to_multiple(stack, self.multiple, self.padding)
            stack = stack.contiguous(memory_format=torch.channels_last)
            frames = image.expand(len(times), -1, -1, -1).contiguous(memory_format=torch.channels_last)
            out.append(crop(self.net(frames, stack, start.expand(len(times), -1)), height, width))
        return torch.cat(out)

    def _follow(self, a: AlignedExposure, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How the log ratios are followed to begin with: by the contrast as known, and the rig's tone."""
        if not self._rehearsing:
            self._learner.learn(a, picture, self.rig)
        if self._learner.assumed:
            self._note("contrast assumed")
        found = self._learner.contrast
        coded = self.rig.image.tone == "srgb" or self.tone == "linear"
        return follow(math.sqrt(found.on * found.off), SRGB_POWER if coded else 1.0)

    def _use_rig(self, rig: Rig) -> None:
        if rig is not self.rig and rig != self.rig:
            super()._use_rig(rig)
            if not self._rehearsing:
                self._learner.use_rig(rig)
                self._changed()

    def _stacks(self, events: Events, work: Work, times: tuple[int, ...]) -> Tensor:
        """(L, CHANNELS, h, w) on the device."""
        span = (work.exposure.exposure.start_us, work.exposure.exposure.end_us)
        if self.device.type == "cpu":
            stacks = torch.from_numpy(self._stack.stacks(events, *span, times))
        else:
            stacks = edi_stack_torch.stacks(events, *span, times, self.device)
        # Sampling goes by shares of the width and the height, so a finer map needs nothing else.
        return refine_tensor(stacks) if refined(work.rig) else stacks
