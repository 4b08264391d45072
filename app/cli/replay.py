"""`halfmirror replay`: the viewer on a recording."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import (
    Compile,
    Contrast,
    Device,
    Dtype,
    ExposureUs,
    Geometry,
    Publish,
    RandomWeights,
    Residual,
    RigFile,
    Settings,
)

if TYPE_CHECKING:
    from recordings.recording import OpenOptions

EXAMPLE = "Example: halfmirror replay cups.aedat4 --speed 0.5 --loop"
MIN_SPEED, MAX_SPEED = 0.1, 8.0


def replay(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The recording: a file or a folder with events and frames.")
    ],
    speed: Annotated[float, typer.Option("--speed", help="0.1 to 8 times the recording's own pace.")] = 1.0,
    as_fast_as_possible: Annotated[
        bool, typer.Option("--as-fast-as-possible", help="Do not keep the recording's pace.")
    ] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    network: Annotated[
        str | None, typer.Option("--network", "-n", help="Which network restores (edi, or the one used last).")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Run without a window.")] = False,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", help="Headless: leave after so long (the end of the recording)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Headless: the folder to make (replay-TIME).")
    ] = None,
    screenshot: Annotated[
        Path | None, typer.Option("--screenshot", help="Save a picture of the window as PNG and leave.")
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
    device: Device = "auto",
    publish: Publish = None,
) -> int:
    """Play a recording through the same pipeline as live, in the same viewer."""
    from app.cli.arguments import (
        checked_device,
        positive_seconds,
        publishing_at,
        recording_path,
        restorer_options,
        sensor_size,
    )
    from app.cli.run_session import DEFAULT_NETWORK, no_window, show
    from capture.errors import UsageError
    from inference import models
    from recordings.recording import OpenOptions

    if as_fast_as_possible and speed != 1.0:
        raise UsageError("give either --speed or --as-fast-as-possible, not both")
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise UsageError(f"--speed {speed:g} is out of range; give {MIN_SPEED:g} to {MAX_SPEED:g}")
    options = restorer_options(
        contrast, dtype=dtype, compiled=compiled, random_weights=random_weights, settings=settings
    )
    if seconds is not None:
        positive_seconds(seconds)
    source = recording_path(path)
    if network is not None:
        models.check(network, options)
    said = OpenOptions(exposure_us=exposure_us, geometry=sensor_size(geometry), rig=rig)
    windowless = headless or bool(no_window())
    check_streams(source, network or (DEFAULT_NETWORK if windowless else None), said)
    if headless and loop and seconds is None and publish is None:
        raise UsageError("--headless with --loop never ends; give --seconds")
    address = publishing_at(publish)
    return show(
        options, source, network,
        headless=headless, seconds=seconds, output=output, screenshot=screenshot, verb="replay",
        residual=residual, speed=math.inf if as_fast_as_possible else speed, loop=loop, said=said,
        publish=address, device=checked_device(device),
    )  # fmt: skip


def check_streams(path: Path, network: str | None, said: OpenOptions) -> None:
    """Refuse what cannot be replayed before a window opens.

    `network` None: that one is chosen in the window, which then says what it lacks.

    Raises:
        RecordingError, UsageError: not a recording; no frames in it, or no events and the network needs them;
            nothing tells how its cameras' pixels lie, and the network uses events.
    """
    from app.sources import rig_for
    from inference import models
    from recordings.open import open_with, require_frames

    with open_with(path, said) as recording:
        require_frames(recording)
        placed = network is None or models.needs_events(network)
        rig_for(recording, str(path), said.rig, placed=placed)
        if network is not None:
            models.require_events(network, recording.info.event_size is not None)
