"""All networks on one synthetic benchmark, each trained here for the same time: the table of docs/results.md.

    python -m benchmarks.bench_all --minutes 20 -o runs/all

Draws one set of moving scenes in the layouts that the recipes take (same seed, same scenes; the held-out videos
are of other photos), trains every recipe on it for the same time, one after another, and measures all on the
held-out videos under the protocol `ours`. What is there is not done again, so a stopped call goes on where it
was. EDI, glint with its shipped weights and, where its file is given (--ldn FILE), LDN with the published
weights stand beside. Networks are narrowed where a CPU would not get far with the published width; the table
says so.

Everything runs through the program's own commands with a store of weights of its own, below the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIZE = 96
SCENES = (
    "blur_px=[8,20]", "object_px=[8,20]", "noise_8bit=[0.3,2]", "still_share=0", "flat_share=0", "lost_share=0",
    "highlight_share=0.1", "threshold=[0.12,0.3]", "shift_share=0", "colour_share=1", "srgb_share=1",
)  # fmt: skip
COMMON = ("data.workers=1", "schedule.name=cosine", "schedule.warmup_steps=20", "run.log_every=10",
          "run.previews=2", "data.validation=16", "run.validate_every=200")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One row's training.

    Attributes:
        recipe: of `halfmirror train`; "": none.
        data: which layout it takes.
        settings: of the run.
        network: that the weights are for.
        weights: below the run's folder.
        options: of the network in use.
    """

    recipe: str
    data: str
    settings: tuple[str, ...]
    network: str
    weights: str = "weights.safetensors"
    options: dict[str, Any] = field(default_factory=dict)


PUBLISHED = "s-sdm-ldn-published"
ENTRIES: dict[str, Entry] = {
    "edi": Entry("", "", (), "edi"),
    "glint-shipped": Entry("", "", (), "glint"),
    "glint": Entry("glint", "pool", ("run.batch=6",), "glint"),
    "efnet": Entry("efnet", "videos", (
        "network.options={wf=16}", "data.options.crop=64", "optimiser.lr=1e-3",
    ), "efnet"),
    "gem": Entry("gem", "pairs", ("data.options.crop=48", "run.batch=2", "run.ema=0.98"), "gem"),
    "sc-net": Entry("sc-net", "videos", (
        'network.options={spiking="window",theta_s=1.0,base_channel=16,num_res=2,temporal_attention=false}',
        "data.options.crop=48", "data.options.clip=2", "data.options.steps=8", "optimiser.lr=2e-3",
        "run.ema=0.98",
    ), "sc-net"),
    "stra": Entry("stra", "videos", (
        "network.options={base_channel=16,num_res=2}", "data.options.crop=48", "data.options.clip=2",
        "optimiser.lr=2e-3", "run.ema=0.98",
    ), "stra"),
    "cdvd-tsp": Entry("cdvd-tsp", "videos", (
        "network.options={n_feat=8,n_resblock=1}", 'optimiser.groups=[{prefix="flow_net.",lr=1e-4}]',
        "data.options.crop=64", "optimiser.lr=1e-3", "run.batch=2", "run.validate_every=60",
    ), "cdvd-tsp"),
    "s-sdm-ldn": Entry("s-sdm", "spikes", (
        "data.options.crop=64", "run.batch=2", "optimiser.lr=1e-3", "ldn.loss.name=ssim-reblur",
        "ldn.optimiser.lr=2e-3",
    ), "s-sdm-ldn", "ldn/weights.safetensors"),
    PUBLISHED: Entry("", "", (), "s-sdm-ldn"),
}  # fmt: skip
STAGES = {"bsn": 0.25, "edsr": 0.25, "ldn": 0.5}
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


def halfmirror(store: Path, *arguments: str, log: Path | None = None) -> None:
    """One command of the program; what it prints goes into `log`."""
    environment = {**os.environ, "HALFMIRROR_MODELS": str(store)}
    command = [sys.executable, "-m", "app.cli.main", *arguments]
    if log is None:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return
    with log.open("a") as out:
        subprocess.run(command, env=environment, check=True, stdout=out, stderr=subprocess.STDOUT)


def draw(out: Path, photos: str, train: int, test: int, size: int) -> None:
    """The scenes in every layout; finished files stay."""
    sets = [part for s in SCENES for part in ("--set", s)]
    shape = ["--size", str(size), "--seed", "5", "--photos", photos]
    layouts = {"videos": "efnet-h5", "pairs": "msrbd", "spikes": "spikes"}
    for name, layout in layouts.items():
        halfmirror(
            out / "store", "synthesise", "-o", str(out / name), "--format", layout, "--count",
            str(train), "--test", str(test), *shape, *sets, log=out / "data.log",
        )  # fmt: skip
    halfmirror(
        out / "store", "synthesise", "-o", str(out / "pool"), "--count", str(32 * train), *shape, *sets,
        log=out / "data.log",
    )  # fmt: skip


def train(out: Path, name: str, photos: str, minutes: float) -> Path:
    """Train one entry; gives the weights. A finished run stays, a stopped one goes on."""
    entry, run, log = ENTRIES[name], out / "runs" / name, out / f"{name}.log"
    weights = run / entry.weights
    done = out / f"{name}.done"
    if done.exists():
        return weights
    data = out / entry.data
    given = ["--photos", photos, "--set", f"data.options.pool={data}"] if entry.data == "pool" else []
    given += [] if entry.data == "pool" else ["--data", str(data)]
    stages = STAGES if entry.recipe == "s-sdm" else {}
    time_of = [f"{s}.run.max_minutes={minutes * share}" for s, share in stages.items()]
    settings = [part for s in (*COMMON, *entry.settings, *time_of) for part in ("--set", s)]
    length = [] if stages else ["--max-minutes", str(minutes)]
    store = out / "stores" / name
    if run.exists():
        halfmirror(store, "train", str(run), "--resume", log=log)
    else:
        halfmirror(store, "train", entry.recipe, *given, *settings, *length, "-o", str(run), log=log)
    done.touch()
    return weights


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
        narrow = next((s.partition("=")[2] for s in entry.settings if s.startswith("network.options")), "")
        trained = f"{minutes:g} min" + (f", {narrow}" if narrow else "")
    elif name != "edi":
        trained = "as published" if name == PUBLISHED else "as shipped"

    def text(key: str, digits: int) -> str:
        value = values.get(key)
        return "–" if value is None else f"{value:.{digits}f}"

    return [
        name, trained, steps, text("psnr", 2), text("ssim", 3), text("lpips", 3), text("reblur", 2),
        text("ms", 1), text("memory", 0),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="of training, for each")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--photos", default="package:all")
    parser.add_argument("--only", default="", help="names with commas")
    parser.add_argument("--videos", type=int, nargs=2, default=(48, 8), help="to train on, held out")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--pictures", type=int, default=9, help="that are timed")
    parser.add_argument("--ldn", type=Path, help="published weights of LDN")
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    out: Path = given.output.resolve()
    if given.measure:
        print(json.dumps(measure(out, given.measure, given.pictures)))
        return 0
    names = [n for n in given.only.split(",") if n] or [n for n in ENTRIES if n != PUBLISHED or given.ldn]
    out.mkdir(parents=True, exist_ok=True)
    count, held_out = given.videos
    draw(out, given.photos, count, held_out, given.size)
    rows, blurred = [], None
    for name in names:
        entry, store = ENTRIES[name], out / "stores" / name
        weights = train(out, name, given.photos, given.minutes) if entry.recipe else None
        if name == PUBLISHED:
            weights = given.ldn
        if weights is not None:
            halfmirror(store, "models", "add", entry.network, str(weights))
        command = [sys.executable, "-m", "benchmarks.bench_all", "-o", str(out), "--measure", name]
        environment = {**os.environ, "HALFMIRROR_MODELS": str(store)}
        text = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        values = json.loads(text.splitlines()[-1])
        blurred = values["blurred"]
        rows.append(row(out, name, values, given.minutes))
        print(" | ".join(rows[-1]), file=sys.stderr)
    for cells in [list(HEAD), ["---"] * len(HEAD), *rows]:
        print("| " + " | ".join(cells) + " |")
    if blurred:
        print("\nblurred: " + ", ".join(f"{k} {v:.3f}" for k, v in blurred.items() if v is not None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
