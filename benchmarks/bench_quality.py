"""EDI against the simulated rig's truth: a table over presets, with and without noise.

    python -m benchmarks.bench_quality [--presets davis,handheld] [--seconds 2] [--skip 0] [--pictures DIR]

Per exposure: the blurred frame and EDI at mid exposure against the sharp picture at that instant. The table
shows means over exposures. "searched c" finds the contrast from the pictures, "true c" is told the sensor's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from capture.packets import EventPacket, Events, Frame
from capture.simulated import presets
from capture.simulated.rig import SimulatedRig
from inference import models
from inference.engine import Engine
from inference.quality import psnr, ssim
from inference.restorers.contrast_pairs import MARGIN_US
from inference.restorers.picture import picture_of
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import Rig


def exposures(simulated: SimulatedRig, rig: Rig, seconds: float) -> Iterator[AlignedExposure]:
    """The rig's exposures with their events, by the truth about time: quality alone is measured here."""
    parts: list[Events] = []
    for item in simulated.items(seconds):
        if isinstance(item, EventPacket):
            parts.append(item.events)
            continue
        frame: Frame = item
        start, end = simulated.exposure_truth(frame.sequence)
        joined, first = Events.concatenate(parts), round(start) - MARGIN_US
        parts = [joined.between(first, np.iinfo(np.int64).max)]
        exposure = Exposure(round(start), round(end), ExposureSource.TRIGGER, 0.0)
        events = joined.between(first, exposure.end_us)
        yield AlignedExposure(frame, exposure, events, first, exposure.end_us, rig, frame.sequence)


def measure(
    preset: str, noise: bool, seconds: float, pictures: Path | None, settings: dict[str, Any]
) -> tuple[list[str], dict[str, float]]:
    """One row of the table, and its figures by name."""
    simulated = SimulatedRig(presets.configure(preset, {"noise": noise, **settings}))
    rig = Rig.from_facts(preset, simulated.facts())
    on, off = rig.events.threshold_on, rig.events.threshold_off
    engines = {
        "searched": Engine(models.create("edi", rig, {"contrast": "auto"}, "cpu")),
        "true": Engine(models.create("edi", rig, {"contrast_on": on, "contrast_off": off}, "cpu")),
        "bare": Engine(
            models.create("edi", rig, {"contrast_on": on, "contrast_off": off, "denoise": False}, "cpu")
        ),
    }
    figures: dict[str, list[float]] = {}
    c_on = c_off = 0.0
    for a in exposures(simulated, rig, seconds):
        truth = simulated.truth(a.exposure.time_at(0.5))
        blurred = picture_of(a.frame)
        figures.setdefault("blurred", []).append(psnr(blurred, truth))
        figures.setdefault("blurred ssim", []).append(ssim(blurred, truth))
        figures.setdefault("events", []).append(float(len(a.exposure_events())))
        tiles = [blurred]
        for name, engine in engines.items():
            (r,) = engine.push(a, [0.5])
            figures.setdefault(name, []).append(psnr(r.images[0], truth))
            figures.setdefault(f"{name} ssim", []).append(ssim(r.images[0], truth))
            if name == "searched":
                c_on, c_off = r.figures["contrast_on"], r.figures["contrast_off"]
            tiles.append(r.images[0])
        if pictures is not None and a.ordinal % 8 == 3:
            tiles = [tiles[0], tiles[1], tiles[3], truth]
            sheet = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
            sheet = sheet[..., ::-1] if sheet.ndim == 3 else sheet
            cv2.imwrite(str(pictures / f"{preset}-{'noisy' if noise else 'clean'}-{a.ordinal:03d}.png"), sheet)
    m = {k: float(np.mean(v)) for k, v in figures.items()}
    m["c_on"], m["c_off"] = c_on, c_off
    row = [
        preset, "yes" if noise else "no", str(len(figures["blurred"])), f"{m['events'] / 1e3:.0f} k",
        f"{m['blurred']:.2f}  {m['blurred ssim']:.3f}",
        f"{m['searched']:.2f}  {m['searched ssim']:.3f}", f"{m['true']:.2f}  {m['true ssim']:.3f}",
        f"{m['bare']:.2f}", f"{m['searched'] - m['blurred']:+.2f}",
        f"{c_on:.3f} / {c_off:.3f}", f"{on} / {off}",
    ]  # fmt: skip
    return row, m


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", default=",".join(presets.names()))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    if args.pictures is not None:
        args.pictures.mkdir(parents=True, exist_ok=True)
    settings = dict(s.split("=", 1) for s in args.set)
    table = Table(title=f"python -m benchmarks.bench_quality --seconds {args.seconds:g}: PSNR dB, SSIM")
    for name in (
        "preset", "noise", "exposures", "events", "blurred", "EDI, searched c", "EDI, true c", "bare formula",
        "gain dB", "c found on / off", "c true",
    ):  # fmt: skip
        table.add_column(name, justify="left" if name == "preset" else "right")
    for preset in args.presets.split(","):
        for noise in (True, False):
            table.add_row(*measure(preset, noise, args.seconds, args.pictures, settings)[0])
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
