"""A recorder to be killed: `python -m tests.recordings.recorder_child FOLDER` records until it dies."""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path

from capture.packets import Events, Frame
from recordings.formats.own_chunks import draft
from recordings.recorder.take import Limits, Take
from tests.capture.simulated_small import small_davis
from tests.recordings.own_sample import Item, about_of, items_of, rig_of_config

CONFIG = small_davis(paced=False)
PERIOD_US = 1_000_000


def shifted(item: Item, lap: int, frames: int) -> Item:
    """The item so many laps later; `frames` are in a lap."""
    us = lap * PERIOD_US
    if isinstance(item, Frame):
        start, end = item.device_start_ns or 0, item.device_end_ns or 0
        number = item.sequence + lap * frames
        ns = us * 1000
        return replace(item, sequence=number, device_start_ns=start + ns, device_end_ns=end + ns)
    e = item.events
    moved = Events(e.t + us, e.x, e.y, e.p, e.width, e.height)
    return replace(item, events=moved, complete_until_us=item.complete_until_us + us)


def given(n: int, items: list[Item]) -> Item:
    """The nth item of an endless stream made of these."""
    frames = sum(isinstance(i, Frame) for i in items)
    return shifted(items[n % len(items)], n // len(items), frames)


def main(folder: Path) -> None:
    """Prints, after each item that it handed over, which it was and when (monotonic ns)."""
    items = items_of(CONFIG, 0.4)
    take = Take(folder, about_of(rig_of_config(CONFIG)), Limits(reserve=0))
    for n in itertools.count():
        item = given(n, items)
        take.add(item, draft(item, take.watermark_us), 0)
        take.tick()
        print("frame" if isinstance(item, Frame) else "events", time.monotonic_ns(), flush=True)
        time.sleep(0.002)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
