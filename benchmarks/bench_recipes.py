"""What runs of recipes came to: steps, loss, PSNR over the blurred frame, pace, waiting; out of their folders.

    python -m benchmarks.bench_recipes runs/efnet runs/sc-net

The first and last loss are means of the first and the last tenth of the logged intervals (of two at the least);
PSNR is that of the newest validation, which no interrupted one counts for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tomllib
from pathlib import Path
from typing import Any

HEAD = (
    "run", "network options", "crop, batch", "steps", "minutes", "loss, first → last", "blurred, dB",
    "restored, dB", "gain, dB", "G multiply-adds/s", "loader idle",
)  # fmt: skip


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def row(folder: Path) -> list[str]:
    recipe = tomllib.loads((folder / "recipe.toml").read_text())
    lines = lines_of(folder)
    steps = [line for line in lines if "loss" in line]
    judged = [line for line in lines if "val/psnr" in line]
    share = max(2, len(steps) // 10)
    first, last = (statistics.fmean(s["loss"] for s in part) for part in (steps[:share], steps[-share:]))
    options = json.dumps(recipe["network"].get("options", {})).strip("{}").replace('"', "")
    cells = [
        folder.name, options or "as published",
        f"{recipe['data']['options'].get('crop', '–')}, {recipe['run']['batch']}", str(steps[-1]["step"]),
        f"{steps[-1]['elapsed_s'] / 60:.0f}", f"{first:.3f} → {last:.3f}",
    ]  # fmt: skip
    if judged:
        blurred, restored = judged[-1]["val/blurred"], judged[-1]["val/psnr"]
        cells += [f"{blurred:.2f}", f"{restored:.2f}", f"{restored - blurred:+.2f}"]
    else:
        cells += ["–"] * 3
    # A first interval holds the loader's start.
    pace = steps[1:] or steps
    cells.append(f"{statistics.median(s['gmacs_per_s'] for s in pace):.2f}")
    cells.append(f"{100 * statistics.median(s['idle'] for s in pace):.0f} %")
    return cells


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    folders = parser.parse_args().runs
    table = [list(HEAD), ["---"] * len(HEAD), *(row(f) for f in folders)]
    print("\n".join("| " + " | ".join(cells) + " |" for cells in table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
