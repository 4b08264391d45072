"""What keeps pictures of the synthetic suite from their truth: each fault of the sensors taken away in turn.

    python -m benchmarks.bench_causes [--networks edi,glint] [--count 60]

Scenes, motion and cameras stay the same; only the fault named is absent, so what a network gains in a row is
what that fault costs it. EDI and glint search their thresholds, as they do live. PSNR in dB, mean over the
sequences of a kind.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from training.evaluation import BLURRED, Choice, Evaluation, evaluate
from training.synthesis.suite import KINDS, make_suite

SPREAD: dict[str, Any] = {"threshold_sigma": [0, 0]}
NOISE: dict[str, Any] = {"leak_hz": [0, 0], "shot_hz": [0, 0], "dark_hz": [0, 0], "hot_share": [0, 0]}
DEAD: dict[str, Any] = {"refractory_us": [1, 1]}
LAG: dict[str, Any] = {"cutoff_hz": [1e5, 1e5], "cutoff_dark_hz": [1e5, 1e5]}
FRAME: dict[str, Any] = {"noise_8bit": [0.01, 0.01], "column_8bit": [0, 0]}
SHIFT: dict[str, Any] = {"shift_px": 0.0}
WITHOUT: dict[str, dict[str, Any]] = {
    "nothing taken away": {},
    "spread of thresholds": SPREAD,
    "events that are noise": NOISE,
    "dead time after an event": DEAD,
    "lag of the pixels": LAG,
    "both of these": DEAD | LAG,
    "noise of the frame": FRAME,
    "misregistration": SHIFT,
    "all of these": SPREAD | NOISE | DEAD | LAG | FRAME | SHIFT,
}


def row(found: Evaluation, method: str) -> list[str]:
    """Mean PSNR of each kind, then of all."""
    kinds: list[float] = []
    for kind in KINDS:
        values = [s[method].of("psnr") for name, s in found.sequences.items() if name.startswith(f"{kind}-")]
        kinds.append(statistics.fmean(v for v in values if v is not None))
    whole = found.mean(method, "psnr")
    assert whole is not None
    return [f"{v:.2f}" for v in (*kinds, whole)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="edi,glint")
    parser.add_argument("--count", type=int, default=60, help="sequences; at least one of each kind (4)")
    args = parser.parse_args()
    if args.count < len(KINDS):
        parser.error(f"--count {args.count}: a row needs {len(KINDS)} sequences, one of each kind")
    networks = tuple(args.networks.split(","))
    table = Table("without", "method", *KINDS, "all", title="PSNR, dB")
    with Progress() as progress:
        task = progress.add_task("suites", total=len(WITHOUT))
        for name, changes in WITHOUT.items():
            found = evaluate(make_suite(args.count, changes=changes), Choice(networks, reblur=0))
            for method in (BLURRED, *networks):
                table.add_row(name, method, *row(found, method))
            table.add_section()
            progress.advance(task)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
