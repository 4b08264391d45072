"""What restorers that run a network share: loading, devices, grids, padding, 8 bits, flags.

A subclass says what its network takes (class attributes) and does the work between tensors (`_infer`). All else
is here, so that every network treats sizes, gray cameras, colour order, tone, missing events and NaN alike.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from capture.errors import UsageError
from inference import networks, store
from inference.cards import Card
from inference.device import choose_device
from inference.memory import keep_freed_memory
from inference.networks.blocks import channels_last
from inference.restorers.base import RANDOM_FLAG, LatentTimes, Needs, Restored, check_latents
from inference.restorers.compiling import compiled
from inference.restorers.event_flags import LOST_FLAG, NO_EVENTS_FLAG, of_rig
from inference.restorers.neural_options import SHARED, check_options
from inference.restorers.overhearing import Fed, Overheard, overhear
from inference.restorers.padding import Padding
from inference.restorers.picture import picture_of
from inference.restorers.pictures import ColourOrder, to_network
from inference.restorers.placement import event_grid_rig
from inference.restorers.precision import choose_autocast, narrowed
from inference.restorers.rehearsal import rehearsal
from inference.restorers.results import changed_pictures, restored_pictures
from inference.restorers.work import Work
from inference.tone import Tone
from sync.exposure import AlignedExposure
from sync.geometry import image_to_event_grid
from sync.rig import Rig

NAN_FLAG = "NaN replaced"
OVERFLOW_FLAG = "half precision overflowed: float32 from here on"


class NeuralRestorer(ABC):
    """A network as a restorer. See `Restorer`.

    Class attributes of a subclass:
        name: as `models.create` knows it.
        network: as `networks.build` knows it.
        multiple: of which the sides of the padded picture are; `_infer` pads.
        smallest: least side of a picture that makes sense to it.
        autocast: number types beside float32 that it may run in, the best first; that one is the default on a
            GPU. "float32" in front makes that the default. A CPU runs float32 unless told otherwise.
        grids: "image", and "event" where the network may run on the event sensor's pixels.
        own: names of its own options.
        feeds_margins: events of the margins reach the network, so that losses there are told.
        tuned: on a GPU cuDNN tries its kernels first (`inference.device.trying_kernels`).

    Options of all (`set`, or at creation): see `neural_options`; `weights`: see `inference.models.create`.
    """

    name: str
    network: ClassVar[str]
    multiple: ClassVar[int]
    smallest: ClassVar[int] = 16
    autocast: ClassVar[tuple[str, ...]] = ()
    grids: ClassVar[tuple[str, ...]] = ("image",)
    own: ClassVar[tuple[str, ...]] = ()
    feeds_margins: ClassVar[bool] = True
    tuned: ClassVar[bool] = False

    needs: Needs

    def __init__(
        self, rig: Rig, options: Mapping[str, Any] | None = None, device: str = "auto",
        weights: Path | None = None,
    ) -> None:  # fmt: skip
        self.rig = rig
        self._weights = weights
        self.device = choose_device(device)
        self.options: dict[str, Any] = {}
        self._net: nn.Module | None = None
        self._run: Any = None
        self._rehearsing = False
        self._overflowed = False
        self._notes: list[str] = []
        self._watcher: Callable[[int, Tensor], None] | None = None
        self.set(dict(options or {}))
        if not self.random_weights:
            found = store.status(self.network, weights)
            if not found.usable:
                raise UsageError(f"{self.name}: {found.reason}")
        self._check_sizes(rig.image.width, rig.image.height)

    # -- what a subclass gives

    @property
    @abstractmethod
    def representation(self) -> str:
        """What is fed beside the picture, in `inference.cards`' words; weights for another are refused."""

    @property
    @abstractmethod
    def order(self) -> ColourOrder:
        """Channel order of the pictures fed."""

    @abstractmethod
    def _infer(self, work: Work) -> Tensor:
        """(L, 3, H, W) in the network's colour order and range 0…1 (not clipped), of `work.pictures`' size."""

    def _check_own(self, options: Mapping[str, Any]) -> None:
        """Refuse values of its own options that make no sense (`UsageError`)."""
        return

    def _changed(self) -> None:
        """Options have changed and hold."""
        return

    def _build_options(self) -> dict[str, Any]:
        """Of the network when it is built with random weights."""
        return {}

    def _finish(self, net: nn.Module) -> nn.Module:
        """Last changes to the loaded network on its device."""
        return net

    # -- options

    @property
    def random_weights(self) -> bool:
        """Runs without weights, for benchmarks."""
        return bool(self.options.get("random_weights", False))

    @property
    def padding(self) -> Padding:
        """How pictures go on beyond their border."""
        return cast(Padding, self.options.get("padding", "reflect"))

    @property
    def batch(self) -> int:
        """Instants that the network restores at a time."""
        return int(self.options.get("batch", 4))

    @property
    def dtype(self) -> torch.dtype:
        """The number type that the network runs in."""
        if self._overflowed:
            return torch.float32
        return choose_autocast(self.name, self.options.get("dtype", "auto"), self.autocast, self.device)

    @property
    def compile(self) -> Any:
        """How the network itself is compiled: False, True, "graphs" or "both"."""
        chosen = self.options.get("compile", "auto")
        return False if chosen == "auto" else chosen

    @property
    def runs_on(self) -> str:
        """Device and number type, for people."""
        kind = self.device.type
        name = torch.cuda.get_device_name(self.device) if kind == "cuda" else kind.upper()
        return f"{name}, {str(self.dtype).removeprefix('torch.')}"

    @property
    def uses_numba(self) -> bool:
        """Representations are made by numba, on a CPU; else by torch, on the device."""
        return self.device.type == "cpu"

    @property
    def tone(self) -> Tone:
        """How the frames' values are taken: "srgb": as stored; "linear": they are to be coded."""
        return self.rig.image.tone if self.options.get("tone") == "coded" else "srgb"

    def set(self, options: dict[str, Any]) -> None:
        """Change options while running; all of them or, when one is wrong, none.

        Raises:
            UsageError: unknown option (lists the known ones) or a value out of range.
        """
        known = (*SHARED, *self.own) if len(self.grids) == 1 else (*SHARED, "grid", *self.own)
        merged = {**self.options, **options}
        check_options(self.name, options, known, self.grids)
        choose_autocast(self.name, merged.get("dtype", "auto"), self.autocast, self.device)
        if self._net is not None and merged.get("random_weights") != self.options.get("random_weights"):
            raise UsageError(f"{self.name}: random_weights is chosen when the network is made, not later")
        self._check_own(merged)
        if merged.get("compile") in ("graphs", "both") and self.device.type != "cuda":
            raise UsageError(f"{self.name}: compile {merged['compile']}: only a CUDA device has graphs")
        if "dtype" in options:
            self._overflowed = False
        if merged.get("compile", "auto") != self.options.get("compile", "auto"):
            self._run = None
        self.options = merged
        self._changed()

    # -- life

    def prepare(self, width: int, height: int) -> None:
        """Load the weights and run once: at this size on a GPU or compiled, else at a small one.

        Raises:
            UsageError: too small for the network, no weights, or weights for another input.
        """
        self._check_sizes(width, height)
        self._load()
        # What is compiled or recorded is so for one size; and a GPU's kernels are chosen by it.
        whole = self.device.type == "cuda" or self.compile
        size = (width, height) if whole else None
        kept = self.rig
        self._rehearsing = True
        try:
            for gray, least in product((False, True), self._rehearsed()):
                exposure = rehearsal(kept, size, gray=gray, least=least)
                count = self.needs.frames_before + 1 + self.needs.frames_after
                self._restore([exposure] * count, self.needs.fixed_latents or (0.5,))
        finally:
            self._rehearsing = False
            self._use_rig(kept)
            self.reset()

    def _rehearsed(self) -> tuple[int, ...]:
        """How many events there are, at least, in the exposures that it warms up with."""
        return (256,)

    def reset(self) -> None:
        """Forget what is carried from one exposure to the next."""
        return

    @property
    def net(self) -> Any:
        """The network to call, on its device, compiled when asked; call it inside `_infer` only."""
        self._load()
        if self._run is None:
            assert self._net is not None
            self._run = compiled(self._net, self.compile)
        return self._run

    @cached_property
    def card(self) -> Card | None:
        """Of the weights that it feeds; None: random ones. Asked of the store once."""
        usable = not self.random_weights and store.status(self.network, self._weights).usable
        return store.installed(self.network, self._weights) if usable else None

    def feed_for(self, card: Card) -> None:
        """Feed what the weights of this card want, which need not be loaded: for training."""
        self.card = card
        self._changed()

    @property
    def built_with(self) -> Mapping[str, Any]:
        """Options of the network, by which weights tell what they were trained on."""
        return self._build_options() if self.card is None else self.card.options

    def _option(self, name: str, usual: Any) -> Any:
        """One of its own options as it applies: as a person says, else as the weights were trained."""
        trained = self.card.feed.stated if self.card else {}
        return self.options.get(name, trained.get(name, usual))

    def _load(self) -> None:
        if self._net is not None:
            return
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.random_weights:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                net = networks.build(self.network, **self._build_options())
        else:
            entries, card = store.load(
                self.network, representation=self.representation, channel_order=self.order, file=self._weights
            )
            net = networks.build(self.network, **card.options)
            net.load_state_dict(entries, strict=True)
            self.card = card
        net = net.requires_grad_(False).eval().to(self.device)
        self._net = self._finish(channels_last(net))

    def watch(self, see: Callable[[int, Tensor], None] | None) -> None:
        """Show every result to `see` as the network gives it, before it is clipped and rounded: for measuring.

        Args:
            see: called with the exposure's ordinal and (L, 3, H, W) float32 **RGB**, 0…1 with overshoot. Not
                called where the picture passes through or is restored on the event grid. None: no more.
        """
        self._watcher = see

    # -- work

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        """Sharp pictures of the exposure in the middle of the window. See `Restorer.restore`.

        Flags: "no events: frame passed through", "events lost in the exposure", "NaN replaced", "half precision
        overflowed: float32 from here on", "rig not calibrated", "events cover x % of the picture", "restored
        on the event grid w×h", "random weights: not a result". Figures: events.

        Raises:
            ValueError: an instant outside 0…1 or one it cannot serve, or a window of the wrong length.
            UsageError: frames that do not fit the rig or the network.
        """
        began = time.perf_counter()
        return replace(self._restore(window, latents), seconds=time.perf_counter() - began)

    def _restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        at = check_latents(latents)
        needs = self.needs
        if needs.latent is LatentTimes.FIXED and any(f not in needs.fixed_latents for f in at):
            raise ValueError(f"{self.name} restores the instants {needs.fixed_latents} only, not {at}")
        count = needs.frames_before + 1 + needs.frames_after
        if len(window) != count:
            raise ValueError(f"{self.name} takes {count} exposures at a time, got {len(window)}")
        a = window[needs.frames_before]
        self._use_rig(a.rig)
        picture = picture_of(a.frame)
        self._check_picture(picture)

        events = a.exposure_events()
        flags: list[str] = []
        if needs.events and len(events) == 0:
            images = np.repeat(picture[None], len(at), axis=0)
            flags.append(NO_EVENTS_FLAG)
        else:
            self._notes = []
            images, bad = self._network_pictures(window, at, picture)
            flags += [RANDOM_FLAG] * self.random_weights + self._notes + [NAN_FLAG] * bad
        if needs.events:
            whole = a.complete if self.feeds_margins else a.exposure_complete
            flags += [LOST_FLAG] * (not whole) + of_rig(self.rig)
        figures = {"events": float(len(events))} if needs.events else {}
        times = tuple(a.exposure.time_at(f) for f in at)
        return Restored(a.ordinal, at, times, images, self.name, 0.0, tuple(flags), figures)

    def _network_pictures(
        self, window: Sequence[AlignedExposure], at: tuple[float, ...], picture: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], bool]:
        """The pictures, and whether anything in them was not finite."""
        index, on_events = self.needs.frames_before, self.on_event_grid()
        work = self._work(window, at, picture)
        given, rig = work.pictures, work.rig
        values = self._values(work)
        if self._watcher is not None and not on_events and not self._rehearsing:
            shown = values.flip(1) if self.order == "bgr" else values
            self._watcher(window[index].ordinal, shown)
        with torch.inference_mode():
            if not on_events:
                return restored_pictures(values, picture, self.order, self.tone)
            self._note(f"restored on the event grid {rig.image.width}×{rig.image.height}")
            return changed_pictures(values, given[index], picture, self.rig, self.order, self.tone)

    def _work(
        self, window: Sequence[AlignedExposure], at: tuple[float, ...], picture: NDArray[np.uint8]
    ) -> Work:
        """The exposures with their pictures on the grid that the network runs on."""
        index = self.needs.frames_before
        pictures = [picture if i == index else picture_of(e.frame) for i, e in enumerate(window)]
        for p in pictures:
            self._check_picture(p)
        if not self.on_event_grid():
            return Work(window, index, at, pictures, self.rig)
        given = [np.asarray(image_to_event_grid(p, self.rig), np.uint8) for p in pictures]
        return Work(window, index, at, given, event_grid_rig(self.rig))

    def fed(self, window: Sequence[AlignedExposure], at: float) -> Fed:
        """What the network is called with to restore one instant; it is not called. For training.

        The exposure counts as one seen: a contrast is learnt from it as if it were restored.

        Raises:
            UsageError: frames that do not fit the rig or the network.
        """
        a = window[self.needs.frames_before]
        self._use_rig(a.rig)
        picture = picture_of(a.frame)
        self._check_picture(picture)
        work = self._work(window, (at,), picture)
        kept, self._run = self._run, overhear
        if self._net is None:
            self._net = nn.Identity()  # nothing is loaded for it
        try:
            with torch.inference_mode():
                self._infer(work)
        except Overheard as heard:
            # Copies: what was made in inference mode can take no part in training.
            return Fed(work, tuple(x.clone() for x in heard.inputs))
        finally:
            self._run = kept
            self._net = None if isinstance(self._net, nn.Identity) else self._net
        raise RuntimeError(f"{self.name} did not call its network")

    def _values(self, work: Work) -> Tensor:
        """`_infer` in the number type of the options, as float32; where float16 overflows, in float32."""
        with torch.inference_mode():
            if self.dtype != torch.float32:
                with narrowed(self.device, self.dtype, self.tuned):
                    values = self._infer(work).float()
                # bfloat16 reaches as far as float32: what is not finite in it is not in float32 either.
                if self.dtype == torch.bfloat16 or bool(torch.isfinite(values).all()):
                    return values
                # Whatever overflowed may be part of what is carried on. It will overflow again: the weights
                # have not changed.
                self.reset()
                self._overflowed = True
            if self._overflowed:
                self._note(OVERFLOW_FLAG)
            with narrowed(self.device, torch.float32, self.tuned):
                return self._infer(work).float()

    # -- for subclasses

    def on_event_grid(self) -> bool:
        """The option "grid" as it applies to this rig; "auto" is the subclass's matter."""
        return self.options.get("grid", "image") == "event" and not self.rig.identity

    def tensors(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """(N, 3, H, W) as the network takes them: its colour order, 0…1, tone by the option."""
        return to_network(pictures, self.device, self.order, self.tone)

    def _note(self, flag: str) -> None:
        """A flag for the picture in work."""
        if flag not in self._notes:
            self._notes.append(flag)

    def _use_rig(self, rig: Rig) -> None:
        if rig is not self.rig and rig != self.rig:
            self.rig = rig

    # -- inside

    def _check_sizes(self, width: int, height: int) -> None:
        if min(width, height) < self.smallest:
            raise UsageError(
                f"{self.name} takes pictures of at least {self.smallest}×{self.smallest} pixels, "
                f"got {width}×{height}"
            )

    def _check_picture(self, picture: NDArray[np.uint8]) -> None:
        height, width = picture.shape[:2]
        if (width, height) != (self.rig.image.width, self.rig.image.height):
            raise UsageError(
                f"{self.name}: the frame has {width}×{height} pixels, the rig states "
                f"{self.rig.image.width}×{self.rig.image.height}; correct the rig file"
            )
        self._check_sizes(width, height)
