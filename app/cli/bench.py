"""`halfmirror bench`: how fast this machine restores, the network alone and the whole chain."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import console
from app.cli.options import Compile, Device, Dtype, RandomWeights, Settings

if TYPE_CHECKING:
    from app.measure import Speed

EXAMPLE = "Example: halfmirror bench simulated:davis -n edi -n glint --seconds 20"
DEFAULT = ("edi", "glint")


def bench(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[RIG|RECORDING]",
            help="simulated:PRESET, a camera's name, a rig file (.toml), a recording.",
        ),
    ] = "simulated:davis",
    network: Annotated[
        list[str] | None,
        typer.Option(
            "--network",
            "-n",
            show_default=False,
            help="May be given several times; all: every network that can run (edi and glint).",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", help="How long each is measured, after a warm-up of 3 s.")
    ] = 10.0,
    dtype: Dtype = None,
    compiled: Compile = False,
    settings: Settings = None,
    random_weights: RandomWeights = False,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> int:
    """Measure on this machine, live: each network by itself, and from the end of an exposure to its picture.

    The session is the one of `live`, with its worker processes, paced by the cameras; pictures that come too
    late for the network are counted as lost; a recording begins again at its end. Medians, 95th and 99th
    percentiles.
    """  # fmt: skip
    from app.cli.arguments import checked_device, positive_seconds, restorer_options, rig_source
    from app.cli.progress import bar
    from app.live import make_session
    from app.measure import measure
    from inference import models

    positive_seconds(seconds)
    checked_device(device)
    options = restorer_options(
        None, dtype=dtype, compiled=compiled, random_weights=random_weights, settings=settings
    )
    recorded = _is_recording(source)
    what: str | Path = source if recorded else rig_source(source)
    names = _names(network or list(DEFAULT), random_weights)
    for name in names:
        models.check(name, _of(name, options))
    found: dict[str, Speed] = {}
    with bar() as tell:
        for name in names:
            # A recording may be shorter than the warm-up: it begins again until the time is over.
            session = make_session(what, name, options=_of(name, options), loop=recorded, device=device)
            found[name] = measure(session, seconds, partial(_told, tell, name))
    if as_json:
        import json

        from app.version import version

        said = {name: s.as_dict() for name, s in found.items()}
        typer.echo(
            json.dumps(
                {"halfmirror": version(), "source": source, "machine": machine(), "networks": said}, indent=2
            )
        )
    else:
        _print(source, found)
    return 0 if all(s.restored for s in found.values()) else 1


def _told(tell: Callable[[str, float], None], name: str, step: str, share: float) -> None:
    tell(f"{name}: {step}", share)


def _is_recording(source: str) -> bool:
    from app.sources import SourceRequest

    return Path(source).exists() and SourceRequest.of(Path(source)).is_recording


def _names(asked: list[str], random_weights: bool) -> list[str]:
    from inference import models

    if "all" not in asked:
        return list(dict.fromkeys(asked))
    return [c.name for c in models.choices(random_weights=random_weights) if c.usable and c.name != "none"]


def _of(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that concern a network: most of neural ones mean nothing to the double integral."""
    from inference.cards import WITHOUT_WEIGHTS

    if name not in WITHOUT_WEIGHTS:
        return options
    from inference.restorers.edi import KNOWN_OPTIONS

    return {k: v for k, v in options.items() if name == "edi" and k in KNOWN_OPTIONS and k != "dtype"}


def machine() -> str:
    """The processor, its cores, and torch, in one line."""
    from importlib import metadata

    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), model)
    from capture.cores import usable_cores

    cores = usable_cores()
    return f"{model}, {cores} cores, torch {metadata.version('torch')}, Python {platform.python_version()}"


def _print(source: str, found: dict[str, Speed]) -> None:
    from rich.text import Text

    from app.measure import percentiles

    o = console.out()
    first = next(iter(found.values()))
    events = "no events"
    if first.event_size != (0, 0):
        w, h = first.event_size
        events = f"events {w}×{h}, {first.event_rate_hz / 1e6:.1f} Mev/s"
    size = f"pictures {first.image_size[0]}×{first.image_size[1]}"
    o.print(f"{source}: {size}, {events}", markup=False, soft_wrap=True)
    o.print(machine(), markup=False, soft_wrap=True)

    def three(values: list[float]) -> str:
        return " / ".join("–" if v is None else f"{v:.1f}" for v in percentiles(values).values())

    for name, s in found.items():
        lost = ", ".join(f"{k} {n}" for k, n in s.losses.items()) or "nothing"
        o.print(Text.assemble((f"\n{name:<14}", "bold"), s.runs_on), soft_wrap=True)
        for what, value in (
            ("network", f"{three(s.restore_ms)} ms"),
            ("whole chain", f"{three(s.chain_ms)} ms"),
            ("restored", f"{s.restored} of {s.exposures} exposures, {s.restored / s.seconds:.1f} a second"),
            ("lost", lost),
            ("uses", f"{s.cores:.2f} cores in all, {s.memory_mb:.0f} MB for the network's process"),
        ):
            o.print(Text.assemble((f"  {what:<12}", "dim"), value), soft_wrap=True)
    o.print(
        "\np50 / p95 / p99. Network: representation included. Whole chain: from the end of the exposure to the "
        "finished picture.", style="dim", soft_wrap=True,
    )  # fmt: skip
