"""glint as a restorer: our own network. Any instant, any size, gray or colour, any event scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capture.errors import UsageError
from capture.packets import Events
from inference import store
from inference.networks.glint import Glint
from inference.representations import edi_stack_torch
from inference.representations.double_integral import Contrast
from inference.representations.edi_stack import CHANNELS, KNOWN, light_ratios
from inference.representations.edi_stack_numba import EdiStack
from inference.representations.halfway_torch import set_back
from inference.representations.pixel_runs_torch import Thresholds, ThresholdsThere, placed
from inference.representations.scatter_torch import some, to_device
from inference.restorers import edi_pictures_torch
from inference.restorers.base import LatentTimes, Needs
from inference.restorers.contrast_options import ContrastRestorer
from inference.restorers.contrast_pairs import MARGIN_US
from inference.restorers.edi_pictures import EdiPictures
from inference.restorers.glint_cpu import CELL, compose, pack
from inference.restorers.neural_options import one_of
from inference.restorers.padding import crop, pad_to_multiple
from inference.restorers.picture import picture_of
from inference.restorers.pictures import ColourOrder, of_codes
from inference.restorers.placement import sample
from inference.restorers.precision import narrowed
from inference.restorers.ratio_filter import REFINE
from inference.restorers.recorded import RecordedRestorer
from inference.restorers.recording import Asked, Given, cells_of, events_of
from inference.restorers.refine import refine, refine_tensor, refined
from inference.restorers.self_ensemble import COUNTS, self_ensemble
from inference.restorers.work import Work
from sync.exposure import AlignedExposure
from sync.geometry import event_from_image, scaled_homography
from sync.rig import Rig

SRGB_POWER = 1 / 2.2
"""Of light, in the values of an sRGB picture: the curve's power over most of its range."""

_STACK_BYTES, _STACKS_BYTES = 4 * CHANNELS, 256 << 20
"""Of one stack, an event pixel; and of those that are made at a time, whatever slow motion asks for."""

CAMERA_TONES = ("auto", "srgb", "linear")
AS_THEY_COME, HALFWAY = "edi-stack", "edi-stack-halfway"
"""When events count for the weights: see `halfway`. The first ones were trained on the former."""


def toned(rig: Rig, tone: str) -> Rig:
    """A rig whose frames have another tone curve: "srgb" or "linear"."""
    return rig.model_copy(update={"image": rig.image.model_copy(update={"tone": tone})})


class GlintRestorer(RecordedRestorer, ContrastRestorer):
    """glint for one rig. Options: the shared ones.

    grid: "image" (default, or "auto"): the stack of ratios and counts is made on the event pixels, refined
        (`refine.refine`) and sampled at each image pixel; "event": the picture is brought onto the event
        pixels, and what the network changed there is brought back. The latter is several times faster where
        events are coarse, and no better than EDI.

    camera_tone: how the frames' values follow light: "srgb" or "linear"; "auto" (default): as the weights' card
        says, where they were adapted to a rig whose file was wrong about it, else as the rig says.

    self_ensemble: 1 (default), 2, 4, 8: mean over so many turned and mirrored copies, which takes so many times
        as long; see `self_ensemble`.

    representation: "edi-stack": events count when they come; "edi-stack-halfway": half-way to their neighbours;
        "auto" (default): as the weights' card says. Weights that know the other one are refused.

    contrast, contrast_on, contrast_off: of the event sensor, see `contrast_learner.CONTRAST_OPTIONS`. The
        network begins with EDI's picture at this contrast and corrects it pixel by pixel; it need not be exact.
    """

    name = "glint"
    network = "glint"
    multiple = 8
    autocast = ("float16", "bfloat16")
    grids = ("auto", "image", "event")
    own = (*ContrastRestorer.own, "camera_tone", "self_ensemble", "representation")
    feeds_margins = False
    needs = Needs(
        margin_before_us=MARGIN_US,  # for the contrast, which is learnt across the gap between exposures
        latent=LatentTimes.ANY,
        note="blurry frame + events of its exposure; any instant; no settings",
    )

    def __init__(
        self, rig: Rig, options: Mapping[str, Any] | None = None, device: str = "auto",
        weights: Path | None = None,
    ) -> None:  # fmt: skip
        self._stack = EdiStack()
        self._edi: tuple[Rig, EdiPictures] | None = None
        self._given = rig
        self._toned: tuple[Rig, Rig] | None = None
        self._adapted_to, self._known = "", HALFWAY
        super().__init__(rig, options, device, weights)
        if not self.random_weights and (card := store.installed(self.network, weights)):
            self._adapted_to = card.camera_tone
            self._known = AS_THEY_COME if card.representation == AS_THEY_COME else HALFWAY
        self._use_rig(rig)

    @property
    def camera_tone(self) -> str:
        """By option or card; "": as the rig says."""
        chosen = str(self.options.get("camera_tone", "auto"))
        return self._adapted_to if chosen == "auto" else chosen

    @property
    def representation(self) -> str:
        """See `NeuralRestorer`."""
        chosen = str(self.options.get("representation", "auto"))
        return self._known if chosen == "auto" else chosen

    @property
    def _halfway(self) -> bool:
        return self.representation == HALFWAY

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
        span, events = (a.exposure.start_us, a.exposure.end_us), a.exposure_events()
        times = [a.exposure.time_at(f) for f in at]
        contrast = self._contrast(a, picture)
        m = None if self.rig.identity else event_from_image(self.rig)
        if m is not None and refined(self.rig):
            m = scaled_homography(REFINE) @ m
        images, bad = np.empty((len(at), *picture.shape), np.uint8), 0
        pixels = self.rig.events.width * self.rig.events.height
        together = max(1, _STACKS_BYTES // (_STACK_BYTES * pixels))
        for first in range(0, len(at), together):
            now = times[first : first + together]
            stacks = self._stack.stacks(events, *span, now, contrast, self.power, self._halfway)
            pictures = self._edi_pictures(picture, stacks[:, KNOWN], events, contrast, self.rig)
            for k, stack in enumerate(stacks):
                packed = pack(picture, pictures[k], refine(stack, self.rig), m, self.multiple, self.padding)
                with torch.inference_mode(), narrowed(self.device, self.dtype):
                    # Rows of channels lie channels last, if the single picture's stride is the largest.
                    y = net.features(torch.from_numpy(packed)[None].permute(0, 3, 1, 2))
                    rows = y[0].permute(1, 2, 0).float().contiguous().numpy()
                images[first + k], lost = compose(picture, pictures[k], packed, rows)
                bad += lost
        return images, bad > 0

    def _plain(self, net: Glint) -> bool:
        """Pictures as stored, seen by nobody else, in a type of full range, on a CPU, on the image's pixels."""
        return (
            self.uses_numba and self.dtype != torch.float16 and self.tone == "srgb" and net.cell == CELL
            and net.output == "ratio" and not self.on_event_grid() and self._copies == 1
            and self._watcher is None
        )  # fmt: skip

    def _infer_whole(self, work: Work) -> Tensor:
        exact = self.tensors([work.pictures[work.index]])
        events = work.exposure.exposure_events()
        # The contrast is the camera's, so it is learnt on its own picture, not on one brought elsewhere.
        contrast = self._contrast(work.exposure, picture_of(work.exposure.frame))
        out = []
        for first in range(0, len(work.at), self.batch):
            times = work.times_us[first : first + self.batch]
            stacks = self._stacks(events, work, times, contrast)
            edi = self._edi_tensors(work, stacks, events, contrast)
            out.append(self._through(exact, edi, stacks, work.rig))
        return torch.cat(out)

    def _through(self, exact: Tensor, edi: Tensor, stacks: Tensor, rig: Rig) -> Tensor:
        """The network on a picture (1, 3, H, W), EDI's pictures (L, 3, H, W) and stacks (L, …) of events."""
        height, width = exact.shape[-2:]
        last = torch.channels_last
        image = pad_to_multiple(exact, self.multiple, self.padding)
        # Sampling goes by shares of the width and the height, so a finer map needs nothing else.
        maps = refine_tensor(stacks) if refined(rig) else stacks
        maps = maps if rig.identity else sample(maps, rig)
        maps = pad_to_multiple(maps, self.multiple, self.padding).contiguous(memory_format=last)
        begun = pad_to_multiple(edi, self.multiple, self.padding)
        frames = image.expand(len(stacks), -1, -1, -1).contiguous(memory_format=last)
        given = (frames, begun.contiguous(memory_format=last), maps)
        return crop(self_ensemble(self.net, given, self._copies), height, width)

    def _ask(self, work: Work) -> Asked | None:
        if not edi_pictures_torch.serves(self.rig):
            return None
        a, events = work.exposure, some(work.exposure.exposure_events())
        start, end = a.exposure.start_us, a.exposure.end_us
        contrast = self._contrast(a, picture_of(a.frame))
        bounds = edi_stack_torch.bounds_around(events.t, start, end, work.times_us)
        numbers = np.array([end - start, contrast.on, contrast.off], np.float64)
        fixed = {"bounds": bounds, "numbers": numbers, "picture": work.pictures[work.index]}
        if self._halfway:
            fixed["instants"] = edi_stack_torch.instants_around(start, end, work.times_us)
        return Asked(events_of(events, start), fixed)

    def _answer(self, given: Given, about: tuple[Any, ...]) -> Tensor:
        width, height = self.rig.events.width, self.rig.events.height
        e = placed(cells_of(given, width, height), given["on"], width * height)
        since, rows = given["since"], given["bounds"]
        if self._halfway:
            e, since, rows = set_back(e, since, rows, given["instants"])
        length, on, off = given["numbers"].unbind()
        contrast, picture = ThresholdsThere(on, off), given["picture"]
        exact, out = of_codes(picture[None], self.order, self.tone), []
        for bounds in torch.split(rows, self.batch):
            stacks = edi_stack_torch.of_placed(e, since, bounds, length, contrast, self.power)
            stacks = stacks.view(len(bounds), -1, height, width)
            made = self._edi_there(picture, stacks, contrast, self.rig)
            out.append(self._through(exact, of_codes(made, self.order, self.tone), stacks, self.rig))
        return torch.cat(out)

    @property
    def _copies(self) -> int:
        return int(self.options.get("self_ensemble", 1))

    @property
    def told(self) -> tuple[Contrast, float]:
        """Contrast and power of the tone curve, as the network is told them now."""
        return self._learner.contrast, self.power

    @property
    def power(self) -> float:
        """Of light, in the values that the network is fed."""
        return SRGB_POWER if self.rig.image.tone == "srgb" or self.tone == "linear" else 1.0

    def _contrast(self, a: AlignedExposure, picture: NDArray[np.uint8]) -> Contrast:
        """As known, after this exposure had its say."""
        if not self._rehearsing:
            self._learner.learn(a, picture, self.rig)
        if self._learner.assumed:
            self._note("contrast assumed")
        if self._toned is not None and self.rig is self._toned[1]:
            self._note(f"frames taken as {self.rig.image.tone}, the rig says {self._toned[0].image.tone}")
        return self._learner.contrast

    def _edi_tensors(self, work: Work, stacks: Tensor, events: Events, contrast: Contrast) -> Tensor:
        """(L, 3, H, W) EDI's pictures as the network takes them, made on the device where it can."""
        picture = work.pictures[work.index]
        if self.uses_numba or not edi_pictures_torch.serves(work.rig):
            logs = stacks[:, KNOWN].numpy(force=True)
            return self.tensors(list(self._edi_pictures(picture, logs, events, contrast, work.rig)))
        made = self._edi_there(to_device(picture, self.device), stacks, contrast, work.rig)
        return of_codes(made, self.order, self.tone)

    def _edi_there(self, picture: Tensor, stacks: Tensor, contrast: Thresholds, rig: Rig) -> Tensor:
        """(L, …) as the picture: EDI's pictures, made on the device."""
        counts = edi_stack_torch.event_counts(stacks[0])
        logs = stacks[:, KNOWN] / self.power
        return edi_pictures_torch.pictures(picture, logs, counts, contrast, rig)

    def _edi_pictures(
        self, picture: NDArray[np.uint8], logs: NDArray[np.float32], events: Events, contrast: Contrast,
        rig: Rig,
    ) -> NDArray[np.uint8]:  # fmt: skip
        """(L, …) EDI's pictures, of its log ratios (L, h, w) as the stacks hold them."""
        if self._edi is None or (self._edi[0] is not rig and self._edi[0] != rig):
            self._edi = (rig, EdiPictures(rig))
        return self._edi[1].pictures(picture, light_ratios(logs, self.power), events, contrast)

    def _check_own(self, options: Mapping[str, Any]) -> None:
        super()._check_own(options)
        if options.get("camera_tone", "auto") not in CAMERA_TONES:
            raise UsageError(
                f"{self.name}: camera_tone {options['camera_tone']!r}: choose {', '.join(CAMERA_TONES)}"
            )

        one_of(self.name, "self_ensemble", options.get("self_ensemble", 1), COUNTS)
        chosen = options.get("representation", "auto")
        one_of(self.name, "representation", chosen, ("auto", AS_THEY_COME, HALFWAY))

    def set(self, options: dict[str, Any]) -> None:
        """See `NeuralRestorer.set`."""
        super().set(options)
        self._use_rig(self._given)

    def _use_rig(self, rig: Rig) -> None:
        self._given = rig
        if (tone := self.camera_tone) not in ("", rig.image.tone):
            if self._toned is None or self._toned[0] is not rig or self._toned[1].image.tone != tone:
                self._toned = (rig, toned(rig, tone))
            rig = self._toned[1]
        if rig is not self.rig and rig != self.rig:
            super()._use_rig(rig)
            if not self._rehearsing:
                self._learner.use_rig(rig)
                self._changed()

    def _stacks(self, events: Events, work: Work, times: tuple[int, ...], contrast: Contrast) -> Tensor:
        """(L, CHANNELS, h, w) on the device."""
        span = (work.exposure.exposure.start_us, work.exposure.exposure.end_us)
        if self.uses_numba:
            return torch.from_numpy(
                self._stack.stacks(events, *span, times, contrast, self.power, self._halfway)
            )
        return edi_stack_torch.stacks(events, *span, times, contrast, self.power, self.device, self._halfway)


class GlintLargeRestorer(GlintRestorer):
    """glint with twice the channels and more blocks; all else, options too, as with `GlintRestorer`."""

    name = "glint-large"
    network = "glint-large"
