"""`halfmirror simulate events`: the simulated rig's event camera as AEDAT4 streams over sockets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import console
from app.cli.simulate_shared import Overwrite, Seconds, Settings, check_rig_file, configured, save_rig, wait

if TYPE_CHECKING:
    from capture.simulated.davis_server import DavisServer
    from capture.simulated.presets import SimulatedConfig

PORT = 7777
EXAMPLE = "Example: halfmirror simulate events --rig simulated:davis --port 7777 --rig-file davis.toml"


def events(
    rig: Annotated[
        str,
        typer.Option("--rig", help="Whose events it serves: simulated or simulated:PRESET, not a rig file."),
    ] = "simulated",
    port: Annotated[
        int | None,
        typer.Option("--port", help="Of the events (7777); edges, IMU, frames on the next ones. 0: any."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--sockets", help="Serve Unix sockets in this folder instead of TCP.")
    ] = None,
    serial: Annotated[str, typer.Option("--serial", help="Its serial number.")] = "SIM00001",
    settings: Settings = None,
    rig_file: Annotated[
        Path | None, typer.Option("--rig-file", help="Write a rig file (one sensor that gives both, only).")
    ] = None,
    overwrite: Overwrite = False,
    seconds: Seconds = None,
    epoch_ns: Annotated[int, typer.Option("--epoch-ns", hidden=True)] = 0,
) -> int:
    """Serve a DAVIS346's streams: events, trigger edges, inertial samples; frames where one sensor gives both.

    Kill it and start it again to see a camera go and come back.
    """
    from app.cli.arguments import parse_settings, positive_seconds
    from capture.errors import UsageError
    from capture.simulated.davis_server import example
    from capture.simulated.loops import shared_epoch_ns

    check_rig_file(rig_file, overwrite=overwrite)
    if folder is not None and port is not None:
        raise UsageError("--sockets and --port are two ways to serve the streams; give one")
    if seconds is not None:
        positive_seconds(seconds)
    config = configured(rig, parse_settings(settings or ()))
    if rig_file is not None and not config.one_sensor:
        raise UsageError(
            f"--rig-file: {rig} has two cameras; halfmirror simulate rig serves both and writes its file"
        )
    serving = False
    server = served(config, PORT if port is None else port, folder, serial, epoch_ns or shared_epoch_ns(config))
    try:
        opened = example(server.addresses)
        if rig_file is not None:
            write_rig(rig_file, config, opened, opened, overwrite=overwrite)
        told = ", ".join(f"{k} = {v}" for k, v in opened["settings"].items())
        console.say(
            f"DAVIS346 {serial}, events {config.event_width}×{config.event_height}: open it as "
            f"{opened['camera']} with {told}"
            + (f", or with {rig_file}" if rig_file else "")
            + "; Ctrl+C ends it"
        )
        server.start()
        serving = True
        wait(seconds)
    finally:
        server.close()
        if serving:
            console.say(f"{server.events} events sent in {server.items} packets")
    return 0


def served(config: SimulatedConfig, port: int, folder: Path | None, serial: str, epoch_ns: int) -> DavisServer:
    """The server, its addresses taken, not playing yet.

    Raises:
        UsageError: no such port, a serial number that is none, the folder is not there.
        CameraError: an address is taken.
    """
    from capture.errors import UsageError
    from capture.simulated.davis_server import DavisServer

    kinds = ["EVTS", "TRIG", "IMUS", *(["FRME"] if config.one_sensor else [])]
    if not (1 <= len(serial) <= 15 and serial.isascii() and serial.isalnum()):
        raise UsageError(f"--serial {serial!r}: give 1 to 15 letters and digits")
    if folder is not None:
        if not folder.is_dir():
            raise UsageError(f"--sockets {folder}: is no folder; make it first")
        places: dict[str, Any] = {k: str(folder / f"{k.lower()}.sock") for k in kinds}
    elif port and not 1024 <= port <= 65535 - len(kinds):
        raise UsageError(f"--port {port} is out of range; give 1024 to {65535 - len(kinds)}, or 0 for any")
    else:
        places = {k: ("127.0.0.1", port + i if port else 0) for i, k in enumerate(kinds)}
    console.say(f"simulated:{config.preset}: preparing its events (seconds, then from the cache)")
    return DavisServer(config, places, epoch_ns=epoch_ns, serial=serial)


def write_rig(
    path: Path, config: SimulatedConfig, events: dict[str, Any], frames: dict[str, Any], *, overwrite: bool
) -> None:
    """A rig file that opens the simulated rig's cameras where they are served.

    Args:
        events, frames: `camera` (a name) and `settings` of each.
        overwrite: another file of this name is replaced.

    Raises:
        UsageError: see `save_rig`.
    """
    from capture.simulated.rig import facts_of
    from sync.rig import Rig

    rig = Rig.from_facts(f"simulated:{config.preset} on the wire", facts_of(config))

    def entry(of: dict[str, Any]) -> dict[str, Any]:
        return {"camera": of["camera"], "settings": of["settings"]}

    # Over sockets a frame takes longer than from the simulated camera itself, and not always as long.
    clock = rig.clock.model_copy(update={"host_latency_ms": 10.0, "host_latency_spread_ms": 10.0})
    made = rig.model_copy(
        update={
            "events": rig.events.model_copy(update=entry(events)),
            "image": rig.image.model_copy(update=entry(frames)),
            "clock": clock,
        }
    )
    save_rig(made, path, overwrite=overwrite)
