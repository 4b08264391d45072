"""Adapting as a whole: weights in, samples of a rig, weights out with a record of what was found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from capture.errors import UsageError
from inference import cards, networks, store
from inference.cards import Card
from inference.device import choose_device
from inference.weights import read_weights
from inference.weights_fit import fit
from inference.weights_limits import WeightsError
from training.adapt import camera, tune
from training.adapt.camera import Camera, TooLittle
from training.adapt.pairs import kind_of
from training.adapt.tones import Samples, chosen
from training.files import replace_json, save_weights
from training.run import WEIGHTS_VERSION

WEIGHTS, RECORD = "weights.safetensors", "adapt.json"
_LEAST = 4


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """The network as it came.

    Attributes:
        name: of the network.
        network: with its weights, on the CPU.
        card: of the weights.
    """

    name: str
    network: nn.Module
    card: Card

    @property
    def options(self) -> dict[str, Any]:
        """Of glint's restorer, which then feeds these weights what they take; others go by the card alone."""
        tone = {"camera_tone": self.card.camera_tone} if self.card.camera_tone else {}
        return {**tone, "representation": self.card.representation} if self.name.startswith("glint") else tone


@dataclass(frozen=True, slots=True)
class Adapted:
    """What came out.

    Attributes:
        weights: the file; the network as it came where nothing was gained.
        changed: something was.
        camera: what was learnt of it.
        tone: tone curve that the network is told from now on; "": as before.
        before, after: disagreement of held-out neighbours.
        samples: learnt from, and judged by.
    """

    weights: Path
    changed: bool
    camera: Camera
    tone: str
    before: float
    after: float
    samples: tuple[int, int]


def start(name: str, init: Path | None) -> Start:
    """The network that is adapted: the installed weights, or those of a file.

    Raises:
        UsageError: a network that cannot be adapted, no weights, no such file.
        WeightsError: weights of another network, or damaged.
    """
    kind_of(name)
    if init is None:
        card = store.installed(name)
        if card is None:
            raise UsageError(f"{name}: {store.status(name).reason}; or give a file with --init")
        entries, _ = store.load(
            name, representation=card.representation, channel_order=card.channel_order
        )  # fmt: skip
    else:
        found = read_weights(init)
        own = store.card_in(found.metadata)
        if own is not None and own.network != name:
            raise WeightsError(f"{init} is refused: these are weights of {own.network!r}, not of {name!r}")
        try:
            entries, options = fit(name, found.entries, own.options if own else {})
        except WeightsError as error:
            raise WeightsError(f"{init} is refused: {error}") from error
        base = own or cards.card(name).model_copy(update={"trained_on": "not stated", "evaluation": ()})
        card = base.model_copy(update={"options": options})
    network = networks.build(name, **card.options)
    network.load_state_dict(entries, strict=True)
    return Start(name, network, card)


def adapt(
    begun: Start,
    samples: Samples,
    settings: tune.Settings,
    folder: Path,
    about: Mapping[str, Any],
    device: str = "auto",
    told: Callable[[int, float], None] = lambda _step, _value: None,
) -> Adapted:
    """Learn and write `weights.safetensors` (for `halfmirror models add`) and `adapt.json` into a folder.

    Args:
        begun: the network.
        samples: of the rig.
        settings: see there.
        folder: exists.
        about: `recordings` by name, how many samples each gave (`samples_of`; the card names those that gave
            some), and whatever else belongs into the record.
        device: see `inference.device`.
        told: is given step and disagreement at every look.

    Raises:
        TooLittle: too little in the recordings; NothingToLearn: see `camera.learn`.
        TrainingError: the loss is not finite, or the files cannot be written.
    """
    own = samples.own
    counts = (len(own.train), len(own.held))
    if min(counts) < _LEAST:
        useless = "".join(f", {n} pairs of no use ({reason})" for reason, n in own.skipped.items())
        few = f"{counts[0]} samples to learn from and {counts[1]} to judge by are too few"
        raise TooLittle(
            f"{few}{useless}: give recordings of 20 exposures in a row or more, of something that moves"
        )
    found = camera.learn(own.train)
    network = begun.network.to(choose_device(device))
    choice = chosen(network.eval(), samples, found)
    fed = choice.samples
    out = tune.tune(network, fed.kind, fed.train, fed.held, found, settings, told)
    changed = out.adapted or bool(choice.tone)
    recordings = about.get("recordings", ())
    gave = about.get("samples_of", (1,) * len(recordings))
    names = ", ".join(Path(n).name for n, count in zip(recordings, gave, strict=True) if count)
    trained = begun.card.trained_on
    if changed:
        trained = f"{trained}; adapted to {names} (an event: +{found.on:.3f}, −{found.off:.3f} in log value)"
    card = Card.model_validate(
        begun.card.model_dump()
        | {"trained_on": trained, "camera_tone": choice.tone or begun.card.camera_tone}
        | {"published": (), "evaluation": (), "origin": None}
    )
    save_weights(
        folder / WEIGHTS,
        out.entries,
        {
            "halfmirror.weights": WEIGHTS_VERSION, "halfmirror.network": begun.name,
            "halfmirror.options": json.dumps(card.options, sort_keys=True), **store.metadata_of(card),
        },
    )  # fmt: skip
    record = {
        "network": begun.name, **about, "camera": dataclasses.asdict(found), "settings": settings.model_dump(),
        "samples": {"learnt_from": counts[0], "judged_by": counts[1], "skipped": own.skipped},
        "disagreement": {"before": choice.before, "after": out.after}, "steps": out.steps, "changed": changed,
        "camera_tone": card.camera_tone, "grid": "event" if fed.restorer.on_event_grid() else "image",
    }  # fmt: skip
    replace_json(folder / RECORD, record)
    return Adapted(folder / WEIGHTS, changed, found, choice.tone, choice.before, out.after, counts)
