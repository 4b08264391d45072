"""All networks on one synthetic benchmark, each trained here for the same time: the table of docs/results.md.

    python -m benchmarks.bench_all --minutes 20 -o runs/all
    python -m benchmarks.bench_all --minutes 5 -o runs/all --device cuda --side-by-side

Draws one set of moving scenes in the layouts that the recipes take (same seed, same scenes; the held-out videos
are of other photos), trains every recipe on it for the same time, one after another or side by side, and
measures all on the held-out videos under the protocol `ours`. What is there is not done again, so a stopped
call goes on where it was. EDI, glint with its shipped weights and, where its file is given (--ldn FILE), LDN
with the published weights stand beside. Networks are narrowed where a CPU, or a few minutes of a GPU, would not
get far with the published width; the table says so.

--stage does one part alone, for instance training on a machine with a GPU and measuring on one without: bring
`NAME.done` and of `runs/NAME` the files weights.safetensors, metrics.jsonl and recipe.toml (of s-sdm-ldn those
in `ldn`) into the folder, draw the held-out videos there (--videos 1 8 does for that), and measure.

Everything runs through the program's own commands with a store of weights of its own, below the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.bench_all_entries import ENTRIES, PUBLISHED, SIZE, VIDEOS, How
from benchmarks.bench_all_train import Failed, Wanted, device_of, done_file, draw, finish, how_of, start, train

STAGES = ("draw", "train", "measure")
HEAD = (
    "network",
    "trained",
    "steps",
    "PSNR, dB",
    "SSIM",
    "LPIPS",
    "re-blur, codes",
    "ms a picture",
    "memory, MB",
)


def measure(out: Path, name: str, pictures: int) -> dict[str, Any]:
    """PSNR, SSIM, LPIPS, re-blur, time and memory of one entry, in a process of its own."""
    from inference.restorers.base import LatentTimes
    from training.protocols.run import Wanted
    from training.protocols.run import measure as run_protocol

    network = ENTRIES[name].network
    data = (str(out / "videos" / "test"),)
    result = run_protocol(Wanted((network,), "ours", data, pictures=0, lpips=True))
    values = {m: result.mean(network, m) for m in result.measures}
    blurred = {m: result.mean("blurred", m) for m in result.measures}
    seconds, reblur, kind = _timed(network, data, pictures)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        **values, "blurred": blurred, "ms": 1000 * seconds, "memory": memory,
        "reblur": reblur if kind is LatentTimes.ANY else None, "pictures": result.count(network),
    }  # fmt: skip


def _timed(network: str, data: tuple[str, ...], pictures: int) -> tuple[float, float | None, Any]:
    """Median seconds a picture in a stream, and mean re-blur residual, over the first exposures of a video."""
    import statistics

    from inference import models, residual
    from inference.engine import Engine, Failed
    from training.data.sets.find import find
    from training.protocols.pictures import exposures

    facts = find(data).sequences[0]
    rig, found = exposures(facts, network)
    restorer = models.create(network, rig, {}, "cpu")
    restorer.prepare(rig.image.width, rig.image.height)
    engine, took = Engine(restorer), []
    for e in found[:pictures]:
        took += [r.seconds / len(r.latents) for r in engine.try_push(e, (0.5,)) if not isinstance(r, Failed)]
    took += [r.seconds / len(r.latents) for r in engine.try_gap() if not isinstance(r, Failed)]
    needs = restorer.needs
    alone = not (needs.frames_before or needs.frames_after or needs.stateful)
    lost = [m for e in found[:3] if alone and (m := residual.measure(restorer, [e])) is not None]
    return statistics.median(took), statistics.fmean(m.rms for m in lost) if lost else None, needs.latent


def row(out: Path, name: str, values: dict[str, Any], minutes: float) -> list[str]:
    """One line of the table."""
    entry, steps, trained = ENTRIES[name], "–", "–"
    if entry.recipe:
        metrics = (out / "runs" / name / entry.weights).with_name("metrics.jsonl")
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        steps = str(max(line["step"] for line in lines))
        trained = (how_of(out, name) or How("", minutes)).words()
    elif name != "edi":
        trained = "as published" if name == PUBLISHED else "as shipped"

    def text(key: str, digits: int) -> str:
        value = values.get(key)
        return "–" if value is None else f"{value:.{digits}f}"

    return [
        name, trained, steps, text("psnr", 2), text("ssim", 3), text("lpips", 3), text("reblur", 2),
        text("ms", 1), text("memory", 0),
    ]  # fmt: skip


def table(out: Path, names: list[str], published: Path | None, pictures: int, minutes: float) -> dict[str, str]:
    """Measure and print; gives why some could not be measured, by name."""
    rows: list[list[str]] = []
    blurred: dict[str, float | None] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            values = _measured(out, name, published, pictures)
        except Failed as error:
            failed[name] = str(error)
            continue
        blurred = values["blurred"]
        rows.append(row(out, name, values, minutes))
        print(" | ".join(rows[-1]), file=sys.stderr)
    for cells in [list(HEAD), ["---"] * len(HEAD), *rows]:
        print("| " + " | ".join(cells) + " |")
    if blurred:
        print("\nblurred: " + ", ".join(f"{k} {v:.3f}" for k, v in blurred.items() if v is not None))
    return failed


def _measured(out: Path, name: str, published: Path | None, pictures: int) -> dict[str, Any]:
    """What `measure` gives, in a process of its own.

    Raises:
        Failed: the weights are refused, or measuring failed.
    """
    entry, store, log = ENTRIES[name], out / "stores" / name, out / f"{name}.measured.log"
    weights = out / "runs" / name / entry.weights if entry.recipe else None
    if name == PUBLISHED:
        weights = published
    if weights is not None:
        finish(start(store, ["models", "add", entry.network, weights], log), log)
    command = [sys.executable, "-m", "benchmarks.bench_all", "-o", str(out), "--measure", name]
    command += ["--pictures", str(pictures)]
    environment = {**os.environ, "HALFMIRROR_MODELS": str(store)}
    with log.open("ab") as said:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=said, text=True)
    if done.returncode:
        last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
        raise Failed(f"exit code {done.returncode}: {last} ({log})")
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="of training, for each")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--photos", default="package:all")
    parser.add_argument("--only", default="", help="names with commas")
    parser.add_argument("--videos", type=int, nargs=2, help="to train on, held out (48 8; on a GPU 96 8)")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--pictures", type=int, default=9, help="that are timed")
    parser.add_argument("--ldn", type=Path, help="published weights of LDN")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="to train on")
    parser.add_argument("--side-by-side", action="store_true", help="train all at once, on one device")
    parser.add_argument("--stage", choices=STAGES, help="only that part")
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    out: Path = given.output.resolve()
    if given.measure:
        print(json.dumps(measure(out, given.measure, given.pictures)))
        return 0
    names = [n for n in given.only.split(",") if n] or [n for n in ENTRIES if n != PUBLISHED or given.ldn]
    if unknown := [n for n in names if n not in ENTRIES]:
        parser.error(f"--only {unknown[0]}: known are {', '.join(ENTRIES)}")
    stages = (given.stage,) if given.stage else STAGES
    device = device_of(given.device)
    photos = given.photos if ":" in given.photos else str(Path(given.photos).resolve())
    videos = tuple(given.videos or VIDEOS[device])
    wanted = Wanted(out, photos, videos, given.size, given.minutes, device, given.side_by_side)
    out.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    if "draw" in stages:
        try:
            draw(wanted, names, measured=True)
        except Failed as error:
            print(f"drawing: {error}", file=sys.stderr)
            return 1
    if "train" in stages:
        failed |= train(wanted, names)
    if "measure" in stages:
        ready = [n for n in names if not ENTRIES[n].recipe or done_file(out, n).exists()]
        failed = {n: "not trained yet" for n in names if n not in ready} | failed
        failed |= table(out, ready, given.ldn, given.pictures, given.minutes)
    for name, why in failed.items():
        print(f"{name}: {why}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    # `timeout` ends this process alone; on the way out it ends its trainings, which save what they have.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
