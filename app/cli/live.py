"""`halfmirror live`: the viewer on a rig."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Compile, Contrast, Dtype, Publish, RandomWeights, Residual, Settings

EXAMPLE = "Example: halfmirror live simulated:night --headless --seconds 20 -o night"


def live(
    rig: Annotated[
        str, typer.Argument(metavar="[RIG]", help="simulated, simulated:PRESET, or a rig file (.toml).")
    ] = "simulated",
    network: Annotated[
        str | None, typer.Option("--network", "-n", help="Which network restores (edi, or the one used last).")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Run without a window.")] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Headless: how long, from the first picture on (10).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Headless: the folder to make (live-TIME).")
    ] = None,
    screenshot: Annotated[
        Path | None, typer.Option("--screenshot", help="Save a picture of the window as PNG and leave.")
    ] = None,
    contrast: Contrast = None,
    dtype: Dtype = None,
    compiled: Compile = False,
    settings: Settings = None,
    random_weights: RandomWeights = False,
    residual: Residual = False,
    publish: Publish = None,
    rig_page: Annotated[
        bool, typer.Option("--rig-page", help="Begin with the rig page: choose and set up the cameras.")
    ] = False,
) -> int:
    """Show the blurred and the sharp picture of a rig, live.

    Without a display the same pipeline runs headless for 10 s and leaves a folder with a side-by-side video,
    a contact sheet and summary.json.
    """
    from app.cli.arguments import positive_seconds, publishing_at, restorer_options, rig_source
    from app.cli.run_session import show
    from inference import models

    options = restorer_options(
        contrast, dtype=dtype, compiled=compiled, random_weights=random_weights, settings=settings
    )
    if seconds is not None:
        positive_seconds(seconds)
    source = rig_source(rig)
    if network is not None:
        models.check(network, options)
    address = publishing_at(publish)
    return show(
        options, source, network,
        headless=headless, seconds=seconds, output=output, screenshot=screenshot, residual=residual,
        verb="live", rig_page=rig_page, publish=address,
    )  # fmt: skip
