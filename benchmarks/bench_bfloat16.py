"""Networks on a CPU in float32 and in bfloat16, whole restorers, picture by picture in turn.

    python -m benchmarks.bench_bfloat16 [--threads 2] [--networks glint,efnet] [--pictures 9] [--write]

Events and frame in, 8-bit picture out, middles of the exposures of a simulated preset; random weights where
none are installed (the time does not depend on them). Both types restore each picture one after the other, so a
machine that slows down slows both. Medians of all but the first two, with the 5th and 95th percentile.
"differs" is the largest root mean square of a picture's difference in grey levels; with random weights it says
nothing, since the change that such a network makes is of no size in particular: see results/precision.md.

On a CPU without instructions for bfloat16 products (`halfmirror doctor` says so) there is nothing to measure.
--write puts the table into results/bfloat16.md.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

import numba
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.report import markdown
from benchmarks.streams import Stream
from inference import models, store
from inference.device import multiplies_bfloat16
from inference.engine import Engine

RESULT = Path(__file__).parent / "results" / "bfloat16.md"
HEAD = ("network", "preset", "image", "float32, ms", "bfloat16, ms", "times as fast", "differs")
PRESETS = {
    "glint": ("davis", "handheld"), "glint-large": ("davis", "handheld"), "efnet": ("davis",),
    "gem": ("davis",), "s-sdm-ldn": ("davis",), "sc-net": ("davis",), "stra": ("davis",),
}  # fmt: skip
TYPES = ("float32", "bfloat16")
_WARM = 2


def measure(network: str, stream: Stream, pictures: int) -> tuple[str, ...]:
    """One row."""
    usable = store.status(network).usable
    options = {} if usable else {"random_weights": True}
    engines = []
    for dtype in TYPES:
        torch.manual_seed(0)
        engine = Engine(models.create(network, stream.rig, {**options, "dtype": dtype}, "cpu"))
        engine.prepare(stream.rig.image.width, stream.rig.image.height)
        engines.append(engine)
    seconds: list[list[float]] = [[], []]
    differs = 0.0
    for a in stream.exposures(engines[0].restorer.needs, pictures + _WARM):
        shown = []
        for engine, taken in zip(engines, seconds, strict=True):
            began = time.perf_counter()
            restored = engine.push(a, (0.5,))
            taken.append(time.perf_counter() - began)
            shown += [r.images[0].astype(np.float64) for r in restored]
        differs = max(differs, float(np.sqrt(np.square(shown[0] - shown[1]).mean())))
    ms = [np.percentile(np.array(s[_WARM:]) * 1e3, (50, 5, 95)) for s in seconds]
    image = stream.rig.image
    return (
        network, stream.name, f"{image.width}×{image.height}",
        *("{:.1f} ({:.1f} … {:.1f})".format(*m) for m in ms),
        f"{ms[0][0] / ms[1][0]:.2f}", f"{differs:.2f}" if usable else "–",
    )  # fmt: skip


def main() -> None:
    """Measure, print, and on demand write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--networks", default=",".join(PRESETS))
    parser.add_argument("--pictures", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="into results")
    args = parser.parse_args()
    unknown = sorted(set(args.networks.split(",")) - set(PRESETS))
    if unknown:
        sys.exit(f"--networks {unknown[0]}: known are {', '.join(PRESETS)}")
    if not multiplies_bfloat16():
        print("this CPU has no instructions for bfloat16 products: nothing to measure")
        return
    torch.set_num_threads(args.threads)
    numba.set_num_threads(args.threads)
    rows, streams = [], dict[str, Stream]()
    for network in args.networks.split(","):
        for preset in PRESETS[network]:
            streams.setdefault(preset, Stream.of(preset, 0.1 * (args.pictures + _WARM) + 0.4))
            rows.append(measure(network, streams[preset], args.pictures))
            print(" | ".join(rows[-1]), flush=True)
    command = f"python -m benchmarks.bench_bfloat16 --threads {args.threads} --pictures {args.pictures}"
    about = f"{platform.machine()}, Python {platform.python_version()}, PyTorch {torch.__version__}"
    table = Table(*HEAD, title=f"{command}\n{about}")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)
    if args.write:
        RESULT.write_text(markdown("bfloat16 on a CPU", command, about, __doc__, HEAD, rows))


if __name__ == "__main__":
    main()
