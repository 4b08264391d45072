"""`halfmirror synthesise`: draw synthetic exposures or videos with their truth, for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

EXAMPLE = (
    "Example: halfmirror synthesise -o pool --photos package:all --count 8192 --preview pool.png\n"
    "Example: halfmirror synthesise -o videos --format efnet-h5 --count 48 --size 128"
)


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
    count: Annotated[
        int | None,
        typer.Option("--count", help="Samples, rounded up to whole files of 32 (1024); or videos (48)."),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="pool, or videos in a published layout: efnet-h5, efnet-scer, highrev, msrbd, frames, spikes.",
        ),
    ] = "pool",
    test: Annotated[
        int | None, typer.Option("--test", min=0, help="Videos of the test split (an eighth of --count).")
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", min=3, max=1000, help="Frames of a video (12).")
    ] = None,
    scale: Annotated[
        int, typer.Option("--scale", min=1, max=8, help="Image pixels along an event pixel; videos of msrbd.")
    ] = 1,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**63 - 1, help="The same seed gives the same bytes.")
    ] = 0,
    size: Annotated[int | None, typer.Option("--size", help="Side of a sample in pixels (128).")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any range of the synthesis, e.g. --set 'blur_px=[2,20]'.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, max=1024, help="Processes; 0: one for each core.")
    ] = 0,
    preview: Annotated[
        Path | None, typer.Option("--preview", help="Draw a contact sheet of some samples into this PNG.")
    ] = None,
) -> int:
    """Draw moving scenes from photos and expose them to both simulated sensors, with the sharp truth.

    A pool is what `halfmirror train glint` reads: a folder of safetensors files. Videos in the layout of a
    published data set, in splits train and test of different photos, are what the other recipes and the
    evaluation protocols read. Files that are there stay, so an interrupted call goes on where it stopped.
    """
    import time

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from app.cli import console
    from app.output.atomic import require_place, staged_file, writing
    from app.signals import start_tracker
    from capture.errors import UsageError
    from training.photos import open_photos
    from training.synthesis import pool as of_pool
    from training.synthesis import videos as of_videos
    from training.synthesis.making import Order, make_pool
    from training.synthesis.preview import write_preview
    from training.synthesis.settings import synthesis_config

    if count is not None and count < 1:
        raise UsageError(f"--count {count}: give 1 or more")
    videos = format_ != "pool"
    if not videos and (test is not None or frames is not None or scale != 1):
        raise UsageError("--test, --frames and --scale are of videos; give --format, such as efnet-h5")
    if videos and preview is not None:
        raise UsageError("--preview is of a pool; look at the files of a video themselves")
    if preview is not None and preview.suffix.lower() != ".png":
        raise UsageError(f"--preview {preview}: give a name that ends in .png")
    if preview is not None:
        require_place(preview)  # before hours of drawing
    if videos:
        of_videos.check_format(format_)
    _require_place(output, of_videos.ABOUT if videos else of_pool.ABOUT)
    start_tracker()
    config = synthesis_config(settings or [], size)
    found = open_photos(photos, say=console.say)
    for skipped in found.skipped:
        console.say(f"skipped: {skipped.name} {skipped.reason}")
    if videos:
        number = 48 if count is None else count
        return _videos(output, format_, number, test, frames or 12, scale, config, seed, found, workers)
    order = Order(output, 1024 if count is None else count, config, seed, found, workers)
    columns = (
        TextColumn("drawing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("samples"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    terminal = console.err()
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        bar = progress.add_task("", total=order.shards * 32)
        made = make_pool(order, lambda done, of: progress.update(bar, completed=done, total=of))
    seconds = time.monotonic() - began
    console.say(
        f"{output}: {order.shards * 32} samples from {len(found)} photos"
        + (f" ({len(found.skipped)} skipped)" if found.skipped else "")
        + (f"; {made} drawn now, {made / seconds:.1f} samples/s" if made else "; all were there already")
    )
    if preview is not None:
        with staged_file(preview, overwrite=True) as part, writing(preview):
            write_preview(output, part)
        console.say(f"{preview}: blurred | double integral | truth")
    return 0


def _require_place(output: Path, about: str) -> None:
    """The folder is new, empty, or one that an earlier call began: before photos are fetched."""
    from capture.errors import UsageError

    if output.exists() and not output.is_dir():
        raise UsageError(f"-o {output} is a file; give the name of a folder")
    try:
        if output.is_dir() and not (output / about).exists() and any(output.iterdir()):
            raise UsageError(
                f"-o {output} exists already and holds other things ({about} is missing); give another folder"
            )
    except OSError as e:
        raise UsageError(f"-o {output}: {e.strerror}; give another folder") from e


def _videos(
    output: Path, format_: str, count: int, test: int | None, frames: int, scale: int, config: Any, seed: int,
    photos: Any, workers: int,
) -> int:  # fmt: skip
    import time

    from app.cli import console, progress
    from capture.cores import usable_cores
    from capture.errors import UsageError
    from training.synthesis.clip import ClipPlan
    from training.synthesis.videos import VideoOrder, make_videos

    if scale != 1 and format_ != "msrbd":
        raise UsageError(f"--scale {scale}: {format_} has events on the image's own pixels; only msrbd has not")
    if config.size % scale:
        raise UsageError(f"--scale {scale}: it does not divide --size {config.size}")
    held = -(-count // 8) if test is None else test
    plan = ClipPlan(frames=frames, scale=scale, instants=5 if format_ == "msrbd" else 0)
    order = VideoOrder(output, format_, count, held, plan, config, seed, photos, workers or usable_cores())
    began = time.monotonic()
    with progress.bar() as show:
        made = make_videos(order, lambda done, of: show(f"{done} of {of} videos", done / of))
    seconds = time.monotonic() - began
    console.say(
        f"{output}: {count} videos to train on and {held} to test with, {frames} frames each ({format_}); "
        + (f"{made} drawn now, {made * frames / seconds:.1f} frames/s" if made else "all were there already")
    )
    return 0
