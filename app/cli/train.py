"""`halfmirror train`: train a network after a recipe."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import console
from app.cli.options import ExposureUs, Geometry, RigFile

if TYPE_CHECKING:
    from recordings.recording import OpenOptions

EXAMPLE = (
    "Example: halfmirror train glint --photos ~/photos --max-minutes 60 -o runs/first\n\n"
    "Example: halfmirror train s-sdm --data spike-GoPro -o runs/chain --set ldn.run.steps=20000\n\n"
    "Example: halfmirror train adapt --network glint --data kitchen -o runs/mine"
)
ADAPT = "adapt"


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A built-in recipe or chain of them (s-sdm), a TOML file, the folder of a run; or adapt.",
        ),
    ],
    network: Annotated[
        str | None, typer.Option("--network", "-n", help="Of adapt: glint, glint-large, efnet or gem.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="RUNDIR", help="Folder of the run (runs/NAME-TIME)."),
    ] = None,
    photos: Annotated[
        str | None, typer.Option("--photos", help="Photos of synthetic data: a folder, or package:NAME.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Data set of the recipe, or of adapt a recording; may come several times.",
        ),
    ] = None,
    init: Annotated[
        Path | None, typer.Option("--init", metavar="WEIGHTS", help="First weights from a file.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", help="Length of the whole run; the schedule is completed in it."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[int, typer.Option("--devices", min=1, max=1024, help="Processes on each machine.")] = 1,
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=1024, help="Machines (start it on each).")] = 1,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe, e.g. run.batch=4."),
    ] = None,
    rig: RigFile = None,
    exposure_us: ExposureUs = None,
    geometry: Geometry = None,
) -> int:
    """Train a network after a recipe, into a folder with weights, figures and previews.

    Ctrl+C finishes the step, saves the state and leaves; the same command with --resume goes on. The folder
    holds recipe.toml, run.json, metrics.jsonl, tensorboard/, previews/, weights.safetensors (averaged) and
    state.pt. Under torchrun every process trains its part.

    The chain s-sdm trains bsn, edsr and ldn one after another, each a run in a folder of its own; --set
    STAGE.KEY=VALUE changes one of them, --max-minutes is of each.

    `train adapt --network NAME --data RECORDING` fine-tunes a network on one's own rig, without sharp pictures:
    neighbouring exposures must agree with the events between them. --rig, --exposure-us and --geometry say what
    the recordings do not. The folder holds weights.safetensors and adapt.json.
    """
    from app.cli.arguments import sensor_size
    from recordings.recording import OpenOptions

    said = OpenOptions(exposure_us=exposure_us, geometry=sensor_size(geometry), rig=rig)
    if recipe == ADAPT:
        return _adapt(
            network, photos, data, init, output, device, resume, max_minutes, devices * nodes, set_, said
        )  # fmt: skip
    _require_packages()
    from capture.errors import UsageError
    from training import recipe as recipes
    from training.chain import is_chain

    if network is not None:
        raise UsageError("--network belongs to train adapt; a recipe names its network itself")
    if said != OpenOptions():
        raise UsageError("--rig, --exposure-us and --geometry belong to train adapt, whose data are recordings")

    overrides = _overrides(photos, data, set_ or [])
    if max_minutes is not None:
        from app.cli.arguments import positive_minutes

        positive_minutes(max_minutes)
    if is_chain(recipe):
        return _chain(recipe, output, overrides, resume, init, max_minutes, device, devices * nodes)
    chosen = recipes.load(recipe, overrides)
    folder = _folder(recipe, chosen.name, output, resume, devices * nodes)
    from training.engine import Request
    from training.engine import train as run

    outcome = run(
        Request(
            recipe=chosen, folder=folder, resume=resume, init=init, max_minutes=max_minutes, device=device,
            devices=devices, nodes=nodes,
        )
    )  # fmt: skip
    if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0:
        _report(outcome)
    return 128 + outcome.signal if outcome.signal else 0


def _adapt(
    network: str | None, photos: str | None, data: list[str] | None, init: Path | None, output: Path | None,
    device: str, resume: bool, max_minutes: float | None, processes: int, set_: list[str] | None,
    said: OpenOptions,
) -> int:  # fmt: skip
    from app.cli.adapt import adapt
    from capture.errors import UsageError
    from training.recipe import override

    if photos is not None or resume or max_minutes is not None or processes > 1:
        raise UsageError(
            "train adapt takes --network, --data, --init, --set, --device, -o and what recordings do not say "
            "(--rig, --exposure-us, --geometry); none of --photos, --resume, --max-minutes, --devices, --nodes"
        )
    return adapt(network, data or [], init, output, device, dict(override(text) for text in set_ or []), said)


def _chain(
    source: str, output: Path | None, overrides: dict[str, Any], resume: bool, init: Path | None,
    max_minutes: float | None, device: str, processes: int,
) -> int:  # fmt: skip
    from capture.errors import UsageError
    from training.chain import ChainRequest, run

    if processes > 1 or "TORCHELASTIC_RUN_ID" in os.environ:
        raise UsageError("several devices train one stage at a time: give its own recipe, such as s-sdm-bsn")
    folder = _folder(source, source, output, resume, processes)

    def say(stage: str, outcome: Any) -> None:
        _report(outcome, f"{stage} ", folder)

    outcome = run(ChainRequest(source, folder, overrides, resume, init, max_minutes, device), say)
    return 128 + outcome.signal if outcome.signal else 0


def _report(outcome: Any, stage: str = "", folder: Path | None = None) -> None:
    where = f"step {outcome.step}, {outcome.elapsed_s / 60:.1f} min"
    if not outcome.complete:
        console.say(
            f"{stage}stopped at {where}; go on with: halfmirror train {folder or outcome.folder} --resume"
        )
        return
    figures = [f"{n.removeprefix('val/')} {v:.4g}" for n, v in outcome.figures.items() if n.startswith("val/")]
    console.say(f"{stage}complete at {where}" + (f": {', '.join(figures)}" if figures else ""))
    console.out().print(str(outcome.folder / "weights.safetensors"), markup=False, soft_wrap=True)


def _require_packages() -> None:
    from capture.errors import UsageError

    missing = [n for n in ("pytorch_lightning", "tensorboardX") if importlib.util.find_spec(n) is None]
    if missing:
        raise UsageError(
            f"training needs packages that are not installed ({', '.join(missing)}): "
            "pip install 'halfmirror[train]'"
        )


def _overrides(photos: str | None, data: list[str] | None, given: list[str]) -> dict[str, Any]:
    from capture.errors import UsageError
    from training.recipe import override

    if photos is not None and data:
        raise UsageError("give either --photos (synthetic data) or --data (recordings), not both")
    out: dict[str, Any] = {}
    if photos is not None:
        out |= {"data.kind": "synthetic", "data.photos": photos}
    if data:
        out |= {"data.kind": "recorded", "data.recordings": data}
    return out | dict(override(text) for text in given)


def _folder(source: str, name: str, output: Path | None, resume: bool, processes: int) -> Path:
    from capture.errors import UsageError

    if output is not None:
        return output
    if resume:
        if Path(source).is_dir():
            return Path(source)
        raise UsageError("--resume needs the folder of the run: halfmirror train RUNDIR --resume, or -o RUNDIR")
    if processes > 1 or "TORCHELASTIC_RUN_ID" in os.environ:
        raise UsageError("several processes share one folder: name it with -o RUNDIR")
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
