"""`halfmirror live`: the viewer on a rig, or on what it showed last."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Compile, Contrast, Device, Dtype, Publish, RandomWeights, Residual, Settings

EXAMPLE = "Example: halfmirror live simulated:night --headless --seconds 20 -o night"


def live(
    rig: Annotated[
        str | None,
        typer.Argument(
            metavar="[RIG]",
            help="simulated, simulated:PRESET, a camera's name (davis346, webcam:0), a rig file (.toml), or "
            "tcp://HOST:PORT or ipc://PATH of a --publish. Left out: what the window showed last, else the "
            "simulated rig; always that one without a window and for a --screenshot.",
            show_default=False,
        ),
    ] = None,
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
    device: Device = "auto",
    publish: Publish = None,
    rig_page: Annotated[
        bool, typer.Option("--rig-page", help="Begin with the rig page: choose and set up the cameras.")
    ] = False,
) -> int:
    """Show the blurred and the sharp picture of a rig, live.

    Without a display the same pipeline runs headless for 10 s and leaves a folder with a side-by-side video,
    a contact sheet and summary.json. tcp://HOST:PORT and ipc://PATH show what another Halfmirror publishes.
    """
    from app.cli.arguments import (
        checked_device,
        is_stream,
        positive_seconds,
        publishing_at,
        restorer_options,
        rig_source,
    )
    from app.cli.last_source import source_of
    from app.cli.run_session import show
    from inference import models

    if is_stream(rig):
        chosen = {
            "--network": network, "--contrast": contrast, "--dtype": dtype, "--compile": compiled,
            "--set": settings, "--random-weights": random_weights, "--residual": residual,
            "--publish": publish, "--rig-page": rig_page, "--device": device != "auto",
        }  # fmt: skip
        return _watch(str(rig), [o for o, v in chosen.items() if v], headless, seconds, output, screenshot)
    options = restorer_options(
        contrast, dtype=dtype, compiled=compiled, random_weights=random_weights, settings=settings
    )
    if seconds is not None:
        positive_seconds(seconds)
    source = None if rig is None else rig_source(rig)
    if network is not None:
        models.check(network, options)
    address = publishing_at(publish)
    if source is None:
        source = source_of(network, window=not headless and screenshot is None, rig_page=rig_page)
    return show(
        options, source, network,
        headless=headless, seconds=seconds, output=output, screenshot=screenshot, residual=residual,
        verb="live", rig_page=rig_page, publish=address, device=checked_device(device),
    )  # fmt: skip


def _watch(
    address: str, chosen: list[str], headless: bool, seconds: float | None, output: Path | None,
    screenshot: Path | None,
) -> int:  # fmt: skip
    """Pictures that another Halfmirror publishes; all that restores them is chosen there."""
    from app.cli.arguments import positive_seconds
    from app.cli.run_session import show
    from app.published import stream_address
    from app.stream_session import PUBLISHED
    from capture.errors import UsageError

    stream_address(address)
    if chosen:
        raise UsageError(f"{chosen[0]} is chosen where the pictures of {address} are made; leave it out")
    if seconds is not None:
        positive_seconds(seconds)
    return show(
        {}, address, PUBLISHED,
        headless=headless, seconds=seconds, output=output, screenshot=screenshot, verb="live",
    )  # fmt: skip
