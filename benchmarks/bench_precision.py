"""What half precision costs each network, against float32 and against the truth of the simulated rig.

    python -m benchmarks.bench_precision [--networks efnet,gem] [--exposures 3] [--device cpu]
                                         [--weights ../shared/weights] [--write]

Each network runs through its restorer in float32 and in each narrower type that it bears, over the first
exposures of simulated presets, noise and all. "lost" is PSNR against the truth in 8 bits, float32 minus the
narrower type; "rms" and "largest" are differences from float32's result before it is rounded, in grey levels
of 255. Weights are those installed, or fitting files of --weights. A network without any runs with random
weights whose last layer is scaled: apart from a common factor the picture then changes by 16 grey levels rms,
as much as deblurring changes one, or, where the network gives the picture itself, has the frame's own rms.
There is no truth for such a result; "cost" is then what a picture of 35 dB would lose to an error of this size.
CDVD-TSP in bfloat16 differed by 0.867 grey levels rms, a cost of 0.156 dB; its restorer does not offer it.

glint has a way of its own on a CPU: it is compared in 8 bits, so that every rounding counts. On a CPU products
of narrow numbers are summed in float32 and rounded, as a GPU does: by its own instructions, or by
`inference.half`.
--write puts the table into results/precision.md (precision_gpu.md on a GPU) and the figures into the cards.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.report import markdown
from benchmarks.streams import Stream
from capture.errors import HalfmirrorError
from inference import models, store
from inference.cards import Precision
from inference.device import choose_device
from inference.engine import Engine
from inference.quality import psnr
from inference.restorers.neural import NeuralRestorer
from inference.weights import read_weights
from inference.weights_fit import identify

RESULTS = Path(__file__).parent / "results"
CARDS = Path(__file__).parents[1] / "inference" / "cards"
HEAD = ("network", "weights", "type", "data", "float32, dB", "lost, dB", "rms", "largest", "cost, dB")
# Events as fine as the image, and four times coarser. CDVD-TSP takes none; STRA's time grows with the square.
PRESETS = {
    "glint": ("davis", "handheld"),
    "glint-large": ("davis", "handheld"),
    "efnet": ("davis", "handheld"),
    "gem": ("davis", "handheld"),
    "s-sdm-ldn": ("davis", "handheld"),
    "cdvd-tsp": ("davis",),
    "stra": ("davis",),
    "sc-net": ("davis",),
}
# The layer that random weights are scaled in.
LAST = {
    "efnet": "last", "gem": "dec.conv", "s-sdm-ldn": "pred", "cdvd-tsp": "recons_net.outBlock.3",
    "stra": "feat_extract.5", "sc-net": "feat_extract.5",
}  # fmt: skip
GIVES_THE_PICTURE = ("cdvd-tsp", "s-sdm-ldn")
CHANGE = 16 / 255
RANDOM = "random weights, last layer scaled"


@dataclass
class Run:
    """A network over a stream: 8-bit pictures, values before rounding, and what it was given."""

    pictures: list[NDArray[np.uint8]]
    values: list[Tensor]
    given: list[Tensor]


def run(network: str, stream: Stream, count: int, options: Mapping[str, Any], device: str, gain: float) -> Run:
    """Restore the middles of the first exposures."""
    restorer = models.create(network, stream.rig, options, device)
    assert isinstance(restorer, NeuralRestorer)
    engine = Engine(restorer)
    engine.prepare(stream.rig.image.width, stream.rig.image.height)  # what it rehearses on is not kept
    if gain != 1.0:
        for parameter in restorer._net.get_submodule(LAST[network]).parameters():  # type: ignore[union-attr]
            parameter.mul_(gain)
    out = Run([], [], [])
    inner = restorer._values

    def values(work: Any) -> Tensor:
        found = inner(work)
        out.values.append(found.cpu())
        out.given.append(restorer.tensors([work.pictures[work.index]]).cpu())
        return found

    restorer._values = values  # type: ignore[method-assign]
    shown = stream.exposures(restorer.needs, count)
    restored = [r for a in shown for r in engine.push(a, (0.5,))] + engine.flush()
    out.pictures = [r.images[0] for r in restored]
    return out


def comparable(a: Run, b: Run) -> tuple[list[Tensor], list[Tensor]]:
    """Values before rounding; pictures where one of the two goes a way that has none (glint on a CPU)."""
    if a.values and len(a.values) == len(b.values):
        return a.values, b.values
    return tuple([torch.from_numpy(p) / 255 for p in r.pictures] for r in (a, b))  # type: ignore[return-value]


def gain_of(network: str, found: Run) -> float:
    """What the last layer of random weights is multiplied by; see the module's text."""
    values, given = found.values[0], found.given[0]
    if network in GIVES_THE_PICTURE:
        return float(given.square().mean().sqrt() / values.square().mean().sqrt())
    factor = (values * given).sum() / given.square().sum()
    return float(CHANGE / (values - factor * given).square().mean().sqrt())


def measure(
    network: str, streams: Sequence[Stream], count: int, device: str, kind: str
) -> Iterator[tuple[float, Precision]]:
    """Mean PSNR of float32 (NaN with random weights), and the cost, of each narrower type."""
    found = store.status(network).usable
    card = store.installed(network) if found else None
    weights = RANDOM
    if found and store.is_shipped(network):
        weights = "the shipped weights"
    elif card is not None and card.origin is not None:
        known = card.origin.recognised == "checksum"
        weights = f"{'published' if known else 'own'} weights, {card.trained_on}"
    options = {} if found else {"random_weights": True}
    each = f"{count} exposure{'s' * (count > 1)}{' each' * (len(streams) > 1)}"
    data = f"{each} of simulated {' and '.join(s.name for s in streams)}"
    plain: list[Run] = []
    gains: list[float] = []
    for stream in streams:
        first = run(network, stream, 1, options, device, 1.0) if not found else None
        gains.append(1.0 if first is None else gain_of(network, first))
        plain.append(run(network, stream, count, {**options, "dtype": "float32"}, device, gains[-1]))
    kinds = type(models.create(network, streams[0].rig, options, device))
    assert issubclass(kinds, NeuralRestorer)
    for dtype in kinds.autocast:
        if dtype == "float32":
            continue
        before, after, errors = [], [], []
        for stream, want, gain in zip(streams, plain, gains, strict=True):
            got = run(network, stream, count, {**options, "dtype": dtype}, device, gain)
            errors += [(a - b).flatten() for a, b in zip(*comparable(got, want), strict=True)]
            truths = [
                stream.simulated.truth(a.exposure.time_at(0.5))
                for a in stream.exposures(models.create(network, stream.rig, options, device).needs, count)
            ]
            before += [psnr(p, t) for p, t in zip(want.pictures, truths, strict=True)]
            after += [psnr(p, t) for p, t in zip(got.pictures, truths, strict=True)]
        error = torch.cat(errors).double() * 255
        yield (
            float(np.mean(before)) if found else float("nan"),
            Precision(
                dtype=dtype, device=kind, weights=weights, data=data,  # type: ignore[arg-type]
                loss_db=round(float(np.mean(before) - np.mean(after)), 4) + 0.0 if found else None,
                difference=_digits(float(error.square().mean().sqrt())),
                largest=_digits(float(error.abs().max())),
            ),
        )  # fmt: skip


def _digits(value: float) -> float:
    return float(f"{value:.3g}")


@contextmanager
def weights_at_hand(folder: Path) -> Iterator[None]:
    """A store with what is installed and with what in the folder fits a network."""
    files = [f for f in sorted(store.folder().glob("*.safetensors")) if f.is_file()]
    files += [f for f in sorted(folder.glob("*")) if f.suffix in (".pth", ".pt", ".ckpt", ".safetensors")]
    with tempfile.TemporaryDirectory() as made:
        before = os.environ.get(store.VARIABLE)
        os.environ[store.VARIABLE] = made
        try:
            for file in files:
                try:
                    entries = read_weights(file).entries
                    network, _share = identify({n: tuple(t.shape) for n, t in entries.items()})
                    if not store.status(network).usable:
                        store.add(network, file)
                except HalfmirrorError as error:
                    print(f"{file.name} left out: {error}")
            yield
        finally:
            os.environ.pop(store.VARIABLE)
            if before is not None:
                os.environ[store.VARIABLE] = before


def into_card(text: str, found: Sequence[Precision]) -> str:
    """A card's TOML with these figures in the place of older ones from the same kind of device.

    The tables stand at its end; all else stays as it is, letter by letter.
    """
    kind = found[0].device
    kept = [p for p in tomllib.loads(text).get("precision", []) if p["device"] != kind]
    tables = kept + [p.model_dump(exclude_none=True) for p in found]
    head = text.split("[[precision]]")[0].rstrip()
    return head + "\n\n" + tomli_w.dumps({"precision": tables})


def rows_in(path: Path) -> list[tuple[str, ...]]:
    """The rows of a table of this benchmark, of networks that are still measured."""
    if not path.exists():
        return []
    cells = [tuple(c.strip() for c in line.strip("|").split("|")) for line in path.read_text().splitlines()]
    return [c for c in cells if len(c) == len(HEAD) and c[0] in PRESETS]


def main() -> None:
    """Measure, print, and on demand write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(PRESETS))
    parser.add_argument("--exposures", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--write", action="store_true", help="into results and cards")
    args = parser.parse_args()
    device = choose_device(args.device)
    gpu = device.type == "cuda"
    kind = torch.cuda.get_device_name(device) if gpu else "CPU"
    command = f"python -m benchmarks.bench_precision --exposures {args.exposures} --device {device.type}"
    about = f"{kind}, {platform.machine()}, Python {platform.python_version()}, PyTorch {torch.__version__}"
    rows: list[tuple[str, ...]] = []
    streams: dict[str, Stream] = {}
    with weights_at_hand(args.weights), torch.inference_mode():
        for network in args.networks.split(","):
            if network not in LAST and not store.status(network).usable:
                print(f"{network} left out: no weights, and its own beginning changes nothing")
                continue
            for preset in PRESETS[network]:
                streams.setdefault(preset, Stream.of(preset, 0.1 * args.exposures + 0.4))
            found = []
            own = [streams[p] for p in PRESETS[network]]
            for reached, p in measure(network, own, args.exposures, args.device, kind):
                found.append(p)
                lost = "–" if p.loss_db is None else f"{p.loss_db:+.4f}"
                rows.append((network, p.weights, p.dtype, p.data,
                             "–" if p.loss_db is None else f"{reached:.2f}", lost,
                             f"{p.difference:.3g}", f"{p.largest:.3g}", f"{p.cost_db:.4f}"))  # fmt: skip
                print(" | ".join(rows[-1]), flush=True)
            if args.write and found:
                path = CARDS / f"{network}.toml"
                path.write_text(into_card(path.read_text(), found))
    table = Table(title=f"{command}\n{about}")
    for column in HEAD:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console(width=180).print(table)
    if args.write:
        path = RESULTS / ("precision_gpu.md" if gpu else "precision.md")
        measured = {r[0] for r in rows}
        # What was not measured now stays as it stood; in the order of the networks.
        rows += [r for r in rows_in(path) if r[0] not in measured]
        rows.sort(key=lambda r: list(PRESETS).index(r[0]))
        path.write_text(markdown("Half precision", command, about, __doc__, HEAD, rows))


if __name__ == "__main__":
    main()
