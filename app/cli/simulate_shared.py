"""What the verbs of `halfmirror simulate` share: options, which rig is meant, waiting for the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from capture.simulated.presets import SimulatedConfig

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", show_default=False, help="A setting of the rig, e.g. seed=3."),
]
Seconds = Annotated[float | None, typer.Option("--seconds", help="Leave after so long (until Ctrl+C).")]


def configured(rig: str, settings: dict[str, Any]) -> SimulatedConfig:
    """The simulated rig that was named. Raises `UsageError`."""
    from capture.errors import UsageError
    from capture.registry import CameraName
    from capture.simulated.presets import configure

    name = CameraName.parse(rig)
    if name.driver != "simulated":
        raise UsageError(f"--rig {rig}: give simulated or simulated:PRESET")
    return configure(name.rest, settings)


def with_bayer(rig: str, settings: dict[str, Any]) -> SimulatedConfig:
    """As `configured`, a colour camera with a Bayer sensor as a Blackfly S has one."""
    from capture.packets import PixelLayout

    config = configured(rig, settings)
    if config.frame_sensor.layout is PixelLayout.RGB:
        config = configured(rig, {**settings, "frame_sensor.layout": PixelLayout.BAYER_RGGB.value})
    return config


def wait(seconds: float | None) -> None:
    """Until Ctrl+C, or so long."""
    import threading

    threading.Event().wait(seconds)
