"""A suite: exposures with their truth, on which restorers are compared.

A suite of one's own is a folder of `.npz` files, one an item, read without unpickling anything; the order of
their names is the order of the items.
"""

from __future__ import annotations

import inspect
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError, validate_call

from capture.errors import HalfmirrorError, UsageError
from capture.packets import Events, Frame, FrameClock, PixelLayout
from capture.validation import did_you_mean, first_error
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import Rig
from training.files import replace_with

SYNTHETIC = "training.synthesis.suite:make_suite"
_VERSION = 1
_EVENT_FIELDS = ("t", "x", "y", "p")


@dataclass(frozen=True, slots=True, eq=False)
class SuiteItem:
    """One exposure and what was really there.

    Attributes:
        sequence: name of the stream that it belongs to; items of one sequence stand one after the other, in
            time, and are each other's neighbours.
        name: of the item, unique in its sequence.
        exposure: the blurred frame with its events and its rig.
        latents: (L,) instants 0…1 of which the truth is known; none: the item only serves as a neighbour.
        truth: (L, H, W[, 3]) uint8 in the frame's size and tone.
    """

    sequence: str
    name: str
    exposure: AlignedExposure
    latents: tuple[float, ...]
    truth: NDArray[np.uint8]

    def __post_init__(self) -> None:
        size = (self.exposure.frame.height, self.exposure.frame.width)
        shape = self.truth.shape
        if self.truth.dtype != np.uint8 or len(shape) not in (3, 4) or shape[0] != len(self.latents):
            raise ValueError(f"{self.name}: truth {self.truth.dtype} {shape} for {len(self.latents)} instants")
        if self.latents and shape[1:3] != size:
            raise ValueError(f"{self.name}: truth of {shape[2]}×{shape[1]} for a frame of {size[1]}×{size[0]}")
        if not all(0 <= f <= 1 for f in self.latents):
            raise ValueError(f"{self.name}: an instant lies outside 0…1")


class Suite(Protocol):
    """Items in order, each time the same ones.

    Attributes:
        name: for tables.
        skipped: items that could not be read, with the reason; complete after an iteration.
    """

    name: str
    skipped: list[str]

    def __iter__(self) -> Iterator[SuiteItem]:
        """The items, each sequence as a whole."""

    def __len__(self) -> int:
        """How many are made at a time (an item, or a whole sequence), unreadable ones included."""


@dataclass
class ListedSuite:
    """A suite whose items are made when they are needed.

    Args:
        name: for tables.
        makers: make one item each, or one sequence's items.
    """

    name: str
    makers: list[Callable[[], SuiteItem | Sequence[SuiteItem]]]
    skipped: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[SuiteItem]:
        """The items; one that cannot be made is named in `skipped` and left out."""
        self.skipped = []
        for make in self.makers:
            try:
                made = make()
            except HalfmirrorError as error:
                self.skipped.append(str(error))
                continue
            if isinstance(made, SuiteItem):
                yield made
            else:
                yield from made

    def __len__(self) -> int:
        return len(self.makers)


def open_suite(source: str, options: Mapping[str, Any] | None = None) -> Suite:
    """The suite that `source` names: `synthetic`, with options of its own, or a folder of items.

    Raises:
        UsageError: no such folder, nothing in it, an unknown option or options where none are taken.
    """
    if source == "synthetic":
        module, _, name = SYNTHETIC.partition(":")
        make = getattr(import_module(module), name)
        try:
            suite: Suite = validate_call(make)(**(options or {}))
        except ValidationError as error:
            fault = error.errors()[0]
            names = list(inspect.signature(make).parameters)
            key, said, near = str(fault["loc"][0]), fault["msg"], ""
            if fault["type"] == "unexpected_keyword_argument":
                said, near = "there is no such setting", did_you_mean(key, names)
            raise UsageError(
                f"suite synthetic: {key}: {said}; {near}its settings: {', '.join(names)}"
            ) from error
        return suite
    if options:
        raise UsageError(f"suite {source} is a folder and takes no options ({', '.join(options)})")
    folder = Path(source)
    if not folder.is_dir():
        raise UsageError(f"suite {source!r} is neither 'synthetic' nor a folder")
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise UsageError(f"suite {folder} holds no items (.npz)")
    return ListedSuite(folder.name, [lambda file=file: load_item(file) for file in files])  # type: ignore[misc]


def sequences(suite: Iterable[SuiteItem]) -> Iterator[tuple[str, list[SuiteItem]]]:
    """The items of each sequence, in order.

    Raises:
        UsageError: a sequence goes on after another one, so that its items are no neighbours.
    """
    seen = set()
    for name, group in itertools.groupby(suite, key=lambda item: item.sequence):
        items = list(group)
        if name in seen:
            raise UsageError(
                f"suite item {items[0].name}: its sequence {name} goes on after another one; items of one "
                "sequence stand one after the other, in the order of their files' names"
            )
        seen.add(name)
        yield name, items


def save_suite(suite: Iterable[SuiteItem], folder: Path) -> int:
    """Write every item into a folder; returns their number.

    Raises:
        TrainingError: disk full, or not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for count, item in enumerate(suite, 1):
        save_item(folder / f"item-{count:05d}.npz", item)
    return count


def save_item(path: Path, item: SuiteItem) -> None:
    """Write one item, whole or not at all.

    Raises:
        TrainingError: disk full, or not writable.
    """
    a, frame = item.exposure, item.exposure.frame
    about = {
        "version": _VERSION, "sequence": item.sequence, "name": item.name, "latents": item.latents,
        "layout": frame.layout.value, "frame_sequence": frame.sequence, "epoch": frame.epoch,
        "clock": frame.clock.value, "device_start_ns": frame.device_start_ns,
        "device_end_ns": frame.device_end_ns, "start_us": a.exposure.start_us, "end_us": a.exposure.end_us,
        "source": a.exposure.source.value, "uncertainty_us": a.exposure.uncertainty_us,
        "window_start_us": a.window_start_us, "window_end_us": a.window_end_us, "ordinal": a.ordinal,
        "complete": a.complete, "events_size": [a.events.width, a.events.height],
        "rig": a.rig.model_dump(mode="json"),
    }  # fmt: skip
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    events = {f"events_{n}": getattr(a.events, n) for n in _EVENT_FIELDS}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=text, image=frame.image, truth=item.truth, **events)
    replace_with(path, buffer)


def load_item(path: Path) -> SuiteItem:
    """Read what `save_item` wrote.

    Raises:
        UsageError: not there, damaged, of another version: one line with the path.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _item(arrays)
    except Exception as error:  # a damaged archive raises errors of many kinds, as do values that do not fit
        reason = f"key {error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        if isinstance(error, ValidationError):
            reason = f"its rig: {first_error(error, Rig)}"
        raise UsageError(f"suite item {path} cannot be read: {reason}") from error


def _item(arrays: Mapping[str, NDArray[Any]]) -> SuiteItem:
    about = json.loads(arrays["about"].tobytes())
    if not all(isinstance(about[key], str) for key in ("sequence", "name")):
        raise ValueError("its sequence and its name are not both text")
    for field_name in _EVENT_FIELDS:
        if arrays[f"events_{field_name}"].dtype.kind not in "iub":
            raise ValueError(f"events_{field_name} are no whole numbers")
    if about["version"] != _VERSION:
        raise ValueError(f"it is of version {about['version']}; this program reads version {_VERSION}")
    width, height = about["events_size"]
    t, x, y, p = (arrays[f"events_{n}"] for n in _EVENT_FIELDS)
    frame = Frame(
        arrays["image"], PixelLayout(about["layout"]), about["frame_sequence"], about["device_start_ns"],
        about["device_end_ns"], FrameClock(about["clock"]), epoch=about["epoch"],
    )  # fmt: skip
    exposure = Exposure(
        about["start_us"], about["end_us"], ExposureSource(about["source"]), about["uncertainty_us"]
    )
    aligned = AlignedExposure(
        frame, exposure, Events.checked(t, x, y, p, width, height), about["window_start_us"],
        about["window_end_us"], Rig.model_validate(about["rig"]), about["ordinal"], about["complete"],
    )  # fmt: skip
    return SuiteItem(
        about["sequence"], about["name"], aligned, tuple(float(f) for f in about["latents"]), arrays["truth"]
    )
