"""Measures networks on a data set after a protocol, sequence by sequence, over several devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from capture.errors import UsageError
from training.contestants import Weights, check, meant
from training.data.sets.facts import Damaged, SequenceFacts
from training.data.sets.find import TEST, Found, find
from training.lpips import HINT, SMALLEST, picture_distance, weights_file
from training.pictures import encode_png, strip
from training.processes import processes
from training.protocols.compared import F32, U8, Compared
from training.protocols.pictures import restored
from training.protocols.table import Measures, Protocol, protocol

BLURRED = "blurred"


@dataclass
class SequenceResult:
    """What came out of one sequence.

    Attributes:
        name: of the sequence.
        measures: of each counted picture, in order, by method (`blurred` and the network).
        missed: pictures that could not be restored or read, one line each.
        pictures: PNGs by name: blurred, restored, truth; of a protocol of pictures alone the restored one.
    """

    name: str
    measures: dict[str, list[Measures]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)

    def mean(self, method: str, measure: str) -> float | None:
        """Over the pictures; None where none has it."""
        return mean([m[measure] for m in self.measures.get(method, []) if measure in m])


@dataclass
class ProtocolResult:
    """What came out of a set.

    Attributes:
        protocol: how it was measured.
        where: the data.
        methods: `blurred`, then the networks.
        sequences: by sequence.
        skipped: sequences that were left out, one line each.
        notes: of the measuring, one line each.
    """

    protocol: Protocol
    where: str
    methods: list[str]
    sequences: list[SequenceResult]
    skipped: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def measures(self) -> list[str]:
        """Names of the measures."""
        found = [m for s in self.sequences for own in s.measures.values() for m in own]
        return list(found[0]) if found else []

    def count(self, method: str) -> int:
        """Pictures that were counted."""
        return sum(len(s.measures.get(method, [])) for s in self.sequences)

    def mean(self, method: str, measure: str) -> float | None:
        """Over all pictures of all sequences, each counting the same, as published."""
        return mean([m[measure] for s in self.sequences for m in s.measures.get(method, []) if measure in m])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured.

    Attributes:
        networks: names of restorers, or labels of `weights`.
        protocol: its name.
        data: files and folders.
        options: of the restorers, by name or label.
        device: see `inference.models.create`.
        devices: processes; with CUDA each on a device of its own.
        pictures: at most so many are kept, evenly spread; all where a protocol asks for pictures alone.
        lpips: the learned distance too, where its weights are here.
        weights: networks with the weights of a file, by the label that they have in the table.
    """

    networks: tuple[str, ...]
    protocol: str
    data: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"
    devices: int = 1
    pictures: int = 24
    lpips: bool = False
    weights: Mapping[str, Weights] = field(default_factory=dict)


def measure(
    wanted: Wanted,
    show: Callable[[str, float], None] = lambda _name, _share: None,
    keep: Callable[[SequenceResult], None] = lambda _part: None,
) -> ProtocolResult:
    """Restore and measure every sequence of the test split (all, where there are no splits).

    Args:
        wanted: what.
        show: is told the name of each sequence that is done, and the share.
        keep: is given each as soon as it is done, and may take its pictures away.

    Raises:
        UsageError: an unknown protocol or network, data that the protocol does not fit, an empty test split,
            nothing that could be compared.
    """
    how = protocol(wanted.protocol)
    for network in wanted.networks:
        check(network, wanted.weights, wanted.options.get(network))
    found = fitting(how, find(wanted.data))
    frames = max(sum(s.frames for s in found.sequences), 1)
    every = 1 if how.pictures else -(-frames // wanted.pictures) if wanted.pictures else 0
    first = wanted.networks[0]
    lpips = wanted.lpips and not how.pictures
    looks = lpips and weights_file("alex") is not None
    shown = wanted.networks if how.pictures else (first,)
    own = dict(wanted.weights)
    jobs = [
        (s, n, dict(wanted.options.get(n, {})), _device(wanted, k), every if n in shown else 0, looks, own)
        for k, s in enumerate(found.sequences)
        for n in wanted.networks
    ]
    done: list[SequenceResult] = []
    for part in _run(wanted, jobs):
        done.append(part)
        keep(part)
        show(part.name, len(done) / len(jobs))
    result = ProtocolResult(
        how, found.where, [BLURRED, *wanted.networks], _joined(done, len(wanted.networks)), list(found.skipped),
        [] if looks or not lpips else [f"LPIPS was not taken, its weights are not here ({HINT})"],
    )  # fmt: skip
    for network in wanted.networks:
        if not result.count(network):
            first = next((m for s in result.sequences for m in s.missed), "no picture has a truth")
            raise UsageError(f"{network} under {how.name}: nothing to compare on {found.where}; {first}")
    return result


def fitting(how: Protocol, found: Found) -> Found:
    """The sequences of the test split that the protocol fits; the others are skipped by name.

    Raises:
        UsageError: an empty test split, or none fits: names the protocol, the format and what it lacks.
    """
    if found.splits and not any(s.split == TEST for s in found.sequences):
        raise UsageError(
            f"the test split of {found.where} is empty or missing; give the folder of the test data"
        )
    chosen = found.of(TEST)
    out = Found(found.where, [], list(found.skipped), found.splits)
    reasons: list[str] = []
    for s in chosen:
        if reason := how.lacks(s):
            out.skipped.append(f"{s.name} ({s.format}): {reason}")
            reasons.append(f"{s.format}: {reason}")
        else:
            out.sequences.append(s)
    if not out.sequences:
        raise UsageError(f"protocol {how.name} does not fit {found.where} ({reasons[0]})")
    return out


def measure_sequence(
    name: str, network: str, facts: SequenceFacts, options: Mapping[str, Any], device: str, every: int,
    looks: bool = False, weights: Mapping[str, Weights] = MappingProxyType({}),
) -> SequenceResult:  # fmt: skip
    """One network on one sequence; every `every`-th picture is kept (0: none); `looks`: LPIPS too.

    `weights`: see `Wanted`.
    """
    how = protocol(name)
    called, file = meant(network, weights)
    out = SequenceResult(facts.name, {BLURRED: [], network: []})
    try:
        for k, one in enumerate(restored(how, called, facts, device, options, file)):
            if isinstance(one, str):
                out.missed.append(one)
                continue
            blurred = np.asarray(one.blurred / np.float32(255), np.float32)
            try:  # both or neither: the means are over the same pictures
                found = [_figures(how, given, one.truth, device, looks) for given in (blurred, one.result)]
            except ValueError as error:  # a result that is not finite, a picture below the measure's window
                out.missed.append(f"{facts.name} {one.name}: {error}")
                continue
            for method, figures in zip((BLURRED, network), found, strict=True):
                out.measures[method].append(figures)
            if every and k % every == 0:
                shown = f"{facts.name}-{network}" if how.pictures else facts.name
                out.pictures[f"{shown}-{one.name}"] = _png(one, alone=how.pictures)
    except Damaged as error:
        out.missed.append(str(error))
    except ValueError as error:  # the rest of the sequence cannot be had
        out.missed.append(f"{facts.name}: {error}")
    return out


def _figures(how: Protocol, given: F32, truth: U8, device: str, looks: bool) -> Measures:
    found = how.measure(given, truth)
    if looks and min(given.shape[:2]) >= SMALLEST["alex"]:
        found["lpips"] = picture_distance(given, truth, device, how.bgr)
    return found


def _run(wanted: Wanted, jobs: list[Any]) -> Any:
    if wanted.devices == 1 or len(jobs) == 1:
        for facts, network, *rest in jobs:
            yield measure_sequence(wanted.protocol, network, facts, *rest)
        return
    with processes(min(wanted.devices, len(jobs))) as pool:
        running = [
            pool.submit(measure_sequence, wanted.protocol, network, facts, *rest)
            for facts, network, *rest in jobs
        ]
        for future in running:
            yield future.result()


def _device(wanted: Wanted, k: int) -> str:
    """Sequences go round over the devices."""
    import torch

    several = wanted.devices > 1 and wanted.device in ("auto", "cuda") and torch.cuda.is_available()
    return f"cuda:{k % torch.cuda.device_count()}" if several else wanted.device


def _joined(parts: list[SequenceResult], networks: int) -> list[SequenceResult]:
    """One result a sequence, out of one for each of its networks in a row."""
    out: list[SequenceResult] = []
    for k, part in enumerate(parts):
        if k % networks == 0:
            out.append(part)
            continue
        own = out[-1]
        own.measures |= {n: m for n, m in part.measures.items() if n != BLURRED}
        # Networks that give other instants count other pictures; the blurred ones are those of most.
        if len(part.measures[BLURRED]) > len(own.measures[BLURRED]):
            own.measures[BLURRED] = part.measures[BLURRED]
        own.missed += [m for m in part.missed if m not in own.missed]
        own.pictures |= part.pictures
    return out


def _png(one: Compared, alone: bool = False) -> bytes:
    shown = np.rint(one.result.clip(0, 1) * 255).astype(np.uint8)
    if alone:
        return encode_png(shown)
    return encode_png(strip([one.blurred, shown, one.truth]))


def mean(values: list[float]) -> float | None:
    """Of a list; infinite where one is, as published; None for an empty one."""
    return math.fsum(values) / len(values) if values else None
