"""How well the clock between both cameras is found: random rigs whose truth is known.

    python -m benchmarks.bench_calibration_time [--rigs 20] [--seconds 8] [--jobs 2] [--out FILE] [--whole]

Each rig: offset ±50 ms, drift ±100 ppm, trigger jitter 5 µs, 2 % of edges and of frames missing, exposures of
4 to 45 ms; for the clock without triggers also rotation ±5°, shift ±10 %, scale 3.5 … 4.5, either hand,
another scene and another speed, and arrival times with a least latency of 8 to 30 ms and 5 ms of scatter.
`--whole` also measures how long the whole command takes on the default rig.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from calibration.time.result import TimeResult
from calibration.time.solve import calibrate_time
from calibration.time.streams import Streams
from calibration.time.trigger import by_triggers, place
from capture.packets import EventPacket, Frame
from capture.simulated.presets import configure
from capture.simulated.rig import SimulatedRig
from sync.rig import Rig

LOSS = 0.02
_HOST0 = 10**12


@dataclass(frozen=True)
class Outcome:
    """One rig."""

    seed: int
    result: TimeResult
    clock_error_us: np.ndarray  # start of exposure by the clock, every frame
    live_error_us: np.ndarray  # start of exposure as the synchroniser gave it, frames that it placed
    frames: int
    wrong: int  # frames matched to an edge of another frame
    cpu_s: float


def faults(rng: np.random.Generator, seconds: float, rate_hz: float) -> list[dict[str, Any]]:
    """2 % of edges and of frames, at random."""
    out: list[dict[str, Any]] = []
    for k in range(int(seconds * rate_hz)):
        at = (k + 0.01) / rate_hz
        lost = [edge for edge in ("rising", "falling") if rng.random() < LOSS]
        out.extend({"kind": "drop_edge", "at_s": at, "edge": edge} for edge in lost)
        if rng.random() < LOSS:
            out.append({"kind": "drop_frame", "at_s": at})
    return out


def with_triggers(seed: int, seconds: float) -> Outcome:
    """A rig with a wire; its pictures are of no interest, so they are small."""
    rng = np.random.default_rng([seed, 1])
    rate = float(rng.uniform(12, 30))
    config = configure(
        "",
        {
            "seed": seed, "image_width": 64, "image_height": 48, "event_width": 32, "event_height": 24,
            "scale": 2.0, "shift_x": 0.0, "shift_y": 0.0, "loop_s": 0.4, "speed": 60.0, "cache": False,
            "rate_hz": rate, "exposure_us": int(rng.uniform(4_000, min(45_000, 0.7e6 / rate))),
            "trigger_jitter_us": 5.0, "faults": faults(rng, seconds, rate), **clock_of(rng),
        },
    )  # fmt: skip
    rig = SimulatedRig(config)
    facts = replace(rig.facts(), host_latency_ms=10.0)
    items = list(arriving(rig, seconds, rng, (8_000, 12_000), host=bool(seed % 2)))
    began = time.process_time()
    streams = Streams.of(items)
    known = Rig.from_facts("simulated", facts)
    result = by_triggers(streams, known)
    cpu = time.process_time() - began
    placed, _ = place(streams, known)
    errors = np.array(
        [p.exposure.start_us - rig.exposure_truth(p.sequence)[0] for p in placed if p.exposure is not None]
    )
    wrong = int((np.abs(errors) > 0.4e6 / rate).sum())
    return Outcome(seed, result, clock_errors(result, items, rig), errors, len(placed), wrong, cpu)


def without_triggers(seed: int, seconds: float) -> Outcome:
    """A rig without a wire, whose cameras see a scene move."""
    rng = np.random.default_rng([seed, 2])
    preset = ("handheld", "traffic")[seed % 2]
    w, h = 576, 384
    config = configure(
        preset,
        {
            "seed": seed, "image_width": w, "image_height": h, "event_width": w // 4, "event_height": h // 4,
            "scale": float(rng.uniform(3.5, 4.5)), "roll_deg": float(rng.uniform(-5, 5)),
            "shift_x": float(rng.uniform(-0.1, 0.1) * w), "shift_y": float(rng.uniform(-0.1, 0.1) * h),
            "perspective": float(rng.uniform(-0.03, 0.03)), "mirror": bool(rng.random() < 0.5),
            "loop_s": 1.6, "speed": float(rng.uniform(200, 600)) if preset == "handheld" else 150.0,
            "exposure_us": int(rng.uniform(8_000, 45_000)), "triggers": False, "cache": False,
            "faults": [f for f in faults(rng, seconds, 15.0) if f["kind"] == "drop_frame"], **clock_of(rng),
        },
    )  # fmt: skip
    rig = SimulatedRig(config)
    rig.prepare()
    known = Rig.from_facts("simulated", rig.facts())
    # As a rig file has it whose latency was never measured.
    clock = known.clock.model_copy(update={"host_latency_ms": 20.0, "host_latency_spread_ms": 20.0})
    known = known.model_copy(update={"clock": clock})
    least = float(rng.uniform(8_000, 30_000))
    items = list(arriving(rig, seconds, rng, (least, least + 5_000)))
    began = time.process_time()
    result = calibrate_time(lambda: items, known)
    cpu = time.process_time() - began
    frames = sum(isinstance(i, Frame) for i in items)
    return Outcome(seed, result, clock_errors(result, items, rig), np.empty(0), frames, 0, cpu)


def clock_of(rng: np.random.Generator) -> dict[str, Any]:
    """Offset and drift of the frame camera's clock."""
    return {
        "clock_offset_ms": float(rng.uniform(-50, 50)), "clock_drift_ppm": float(rng.uniform(-100, 100))
    }  # fmt: skip


def arriving(
    rig: SimulatedRig, seconds: float, rng: np.random.Generator, latency_us: tuple[float, float],
    *, host: bool = True,
) -> Iterator[EventPacket | Frame]:  # fmt: skip
    """Items in order of arrival, with arrival times; without `host` as a recording gives them."""
    found: list[tuple[float, int, EventPacket | Frame]] = []
    for n, item in enumerate(rig.items(seconds)):
        if isinstance(item, EventPacket):
            at = item.complete_until_us + float(rng.uniform(300, 900))
        else:
            at = rig.exposure_truth(item.sequence)[1] + float(rng.uniform(*latency_us))
        found.append((at, n, item))
    if host:
        found.sort(key=lambda f: f[:2])
    for at, _, item in found:
        yield replace(item, host_ns=_HOST0 + int(at * 1000) if host else 0)


def clock_errors(r: TimeResult, items: list[EventPacket | Frame], rig: SimulatedRig) -> np.ndarray:
    """Start of every frame's exposure by the clock, against the truth."""
    if r.clock is None:
        return np.empty(0)
    return np.array(
        [
            r.clock.event_us(i.device_start_ns or 0) - rig.exposure_truth(i.sequence)[0]
            for i in items
            if isinstance(i, Frame)
        ]
    )


def rows(trig: list[Outcome], content: list[Outcome]) -> list[tuple[str, str, str]]:
    """The table: what, figure, goal."""
    live = np.abs(np.concatenate([o.live_error_us for o in trig]))
    line = np.abs(np.concatenate([o.clock_error_us for o in trig]))
    frames = sum(o.frames for o in trig)
    wrong, failed = sum(o.wrong for o in trig), sum(o.result.clock is None for o in trig)
    out = [
        ("triggers: start of exposure, live (edge of its own)",
         f"median {np.median(live):.1f} µs, p99 {np.percentile(live, 99):.1f} µs, largest {live.max():.0f} µs",
         "≤ 10 µs, p99 ≤ 30 µs"),
        ("triggers: start of exposure by the fitted clock",
         f"median {np.median(line):.1f} µs, p99 {np.percentile(line, 99):.1f} µs", "≤ 10 µs, p99 ≤ 30 µs"),
        ("triggers: frames matched to a wrong edge", f"{wrong} of {len(live)} (of {frames} frames)", "0"),
        ("triggers: rigs without a clock", f"{failed} of {len(trig)}", "0"),
    ]  # fmt: skip
    if content:
        error = np.abs(np.concatenate([o.clock_error_us for o in content]))
        worst = [float(np.abs(o.clock_error_us).max()) for o in content if o.result.clock is not None]
        stated = [o.result.uncertainty_us for o in content if o.result.clock is not None]
        covered = sum(w <= s for w, s in zip(worst, stated, strict=True))
        lost = [", ".join(t.name for t in o.result.troubles) for o in content if o.result.clock is None]
        out += [
            ("no triggers: start of exposure",
             f"median {np.median(error):.0f} µs, p90 {np.percentile(error, 90):.0f} µs, "
             f"largest {error.max():.0f} µs",
             "median ≤ 300 µs"),
            ("no triggers: rigs whose stated uncertainty covers every frame",
             f"{covered} of {len(worst)}; stated ±{np.median(stated):.0f} µs (median)", "≥ 90 %"),
            ("no triggers: rigs without a clock, and why", f"{len(lost)} {lost or ''}".strip(), "0"),
            ("no triggers: CPU time for 8 s of streams",
             f"median {np.median([o.cpu_s for o in content]):.1f} s", ""),
        ]  # fmt: skip
    return out


def whole() -> tuple[str, str, str]:
    """The whole command on the default rig."""
    from app.calibrating import Wanted, simulated
    from calibration.report import report_html
    from calibration.run import calibrate

    m = simulated("simulated", Wanted())
    wall, cpu = time.perf_counter(), time.process_time()
    c = calibrate(m.rig, m.takes)
    report_html(c)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    parts = ", ".join(f"{k} {v:.0f} s" for k, v in c.seconds.items())
    return (
        "whole command on `simulated`, taking the data not counted",
        f"{cpu:.0f} s CPU, {wall:.0f} s wall ({parts}); verdict {c.verdict}", "≤ 60 s",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rigs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=("triggers",))
    parser.add_argument("--whole", action="store_true")
    a = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    seeds = range(a.rigs)
    with ProcessPoolExecutor(a.jobs, mp_context=get_context("spawn")) as pool:
        trig = list(pool.map(with_triggers, seeds, [2.5 * a.seconds] * a.rigs))
        content = []
        for o in pool.map(without_triggers, () if a.only == "triggers" else seeds, [a.seconds] * a.rigs):
            content.append(o)
            e = np.abs(o.clock_error_us)
            said = f"{np.median(e):.0f} µs, ±{o.result.uncertainty_us:.0f}" if len(e) else o.result.troubles
            print(f"rig {o.seed}: {said}", flush=True)
    table = rows(trig, content)
    if a.whole:
        table.append(whole())
    lines = ["| what | figure | goal |", "| --- | --- | --- |", *(f"| {' | '.join(r)} |" for r in table)]
    text = "\n".join(lines)
    print(text)
    if a.out is not None:
        command = f"python -m benchmarks.bench_calibration_time --rigs {a.rigs} --seconds {a.seconds:g}"
        command += " --whole" if a.whole else ""
        a.out.write_text(f"# The clock between both cameras\n\n`{command}`, {a.rigs} random rigs.\n\n{text}\n")


if __name__ == "__main__":
    main()
