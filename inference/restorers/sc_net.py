"""SC-Net and STRA as restorers: the sharp picture from events of three windows and a feature that is handed on.

C. Cao et al., IEEE TNNLS 2023, DOI 10.1109/TNNLS.2023.3329741 (STRA: IJCAI 2022); the module is
`inference.networks.sc_net`. Nobody publishes weights. Which windows the authors meant is not known; here the
previous and the next one lie before and behind the exposure without a gap and are as long as it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from capture.errors import UsageError
from capture.packets import Events
from inference.networks.sc_net import SCNet
from inference.representations import counts_numba, counts_torch
from inference.restorers.base import LatentTimes, Needs
from inference.restorers.neural import NeuralRestorer
from inference.restorers.neural_options import one_of, whole_number
from inference.restorers.padding import crop, pad_to_multiple
from inference.restorers.pictures import ColourOrder
from inference.restorers.placement import represent
from inference.restorers.recurrence import Recurrence
from inference.restorers.tiling import run_tiled, tile_option
from inference.restorers.work import Work
from sync.exposure import AlignedExposure

PUBLISHED_THETA_T = 1e-4
# Up to here leaving the temporal attention out changes a picture by less than a twentieth of a grey level.
SKIP_UP_TO = PUBLISHED_THETA_T * (1 + 1e-6)
_USUAL_STEPS, _USUAL_WINDOW_MS = 16, 40
TILE_OVERLAP = 128
_STEP = 4  # the feature is constant over 4×4 pixels
_CUT_FROM = 0.95  # a neighbouring window shorter than this share of the exposure is told


class ScNetRestorer(NeuralRestorer):
    """SC-Net for one rig, in its form with a true time axis ("window"), which is our completion.

    The event feature of an exposure is given to the next one. It is dropped at a gap (`reset`, another epoch,
    a jump of ordinals of more than `reach`) and where it is not finite. An exposure that is restored again
    gets what it got the first time and leaves the stream as it was.

    Options beside the shared ones:
        reach: largest jump of ordinals over which the feature is handed on, 1…100, 4 by default: a superseded
            exposure or two do no harm, since the feature is a pixel's own and fades.
        window_ms: the longest neighbouring window, 1…1000; as the weights' card says that they were trained,
            else 40. These are margins of events, so set it when the network is chosen. Longer exposures have
            their neighbours cut to it, and say so.
        next_window: "wait" (default): the picture comes `window_ms` later; "repeat": the current window stands
            for the next one; "none": zeros do. Both without waiting, both not what was trained.
        attention: "auto" (default): the temporal attention is left out where θ_t is so small, as published,
            that it changes nothing in 8 bits (at most 1e-4 of the range), else it is exact; "exact"; "skip".
            Its time grows with the square of the pixels.
        theta_t, theta_s: 0…10, weights of the temporal and the fusing attention; those of the network's card
            when not given.
        steps: parts of time of a window, 2…64 (SC-Net alone); as the card says, else 16.
        grid: "image" (default): counts are brought onto the image's pixels; "event": the picture is brought
            onto the event sensor's, and what changes there is added to the frame.
        tile: None (default): whole pictures; or a side in pixels, at least 256: attention then sees its tile
            alone, see `inference.restorers.tiling`.
    """

    name = "sc-net"
    network = "sc-net"
    multiple = _STEP
    autocast = ("float16", "bfloat16")
    grids = ("image", "event")
    own: ClassVar[tuple[str, ...]] = (
        "reach",
        "window_ms",
        "next_window",
        "attention",
        "theta_t",
        "theta_s",
        "steps",
        "tile",
    )

    _memory: Recurrence | None = None
    _thetas: tuple[float, float] | None = None  # of the network as it was loaded

    @property
    def representation(self) -> str:
        """See `NeuralRestorer`."""
        return "event-counts"

    @property
    def order(self) -> ColourOrder:
        """See `NeuralRestorer`."""
        return "rgb"

    @property
    def memory(self) -> Recurrence:
        """What is handed on."""
        if self._memory is None:
            self._memory = Recurrence(int(self.options.get("reach", 4)))
        return self._memory

    def reset(self) -> None:
        """Begin anew: the next exposure gets no feature."""
        self.memory.reset()

    # -- options

    def _check_own(self, options: Mapping[str, Any]) -> None:
        whole_number(self.name, "reach", options.get("reach", 4), 1, 100)
        whole_number(self.name, "window_ms", options.get("window_ms", _USUAL_WINDOW_MS), 1, 1000)
        whole_number(self.name, "steps", options.get("steps", _USUAL_STEPS), 2, 64)
        one_of(self.name, "next_window", options.get("next_window", "wait"), ("wait", "repeat", "none"))
        one_of(self.name, "attention", options.get("attention", "auto"), ("auto", "exact", "skip"))
        tile_option(options.get("tile"), self.name, self.multiple, TILE_OVERLAP)
        for key in ("theta_t", "theta_s"):
            value = options.get(key, 0.0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10:
                raise UsageError(f"{self.name}: {key} {value!r}: give a number from 0 to 10")

    def _changed(self) -> None:
        margin = self._longest_us
        wait = self.options.get("next_window", "wait") == "wait"
        self.needs = Needs(
            margin_before_us=margin, margin_after_us=margin if wait else 0,
            latent=LatentTimes.FIXED, fixed_latents=(0.5,), stateful=True,
            note="blurry frame + events before, in and after its exposure"
            + (f" (waits {margin // 1000} ms)" if wait else "") + "; the middle of the exposure only",
        )  # fmt: skip
        # A feature made under other options must not meet what follows.
        self._memory = None
        if self._net is not None:
            self._apply()

    def _build_options(self) -> dict[str, Any]:
        return {"spiking": "window"}

    def _finish(self, net: torch.nn.Module) -> torch.nn.Module:
        assert isinstance(net, SCNet)
        if net.spiking == "clip":
            raise UsageError(
                f"{self.name}: these weights are of the published form, which takes 8 frames at a time and no "
                "stream; train with spiking=window, or use stra"
            )
        self._net = net
        fusion: Any = net.sfb1[0]
        self._thetas = net.tmb.theta, fusion.theta
        self._apply()
        return net

    def _apply(self) -> None:
        """Bring weights of the attentions into the network."""
        net, thetas = self._net, self._thetas
        assert isinstance(net, SCNet)
        assert thetas is not None
        theta_t = float(self.options.get("theta_t", thetas[0]))
        theta_s = float(self.options.get("theta_s", thetas[1]))
        attention = self.options.get("attention", "auto")
        net.tmb.theta = theta_t
        net.tmb.attention = attention == "exact" or (attention == "auto" and theta_t > SKIP_UP_TO)
        fusions: list[Any] = [*net.sfb1, *net.sfb2]
        for fusion in fusions:
            fusion.theta = theta_s

    # -- work

    def _infer(self, work: Work) -> Tensor:
        net = self.net
        picture = work.pictures[work.index]
        image = pad_to_multiple(self.tensors([picture]), self.multiple, self.padding)
        spiking = self._spiking()
        steps = int(self._option("steps", _USUAL_STEPS)) if spiking else 1
        maps = [represent(*w) for w in self._windows(work, steps)]
        events = _pad_with_nothing(counts_torch.stack(maps)[None], image.shape[-2:], spiking)
        given = self.memory.before(work.exposure)
        if given.jump:
            self._note(f"memory began anew after a gap of {given.jump} frames")
        if given.forgotten:
            self._note("restored without the stream's memory")
        before = given.feature
        if before is not None and before.shape[-2:] != tuple(side // _STEP for side in image.shape[-2:]):
            before = None
        sharp, feature = self._call(net, image, events, before)
        small = feature[..., ::_STEP, ::_STEP].contiguous()  # it is constant over each block
        useful = bool(torch.isfinite(small).all())
        self.memory.after(work.exposure, given, small if useful else None)
        height, width = picture.shape[:2]
        return crop(sharp, height, width)

    def _call(self, net: Any, image: Tensor, events: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """The network on the whole picture, or in tiles."""
        spiking = events.ndim == 5
        tile = tile_option(self.options.get("tile"), self.name, self.multiple, TILE_OVERLAP)
        previous = None if before is None else F.interpolate(before, scale_factor=_STEP, mode="nearest")
        if tile is None or tile >= max(image.shape[-2:]):
            return self._once(net, image, events, previous)
        n, maps, height, width = events.shape[:4]
        # Tiles are cut from the last two axes: time joins the channels for the cut.
        flat = events.movedim(-1, 2).reshape(n, -1, height, width) if spiking else events
        inputs = [image, flat] if previous is None else [image, flat, previous]

        def both(image: Tensor, flat: Tensor, previous: Tensor | None = None) -> Tensor:
            part = flat
            if spiking:
                part = flat.reshape(n, maps, -1, *flat.shape[-2:]).movedim(2, -1).contiguous()
            return torch.cat(self._once(net, image, part, previous), dim=1)

        out = run_tiled(both, inputs, tile=tile, overlap=TILE_OVERLAP, multiple=self.multiple)
        return out[:, :3], out[:, 3:]

    @staticmethod
    def _once(net: Any, image: Tensor, events: Tensor, previous: Tensor | None) -> tuple[Tensor, Tensor]:
        out: tuple[Tensor, Tensor]
        if events.ndim == 5:
            out = net(image, previous, events)
        else:
            frame = torch.cat([image, events], dim=1).contiguous(memory_format=torch.channels_last)
            out = net(frame, previous)
        return out

    @property
    def _longest_us(self) -> int:
        """A neighbouring window's greatest length."""
        return 1000 * int(self._option("window_ms", _USUAL_WINDOW_MS))

    def _spiking(self) -> bool:
        self._load()
        assert isinstance(self._net, SCNet)
        return self._net.spiking == "window"

    def _windows(self, work: Work, steps: int) -> list[tuple[Events, Any, int, Any]]:
        """What `represent` takes, for the previous, the current and the next window."""
        a = work.exposure
        start, end, length = a.exposure.start_us, a.exposure.end_us, a.exposure.duration_us
        following = self.options.get("next_window", "wait")
        longest = min(length, self._longest_us)
        before = min(longest, max(0, start - a.window_start_us))
        after = min(longest, max(0, a.window_end_us - end)) if following == "wait" else longest
        if min(before, after) < _CUT_FROM * length:
            self._note(
                f"windows before and after cut to {before / 1000:.1f} and {after / 1000:.1f} of "
                f"{length / 1000:.1f} ms"
            )
        spans = [(start - before, start), (start, end), (end, end + after)]
        if following == "repeat":
            spans[2] = spans[1]
        out = []
        for k, (first, last) in enumerate(spans):
            # A window without length, and one that is left out, hold nothing; an event at an end between two
            # windows counts in both, as published.
            nothing = first == last or (k == 2 and following == "none")
            events = a.events[:0] if nothing else a.events
            out.append((events, work.rig, 1, self._counter(a, first, last, steps)))
        return out

    def _counter(self, a: AlignedExposure, first: int, last: int, steps: int) -> Any:
        def count(events: Events) -> Tensor:
            if self.uses_numba:
                return torch.from_numpy(counts_numba.event_counts(events, first, last, steps=steps))
            return counts_torch.event_counts(events, first, last, steps=steps, device=self.device)

        return count


class StraRestorer(ScNetRestorer):
    """STRA for one rig: SC-Net without its spiking stage. Options as there, without `steps`."""

    name = "stra"
    network = "stra"
    own = tuple(option for option in ScNetRestorer.own if option != "steps")

    def _build_options(self) -> dict[str, Any]:
        return {}


def _pad_with_nothing(events: Tensor, size: tuple[int, ...], spiking: bool) -> Tensor:
    """(1, 6, H, W[, T]) → (1, 6, height, width[, T]): beyond the picture there were no events."""
    height, width = events.shape[2:4]
    rest = (0, size[1] - width, 0, size[0] - height)
    return F.pad(events, (0, 0, *rest) if spiking else rest)
