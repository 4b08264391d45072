"""glint: speed on the CPU, the simulated presets against EDI, flicker of what stands still, real recordings.

    python -m benchmarks.bench_glint [--weights FILE] [--data ../shared/data] [--threads 2] [--seconds 1]
                                     [--pictures DIR] [--only speed,presets,flicker,recordings]

Weights: those in use (`halfmirror models info glint`), or a file. The recordings are read only where --data has
them. Speed is the whole restorer, event features and 8 bits in and out included.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from app import library
from benchmarks.bench_quality import exposures
from capture.simulated import presets
from capture.simulated.rig import SimulatedRig
from inference import models, networks, store
from inference.engine import Engine
from inference.networks.blocks import channels_last
from inference.quality import psnr, reblur_residual, ssim
from inference.restorers.contrast_pairs import MARGIN_US
from inference.restorers.glint import GlintRestorer
from inference.restorers.picture import picture_of
from inference.weights import read_weights
from inference.weights_fit import fit
from sync.exposure import AlignedExposure
from sync.rig import Rig

INSTANTS = tuple((k + 0.5) / 15 for k in range(15))
U8 = NDArray[np.uint8]


class Makes:
    """Makes glint restorers of one file of weights, or of those in use."""

    def __init__(self, weights: Path | None) -> None:
        found = read_weights(weights) if weights else None
        card = store.card_in(found.metadata) if found else None
        self._name, stated = (card.network, card.options) if card else ("glint", {})
        self._entries, self._options = fit(self._name, found.entries, stated) if found else (None, {})

    def __call__(self, rig: Rig, **options: Any) -> GlintRestorer:
        if self._entries is None:
            return GlintRestorer(rig, options, "cpu")
        made = models.create(self._name, rig, {**options, "random_weights": True}, "cpu")
        assert isinstance(made, GlintRestorer)
        net = networks.build(self._name, **self._options)
        net.load_state_dict(self._entries)
        made._net = channels_last(net.eval().requires_grad_(False))
        return made


def speed(make: Makes, console: Console) -> None:
    table = Table(title=f"speed, {torch.get_num_threads()} threads")
    for name in ("what", "grid", "events", "ms p50", "ms p95", "fps"):
        table.add_column(name, justify="left" if name in ("what", "grid") else "right")
    for preset, grid in (("davis", "image"), ("handheld", "event"), ("handheld", "image")):
        simulated = SimulatedRig(presets.configure(preset, {}))
        rig = Rig.from_facts(preset, simulated.facts())
        restorer = make(rig, grid=grid)
        shown = list(exposures(simulated, rig, 0.5))
        restorer.restore(shown[:1], [0.5])
        took = []
        for a in [*shown, *shown][:20]:
            began = time.perf_counter()
            restorer.restore([a], [0.5])
            took.append(1e3 * (time.perf_counter() - began))
        events = float(np.mean([len(a.events) for a in shown]))
        p50, p95 = float(np.median(took)), float(np.percentile(took, 95))
        size = f"{preset} {rig.image.width}×{rig.image.height}"
        table.add_row(size, grid, f"{events / 1e3:.0f} k", f"{p50:.1f}", f"{p95:.1f}", f"{1e3 / p50:.1f}")
    console.print(table)


def preset_rows(make: Makes, seconds: float, pictures: Path | None, console: Console) -> None:
    table = Table(title="presets, middle of the exposure: PSNR dB, SSIM")
    for name in (
        "preset",
        "exposures",
        "blurred",
        "EDI",
        "glint event grid",
        "glint image grid",
        "over EDI dB",
    ):
        table.add_column(name, justify="left" if name == "preset" else "right")
    for preset in presets.names():
        simulated = SimulatedRig(presets.configure(preset, {}))
        rig = Rig.from_facts(preset, simulated.facts())
        grids = ("image",) if rig.identity else ("event", "image")
        engines = {"EDI": Engine(models.create("edi", rig, {}, "cpu"))}
        engines |= {grid: Engine(make(rig, grid=grid)) for grid in grids}
        figures: dict[str, list[tuple[float, float]]] = {}
        for a in exposures(simulated, rig, seconds):
            truth = simulated.truth(a.exposure.time_at(0.5))
            tiles = {"blurred": picture_of(a.frame)}
            for name, engine in engines.items():
                (r,) = engine.push(a, [0.5])
                tiles[name] = r.images[0]
            for name, tile in tiles.items():
                figures.setdefault(name, []).append((psnr(tile, truth), ssim(tile, truth)))
            if pictures is not None and a.ordinal % 8 == 3:
                save(pictures / f"{preset}-{a.ordinal:03d}.png", [*tiles.values(), truth])
        m = {name: np.mean(v, axis=0) for name, v in figures.items()}
        cell = {name: f"{v[0]:.2f} / {v[1]:.3f}" for name, v in m.items()}
        table.add_row(
            preset, str(len(figures["EDI"])), cell["blurred"], cell["EDI"], cell.get("event", "–"),
            cell["image"],
            " / ".join(f"{m[g][0] - m['EDI'][0]:+.2f}" for g in grids),
        )  # fmt: skip
    console.print(table)


def flicker(make: Makes, console: Console) -> None:
    """Spread over time of pixels that see neither motion nor events, in the traffic preset."""
    simulated = SimulatedRig(presets.configure("traffic", {}))
    rig = Rig.from_facts("traffic", simulated.facts())
    found = list(exposures(simulated, rig, 1.0))[:12]
    truths = np.stack([simulated.truth(a.exposure.time_at(0.5)) for a in found]).astype(np.float32)
    still = truths.std(axis=0).max(axis=-1) < 0.5
    rows = {"blurred": np.stack([picture_of(a.frame) for a in found])}
    for grid in ("event", "image"):
        restorer = make(rig, grid=grid)
        rows[f"glint, {grid} grid"] = np.stack([restorer.restore([a], [0.5]).images[0] for a in found])
    parts = []
    for name, pictures in rows.items():
        spread = pictures.astype(np.float32).std(axis=0)[still]
        parts.append(f"{name} {float(np.sqrt((spread**2).mean())):.3f}")
    console.print(
        f"flicker of what stands still ({still.mean():.0%} of traffic), grey levels rms: " + "; ".join(parts)
    )


def aligned(path: Path) -> Iterator[AlignedExposure]:
    found = library.exposures(path, margin_before_us=MARGIN_US)
    return (e for e in found if isinstance(e, AlignedExposure))


def recordings(make: Makes, data: Path, pictures: Path | None, console: Console) -> None:
    for name in ("davis346_blur_cups", "davis346_street"):
        path = data / "event" / f"{name}.aedat4"
        if not path.exists():
            console.print(f"{name}: not at {data}, left out")
            continue
        found = list(aligned(path))
        edi = Engine(models.create("edi", found[0].rig, {}, "cpu"))
        ours = Engine(make(found[0].rig))
        change, residuals, restored = [], [], 0
        for a in found:
            (e,), (g,) = edi.push(a, INSTANTS), ours.push(a, INSTANTS)
            blurred = picture_of(a.frame)
            change.append(float(np.abs(g.images[7].astype(float) - blurred).mean()))
            tone = a.rig.image.tone
            residuals.append([reblur_residual(r.images, blurred, tone).rms for r in (e, g)])
            restored += not any("passed through" in f for f in g.flags)
            if pictures is not None:
                save(pictures / f"{name}-{a.ordinal:03d}.png", [blurred, e.images[7], g.images[7]])
        both = np.array(residuals)
        console.print(
            f"{name}: {restored} of {len(found)} restored; mean change {np.mean(change):.2f} grey levels; "
            f"re-blur residual EDI {both[:, 0].mean():.2f}, glint {both[:, 1].mean():.2f} "
            f"(glint smaller in {(both[:, 1] <= both[:, 0]).sum()})"
        )


def save(path: Path, tiles: list[U8]) -> None:
    row = np.hstack(tiles)
    cv2.imwrite(str(path), row[..., ::-1] if row.ndim == 3 else row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--only", default="speed,presets,flicker,recordings")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.pictures is not None:
        args.pictures.mkdir(parents=True, exist_ok=True)
    console, make = Console(width=140), Makes(args.weights)
    parts = args.only.split(",")
    if "speed" in parts:
        speed(make, console)
    if "presets" in parts:
        preset_rows(make, args.seconds, args.pictures, console)
    if "flicker" in parts:
        flicker(make, console)
    if "recordings" in parts:
        recordings(make, args.data, args.pictures, console)


if __name__ == "__main__":
    main()
