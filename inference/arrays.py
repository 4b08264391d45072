"""Networks on arrays of one's own: a frame, its events and its exposure in, the sharp picture out.

For programs that have their data already and want neither cameras nor recordings (`docs/python.md`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from capture.errors import UsageError
from capture.packets import Events, Frame, FrameClock, PixelLayout
from capture.validation import first_error
from inference import models
from inference.engine import Engine
from inference.restorers.base import LatentTimes, Restored, check_latents
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import EventEntry, ImageEntry, Rig
from sync.rolling import as_if_global, delays_of, longest_delay_us

Size = tuple[int, int]
Span = tuple[int, int] | Sequence[int] | NDArray[np.integer[Any]]
Instants = float | Sequence[float] | NDArray[np.floating[Any]]
EventsLike = Events | tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike] | NDArray[np.void]


def events_of(t: ArrayLike, x: ArrayLike, y: ArrayLike, p: ArrayLike, width: int, height: int) -> Events:
    """Events from four arrays, looked through once; what is given often is best made by this first.

    Args:
        t: (N,) whole microseconds, not decreasing.
        x, y: (N,) whole numbers, column and row.
        p: (N,) polarity; greater than 0 is brighter, so 1 and 0, 1 and -1, True and False all do.
        width, height: the sensor's size.

    Raises:
        UsageError: no arrays of one axis; times or places that are no whole numbers.
        InvalidPacket: other lengths, times that run back, places outside of the sensor.
    """
    columns = {"t": np.asarray(t), "x": np.asarray(x), "y": np.asarray(y)}
    polarity = np.asarray(p)
    for name, a in {**columns, "p": polarity}.items():
        if a.ndim != 1:
            raise UsageError(f"events: {name} is an array of one axis, (N,); got {a.ndim} axes")
    for name, a in columns.items():
        if a.dtype.kind not in "iu" and a.size:
            what = "whole microseconds" if name == "t" else "whole pixels"
            hint = ": seconds · 1e6, rounded and as int64" if name == "t" else ""
            raise UsageError(f"events: {name} are {what}, got {a.dtype}{hint}")
    if polarity.dtype.kind not in "biuf":
        raise UsageError(f"events: p are numbers or truth values, got {polarity.dtype}")
    return Events.checked(
        columns["t"].astype(np.int64, copy=False), columns["x"], columns["y"], polarity > 0, width, height
    )


def instants_of(at: Instants) -> tuple[float, ...]:
    """One instant or several, a list or an array, as a tuple.

    Raises:
        UsageError: none, or one that is no number in 0…1.
    """
    try:
        return check_latents(np.atleast_1d(np.asarray(at, np.float64)).tolist())
    except (TypeError, ValueError) as e:
        raise UsageError(
            f"instants lie between 0 and 1, the start and the end of an exposure; got {at!r}"
        ) from e


class Deblurrer:
    """One network on one sequence of frames with events. Not thread-safe.

    A network that learns the event camera's thresholds (`edi`, `glint`) learns them over the first exposures:
    keep one of these for a sequence rather than make one for each frame. Frames are given in order of time.

    Args:
        network: a name of `inference.models.names()`.
        image_size: (width, height) of the frames; not needed with a rig.
        event_size: of the event sensor. Another than the frames' needs a rig.
        rig: geometry of two cameras, or the path of a rig file. None: events and frames share one pixel grid,
            as with a DAVIS.
        tone: how values of frames relate to light; "linear" or "srgb". A rig's own wins.
        contrast: thresholds in log intensity, one for both polarities or (ON, OFF). None: they are learnt.
        options: the network's own, as `--set` gives them.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".

    Attributes:
        rig: as used.
        last: the newest `Restored`, with flags and figures; None before the first.

    Raises:
        UsageError: unknown network or option, no weights (with what to do), sizes that need a rig.
    """

    def __init__(
        self, network: str = "edi", *, image_size: Size | None = None, event_size: Size | None = None,
        rig: Rig | Path | str | None = None, tone: Literal["linear", "srgb"] = "linear",
        contrast: float | tuple[float, float] | NDArray[np.floating[Any]] | None = None,
        options: Mapping[str, Any] | None = None,
        device: str = "auto",
    ) -> None:  # fmt: skip
        self.rig = _rig_of(image_size, event_size, rig, tone)
        self.last: Restored | None = None
        chosen = dict(options or {})
        if contrast is not None:
            on, off = _thresholds(contrast)
            chosen |= {"contrast_on": on, "contrast_off": off}
        models.check(network, chosen, events=self.rig.has_events)
        self._engine = Engine(models.create(network, self.rig, chosen, device))
        self._count = 0
        self._newest_us: int | None = None

    def __call__(
        self,
        frame: NDArray[np.uint8],
        events: EventsLike | None = None,
        exposure_us: Span | None = None,
        at: Instants = 0.5,
    ) -> NDArray[np.uint8]:
        """The sharp picture of one exposure, or several pictures.

        Args:
            frame: uint8, (H, W, 3) RGB or (H, W) gray.
            events: `Events`, four arrays (t, x, y, p) as for `events_of`, or a structured array of such fields.
                More than the exposure's do no harm, and the thresholds are learnt better from them: all of a
                recording may be given every time, then best as `Events`, which are looked through once only.
            exposure_us: start and end on the events' clock; of the first row, where the rig file tells of a
                rolling shutter. Both may be left out for a network without events.
            at: instants inside the exposure, 0 start … 1 end.

        Returns:
            uint8 as the frame, (H, W, 3) or (H, W); where `at` is a sequence, one more axis in front.

        Raises:
            UsageError: no such instant, or a network that needs frames that follow (see `feed`).
            HalfmirrorError: arrays that are not as said.
        """
        needs = self._engine.restorer.needs
        if needs.frames_after:
            raise UsageError(
                f"{self._engine.restorer.name} needs the {needs.frames_after} frames that follow: "
                "give them with feed() and take the last ones with finish()"
            )
        (restored,) = self.feed(frame, events, exposure_us, at)
        return restored.images if np.ndim(at) else restored.images[0]

    def feed(
        self,
        frame: NDArray[np.uint8],
        events: EventsLike | None = None,
        exposure_us: Span | None = None,
        at: Instants = 0.5,
    ) -> list[Restored]:
        """Take one exposure as `__call__` does; give what is ready, oldest first.

        As many come out late as the network looks ahead; `Restored.ordinal` counts them from 0.
        """
        instants = self._instants(at)
        exposure = self._exposure(frame, events, exposure_us)
        out = self._engine.push(exposure, instants)
        self._count += 1
        self._newest_us = exposure.exposure.start_us
        return self._noted(out)

    def finish(self) -> list[Restored]:
        """No more frames come: give what still waits for them."""
        return self._noted(self._engine.flush())

    def reset(self) -> None:
        """Another sequence of the same cameras begins: neighbours and states are forgotten, thresholds that
        were learnt stay. What waits is lost."""
        self._engine.give_up()
        self._engine.gap()
        self._count, self._newest_us = 0, None

    def _noted(self, out: list[Restored]) -> list[Restored]:
        self.last = out[-1] if out else self.last
        return out

    def _instants(self, at: Instants) -> tuple[float, ...]:
        asked, needs = instants_of(at), self._engine.restorer.needs
        known = needs.fixed_latents
        if needs.latent is LatentTimes.FIXED and any(v not in known for v in asked):
            words = ", ".join(f"{f:g}" for f in known)
            raise UsageError(f"{self._engine.restorer.name} gives only the instants {words}; got {at}")
        return asked

    def _exposure(
        self, frame: NDArray[np.uint8], events: EventsLike | None, exposure_us: Span | None
    ) -> AlignedExposure:
        needs, want = self._engine.restorer.needs, self.rig.image
        image = np.ascontiguousarray(frame)
        gray, colour = (want.height, want.width), (want.height, want.width, 3)
        if image.dtype != np.uint8 or image.shape not in (gray, colour):
            raise UsageError(f"a frame is uint8, {colour} RGB or {gray} gray; got {image.dtype} {image.shape}")
        if needs.events and (events is None or exposure_us is None):
            raise UsageError(f"{self._engine.restorer.name} needs events and the exposure they belong to")
        # Of a frame whose time is not known no more is asked than its place in the order.
        start, end = (self._count, self._count + 1) if exposure_us is None else _times(exposure_us)
        if self._newest_us is not None and start <= self._newest_us:
            raise UsageError(
                f"the exposure from {start} µs is not later than the one before ({self._newest_us} µs); "
                "give frames in order, and reset() before another sequence"
            )
        known = exposure_us is not None  # a row of an array has no truth value
        source, sure = (ExposureSource.CHUNK, 1.0) if known else (ExposureSource.UNKNOWN, math.inf)
        first_us, last_us = start - needs.margin_before_us, end + needs.margin_after_us
        cut = self._events(events).between(first_us, last_us + longest_delay_us(self.rig))
        delays = delays_of(self.rig)
        if delays is not None:
            cut = as_if_global(cut, delays, first_us, last_us)
        first, last = (int(cut.t[0]), int(cut.t[-1])) if len(cut) else (start, end - 1)
        layout = PixelLayout.RGB if image.ndim == 3 else PixelLayout.GRAY
        return AlignedExposure(
            Frame(image, layout, self._count, start * 1000, end * 1000, FrameClock.EVENT),
            Exposure(start, end, source, sure),
            cut, min(start, first), max(end, last + 1), self.rig, self._count,
        )  # fmt: skip

    def _events(self, events: EventsLike | None) -> Events:
        width, height = self.rig.events.width, self.rig.events.height
        if events is None:
            return Events.empty(width, height)
        if isinstance(events, Events):
            if (events.width, events.height) != (width, height):
                raise UsageError(f"events of {events.width}×{events.height} pixels, expected {width}×{height}")
            return events
        names = getattr(getattr(events, "dtype", None), "names", None)
        if names is not None:
            missing = {"t", "x", "y", "p"} - set(names)
            if missing:
                raise UsageError(
                    f"events: a structured array has the fields t, x, y, p; lacks {sorted(missing)}"
                )
            columns = [events[name] for name in "txyp"]  # type: ignore[call-overload]
        else:
            columns = [] if isinstance(events, np.ndarray) else list(events)
        if len(columns) != 4:
            raise UsageError("events are given as four arrays (t, x, y, p), a structured array, or Events")
        t, x, y, p = columns
        return events_of(t, x, y, p, width, height)


def _times(exposure_us: Span) -> Size:
    try:
        start, end = (operator.index(v) for v in exposure_us)
    except (TypeError, ValueError) as e:
        raise UsageError(
            f"an exposure is given as two whole numbers of microseconds, start and end; got {exposure_us!r}"
        ) from e
    if end <= start:
        raise UsageError(f"the exposure from {start} to {end} µs has no length")
    return start, end


def _thresholds(contrast: ArrayLike) -> tuple[float, float]:
    try:
        on, off = np.broadcast_to(np.asarray(contrast, np.float64), 2).tolist()
    except (TypeError, ValueError) as e:
        raise UsageError(f"contrast is one number, or two, (ON, OFF); got {contrast!r}") from e
    return on, off


def _pair(name: str, size: Size) -> Size:
    try:
        width, height = (operator.index(v) for v in size)
    except (TypeError, ValueError) as e:
        raise UsageError(f"{name} is (width, height) in pixels; got {size!r}") from e
    return width, height


def _rig_of(
    image_size: Size | None,
    event_size: Size | None,
    rig: Rig | Path | str | None,
    tone: Literal["linear", "srgb"],
) -> Rig:
    image = None if image_size is None else _pair("image_size", image_size)
    events = None if event_size is None else _pair("event_size", event_size)
    if rig is not None:
        found = rig if isinstance(rig, Rig) else Rig.load(Path(rig))
        for what, size, entry in (("image", image, found.image), ("event", events, found.events)):
            if size is not None and size != (entry.width, entry.height):
                raise UsageError(
                    f"{what}_size {size[0]}×{size[1]}, but the rig says {entry.width}×{entry.height}"
                )
        return found
    if image is None:
        raise UsageError("give image_size=(width, height), or a rig")
    if events is not None and events != image:
        raise UsageError(
            f"events of {events[0]}×{events[1]} pixels, frames of {image[0]}×{image[1]}: how they lie on each "
            "other is told by a rig; give rig= (`halfmirror calibrate rig` makes its file)"
        )
    width, height = image
    try:
        return Rig(
            name="arrays", events=EventEntry(camera="arrays", width=width, height=height),
            image=ImageEntry(camera="arrays", width=width, height=height, tone=tone),
        )  # fmt: skip
    except ValidationError as e:
        why = first_error(e, Rig)
        raise UsageError(f"image_size {width}×{height}, tone {tone!r}: {why}") from e
