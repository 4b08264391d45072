"""`halfmirror recordings verify`: is a recording sound?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli import console
from app.cli.progress import bar

EXAMPLE = "Example: halfmirror recordings verify cups"
_STYLES = {"note": "", "loss": "yellow", "unusable": "bold red"}


def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The recording.")],
    geometry: Annotated[
        str | None,
        typer.Option(
            "--geometry", metavar="WxH", help="Size of the event sensor, if the file does not tell it."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> int:
    """Read a recording through and check it: structure, checksums, time, exposures, triggers, frame numbers.

    Each finding is one line. Exit code: 0 sound, 1 usable with losses, 2 unusable.
    """
    from app.cli.arguments import parse_geometry, recording_path
    from recordings.checking.verify import verify as check

    size = None if geometry is None else parse_geometry(geometry)
    with bar() as progress:
        progress("reading", 0.0)
        found = check(recording_path(path), geometry=size, progress=lambda share: progress("reading", share))
    if as_json:
        import json

        typer.echo(json.dumps(found.values(), indent=2))
        return int(found.grade)
    from rich.text import Text

    from inference.weights_limits import plain

    out = console.out()
    for f in found.findings:
        word = f.grade.name.lower()
        # Names come from a file, which may be anybody's.
        out.print(
            Text.assemble((f"{word:<9}", "bold"), (plain(f"{f.where}: {f.text}"), _STYLES[word])),
            soft_wrap=True,
        )
    c = found.counts
    held = f", {c['events']} events and {c['frames']} frames" if c else ""
    out.print(plain(f"{path}: {found.format}{held}: {found.verdict}"), markup=False, soft_wrap=True)
    return int(found.grade)
