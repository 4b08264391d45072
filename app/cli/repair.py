"""`halfmirror recordings repair`: saves what can be read of a damaged recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import console
from app.cli.progress import bar

if TYPE_CHECKING:
    from capture.camera import Progress
    from recordings.checking.repair_aedat4 import Aedat4Repair
    from recordings.checking.repair_own import RepairReport

EXAMPLE = "Example: halfmirror recordings repair cups -o cups-repaired"


def repair(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The damaged recording; it is left as it is.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="What to write: a folder, or a file for AEDAT4.", show_default=False
        ),
    ],
    about: Annotated[
        Path | None,
        typer.Option("--about", metavar="FILE", help="A recording.toml in place of one that is lost."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> int:
    """Save everything that can still be read: after a kill, a full disk, a cut copy, damage in the middle.

    The report says whether that is complete or lossy, and how much of each stream is lost. For Halfmirror's
    own recordings, and AEDAT4 files that lost their end; other formats are read as far as they can be anyway.
    Exit code: 0 something was saved, 1 nothing was.
    """
    from app.cli.arguments import recording_path
    from inference.weights_limits import plain

    with bar() as progress:
        progress("repairing", 0.0)
        found = _repaired(recording_path(path), output, about, lambda share: progress("repairing", share))
    if as_json:
        import json

        typer.echo(json.dumps({"path": str(path), "output": str(output), **found.values()}, indent=2))
        return 0
    out = console.out()
    for line in (f"{output}: {found.verdict}", *found.lines()):
        out.print(plain(line), markup=False, soft_wrap=True)
    return 0


def _repaired(path: Path, output: Path, about: Path | None, progress: Progress) -> RepairReport | Aedat4Repair:
    from app.output.atomic import staged_file, staged_folder, writing
    from capture.errors import UsageError
    from recordings.checking.repair_aedat4 import repair_aedat4
    from recordings.checking.repair_own import repair_own
    from recordings.open import AEDAT4, OWN, recognise
    from recordings.recording import RecordingError

    name = recognise(path).name
    if about is not None and name != OWN:
        raise UsageError(f"--about is for Halfmirror's own recordings; {path} is {name}")
    if output.absolute().is_relative_to(path.absolute()):
        raise UsageError(f"-o {output} lies inside the recording; give another place")
    if name == OWN:
        with staged_folder(output, overwrite=None) as folder, writing(output):
            return repair_own(path, folder, about=about, progress=progress)
    if name == AEDAT4:
        with staged_file(output, overwrite=None) as part, writing(output):
            return repair_aedat4(path, part, progress)
    raise RecordingError(
        f"{path}: is {name}, which need not be mended: it is read as far as it can be read "
        "(halfmirror recordings verify tells how far)"
    )
