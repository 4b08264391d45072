"""Restores one sequence for a protocol: which frames go in, which results come out.

A network runs through its restorer as it does live, but its results are taken before they are clipped and
rounded, since protocols differ in that. EFNet under its own protocols is fed as in its published test
instead: SCER is normalised over the whole frame, of which then only some rows may count, and stored
representations can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from capture.errors import UsageError
from capture.packets import Events, Frame, FrameClock, PixelLayout
from inference import models, networks, store
from inference.cards import Card
from inference.device import choose_device
from inference.engine import Engine, Failed
from inference.representations.coding import Mode
from inference.restorers.base import LatentTimes, Needs
from inference.restorers.neural import NeuralRestorer
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import Rig
from training.data.cuts import Cut, whole_cut
from training.data.efnet import BINS, EfnetMaker, EfnetOptions
from training.data.rigs import rig_of
from training.data.sets.facts import EVENTS, SCER, SPIKES, STREAM, VIDEO, Damaged, SequenceFacts, SequenceReader
from training.protocols.compared import Compared, Outcome
from training.protocols.spikes import spike_pictures
from training.protocols.table import Protocol

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
# For frames without any times: only their order matters to a network without events.
_PERIOD_US, _EXPOSURE_US = 33_333, 30_000


def restored(
    protocol: Protocol, network: str, facts: SequenceFacts, device: str, options: Mapping[str, Any],
    weights: Path | None = None,
) -> Iterator[Outcome]:  # fmt: skip
    """All results of a sequence that count.

    `weights`: a file that `store.add` wrote, in place of the installed ones.

    Raises:
        UsageError: the network cannot run here, or not on such data.
        Damaged: the sequence cannot be opened.
    """
    reader = facts.reader()
    if network == "efnet" and protocol.name.startswith("efnet-"):
        yield from _as_published(protocol, facts, reader, device, options, weights)
        return
    if SPIKES in facts.carries and network == "s-sdm-ldn":
        yield from spike_pictures(facts, reader, device, options, weights, truth=not protocol.pictures)
        return
    if SCER in facts.carries:
        raise UsageError(
            f"{facts.name} holds stored SCER, which only efnet takes, under efnet-gopro or efnet-reblur"
        )
    yield from _as_live(protocol, network, facts, reader, device, options, weights)


def _as_published(
    protocol: Protocol, facts: SequenceFacts, reader: SequenceReader, device: str, options: Mapping[str, Any],
    weights: Path | None,
) -> Iterator[Outcome]:  # fmt: skip
    known = ("mask", "mode", "normalise", "noise")
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(f"--option efnet.{unknown[0]}: under {protocol.name} known are {', '.join(known)}")
    entries, card = _efnet_weights(weights)
    trained = {"representation": card.representation, "channel_order": card.channel_order, **card.feed.stated}
    try:
        given = EfnetOptions.model_validate({"mode": Mode.PUBLISHED, **trained, **options})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--option efnet.{first['loc'][0]}: {first['msg']}") from error
    maker = EfnetMaker(given, zero_middle=card.options.get("ev_chn") == BINS + 1)
    if lacking := maker.needs(facts):
        raise UsageError(
            f"efnet's weights take the representation {card.representation}; {facts.name} ({facts.format}) has "
            f"no {' and no '.join(lacking)}"
        )
    net = networks.build("efnet", **card.options)
    net.load_state_dict(entries, strict=True)
    where = choose_device(device)
    net = net.eval().requires_grad_(False).to(where)
    for frame in facts.items:
        try:
            # Measured again, a frame has the same noise.
            rng = np.random.default_rng(frame)
            sample = maker.whole(reader, facts, frame, protocol.rows, rng)
            with torch.inference_mode():
                fed = {k: torch.from_numpy(np.asarray(v))[None].to(where) for k, v in sample.items()}
                mask = fed["mask"].float() if "mask" in fed else None
                out = net(fed["image"].float() / 255, fed["events"], mask)[-1][0]
        except Damaged as error:
            yield str(error)
            continue
        rgb = slice(None, None, 1 if given.channel_order == "rgb" else -1)
        result, picture, truth = (
            np.ascontiguousarray(planes[rgb].transpose(1, 2, 0))
            for planes in (out.float().cpu().numpy(), sample["image"], sample["truth"])
        )
        yield Compared(f"{frame:05d}", result, picture, truth)


def _efnet_weights(file: Path | None) -> tuple[dict[str, Tensor], Card]:
    """Those to measure, whichever of what `EfnetMaker` makes they take; others are refused."""
    about = store.installed("efnet", file)
    representation = "voxel" if about and about.representation == "voxel" else "scer"
    order = "rgb" if about and about.channel_order == "rgb" else "bgr"
    return store.load("efnet", representation=representation, channel_order=order, file=file)


def _as_live(
    protocol: Protocol, network: str, facts: SequenceFacts, reader: SequenceReader, device: str,
    options: Mapping[str, Any], weights: Path | None,
) -> Iterator[Outcome]:  # fmt: skip
    cut = whole_cut(facts.size, protocol.multiple)
    if protocol.rows is not None:
        cut = Cut(0, 0, min(cut.height, protocol.rows // protocol.multiple * protocol.multiple), cut.width)
    rig = rig_of(facts, cut.width, cut.height)
    restorer = models.create(network, rig, options, device, weights)
    needs = restorer.needs
    if needs.events and EVENTS not in facts.carries:
        raise UsageError(f"{network} needs events; {facts.name} ({facts.format}) has none")
    seen: dict[int, F32] = {}
    if isinstance(restorer, NeuralRestorer):
        restorer.watch(lambda ordinal, values: seen.update({ordinal: values.float().cpu().numpy()}))
    engine = Engine(restorer)
    frames = facts.items if needs.events else list(range(facts.frames))
    # A frame without a window counts for no network; it may still be a neighbour.
    inner = protocol.inner
    counted = {i for i in facts.items if facts.in_a_row(i - inner, i + inner)}
    follows = set(facts.pair_starts)
    truths: dict[int, list[tuple[float, U8]]] = {}
    pictures: dict[int, U8] = {}

    def out(attempts: Any) -> Iterator[Outcome]:
        for a in attempts:
            if isinstance(a, Failed):
                yield f"{facts.name} frame {a.exposure.ordinal}: {' '.join(str(a.error).split())[:160]}"
                continue
            values = seen.pop(a.ordinal, None)
            for k, latent in enumerate(a.latents):
                for at, truth in truths.get(a.ordinal, []) if a.ordinal in counted else []:
                    if abs(at - latent) > 1e-9:
                        continue
                    rgb = a.images[k].astype(np.float32) / 255 if values is None else _picture(values[k])
                    yield Compared(f"{a.ordinal:05d}-{at:.4f}", rgb, pictures[a.ordinal], truth)
            truths.pop(a.ordinal, None)
            pictures.pop(a.ordinal, None)

    for frame in frames:
        try:
            exposure, picture = _exposure(reader, facts, frame, rig, cut, needs)
            found = (
                [(0.5, picture)] if protocol.pictures else _truths(protocol, reader, facts, frame, cut, needs)
            )
        except Damaged as error:
            yield str(error)
            # What stands before and behind a missing frame are no neighbours.
            yield from out(engine.try_gap())
            continue
        if not found and frame in counted:
            yield f"{facts.name} frame {frame}: no sharp picture of an instant that {network} gives"
        if needs.events and facts.pairs is not None and frame - 1 not in follows:
            yield from out(engine.try_gap())  # nobody knows what was between it and the one before
        elif VIDEO in facts.carries and frame and not facts.in_a_row(frame - 1, frame):
            yield from out(engine.try_gap())  # frames between are missing
        truths[frame], pictures[frame] = found, picture
        # Every instant once, in order; a truth that a second file repeats is compared again.
        latents = tuple(sorted({at for at, _ in found})) or (0.5,)
        yield from out(engine.try_push(exposure, latents))
        if protocol.alone:
            yield from out(engine.try_gap())
    yield from out(engine.try_gap())


def exposures(facts: SequenceFacts, network: str) -> tuple[Rig, list[AlignedExposure]]:
    """All exposures of a sequence as a network that runs as it does live is given them.

    Raises:
        UsageError: the network cannot run here.
        Damaged: a part of the sequence cannot be read.
    """
    reader, cut = facts.reader(), whole_cut(facts.size, 1)
    rig = rig_of(facts, cut.width, cut.height)
    needs = models.create(network, rig, {}, "cpu").needs
    frames = facts.items if needs.events else range(facts.frames)
    return rig, [_exposure(reader, facts, frame, rig, cut, needs)[0] for frame in frames]


def _picture(planes: F32) -> F32:
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _exposure(
    reader: SequenceReader, facts: SequenceFacts, frame: int, rig: Rig, cut: Cut, needs: Needs
) -> tuple[AlignedExposure, U8]:
    picture = _cut(reader.blurred(frame), cut)
    span = facts.spans[frame]
    if needs.events and EVENTS in facts.carries:
        window = reader.window(frame)
        start, end = window.start_us, window.end_us
        first, last = start - needs.margin_before_us, end + needs.margin_after_us
        if known := facts.known_around(frame):
            first, last = max(first, min(known[0], start)), min(last, max(known[1], end))
        if (first, last) != (start, end) and STREAM in facts.carries:
            found = reader.between(first, last)
        else:
            first, last, found = start, end, window.events
        events = Events(
            np.asarray(found.t, np.int64), found.x, found.y, found.p, rig.events.width, rig.events.height
        )
    else:
        start, end = span or (frame * _PERIOD_US, frame * _PERIOD_US + _EXPOSURE_US)
        first, last = start, end
        none = np.empty(0, np.uint16)
        events = Events(
            np.empty(0, np.int64), none, none, np.empty(0, np.bool_), rig.events.width, rig.events.height
        )
    shot = Frame(picture, PixelLayout.RGB, frame, start * 1000, end * 1000, FrameClock.EVENT)
    exposure = Exposure(start, end, ExposureSource.CHUNK, 1.0)
    return AlignedExposure(shot, exposure, events, first, last, rig, frame), picture


def _truths(
    protocol: Protocol, reader: SequenceReader, facts: SequenceFacts, frame: int, cut: Cut, needs: Needs
) -> list[tuple[float, U8]]:
    """Instants 0…1 and their truth; of a network of fixed instants its own, where a truth lies within 1 µs."""
    if not protocol.all_instants:
        return [(0.5, _cut(reader.truth(frame), cut))]
    span = facts.spans[frame]
    assert span is not None
    start, length = span[0], span[1] - span[0]
    found = [(t, _cut(p, cut)) for t, p in reader.instants(frame)]
    if needs.latent is LatentTimes.FIXED:
        # Times are whole µs: the middle of an exposure of an odd number of them is none.
        return [
            (own, p) for t, p in found for own in needs.fixed_latents if abs(t - start - own * length) <= 1
        ]  # fmt: skip
    return [(min(max((t - start) / length, 0.0), 1.0), p) for t, p in found]


def _cut(picture: U8, cut: Cut) -> U8:
    return np.ascontiguousarray(picture[: cut.height, : cut.width])
