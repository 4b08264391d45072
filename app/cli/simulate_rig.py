"""`halfmirror simulate rig`: both cameras of a simulated rig on the wire, and the rig file that opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli import console
from app.cli.simulate_events import PORT
from app.cli.simulate_shared import Overwrite, Seconds, Settings, check_rig_file, configured, wait, with_bayer

EXAMPLE = "Example: halfmirror simulate rig --rig-file wire.toml   (then: halfmirror live wire.toml)"


def rig(
    name: Annotated[
        str, typer.Option("--rig", help="Which rig: simulated or simulated:PRESET, not a rig file.")
    ] = "simulated",
    rig_file: Annotated[Path, typer.Option("--rig-file", help="The rig file that opens both cameras.")] = Path(
        "wire.toml"
    ),
    address: Annotated[
        str, typer.Option("--address", help="Of the frame camera: a loopback address, 127.x.y.z.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Of the events; the other streams follow. 0: any.")
    ] = PORT,
    loss: Annotated[float, typer.Option("--loss", help="Share of the frames' packets that are lost.")] = 0.0,
    settings: Settings = None,
    overwrite: Overwrite = False,
    seconds: Seconds = None,
) -> int:
    """Serve events over TCP (AEDAT4) and frames over GigE Vision, on 127.0.0.1, in step with each other.

    A rig of one sensor (`simulated:davis`) sends its frames over TCP too. To kill one camera alone, start
    `simulate events` and `simulate genicam` in two terminals. A rig file of this name that says something else,
    such as one that was calibrated since, is kept and refused.
    """
    from app.cli.arguments import parse_settings, positive_seconds
    from app.cli.simulate_events import served, write_rig
    from capture.errors import UsageError
    from capture.simulated.davis_server import example
    from capture.simulated.gige.device import GigeDevice, check_address
    from capture.simulated.gige.pictures import RigPictures
    from capture.simulated.gige.sender import WireFaults

    check_rig_file(rig_file, overwrite=overwrite)
    check_address(address)
    if not 0 <= loss <= 1:
        raise UsageError(f"--loss {loss:g} is out of range; give a share from 0 to 1")
    if seconds is not None:
        positive_seconds(seconds)
    given = parse_settings(settings or ())
    config = configured(name, given)
    bayer = config if config.one_sensor else with_bayer(name, given)
    device = None
    serving = False
    server = served(config, port, None, "SIM00001", 0)
    try:
        opened = example(server.addresses)
        frames = opened if config.one_sensor else {"camera": f"genicam:{address}", "settings": {}}
        if not config.one_sensor:
            console.say(f"{name}: preparing its frames")
            pictures = RigPictures(bayer, server.epoch_ns, exposed=server.expose)
            device = GigeDevice(pictures, address, "SIM00002", faults=WireFaults(loss))
            device.__enter__()
        # Last: a rig file of addresses that could not be had would open somebody else's camera.
        write_rig(rig_file, bayer, opened, frames, overwrite=overwrite)
        server.start()
        serving = True
        console.say(
            f"events at {opened['camera']}, frames at {frames['camera']}: halfmirror live {rig_file}; "
            "Ctrl+C ends it"
        )
        wait(seconds)
    finally:
        server.close()
        if device is not None:
            device.__exit__(None, None, None)
        if serving:
            frames_sent = f", {device.sender.blocks} frames" if device else ""
            console.say(f"{server.events} events sent{frames_sent}")
    return 0
