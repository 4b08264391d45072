"""`halfmirror evaluate`: networks against the truth of a suite or a data set, as tables and pictures."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import console

if TYPE_CHECKING:
    from training.contestants import Weights
    from training.evaluation import Distance, Draw

EXAMPLE = (
    "Example: halfmirror evaluate glint --suite synthetic --best-contrast -o evaluation\n\n"
    "Example: halfmirror evaluate glint glint=runs/mine/weights.safetensors -o before-and-after\n\n"
    "Example: halfmirror evaluate efnet --data GoPro/test --protocol efnet-gopro -o evaluation"
)
SYNTHETIC = "synthetic"
REBLUR = 15
_TABLE, _REPORT, _PICTURES = "report.md", "report.json", "pictures"


def evaluate(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK[=FILE]…",
            help="Which networks, with weights of a file or those installed; several share a table.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the tables and pictures.", show_default=False)
    ],
    suite: Annotated[
        str, typer.Option("--suite", metavar="SUITE", help="synthetic (sequences), or a folder of saved items.")
    ] = SYNTHETIC,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", metavar="DIR", help="A published data set; with --protocol, in place of --suite."
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="How a data set is measured: efnet-gopro, efnet-reblur, gem, s-sdm, cdvd-tsp, sc-net, ours; "
            "or pictures: it is restored, without any truth.",
        ),
    ] = None,
    devices: Annotated[
        int, typer.Option("--devices", min=1, max=1024, help="Processes (CUDA devices) that share a data set.")
    ] = 1,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the synthetic suite, e.g. exposures=4."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NETWORK.KEY=VALUE",
            help="An option of a network, e.g. edi.contrast=rig; the name is the one in the table.",
        ),
    ] = None,
    best_contrast: Annotated[
        bool, typer.Option("--best-contrast", help="Also EDI with the fixed threshold best for each sequence.")
    ] = False,
    reblur: Annotated[
        int | None,
        typer.Option("--reblur", min=0, max=200, help="Instants for the re-blur residual (15); 0: none."),
    ] = None,
    lpips: Annotated[
        bool, typer.Option("--lpips/--no-lpips", help="Learned distance, where its weights are here.")
    ] = True,
    pictures: Annotated[int, typer.Option("--pictures", min=0, help="Pictures to keep, evenly spread.")] = 24,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier evaluation.")] = False,
) -> int:
    """Restore a suite with each network and measure: PSNR, SSIM, LPIPS, re-blur residual, time.

    The folder gets report.md, report.json and pictures/ (blurred | networks | truth). The table always has the
    blurred frame itself. NETWORK=FILE is measured with the weights of the file, of which nothing is installed;
    the table calls it NETWORK:NAME after the file, or after its folder where it is called weights: glint:mine.
    With --data and --protocol a published data set is measured as its authors did, and the published numbers
    stand beside.
    """
    import tempfile

    from capture.errors import UsageError
    from capture.scratch import scratch_root
    from training.contestants import contestants

    after_protocol = bool(data) or protocol is not None
    if after_protocol and (set_ or best_contrast or reblur is not None or suite != SYNTHETIC):
        raise UsageError(
            "--suite, --set, --best-contrast and --reblur are not for a data set (--data, --protocol)"
        )
    if devices > 1 and not after_protocol:
        raise UsageError("--devices spreads a data set's sequences; it goes with --data and --protocol")
    with tempfile.TemporaryDirectory(prefix="halfmirror-", dir=scratch_root()) as made:
        named = contestants(networks, Path(made))
        labels = [*named, *["edi"] * (best_contrast and "edi" not in named)]
        options = _options(labels, option or [])
        weights = {label: own for label, own in named.items() if own is not None}
        about = {"command": shlex.join(["halfmirror", *sys.argv[1:]]), "device": _named(device)}
        about |= {label: f"weights of {own.file}" for label, own in weights.items()}
        if after_protocol:
            return _after_protocol(
                list(named), weights, output, data or [], protocol, options, device, devices, pictures,
                overwrite, lpips, about,
            )  # fmt: skip
        return _on_suite(
            list(named), weights, output, suite, set_ or [], options, device, best_contrast,
            REBLUR if reblur is None else reblur, pictures, overwrite, lpips, about,
        )  # fmt: skip


def _on_suite(
    networks: list[str], weights: Mapping[str, Weights], output: Path, suite: str, settings: list[str],
    options: dict[str, dict[str, Any]], device: str, best_contrast: bool, reblur: int, pictures: int,
    overwrite: bool, lpips: bool, about: dict[str, str],
) -> int:  # fmt: skip
    from app.cli import progress
    from app.output.atomic import staged_folder, writing
    from training import report
    from training.evaluation import Choice
    from training.evaluation import evaluate as run
    from training.recipe import override
    from training.suite import open_suite

    opened = open_suite(suite, dict(override(text) for text in settings))
    distance, missing = _distance(lpips, device)
    choice = Choice(tuple(networks), options, device, best_contrast, reblur, distance, weights)
    with staged_folder(output, overwrite=overwrite, ours=_is_ours) as folder:
        with progress.bar() as show:
            result = run(opened, choice, _drawing(folder, output, pictures, len(opened), show))
        result.notes += missing
        table = report.markdown(result, about)
        with writing(output):
            _write(folder, table, report.as_json(result, about))
    console.out().print(table.partition("\n## ")[0].rstrip(), markup=False, soft_wrap=True)
    return 0


def _after_protocol(
    networks: list[str], weights: Mapping[str, Weights], output: Path, data: list[str], protocol: str | None,
    options: dict[str, dict[str, Any]], device: str, devices: int, pictures: int, overwrite: bool,
    lpips: bool, about: dict[str, str],
) -> int:  # fmt: skip
    from app.cli import progress
    from app.output.atomic import staged_folder, writing
    from capture.errors import UsageError
    from training.protocols import report
    from training.protocols.run import SequenceResult, Wanted, measure

    if not data or protocol is None:
        raise UsageError(
            "--data and --protocol belong together, such as --data GoPro/test --protocol efnet-gopro"
        )
    wanted = Wanted(tuple(networks), protocol, tuple(data), options, device, devices, pictures, lpips, weights)
    with staged_folder(output, overwrite=overwrite, ours=_is_ours) as folder:

        def keep(part: SequenceResult) -> None:
            with writing(output):
                (folder / _PICTURES).mkdir(exist_ok=True)
                for name, png in part.pictures.items():
                    _free(folder / _PICTURES, _file_name(name)).write_bytes(png)
            part.pictures.clear()  # of a large set they are more than memory holds

        with progress.bar() as show:
            result = measure(wanted, show, keep)
        for line in result.skipped:
            console.say(f"skipped: {line}")
        table = report.markdown(result, about)
        with writing(output):
            _write(folder, table, report.as_json(result, about))
    console.out().print(table.partition("\n## ")[0].rstrip(), markup=False, soft_wrap=True)
    return 0


def _named(device: str) -> str:
    """The device that times were measured on, which `auto` does not tell."""
    from inference.device import choose_device

    chosen = choose_device(device)
    if chosen.type != "cuda":
        return str(chosen)
    import torch

    return f"{chosen} ({torch.cuda.get_device_name(chosen)})"


def _options(networks: list[str], given: list[str]) -> dict[str, dict[str, Any]]:
    """Options of those that are measured; of others they would be passed over."""
    from capture.errors import UsageError
    from training.recipe import override

    out: dict[str, dict[str, Any]] = {}
    for text in given:
        key, value = override(text)
        network, _, name = key.partition(".")
        if not name or network not in networks:
            raise UsageError(f"--option {text}: give NETWORK.KEY=VALUE with one of {', '.join(networks)}")
        out.setdefault(network, {})[name] = value
    return out


def _distance(wanted: bool, device: str) -> tuple[Distance | None, list[str]]:
    """LPIPS where its weights are, else a note that says how to get them."""
    if not wanted:
        return None, []
    from training import lpips

    if lpips.weights_file("alex") is None:
        return None, [f"LPIPS was not taken, its weights are not here ({lpips.HINT})"]
    from inference.device import choose_device

    return lpips.distance(str(choose_device(device))), []


def _drawing(folder: Path, final: Path, wanted: int, count: int, show: Callable[[str, float], None]) -> Draw:
    """Keeps about `wanted` of the items' pictures, evenly spread, and shows how far it is."""
    from app.output.atomic import writing
    from training.pictures import encode_png, strip

    every = max(1, -(-count // wanted)) if wanted else 0
    names: list[str] = []

    def draw(item: Any, latent: float, shown: dict[str, Any]) -> None:
        own = item.name if item.name == item.sequence else f"{item.sequence}-{item.name}"
        name = _file_name(own)
        if name not in names:
            names.append(name)
            show(name, min(len(names) / count, 1.0))
        if not every or (len(names) - 1) % every:
            return
        with writing(final):
            (folder / _PICTURES).mkdir(exist_ok=True)
            data = encode_png(strip(list(shown.values())))
            (folder / _PICTURES / f"{name}-{latent:.4f}.png").write_bytes(data)

    return draw


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)[-80:] or "item"


def _free(folder: Path, name: str) -> Path:
    """A picture's file; long names may end alike."""
    names = (f"{name}.png", *(f"{name}-{k}.png" for k in range(2, 10_000)))
    return next(path for path in (folder / n for n in names) if not path.exists())


def _write(folder: Path, table: str, document: str) -> None:
    """Both reports. Names that are no UTF-8 come as surrogates, and are escaped."""
    for name, text in ((_TABLE, table), (_REPORT, document)):
        (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")


def _is_ours(folder: Path) -> bool:
    """An earlier evaluation and nothing else."""
    from app.output.report import read_json

    if {entry.name for entry in folder.iterdir()} - {_TABLE, _REPORT, _PICTURES}:
        return False
    return "methods" in read_json(folder / _REPORT)
