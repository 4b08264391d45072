"""GigE Vision on the loopback network: what the driver costs, and whether every frame is complete or counted.

A simulated Blackfly S in a process of its own sends 1152×768 BayerRG8 at 60 fps and loses 0.2 % of its packets;
the driver (Aravis) runs in this one. CPU time is that of all threads of a process, Aravis's own included.

    python -m benchmarks.bench_genicam --seconds 60 --write
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from capture.cores import usable_cores
from capture.errors import CameraError
from capture.genicam.driver import GENICAM
from capture.simulated.gige.device import GigeDevice
from capture.simulated.gige.pictures import Pattern
from capture.simulated.gige.sender import WireFaults

WIDTH, HEIGHT, FPS = 1152, 768, 60.0
CLOCK_NS = 73_412_500_000
RESULT = Path(__file__).parent / "results" / "genicam.md"
GOAL_CPU = 15.0
CHECKED = 120
"""Frames compared pixel by pixel after the measurement."""


@dataclass(frozen=True)
class Setup:
    """One row: what the driver is told."""

    name: str
    settings: dict[str, Any]
    share: float  # of the seconds


SETUPS = (
    Setup("packets of 8000 bytes, packet socket", {"packet_size": 8000}, 1.0),
    Setup("packets of 8000 bytes, UDP socket", {"packet_size": 8000, "packet_socket": False}, 1 / 3),
    Setup("packets of 1400 bytes, packet socket", {"packet_size": 1400}, 1 / 3),
    Setup("largest packets that the network carries", {"packet_size": "auto"}, 1 / 3),
)


def pictures() -> Pattern:
    return Pattern(WIDTH, HEIGHT, rate_hz=FPS, exposure_us=5000.0, clock_ns=CLOCK_NS)


def serve(address: str, loss: float) -> None:
    """The camera's process. A line on stdin ends the stream; the answer is what it sent and what it cost."""
    device = GigeDevice(pictures(), address, faults=WireFaults(loss=loss), seed=1)
    with device:
        began = time.process_time()
        print("ready", flush=True)
        for _ in sys.stdin:
            device.streaming.stop()
            s = device.sender
            print(
                json.dumps(
                    {
                        "sent": s.blocks,
                        "packets": s.packets,
                        "lost": s.lost,
                        "cpu_s": time.process_time() - began,
                    }
                ),
                flush=True,
            )


def measure(setup: Setup, seconds: float, loss: float, address: str) -> dict[str, Any]:
    """Counters and costs of one run."""
    call = [sys.executable, "-m", "benchmarks.bench_genicam", "--serve", address, "--loss", str(loss)]
    child = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    camera = GENICAM.frame_camera(GENICAM.configure(address, {"rate_hz": FPS, **setup.settings}))
    try:
        camera.open()
        camera.start()
        assert camera.read(5.0) is not None
        late: list[float] = []
        first = last = 0
        cpu, began = time.process_time(), time.monotonic()
        while time.monotonic() - began < seconds:
            frame = camera.read(0.05)
            if frame is not None and frame.device_end_ns is not None:
                first, last = first or frame.sequence, frame.sequence
                late.append((time.monotonic_ns() - (frame.device_end_ns - CLOCK_NS)) / 1e6)
        cpu, span = time.process_time() - cpu, time.monotonic() - began
        plain, wrong, checked = pictures().images, 0, 0
        while checked < CHECKED:
            frame = camera.read(0.5)
            if frame is not None:
                checked += 1
                wrong += not any(np.array_equal(frame.image, p) for p in plain)
        child.stdin.write("end\n")
        child.stdin.flush()
        sent = json.loads(child.stdout.readline())
        while camera.read(0.5) is not None:  # what is still under way
            pass
        counters = camera.command("counters", {})
    finally:
        camera.close()
        child.stdin.close()
        child.wait()
    return {
        **counters, "device": sent, "cpu": 100 * cpu / span, "wrong": wrong, "checked": checked,
        "unaccounted": sent["sent"] - counters["delivered"] - counters["missing"],
        "p50": float(np.percentile(late, 50)), "p95": float(np.percentile(late, 95)),
        "fps": len(late) / span, "measured": len(late), "lost": last - first + 1 - len(late),
        "camera_cpu": 100 * sent["cpu_s"] / (span + checked / FPS),
    }  # fmt: skip


CAUSES = ("timeout", "missing packets", "underrun", "aborted", "size mismatch")


def line_of(setup: Setup, m: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table."""
    device, causes = m["device"], ", ".join(f"{m[c]} {c}" for c in CAUSES if m.get(c))
    return (
        setup.name, f"{device['sent']}", f"{m['delivered']}", f"{m['missing']}" + f" ({causes})" * bool(causes),
        f"{m['unaccounted']}", f"{device['lost']} of {device['packets']}, {m.get('packets resent', 0)} resent",
        f"{m['wrong']} of {m['checked']}", f"{m['fps']:.1f}", f"{m['cpu']:.1f} %", f"{m['camera_cpu']:.1f} %",
        f"{m['p50']:.1f} / {m['p95']:.1f}",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--loss", type=float, default=0.002, help="share of packets")
    parser.add_argument("--write", action="store_true", help=f"put the table into {RESULT.name} as well")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.loss)
        return
    load = os.getloadavg()[0]
    rows: list[tuple[str, ...]] = []
    for k, setup in enumerate(SETUPS):
        try:
            m = measure(setup, max(3.0, args.seconds * setup.share), args.loss, f"127.0.1.{k + 1}")
        except CameraError as e:
            sys.exit(str(e))
        rows.append(line_of(setup, m))
    title = (
        f"GigE Vision on loopback: {WIDTH}×{HEIGHT} BayerRG8 at {FPS:g} fps, {100 * args.loss:g} % packet loss"
    )
    command = f"python -m benchmarks.bench_genicam --seconds {args.seconds:g}"
    about = (
        f"{platform.machine()}, {usable_cores()} cores, Python {platform.python_version()}, Aravis 0.8; a "
        f"shared machine (load average before the run {load:.1f}); first row {args.seconds:g} s, the others "
        f"a third of it. Goal: 0 unaccounted, at most {GOAL_CPU:g} % of a core in the driver."
    )
    head = (
        "setup", "frames sent", "complete", "counted as lost", "unaccounted", "packets lost on purpose",
        "wrong pictures", "frames/s", "driver, of one core", "simulated camera",
        "end of exposure → frame, ms p50 / p95",
    )  # fmt: skip
    table = Table(*head, title=title, caption=f"{command}\n{about}")
    for row in rows:
        table.add_row(*row)
    Console(width=200).print(table)
    if args.write:
        lines = [f"# {title}", "", f"`{command}`", "", about, "", "| " + " | ".join(head) + " |"]
        lines += ["|" + " --- |" * len(head), *("| " + " | ".join(r) + " |" for r in rows), ""]
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
