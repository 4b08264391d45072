"""Restorers against the truth of a suite: how near, how consistent with the frame, how fast."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from inference import models
from inference.engine import Attempt, Engine, Failed, sure
from inference.quality import reblur_residual
from inference.residual import middles, tone_of
from inference.restorers.base import LatentTimes
from inference.restorers.picture import picture_of
from sync.rig import Rig
from training.contestants import Weights, check, meant
from training.lpips import SMALLEST
from training.metrics import psnr, ssim
from training.metrics.structure import GAUSSIAN_11
from training.suite import Suite, SuiteItem, sequences

U8 = NDArray[np.uint8]
Distance = Callable[[U8, U8], float]
BLURRED = "blurred"
BEST_CONTRAST = "edi, best c"
# Pixels along a picture's shorter side, below which a measure is not defined.
_LEAST = {"ssim": GAUSSIAN_11.size, "lpips": SMALLEST["alex"]}
_NUMBER = re.compile(r"\d+(\.\d+)?")
# Thresholds of sensors in use lie within; steps of 8 %, finer than the result can tell.
CONTRASTS = tuple(round(0.06 * 1.08**k, 4) for k in range(31))


@dataclass
class Figures:
    """Measures of one method on one sequence (or on all), each a list over pictures or exposures.

    Attributes:
        values: by measure: `psnr` dB, `ssim`, `lpips` of each picture, `reblur` codes and `ms` for one picture
            of each exposure.
        flags: how often the restorer raised each, numbers in them left out.
        contrast: the one that was best, of `BEST_CONTRAST`.
        missed: items with a known truth at none of whose instants the method gives a picture.
        failures: items that the restorer failed on, with what it raised.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    contrast: float | None = None
    missed: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, measure: str, value: float) -> None:
        """One more value."""
        self.values.setdefault(measure, []).append(value)

    def of(self, measure: str) -> float | None:
        """Mean of a measure (`ms`: median); None where it was not taken."""
        values = self.values.get(measure)
        if not values:
            return None
        return statistics.median(values) if measure == "ms" else math.fsum(values) / len(values)


@dataclass
class Evaluation:
    """Everything measured on a suite.

    Attributes:
        suite: its name.
        methods: `blurred` first, then as asked for.
        sequences: figures by sequence and method.
        notes: what a reader must know: items that were skipped, measures that were not taken.
    """

    suite: str
    methods: list[str]
    sequences: dict[str, dict[str, Figures]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def mean(self, method: str, measure: str) -> float | None:
        """Mean over sequences of their means (`ms`: median of their medians); None where it was not taken."""
        values = [v for s in self.sequences.values() if (v := s[method].of(measure)) is not None]
        if not values:
            return None
        return statistics.median(values) if measure == "ms" else math.fsum(values) / len(values)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is evaluated, and how.

    Attributes:
        networks: names of restorers, or labels of `weights`.
        options: of the restorers, by name or label.
        device: see `inference.models.create`.
        best_contrast: also EDI with the one fixed threshold that serves each sequence best.
        reblur: instants for the re-blur residual; 0: not taken.
        lpips: distance of two pictures of at least `training.lpips.SMALLEST["alex"]` pixels a side, or None.
        weights: networks with the weights of a file, by the label that they have in the table.
    """

    networks: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"
    best_contrast: bool = False
    reblur: int = 15
    lpips: Distance | None = None
    weights: Mapping[str, Weights] = field(default_factory=dict)


# Given item, instant and picture by method, the truth under "truth".
Draw = Callable[[SuiteItem, float, dict[str, U8]], None]


def evaluate(suite: Suite, choice: Choice, draw: Draw = lambda _item, _at, _pictures: None) -> Evaluation:
    """Restore every item with every network and measure.

    The frame itself is measured as `blurred`. PSNR, SSIM and LPIPS are taken at each instant of which the truth
    is known and which the network gives; SSIM and LPIPS of pictures that are large enough for them. The re-blur
    residual is taken where a network gives any instant of a single exposure. Every sequence begins as a stream
    does, with nothing carried over.

    Args:
        suite: what on.
        choice: what, and how.
        draw: is shown the pictures of each compared instant.

    Raises:
        UsageError: a network that is unknown or cannot run here; nothing in the suite could be compared.
    """
    for name in choice.networks:
        check(name, choice.weights, choice.options.get(name))
    methods = [BLURRED, *choice.networks, *([BEST_CONTRAST] if choice.best_contrast else [])]
    result = Evaluation(suite.name, methods)
    small = dict.fromkeys(["ssim", *(["lpips"] if choice.lpips is not None else [])], 0)
    for sequence, items in sequences(suite):
        shown: list[dict[float, dict[str, U8]]] = [{f: {} for f in item.latents} for item in items]
        figures = result.sequences[sequence] = {}
        for method in methods:
            given, figures[method] = _blurred(items) if method == BLURRED else _restored(method, items, choice)
            for item, pictures, seen in zip(items, given, shown, strict=True):
                _compare(figures[method], item, pictures, choice.lpips)
                for f, picture in pictures.items():
                    seen[f][method] = picture
        for item, seen in zip(items, shown, strict=True):
            for measure in small:
                small[measure] += bool(item.latents) and not _defined(measure, item.truth[0])
            for k, f in enumerate(item.latents):
                draw(item, f, {**seen[f], "truth": item.truth[k]})
    result.notes += [f"skipped: {text}" for text in suite.skipped]
    result.notes += [
        f"{measure.upper()} was not taken of items with a side below {_LEAST[measure]} pixels: {count}"
        for measure, count in small.items()
        if count
    ]
    for method in methods:
        if missed := sum(s[method].missed for s in result.sequences.values()):
            result.notes.append(f"{method} gives no instant of which the truth is known: {missed} items")
        result.notes += [
            f"{method} failed on {f}" for s in result.sequences.values() for f in s[method].failures
        ]
    _raise_total_failure(result)
    if result.mean(BLURRED, "psnr") is None:
        why = f": {suite.skipped[0]}" if suite.skipped else ""
        raise UsageError(f"suite {suite.name} holds nothing to compare with{why}")
    return result


def _raise_total_failure(result: Evaluation) -> None:
    """A network that failed on everything has no place in a table."""
    for method in result.methods:
        failures = [f for s in result.sequences.values() for f in s[method].failures]
        if failures and not any(s[method].values for s in result.sequences.values()):
            raise UsageError(f"{method} failed on every item, first on {failures[0]}")


def _blurred(items: Sequence[SuiteItem]) -> tuple[list[dict[float, U8]], Figures]:
    """The frames themselves, at each instant of which the truth is known."""
    return [dict.fromkeys(item.latents, picture_of(item.exposure.frame)) for item in items], Figures()


def _restored(method: str, items: Sequence[SuiteItem], choice: Choice) -> tuple[list[dict[float, U8]], Figures]:
    """What a method gives at the instants of which the truth is known, and its figures that need no truth."""
    engine = _engine("edi" if method == BEST_CONTRAST else method, items, choice)
    figures = Figures(contrast=_best_contrast(engine, items) if method == BEST_CONTRAST else None)
    run = _run(engine, items)
    given = [_at_truth(item, restored) for item, restored in zip(items, run, strict=True)]
    for item, restored, found in zip(items, run, given, strict=True):
        if isinstance(restored, Failed):
            figures.failures.append(f"{item.sequence} {item.name}: {' '.join(str(restored.error).split())}")
            continue
        figures.missed += bool(item.latents) and not found
        figures.add("ms", 1000 * restored.seconds / len(restored.latents))
        for flag in (_NUMBER.sub("…", flag) for flag in restored.flags):
            figures.flags[flag] = figures.flags.get(flag, 0) + 1
    if choice.reblur and _any_instant_alone(engine):
        whole = [i for i, r in zip(items, run, strict=True) if i.latents and not isinstance(r, Failed)]
        _reblur(figures, engine, whole, choice.reblur)
    return given, figures


def _engine(network: str, items: Sequence[SuiteItem], choice: Choice) -> Engine:
    """One network for one sequence.

    Raises:
        UsageError: the items have not all one rig.
    """
    rig: Rig = items[0].exposure.rig
    for item in items:
        if item.exposure.rig is not rig and item.exposure.rig != rig:
            raise UsageError(f"suite item {item.name}: its rig is not the one of its sequence {item.sequence}")
    name, weights = meant(network, choice.weights)
    return Engine(models.create(name, rig, choice.options.get(network, {}), choice.device, weights))


def _run(engine: Engine, items: Sequence[SuiteItem]) -> list[Attempt]:
    """Every exposure in order."""
    restored: list[Attempt] = []
    for item in items:
        restored += engine.try_push(item.exposure, item.latents or (0.5,))
    return restored + engine.try_gap()


def _best_contrast(engine: Engine, items: Sequence[SuiteItem]) -> float:
    """The threshold of `CONTRASTS` with which EDI gives the sequence the best mean PSNR; it stays set."""

    # With a fixed threshold nothing is carried over: neighbours without a truth need not be restored.
    known = [item for item in items if item.latents]

    def quality(c: float) -> float:
        engine.set({"contrast_on": c, "contrast_off": c})
        values = [
            psnr(picture, item.truth[item.latents.index(f)])
            for item, restored in zip(known, _run(engine, known), strict=True)
            for f, picture in _at_truth(item, restored).items()
        ]
        return math.fsum(values) / len(values) if values else 0.0

    best = max(CONTRASTS, key=quality)
    engine.set({"contrast_on": best, "contrast_off": best})
    return best


def _at_truth(item: SuiteItem, restored: Attempt) -> dict[float, U8]:
    """The restored pictures at the instants of which the truth is known; none of a failure."""
    out: dict[float, U8] = {}
    if isinstance(restored, Failed):
        return out
    for f in item.latents:
        for given, picture in zip(restored.latents, restored.images, strict=True):
            if abs(given - f) < 1e-6:
                out[f] = picture
    return out


def _compare(figures: Figures, item: SuiteItem, pictures: Mapping[float, U8], lpips: Distance | None) -> None:
    for f, picture in pictures.items():
        truth = item.truth[item.latents.index(f)]
        if picture.shape != truth.shape:
            raise UsageError(
                f"suite item {item.name}: its truth {truth.shape} is not like its frame {picture.shape}"
            )
        figures.add("psnr", psnr(picture, truth))
        if _defined("ssim", truth):
            figures.add("ssim", ssim(picture, truth))
        if lpips is not None and _defined("lpips", truth):
            figures.add("lpips", lpips(picture, truth))


def _defined(measure: str, picture: U8) -> bool:
    return bool(min(picture.shape[:2]) >= _LEAST[measure])


def _any_instant_alone(engine: Engine) -> bool:
    needs = engine.restorer.needs
    return needs.latent is LatentTimes.ANY and not (needs.stateful or needs.frames_before or needs.frames_after)


def _reblur(figures: Figures, engine: Engine, items: Iterable[SuiteItem], count: int) -> None:
    """Residual of `count` instants in the middle of equal parts, blurred again."""
    instants = middles(count)
    for item in items:
        (again,) = sure([engine.again([item.exposure], instants)])
        frame = picture_of(item.exposure.frame)
        tone = tone_of(engine.restorer, item.exposure)
        figures.add("reblur", reblur_residual(again.images, frame, tone).rms)
