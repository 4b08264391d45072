"""What the verbs of `halfmirror simulate` share: options, which rig is meant, waiting for the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from capture.simulated.presets import SimulatedConfig
    from sync.rig import Rig

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", show_default=False, help="A setting of the rig, e.g. seed=3."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace another rig file of this name.")]
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


def check_rig_file(rig_file: Path | None, *, overwrite: bool) -> None:
    """Refuse what can be told before a scene is drawn: whether a rig file says the same is seen only then.

    Raises:
        UsageError: `--overwrite`, and nothing is written; or what is there is no rig file.
        OutputError: the place cannot be written to.
    """
    from app.cli.arguments import refuse_no_rig
    from app.output.atomic import require_place
    from capture.errors import UsageError

    if rig_file is None:
        if overwrite:
            raise UsageError("--overwrite is about --rig-file; give both")
        return
    refuse_no_rig(rig_file, "--rig-file")
    if overwrite or not rig_file.exists():
        require_place(rig_file)


def save_rig(rig: Rig, path: Path, *, overwrite: bool) -> None:
    """Write the rig file. One that says the same is left as it is.

    Raises:
        UsageError: another file is there and `overwrite` is off, or it is no rig file; it cannot be written.
    """
    from app.cli.arguments import refuse_no_rig
    from capture.errors import UsageError
    from sync.rig import Rig

    if path.exists() and not overwrite:
        try:
            same = Rig.load(path).model_dump(mode="json") == rig.model_dump(mode="json")
        except UsageError:
            same = False
        if not same:  # it may have been calibrated since
            raise UsageError(
                f"--rig-file {path} exists already and says something else; give another name, or --overwrite"
            )
        return
    refuse_no_rig(path, "--rig-file")
    rig.save(path)


def wait(seconds: float | None) -> None:
    """Until Ctrl+C, or so long."""
    import threading

    threading.Event().wait(seconds)
