"""`halfmirror models`: the weights of the networks, listed, added, checked and converted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import console
from app.cli.progress import bar

if TYPE_CHECKING:
    from inference.cards import Card, Evaluation, Precision

EXAMPLE = "Example: halfmirror models add gem best-stage=2-cycle=15.ckpt --trained-on MS-RBD"

app = typer.Typer(
    name="models",
    help="The weights of the networks: list, add, check and convert them.",
    epilog=EXAMPLE,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_Name = Annotated[str, typer.Argument(metavar="NAME", help="A network, as `models list` names it.")]
_File = Annotated[Path, typer.Argument(metavar="FILE", help="Weights: .pth, .pt, .pkl, .ckpt or .safetensors.")]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


@app.command("list", epilog="Example: halfmirror models list --json")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> int:
    """List every network that takes weights, and whether they are installed."""
    from inference import store
    from inference.cards import NAMES, card

    rows = []
    for name in NAMES:
        usable, reason = store.status(name)
        found = store.installed(name) if usable else None
        rows.append((card(name), found, reason))
    if as_json:
        _json(
            {
                "folder": str(store.folder()),
                "models": [
                    {"name": c.network, "installed": found is not None,
                     "shipped": found is not None and store.is_shipped(c.network), "reason": reason,
                     "trained_on": found.trained_on if found else ""}
                    for c, found, reason in rows
                ],
            }
        )  # fmt: skip
        return 0
    from rich.text import Text

    from inference.weights_limits import plain

    o = console.out()
    for about, found, reason in rows:
        have = "shipped" if store.is_shipped(about.network) else "installed"
        mark = (have, "green") if found else ("–", "yellow")
        o.print(Text.assemble(f"{about.network:<12}", (f"{mark[0]:<11}", mark[1]), about.title), soft_wrap=True)
        o.print(Text(f"{'':<23}→ {plain(found.trained_on) if found else reason}", "dim"), soft_wrap=True)
    o.print(f"kept in {store.folder()}", style="dim", markup=False, soft_wrap=True)
    return 0


@app.command("info", epilog="Example: halfmirror models info efnet")
def info(
    name: _Name, as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False
) -> int:
    """Show a network's model card: what it takes, licence, origin, and the results that it should reproduce."""
    from inference import store
    from inference.cards import card

    published = card(name)
    usable, reason = store.status(name)
    found = store.installed(name) if usable else None
    if as_json:
        _json({"installed": found and found.model_dump(mode="json"), "card": published.model_dump(mode="json")})
        return 0
    for what, text in _facts(found or published, published):
        _line(what, text)
    _line("weights", _origin(found, store.is_shipped(name)) if found else reason)
    return 0


@app.command("add", epilog=EXAMPLE)
def add(
    name: _Name,
    file: _File,
    trained_on: Annotated[
        str | None, typer.Option("--trained-on", help="Training data, for the card.", show_default=False)
    ] = None,
    representation: Annotated[
        str | None,
        typer.Option("--representation", help="If not the published one: scer, voxel, eger, event-counts, …"),
    ] = None,
    channel_order: Annotated[
        str | None, typer.Option("--channel-order", help="If not the published one: rgb or bgr.")
    ] = None,
    overwrite: _Overwrite = False,
) -> int:
    """Check a file of weights to the last entry and install it. Nothing in the file is run."""
    from inference import store
    from inference.cards import card

    with bar() as progress:
        found, notes = store.add(
            name, file, overwrite=overwrite, representation=representation, channel_order=channel_order,
            trained_on=trained_on, progress=progress,
        )  # fmt: skip
    for note in notes:
        console.say(f"note: {note}")
    _line("added", f"{name}, trained on: {found.trained_on}")
    _line("as", f"{found.representation}, {found.channel_order.upper()}, options {_options(found)}")
    if found.feed.stated:
        _line("fed with", _feed(found))
    # Those of the network itself are with `models info`; these weights' own are news.
    for caution in found.cautions:
        if caution not in card(name).cautions:
            _line("caution", caution)
    _line("weights", _origin(found))
    return 0


@app.command("verify", epilog="Example: halfmirror models verify s-sdm-ldn")
def verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A network; without it, all.")] = None,
) -> int:
    """Read installed weights whole and hold them against their card. Exit code 1 when one fails."""
    from inference import store
    from inference.cards import NAMES
    from inference.weights_limits import WeightsError

    failed = False
    names = [name] if name else [n for n in NAMES if store.has_file(n)]
    with bar() as progress:
        for i, network in enumerate(names):
            progress(network, i / len(names))
            try:
                found = store.verify(network)
            except WeightsError as error:
                failed = True
                console.fail(f"{network}: {error}")
                continue
            _line(network, f"whole and fits; {_origin(found, store.is_shipped(network))}")
    if not names:
        console.say(f"no weights are installed in {store.folder()}; see halfmirror models list")
    return 1 if failed else 0


@app.command("convert", epilog="Example: halfmirror models convert EFNet-GoPro.pth --to safetensors")
def convert(
    file: _File,
    to: Annotated[str, typer.Option("--to", help="The format: safetensors.")] = "safetensors",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where (FILE with .safetensors).", show_default=False)
    ] = None,
    overwrite: _Overwrite = False,
) -> int:
    """Write a checkpoint anew as a plain state dict without pickle, wrappers and prefixes taken off."""
    from capture.errors import UsageError

    if to != "safetensors":
        raise UsageError(f"--to {to!r} is not known; give safetensors")
    if file.is_dir():  # its name may be empty, and has no suffix then
        raise UsageError(f"{file} is a folder; give the file of weights in it")
    target = output or file.with_suffix(".safetensors")
    if target.is_dir():
        raise UsageError(f"{target} is a folder; give the name of a file with -o")
    if target.suffix != ".safetensors":
        raise UsageError(f"-o {target}: give a name that ends in .safetensors, by which others know the format")
    if target.exists() and (target.samefile(file) if file.exists() else False):
        raise UsageError(f"{target} is the file itself; give another name with -o")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists already; give another name with -o, or --overwrite")
    from inference import store
    from inference.weights import read_weights
    from inference.weights_fit import identify

    with bar() as progress:
        progress("reading", 0.0)
        found = read_weights(file)
        progress("writing", 0.0)
        store.write(target, found.entries, store.card_in(found.metadata))
    for note in found.notes:
        console.say(f"note: {note}")
    network, share = identify({n: tuple(t.shape) for n, t in found.entries.items()})
    fits = f"they fit {network}" if share == 1.0 else "they fit no known network whole"
    _line(str(target), f"{len(found.entries)} entries; {fits}")
    return 0


def _facts(shown: Card, published: Card) -> Iterator[tuple[str, str]]:
    yield "network", f"{shown.network}: {shown.title}"
    yield "paper", shown.paper
    yield "takes", shown.takes
    yield "representation", shown.representation
    yield "channel order", shown.channel_order.upper()
    yield "options", _options(shown)
    if shown.feed.stated:
        yield "fed with", _feed(shown)
    if shown.origin:
        yield "trained on", shown.trained_on
    if shown.camera_tone:
        yield "frames", f"taken as {shown.camera_tone}, whatever the rig file says (adapted so)"
    yield "licence", shown.licence
    for e in shown.evaluation:
        yield "should reach", _evaluation(e)
    yield "published at", published.published_at or "nowhere"
    for p in () if shown.origin else published.published:
        yield "file", f"{p.file}: {p.trained_on}; SHA-256 {p.sha256 or 'not known: no copy could be examined'}"
        for e in p.evaluation:
            yield "should reach", _evaluation(e)
    for narrow in published.precision:
        yield narrow.dtype, _precision(narrow)
    for caution in dict.fromkeys((*published.cautions, *shown.cautions)):
        yield "caution", caution


def _evaluation(e: Evaluation) -> str:
    figures = [f"{e.psnr:g} dB PSNR" if e.psnr else "", f"{e.ssim:g} SSIM" if e.ssim else ""]
    said = ", ".join(f for f in figures if f)
    return f"{e.data}{': ' + said if said else ''}{' (' + e.protocol + ')' if e.protocol else ''}"


def _precision(p: Precision) -> str:
    cost = (
        f"{p.loss_db:.3f} dB PSNR lost"
        if p.loss_db is not None
        else f"no truth; worth {p.cost_db:.3f} dB where a picture has 35 dB"
    )
    return (
        f"{cost}; differs from float32 by {p.difference:.3g} grey levels rms, {p.largest:.2g} at most; "
        f"{p.weights}; {p.data}; on {p.device}, by benchmarks.bench_precision"
    )


def _origin(found: Card, shipped: bool = False) -> str:
    origin = found.origin
    assert origin is not None
    if shipped:
        return f"come with the program; values SHA-256 {origin.content_sha256}"
    how = {
        "checksum": "the published file, by its checksum",
        "name": "called like a published file, whose checksum is not known",
        "": "not a file that the authors publish",
    }[origin.recognised]
    return f"{origin.file}, added {origin.added}, SHA-256 {origin.sha256}: {how}"


def _options(found: Card) -> str:
    return ", ".join(f"{k}={v}" for k, v in found.options.items()) or "as published"


def _feed(found: Card) -> str:
    """As options are written on the command line."""
    stated = {k: str(v).lower() if isinstance(v, bool) else v for k, v in found.feed.stated.items()}
    return f"{', '.join(f'{k}={v}' for k, v in stated.items())} unless options say otherwise (trained so)"


def _line(what: str, text: str) -> None:
    from rich.text import Text

    from inference.weights_limits import plain

    # A card may come with a file from anybody.
    console.out().print(Text.assemble((f"{what:<15} ", "bold"), plain(text)), soft_wrap=True)


def _json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))
