"""Adapting to a rig without truth: what it gains against the truth, which no part of it sees.

    python -m benchmarks.bench_adapt --network glint
    python -m benchmarks.bench_adapt --network efnet --init runs/efnet/weights.safetensors

Small simulated recordings. `shifted` is a rig whose camera was mistaken for another one: thresholds of 0.36 and
0.32, frames proportional to light, and the rig file says sRGB. On the others the rig file is right about tone
and geometry; no thresholds are stated anywhere. PSNR at three instants (networks with a fixed one: the middle)
of every third exposure, on the grid on which the network runs.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from capture.packets import EventPacket, Events
from capture.simulated import presets
from capture.simulated.rig import SimulatedRig
from inference.restorers.contrast_pairs import MARGIN_US
from inference.restorers.neural import NeuralRestorer
from inference.restorers.pictures import to_network
from sync.exposure import AlignedExposure
from sync.geometry import image_to_event_grid
from sync.rig import Rig
from sync.synchroniser import Synchroniser
from training.adapt import camera, tune
from training.adapt.pairs import Collector, kind_of
from training.adapt.run import start
from training.adapt.tones import chosen, samples_for
from training.tasks.supervised import decibels

U8 = NDArray[np.uint8]
_SMALL: dict[str, Any] = {
    "image_width": 240, "image_height": 160, "event_width": 120, "event_height": 80, "scale": 2.0,
}  # fmt: skip
RECORDINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "shifted": ("handheld", {
        **_SMALL, "speed": 260.0, "seed": 11, "event_sensor.threshold_on": 0.36,
        "event_sensor.threshold_off": 0.32, "frame_sensor.tone": "linear",
    }),
    "handheld": ("handheld", {**_SMALL, "speed": 260.0}),
    "davis": ("davis", {
        "image_width": 174, "image_height": 130, "event_width": 174, "event_height": 130, "speed": 150.0,
    }),
    "night": ("night", {**_SMALL, "speed": 140.0}),
}  # fmt: skip


def recording(name: str, seconds: float) -> tuple[SimulatedRig, list[AlignedExposure], list[Events]]:
    """Exposures in a row, and of each the events up to the next one's end."""
    preset, settings = RECORDINGS[name]
    config = presets.configure(preset, {**settings, "paced": False})
    simulated = SimulatedRig(config)
    simulated.prepare()
    rig = Rig.from_facts(preset, simulated.facts())
    unknown = rig.events.model_copy(update={"threshold_on": None, "threshold_off": None})
    tone = "srgb" if name == "shifted" else rig.image.tone
    rig = rig.model_copy(update={"events": unknown, "image": rig.image.model_copy(update={"tone": tone})})
    sync, parts, out = Synchroniser(rig, margin_before_us=MARGIN_US), [], []
    for item in simulated.items(seconds):
        if isinstance(item, EventPacket):
            sync.push_events(item)
            parts.append(item.events)
        else:
            sync.push_frame(item)
        out += sync.take(None)
    out += sync.finish()
    events = Events.concatenate(parts)
    found = [e for e in out if isinstance(e, AlignedExposure)]
    return simulated, found, [
        events.between(a.exposure.start_us, b.exposure.end_us)
        for a, b in itertools.pairwise(found)
    ]  # fmt: skip


def truth_of(simulated: SimulatedRig, restorer: NeuralRestorer, rig: Rig, on: Rig, time_us: int) -> Tensor:
    picture: U8 = simulated.truth(time_us)
    if on is not rig:
        picture = np.asarray(image_to_event_grid(picture, rig), np.uint8)
    return to_network([picture], torch.device("cpu"), restorer.order, "srgb")


def row(network: str, name: str, init: Path | None, seconds: float) -> list[str]:
    begun, kind = start(network, init), kind_of(network)
    simulated, exposures, events = recording(name, seconds)
    rig = exposures[0].rig

    def collect(collector: Collector) -> None:
        for k, between in enumerate(events):
            collector.add(exposures[k], exposures[k + 1], between, k)

    samples = samples_for(network, rig, begun.options, kind, collect, card=begun.card)
    own = samples.own
    restorer = own.restorer
    found = camera.learn(own.train)
    choice = chosen(begun.network.eval(), samples, found)
    used = choice.samples
    out = tune.tune(begun.network, kind, used.train, used.held, found, tune.Settings())
    adapted: nn.Module = start(network, init).network
    adapted.load_state_dict(out.entries)
    adapted.eval()
    figures: dict[str, list[float]] = {"blurred": [], "came": [], "adapted": []}
    instants = (0.5,) if len(kind.instants) == 1 else (0.1, 0.5, 0.9)
    for e in exposures[6::3]:
        for f in instants:
            fed, now_fed = restorer.fed([e], f), used.restorer.fed([e], f)
            truth = truth_of(simulated, restorer, rig, fed.work.rig, e.exposure.time_at(f))
            h, w = truth.shape[-2:]
            with torch.no_grad():
                shown = {
                    "blurred": fed.inputs[kind.image], "came": kind.picture(begun.network(*fed.inputs)),
                    "adapted": kind.picture(adapted(*now_fed.inputs)),
                }  # fmt: skip
            for key, picture in shown.items():
                figures[key].append(float(decibels(picture[..., :h, :w], truth)))
    blurred, came, now = (float(np.mean(v)) for v in figures.values())
    how = "" if not out.adapted else str(out.steps) if kind.layers else "told the camera"
    how = ", ".join(filter(None, (f"told {choice.tone}" if choice.tone else "", how))) or "kept as it came"
    return [
        network, name, f"{found.contrast:g}, {found.power:.2f}", f"{found.on:.3f}, {found.off:.3f}",
        f"{choice.before:.5f} → {out.after:.5f}", how,
        f"{blurred:.2f}", f"{came:.2f}", f"{now:.2f}", f"{now - came:+.2f}",
    ]  # fmt: skip


HEAD = (
    "network", "recording", "contrast, power", "log value of an event", "held-out disagreement", "steps",
    "blurred, dB", "as it came, dB", "adapted, dB", "gain, dB",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", default="glint", choices=("glint", "efnet", "gem"))
    parser.add_argument("--init", type=Path, help="weights; else the installed ones")
    parser.add_argument("--only", default=",".join(RECORDINGS))
    parser.add_argument("--seconds", type=float, default=1.4)
    chosen = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}", flush=True)
    for name in chosen.only.split(","):
        print(f"| {' | '.join(row(chosen.network, name, chosen.init, chosen.seconds))} |", flush=True)


if __name__ == "__main__":
    main()
