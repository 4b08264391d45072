"""`halfmirror synthesise`: draw synthetic exposures with their truth into a pool for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: halfmirror synthesise -o pool --photos package:all --count 8192 --preview pool.png"


def synthesise(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder of the pool; an unfinished one goes on.", show_default=False
        ),
    ],
    photos: Annotated[
        str,
        typer.Option(
            "--photos", help="A folder of photos, or package:NAME, or package:all; several with commas."
        ),
    ] = "package:all",
    count: Annotated[int, typer.Option("--count", help="Samples; rounded up to whole files of 32.")] = 1024,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")] = 0,
    size: Annotated[int | None, typer.Option("--size", help="Side of a sample in pixels (128).")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any range of the synthesis, e.g. --set blur_px=[2,20].")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes; 0: one for each core.")] = 0,
    preview: Annotated[
        Path | None, typer.Option("--preview", help="Draw a contact sheet of some samples into this PNG.")
    ] = None,
) -> int:
    """Draw moving scenes from photos and expose them to both simulated sensors, with the sharp truth.

    A pool is what `halfmirror train` reads: a folder of safetensors files. Files that are there stay, so an
    interrupted call goes on where it stopped.
    """
    import time

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from app.cli import console
    from capture.errors import UsageError
    from training.photos import open_photos
    from training.synthesis.making import Order, make_pool
    from training.synthesis.preview import write_preview
    from training.synthesis.settings import synthesis_config

    if count < 1:
        raise UsageError(f"--count {count}: give 1 or more")
    if preview is not None and preview.suffix.lower() != ".png":
        raise UsageError(f"--preview {preview}: give a name that ends in .png")
    config = synthesis_config(settings or [], size)
    found = open_photos(photos, say=console.say)
    for skipped in found.skipped:
        console.say(f"skipped: {skipped.name} {skipped.reason}")
    order = Order(output, count, config, seed, found, workers)
    columns = (
        TextColumn("drawing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("samples"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=console.err(), transient=True) as progress:
        bar = progress.add_task("", total=order.shards * 32)
        made = make_pool(order, lambda done, of: progress.update(bar, completed=done, total=of))
    seconds = time.monotonic() - began
    console.say(
        f"{output}: {order.shards * 32} samples from {len(found)} photos"
        + (f" ({len(found.skipped)} skipped)" if found.skipped else "")
        + (f"; {made} drawn now, {made / seconds:.1f} samples/s" if made else "; all were there already")
    )
    if preview is not None:
        write_preview(output, preview)
        console.say(f"{preview}: blurred | double integral | truth")
    return 0
