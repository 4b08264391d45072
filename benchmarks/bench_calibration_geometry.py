"""Geometry of random simulated rigs against the truth: blinking board, ChArUco, no target, and what EDI loses.

    python -m benchmarks.bench_calibration_geometry --rigs 20 --scenes 20 --edi 3

Errors are in event pixels over the field that both cameras share: root of the mean square, and the worst place
(a corner of the field). Rigs: rotation ±5°, shift ±10 %, scale 3.5…4.5, perspective ±3 %, either hand, both
lenses bending up to 1 % at the corner, all sensor noise on. Results: results/calibration_geometry.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from calibration.geometry.collect import TimedFrame, blinking_views, charuco_views
from calibration.geometry.result import GeometryResult
from calibration.geometry.scene import solve_scene
from calibration.geometry.solve import solve
from calibration.geometry.targets import Board
from calibration.simulated import board_shots
from calibration.simulated_scene import SceneTake, scene_config, scene_take
from calibration.simulated_truth import SimulatedTruth, random_truth
from capture.packets import Frame, FrameClock, PixelLayout
from capture.simulated.loops import image_view, scene_of
from capture.simulated.rgb_sensor import FrameSensor
from inference.restorers.edi import EdiRestorer
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.geometry import inside_events
from sync.lens import PixelMap, common_field
from sync.rig import Rig

RESULTS = Path(__file__).parent / "results" / "calibration_geometry.md"


def error(truth: SimulatedTruth, found: PixelMap) -> tuple[float, float]:
    e, i = common_field(truth.pixel_map, truth.event_size, truth.image_size, 49)
    d = np.linalg.norm(found.to_event(i) - e, axis=1)
    return float(np.sqrt(np.mean(d**2))), float(d.max())


def by_board(truth: SimulatedTruth, kind: str, seed: int, shots: int) -> tuple[GeometryResult, float]:
    board, views, spent = Board(), [], 0.0
    for shot in board_shots(truth, kind, shots, seed):
        frames = [TimedFrame(*f) for f in shot.frames[:2]]
        began = time.process_time()
        if kind == "blinking":
            views += blinking_views(frames, shot.events, board)[0]
        else:
            own = [TimedFrame(*f) for f in shot.event_frames[:1]]
            views += charuco_views(frames[:1], own, board)[0]
        spent += time.process_time() - began
    began = time.process_time()
    result = solve(views, truth.image_size, truth.event_size, lens="auto")
    return result, spent + time.process_time() - began


def row(name: str, seed: int, truth: SimulatedTruth, r: GeometryResult, seconds: float) -> str:
    if r.pixel_map is None or r.image_from_event is None:
        return f"| {name} | {seed} | {r.verdict}: {r.problems[0][:60]} | | | | | | {seconds:.1f} |"
    rms, worst = error(truth, r.pixel_map)
    one = error(truth, PixelMap(r.image_from_event))[0]
    best = error(truth, PixelMap(truth.rig().image_from_event))[0]
    ROWS.setdefault(name, []).append((rms, worst, seconds))
    return (
        f"| {name} | {seed} | {r.verdict} | {rms:.3f} | {worst:.3f} | {one:.3f} | {best:.3f} | {r.rms_px:.3f} "
        f"| {r.field_error_px:.3f} | {seconds:.1f} |"
    )


ROWS: dict[str, list[tuple[float, float, float]]] = {}


def edi_psnr(take: SceneTake, rig: Rig, numbers: range) -> float:
    """Mean PSNR of EDI at mid-exposure against the sharp truth, over the field that both cameras share."""
    base = scene_config(take.truth, 0, {})
    sensor = FrameSensor(base.effective_frames(), image_view(base, scene_of(base)), base.seed)
    restorer = EdiRestorer(rig, {"contrast_on": 0.25, "contrast_off": 0.25})
    seen = inside_events(take.truth.rig())
    out = []
    for k in numbers:
        f = take.frames[k]
        layout = PixelLayout.RGB if f.picture.ndim == 3 else PixelLayout.GRAY
        frame = Frame(f.picture, layout, k, f.start_us * 1000, f.end_us * 1000, FrameClock.EVENT)
        exposure = Exposure(f.start_us, f.end_us, ExposureSource.TRIGGER, 5.0)
        aligned = AlignedExposure(
            frame, exposure, take.events.between(f.start_us, f.end_us), f.start_us, f.end_us, rig, k
        )
        sharp = sensor.sharp((f.start_us + f.end_us) / 2e6).astype(np.float64)
        made = restorer.restore([aligned], [0.5]).images[0].astype(np.float64)
        out.append(10 * np.log10(255**2 / np.mean((made[seen] - sharp[seen]) ** 2)))
    return float(np.mean(out))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rigs", type=int, default=20, help="with a blinking board")
    p.add_argument("--charuco", type=int, default=20, help="with a board in the frames of both cameras")
    p.add_argument("--scenes", type=int, default=20, help="without a target, 2.4 s of the studio scene")
    p.add_argument("--edi", type=int, default=3, help="rigs whose EDI is compared with the true rig's")
    p.add_argument("--shots", type=int, default=9, help="places of the board")
    a = p.parse_args()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)
        write(lines, a)

    for name, count, kind in (("blinking", a.rigs, "blinking"), ("ChArUco", a.charuco, "charuco")):
        for seed in range(1, count + 1):
            truth = random_truth(seed)
            say(row(name, seed, truth, *by_board(truth, kind, seed, a.shots)))
    for seed in range(1, a.scenes + 1):
        truth = random_truth(seed)
        take = scene_take(truth)
        began = time.process_time()
        s = solve_scene(take.frames, take.events, truth.image_size, truth.event_size, lens="auto")
        say(row("no target", seed, truth, s.geometry, time.process_time() - began))
        if seed <= a.edi and s.geometry.image_from_event is not None:
            found = s.geometry.applied(truth.rig(), "bench")
            with_truth, with_found = (edi_psnr(take, r, range(4, 16, 4)) for r in (truth.rig(), found))
            say(f"| EDI | {seed} | true {with_truth:.2f} dB, no target {with_found:.2f} dB: loss "
                f"{with_truth - with_found:+.3f} dB | | | | | | | |")  # fmt: skip


def write(lines: list[str], a: argparse.Namespace) -> None:
    head = [
        "# Geometry of random rigs against the truth", "",
        f"`python -m benchmarks.bench_calibration_geometry --rigs {a.rigs} --charuco {a.charuco} "
        f"--scenes {a.scenes} --edi {a.edi} --shots {a.shots}`",
        "", (__doc__ or "").split("\n\n")[2].replace("\n", " "), "",
        "| what | rigs | RMS: median | RMS: worst rig | worst corner | CPU s, median |",
        "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for name, rows in ROWS.items():
        rms, worst, spent = (np.array([r[k] for r in rows]) for k in range(3))
        head.append(
            f"| {name} | {len(rows)} | {np.median(rms):.3f} | {rms.max():.3f} | {worst.max():.3f} "
            f"| {np.median(spent):.1f} |"
        )
    head += [
        "", "Each rig. \"one homography\": the estimate without its lens, and the best that one can do.", "",
        "| what | rig | verdict | RMS | worst corner | one homography | best one | held out | stated | CPU s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    RESULTS.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
