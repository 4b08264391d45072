"""LDN of S-SDM as a restorer, on spikes that are derived from the blurry frame and events.

K. Chen et al., NeurIPS 2024; the module is `inference.networks.s_sdm_ldn`. An extension: the network was made
for a spike camera, and neither paper nor code covers event cameras. Its spikes are intensities; here they are
reconstructed with the event-based double integral (`inference.representations.spikes_derived`) and every
picture says so.

What to expect of the published weights: less than of `edi`, which they are given inside. PSNR in dB on the
simulated presets, blurred / EDI / LDN: davis 23.3 / 31.4 / 23.9, handheld 19.0 / 21.8 / 21.1, traffic
27.4 / 30.3 / 27.4.
On `davis` the true light in place of derived spikes gives the same, so it is the network that ends there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from capture.packets import Events
from inference.representations import spikes_derived_numba, spikes_derived_torch
from inference.representations.double_integral import Contrast
from inference.representations.pixel_runs_torch import ThresholdsThere, counts_between, placed
from inference.representations.scatter_torch import some
from inference.representations.spikes import RADIUS, SPIKES_PER_FRAME, frame_of
from inference.representations.spikes_derived import ticks
from inference.restorers.base import LatentTimes, Needs
from inference.restorers.contrast_learner import CONTRAST_OPTIONS
from inference.restorers.contrast_options import ContrastRestorer
from inference.restorers.edi_pictures_torch import hot_pixels as hot_pixels_there
from inference.restorers.padding import crop, pad_to, pad_to_multiple, round_up
from inference.restorers.pictures import ColourOrder, of_codes
from inference.restorers.placement import SAMPLE_ABOVE, coverage, event_view, sample
from inference.restorers.ratio_filter import hot_pixels
from inference.restorers.recording import Asked, Given, cells_of, events_of
from inference.restorers.tiled import TiledRestorer
from inference.restorers.work import Work
from inference.tone import Tone
from sync.geometry import image_to_event_grid
from sync.rig import Rig

CELL = 4  # image pixels along one side of a spike pixel
# B, G, R: the gray of S-SDM.
GRAY = (0.11, 0.59, 0.3)
# Ten ticks of 96 reach beyond an exposure's ends: enough for exposures of up to 96 ms.
MARGIN_US = 10_000

DERIVED_FLAG = "spikes derived from events"
MARGIN_FLAG = "events beside the exposure missing"


class LdnRestorer(ContrastRestorer, TiledRestorer):
    """LDN for one rig.

    Options beside the shared ones:
        contrast, contrast_on, contrast_off: of the event sensor, as for `edi`; see
            `contrast_learner.CONTRAST_OPTIONS`.
        tile: see `TiledRestorer`; at least 128. In tiles the channel attention takes mean and maximum of its
            tile in place of the whole picture's: results change everywhere, and may differ from tile to tile.

    An instant is served by the nearest of the 97 ticks of an exposure, so it is off by half a tick (1/192 of
    the exposure) at most. Instants near the ends look up to ten ticks beyond them.
    """

    name = "s-sdm-ldn"
    network = "s-sdm-ldn"
    multiple = CELL
    autocast = ("float16", "bfloat16")
    own = (*CONTRAST_OPTIONS, "tile")
    overlap = 64
    needs = Needs(
        margin_before_us=MARGIN_US, margin_after_us=MARGIN_US, latent=LatentTimes.ANY,
        note="blurry frame + spikes, here derived from events: an extension; any instant",
    )  # fmt: skip

    @property
    def representation(self) -> str:
        """See `NeuralRestorer`."""
        return "spikes"

    @property
    def order(self) -> ColourOrder:
        """See `NeuralRestorer`."""
        return "bgr"

    def _infer_whole(self, work: Work) -> Tensor:
        exact = self.tensors([work.pictures[work.index]])
        return self._through(exact, self._spikes(work, exact), [frame_of(f) for f in work.at])

    def _through(self, exact: Tensor, spikes: Tensor, at: Sequence[int]) -> Tensor:
        """The network on a picture (1, 3, H, W) and the spikes around some ticks."""
        height, width = exact.shape[-2:]
        image = pad_to_multiple(exact, CELL, self.padding)
        net = self.net
        radius = self._radius
        row = {frame: k for k, frame in enumerate(_around(at, radius))}
        out = []
        for first in range(0, len(at), self.batch):
            part = at[first : first + self.batch]
            windows = torch.stack([spikes[row[i - radius] : row[i + radius] + 1] for i in part])
            windows = windows.contiguous(memory_format=torch.channels_last)
            images = image.expand(len(part), -1, -1, -1).contiguous(memory_format=torch.channels_last)
            out.append(crop(self.tiled(net, [images, windows], [1, CELL]), height, width))
        return torch.cat(out)

    # -- spikes

    @property
    def _radius(self) -> int:
        """Spike frames that the weights take before and after an instant's."""
        return int(self.built_with.get("spike_dim", 2 * RADIUS + 1)) // 2

    def _frames(self, instants: tuple[float, ...]) -> list[int]:
        """The spike frames that the instants are seen through, ascending."""
        return _around([frame_of(f) for f in instants], self._radius)

    def _spikes(self, work: Work, image: Tensor) -> Tensor:
        """(T, h, w) on the padded picture's cells: what a spike camera would be expected to send."""
        rig, a, gray = work.rig, work.exposure, _gray(image)
        events = _without_hot_pixels(a.events, a.exposure_events())
        contrast, frames = self._contrast(work), self._frames(work.at)
        level = np.asarray(image_to_event_grid(gray.numpy(), rig), np.float32)
        span = (a.exposure.start_us, a.exposure.end_us)
        light = spikes_derived_numba.intensity(
            level, events, *span, contrast, frames=frames, tone=self._spike_tone
        )
        stream = torch.from_numpy(spikes_derived_numba.derived_spikes(light).frames)
        return self._on_cells(stream, gray, rig)

    def _ask(self, work: Work) -> Asked:
        a = work.exposure
        start, end = a.exposure.start_us, a.exposure.end_us
        contrast, events = self._contrast(work), some(a.events)
        told = spikes_derived_torch.bounds_around(events.t, start, end, self._frames(work.at))
        fixed: dict[str, Any] = dict(zip(("before", "within", "after"), told, strict=True))
        fixed["numbers"] = np.array([end - start, contrast.on, contrast.off], np.float64)
        fixed["picture"] = work.pictures[work.index]
        ticks_ = [frame_of(f) for f in work.at]
        # Which ticks they are, the bounds tell; the work goes by where they lie to each other.
        return Asked(events_of(events, start), fixed, tuple(i - min(ticks_) for i in ticks_))

    def _answer(self, given: Given, about: tuple[int, ...]) -> Tensor:
        rig, width, height = self.rig, self.rig.events.width, self.rig.events.height
        exact = of_codes(given["picture"][None], self.order, self.tone)
        gray, within = _gray(exact), given["within"]
        length, on, off = given["numbers"].unbind()
        e = placed(cells_of(given, width, height), given["on"], width * height)
        counts = counts_between(e, torch.stack([within[0], within[-1]])).sum((0, 1), dtype=torch.int32)
        e = e.without(hot_pixels_there(counts.view(height, width)).flatten())
        light = spikes_derived_torch.light_of(event_view(gray, rig), self._spike_tone)
        bounds = (given["before"], within, given["after"])
        stream = spikes_derived_torch.of_placed(
            e, given["since"], bounds, length, ThresholdsThere(on, off), light, self._spike_tone
        ).float()
        return self._through(exact, self._on_cells(stream * SPIKES_PER_FRAME, gray, rig), about)

    @property
    def _spike_tone(self) -> Tone:
        return "linear" if self.rig.image.tone == "linear" and self.tone == "srgb" else "srgb"

    def _contrast(self, work: Work) -> Contrast:
        """As known, after this exposure had its say; with all notes on what the spikes are made of."""
        a = work.exposure
        if not self._rehearsing:
            self._learner.learn(a, work.pictures[work.index], work.rig)
        self._note(DERIVED_FLAG)
        if self._learner.assumed:
            self._note("contrast assumed")
        times = ticks(a.exposure.start_us, a.exposure.end_us)[self._frames(work.at)]
        if times[0] < a.window_start_us or times[-1] >= a.window_end_us:
            self._note(MARGIN_FLAG)
        return self._learner.contrast

    def _on_cells(self, stream: Tensor, gray: Tensor, rig: Rig) -> Tensor:
        """From the event sensor's pixels to cells of 4×4 image pixels, on the padded picture."""
        height, width = gray.shape
        # Sampled no coarser than an event pixel, then averaged: nothing is aliased.
        fine = next(c for c in (4, 2, 1) if c == 1 or c <= SAMPLE_ABOVE * rig.scale)
        if rig.identity:
            fine = 1
        else:
            seen = coverage(rig, fine, stream.device)
            stream = sample(stream, rig, fine)
            if seen is not None:
                # Where no event pixel looks, the blurry frame itself is all that is known, as spikes.
                rest = SPIKES_PER_FRAME * pad_to(
                    gray, seen.shape[-2] * fine, seen.shape[-1] * fine, self.padding
                )
                stream = stream * seen + F.avg_pool2d(rest[None], fine) * (1 - seen)
        rows, columns = round_up(height, CELL) // fine, round_up(width, CELL) // fine
        return F.avg_pool2d(pad_to(stream, rows, columns, self.padding), CELL // fine)


def _around(at: Sequence[int], radius: int) -> list[int]:
    return sorted({i + k for i in at for k in range(-radius, radius + 1)})


def _gray(image: Tensor) -> Tensor:
    """(H, W) float32 of (1, 3, H, W) in the order B, G, R."""
    b, g, r = GRAY
    return (b * image[0, 0] + g * image[0, 1] + r * image[0, 2]).float()


def _without_hot_pixels(events: Events, inside: Events) -> Events:
    """Events without those of pixels that fire all the time; see `ratio_filter.hot_pixels`."""
    hot: NDArray[np.bool_] = hot_pixels(inside)
    if not hot.any():
        return events
    keep = ~hot[events.y, events.x]
    return Events(events.t[keep], events.x[keep], events.y[keep], events.p[keep], events.width, events.height)
