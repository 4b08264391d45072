"""`halfmirror deblur`: restore a recording offline, into pictures or a video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import (
    Compile,
    Contrast,
    Dtype,
    ExposureUs,
    Geometry,
    RandomWeights,
    Residual,
    RigFile,
    Settings,
)

EXAMPLE = "Example: halfmirror deblur cups.aedat4 -o cups.mp4 --frames-per-exposure 20"


def deblur(
    input_: Annotated[
        str, typer.Argument(metavar="INPUT", help="A recording, or simulated, or simulated:PRESET.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A video (NAME.mp4), or a folder for PNGs.", show_default=False),
    ],
    network: Annotated[str, typer.Option("--network", "-n", help="Which network restores.")] = "edi",
    at: Annotated[
        str | None, typer.Option("--at", help="Instants in each exposure, 0 to 1, e.g. 0,0.25,0.5 (0.5).")
    ] = None,
    frames_per_exposure: Annotated[
        int | None, typer.Option("--frames-per-exposure", help="So many instants, evenly spaced.")
    ] = None,
    exposure_us: ExposureUs = None,
    geometry: Geometry = None,
    rig: RigFile = None,
    contrast: Contrast = None,
    dtype: Dtype = None,
    compiled: Compile = False,
    settings: Settings = None,
    random_weights: RandomWeights = False,
    residual: Residual = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Only so much of the input (simulated: 5).")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output.")] = False,
) -> int:
    """Restore every exposure of a recording through the same stages as live.

    A folder gets exposure-000012-0.5000.png (ordinal of the exposure, instant in it), timestamps.csv and
    report.json; a video gets NAME.report.json beside it, and its time stamps follow the exposures. Refused
    exposures give no picture: the report lists them with the reason. The output appears under its name only
    when it is whole.
    """
    from app.cli.arguments import output_path, parse_latents, positive_seconds, restorer_options, sensor_size
    from app.cli.offline_run import Request, run_offline
    from inference import models

    options = restorer_options(
        contrast, dtype=dtype, compiled=compiled, random_weights=random_weights, settings=settings
    )
    models.check(network, options)
    request = Request(
        source=input_, output=output_path(output), network=network,
        latents=parse_latents(at, frames_per_exposure), options=options,
        seconds=None if seconds is None else positive_seconds(seconds), device=device, overwrite=overwrite,
        residual=residual, exposure_us=exposure_us, geometry=sensor_size(geometry), rig=rig,
    )  # fmt: skip
    return run_offline(request)
