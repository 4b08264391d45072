"""`halfmirror export`: a recording in the layout of a published data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import ExposureUs

EXAMPLE = "Example: halfmirror export simulated --to msrbd --frames 60 -o sequences"
FORMATS = ("msrbd",)
# The simulated rig never ends; so long it is looked at for a number of frames.
LONGEST_S = 3600.0


def export(
    input_: Annotated[
        str, typer.Argument(metavar="INPUT", help="A recording, or simulated, or simulated:PRESET.")
    ],
    to: Annotated[str, typer.Option("--to", help="The format: msrbd.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.", show_default=False)],
    name: Annotated[
        str | None, typer.Option("--name", help="Stem of the files (the recording's name).")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train or test.")] = "train",
    scale: Annotated[
        int | None, typer.Option("--scale", help="Image pixels along an event pixel (as the rig's).")
    ] = None,
    from_: Annotated[float, typer.Option("--from", help="Begin so many seconds after the start.")] = 0.0,
    until: Annotated[float | None, typer.Option("--until", help="End so many seconds after the start.")] = None,
    frames: Annotated[int | None, typer.Option("--frames", help="At most so many frames (2 or more).")] = None,
    exposure_us: ExposureUs = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
) -> int:
    """Write a recording as pairs of blurry frames with their events, and read them back to be sure.

    OUT/train and OUT/test are for GEM's published code, OUT/plain holds the same without pickle. Events are
    rectified to a whole number of image pixels, the mirror is undone. The folder appears only when it is whole.
    """
    import re

    from app.cli import console
    from app.cli.arguments import positive_seconds
    from app.export import ExportRequest, export_msrbd
    from app.offline import open_input
    from capture.errors import UsageError

    if to not in FORMATS:
        raise UsageError(f"--to {to}: the formats are {', '.join(FORMATS)}")
    if split not in ("train", "test"):
        raise UsageError(f"--split {split}: give train or test")
    if frames is not None and frames < 2:
        raise UsageError(f"--frames {frames}: a pair needs 2 or more")
    if not 0 <= from_ <= 86_400:
        raise UsageError(f"--from {from_:g} is out of range; give 0 to 86400")
    if until is not None and positive_seconds(until, "--until") <= from_:
        raise UsageError(f"--until {until:g} does not lie behind --from {from_:g}")
    stem = name or Path(input_.replace(":", "-")).stem
    if not re.fullmatch(r"[\w][\w.-]{0,99}", stem):
        raise UsageError(f"--name {stem!r}: give letters, digits, dots, hyphens")
    seconds = until if until is not None else LONGEST_S if frames is not None else None
    request = ExportRequest(
        output, stem, split, scale, round(from_ * 1e6), None if until is None else round(until * 1e6), frames,
        overwrite,
    )  # fmt: skip
    with open_input(input_, seconds, exposure_us) as source:
        r = export_msrbd(source, request)
        problems = source.problems()
    count, events, first, last, checksum = r.facts
    assert r.grid is not None
    refused = "".join(f" + refused {n} ({why})" for why, n in r.refused.items())
    o = console.out()
    o.print(
        f"frames in {r.frames_in} = written {count} + in no pair {r.single} + outside {r.skipped}{refused}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    o.print(
        f"{r.pairs} pairs, {events} events, {r.grid.width}×{r.grid.height} with {r.grid.columns}×{r.grid.rows} "
        f"events (scale {r.grid.scale}), {first} … {last} µs",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    o.print(f"read back and equal: checksum {checksum}", markup=False)
    for problem in problems:
        console.say(f"note: {problem}")
    o.print(str(output), style="bold", markup=False, soft_wrap=True)
    return 0
