"""The simulated rig: how long a first preparation takes, how soon it starts from the cache, what playing costs.

    python -m benchmarks.bench_simulated [PRESET …]

Preparation is measured in CPU seconds of one core as well as in wall time, since other work on the machine
changes only the latter.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import cv2
from rich.console import Console
from rich.table import Table

from capture.camera import CameraRole
from capture.packets import EventPacket
from capture.simulated.driver import DRIVER
from capture.simulated.loops import make_events, make_frames
from capture.simulated.presets import configure, names

REPEATS = 3
PLAY_S = 3.0


def _timed(what: Callable[[], Any]) -> tuple[float, float]:
    """CPU and wall seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    what()
    return time.process_time() - cpu, time.perf_counter() - wall


def _play(preset: str, role: CameraRole) -> tuple[float, float, int]:
    """Play a camera in real time: its CPU share, the worst lateness of an item in ms, how many items."""
    config = DRIVER.configure(preset, {})
    camera = DRIVER.event_camera(config) if role is CameraRole.EVENTS else DRIVER.frame_camera(config)
    camera.open()
    camera.start(time.monotonic_ns())
    cpu, end = time.process_time(), time.monotonic() + PLAY_S
    late, items = [0.0], 0
    while time.monotonic() < end:
        item = camera.read(0.1)
        if item is not None:
            late.append((time.monotonic_ns() - item.host_ns) / 1e6)
            items += 1
    used = time.process_time() - cpu
    camera.close()
    return used / PLAY_S, sorted(late)[int(0.99 * (len(late) - 1))], items


def _events(preset: str) -> float:
    """Mean event rate in million per second."""
    from capture.simulated.rig import SimulatedRig

    seconds = configure(preset).loop_us / 1e6
    items = SimulatedRig(preset).items(seconds)
    return sum(len(i.events) for i in items if isinstance(i, EventPacket)) / seconds / 1e6


def main() -> None:
    """Measure and print a table."""
    cv2.setNumThreads(1)
    presets = sys.argv[1:] or names()
    table = Table(title="simulated rig: python -m benchmarks.bench_simulated " + " ".join(sys.argv[1:]))
    for head in (
        "preset", "camera", "prepare CPU s", "prepare wall s", "open from cache s", "play: % of a core",
        "play: late p99 ms", "items", "Mev/s",
    ):  # fmt: skip
        table.add_column(head, justify="left" if head in ("preset", "camera") else "right")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HALFMIRROR_CACHE"] = folder
        make_events(configure("davis", {"loop_s": 0.2, "cache": False}))  # compiles
        make_frames(configure("handheld", {"loop_s": 0.2, "cache": False}))
        for preset in presets:
            config = configure(preset)
            for role, make in ((CameraRole.EVENTS, make_events), (CameraRole.FRAMES, make_frames)):
                runs = [_timed(lambda m=make, c=config: m(c)) for _ in range(REPEATS)]  # type: ignore[misc]
                opener = DRIVER.event_camera if role is CameraRole.EVENTS else DRIVER.frame_camera
                opener(config).open()
                opens = [_timed(opener(config).open)[1] for _ in range(REPEATS)]
                share, late, items = _play(preset, role)
                table.add_row(
                    preset, role.value,
                    f"{statistics.median(r[0] for r in runs):.1f}",
                    f"{statistics.median(r[1] for r in runs):.1f}",
                    f"{statistics.median(opens):.2f}",
                    f"{100 * share:.1f}", f"{late:.1f}", str(items),
                    f"{_events(preset):.2f}" if role is CameraRole.EVENTS else "",
                )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
