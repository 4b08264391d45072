"""`halfmirror simulate genicam`: a Blackfly S on the wire that sees what a simulated rig sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import console
from app.cli.simulate_shared import Overwrite, Seconds, Settings, check_rig_file, save_rig, wait, with_bayer

if TYPE_CHECKING:
    from capture.simulated.gige.device import GigeDevice

EXAMPLE = "Example: halfmirror simulate genicam --rig simulated:night --rig-file camera.toml"


def genicam(
    rig: Annotated[
        str,
        typer.Option("--rig", help="Whose frames it serves: simulated or simulated:PRESET, not a rig file."),
    ] = "simulated",
    address: Annotated[
        str, typer.Option("--address", help="A loopback address, 127.x.y.z; one for each camera.")
    ] = "127.0.0.1",
    serial: Annotated[str, typer.Option("--serial", help="Its serial number.")] = "SIM00001",
    stamp: Annotated[
        str, typer.Option("--stamp", help="What its time stamp marks: start or end of the exposure.")
    ] = "start",
    loss: Annotated[float, typer.Option("--loss", help="Share of packets that are lost, 0 to 1.")] = 0.0,
    duplicate: Annotated[
        float, typer.Option("--duplicate", help="Share of packets that arrive twice, 0 to 1.")
    ] = 0.0,
    reorder: Annotated[
        float, typer.Option("--reorder", help="Share of packets that arrive out of order, 0 to 1.")
    ] = 0.0,
    resend: Annotated[
        bool, typer.Option("--resend/--no-resend", help="Send lost packets again when asked to.")
    ] = True,
    settings: Settings = None,
    rig_file: Annotated[
        Path | None, typer.Option("--rig-file", help="Write a rig file that opens this camera alone.")
    ] = None,
    overwrite: Overwrite = False,
    seconds: Seconds = None,
    epoch_ns: Annotated[int, typer.Option("--epoch-ns", hidden=True)] = 0,
) -> int:
    """Serve a GigE Vision camera (GVCP, GenICam XML, GVSP with chunks and resend) on 127.0.0.1.

    Nothing of it is seen outside of this machine. Kill it and start it again to see a camera go and come back.
    """
    from app.cli.arguments import parse_settings, positive_seconds
    from capture.errors import UsageError
    from capture.simulated.gige.device import GigeDevice, check_address
    from capture.simulated.gige.pictures import RigPictures
    from capture.simulated.gige.sender import WireFaults
    from capture.simulated.loops import shared_epoch_ns

    check_rig_file(rig_file, overwrite=overwrite)
    check_address(address)
    for name, share in (("--loss", loss), ("--duplicate", duplicate), ("--reorder", reorder)):
        if not 0 <= share <= 1:
            raise UsageError(f"{name} {share:g} is out of range; give a share from 0 to 1")
    if stamp not in ("start", "end"):
        raise UsageError(f"--stamp {stamp!r}: give start or end")
    if not 1 <= len(serial) <= 15 or not serial.isascii():
        raise UsageError(f"--serial {serial!r}: give 1 to 15 ASCII characters")
    if seconds is not None:
        positive_seconds(seconds)
    config = with_bayer(rig, parse_settings(settings or ()))
    console.say(f"{rig}: preparing its frames (seconds the first time, from the cache after that)")
    pictures = RigPictures(config, epoch_ns or shared_epoch_ns(config))
    faults = WireFaults(loss, duplicate, reorder, resend=resend)
    with GigeDevice(pictures, address, serial, stamp_at_end=stamp == "end", faults=faults) as device:
        if rig_file is not None:
            _write(rig_file, device, stamp, overwrite=overwrite)
        console.say(
            f"{device.model} {serial}, {pictures.width}×{pictures.height} "
            f"{device.registers.entry('PixelFormat')} at {config.rate_hz:g} Hz: open it as genicam:{address}"
            + (f" or with {rig_file}" if rig_file else "")
            + "; Ctrl+C ends it"
        )
        try:
            wait(seconds)
        finally:
            s = device.sender
            console.say(
                f"{s.blocks} frames sent in {s.packets} packets, of which {s.lost} were lost on purpose; "
                f"{s.resent} were sent again, {s.refused} requests could not be met"
            )
    return 0


def _write(path: Path, device: GigeDevice, stamp: str, *, overwrite: bool) -> None:
    from sync.rig import Rig

    p = device.pictures
    name = f"genicam:{device.address}"
    rig = Rig.frames_only(name, (p.width, p.height), "linear" if p.linear else "srgb")
    image = rig.image.model_copy(update={"serial": device.serial, "settings": {"stamp": stamp}})
    save_rig(rig.model_copy(update={"image": image}), path, overwrite=overwrite)
