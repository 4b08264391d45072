"""A recorder to be killed: `python -m tests.recordings.recorder_child FOLDER` records until it dies."""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path

from capture.packets import EventPacket, Events
from recordings.formats.own_chunks import draft
from recordings.recorder.take import Limits, Take
from tests.capture.simulated_small import small_davis
from tests.recordings.own_sample import about_of, items_of, rig_of_config

CONFIG = small_davis(paced=False)


def main(folder: Path) -> None:
    """Prints, after each item that it handed over, how many that were and when (monotonic ns)."""
    items = [i for i in items_of(CONFIG, 0.4) if isinstance(i, EventPacket)]
    take = Take(folder, about_of(rig_of_config(CONFIG)), Limits(reserve=0))
    for n in itertools.count():
        p = items[n % len(items)]
        e, shift = p.events, n // len(items) * 1_000_000
        moved = Events(e.t + shift, e.x, e.y, e.p, e.width, e.height)
        p = replace(p, events=moved, complete_until_us=p.complete_until_us + shift)
        take.add(p, draft(p, take.watermark_us), 0)
        take.tick()
        print(n + 1, time.monotonic_ns(), flush=True)
        time.sleep(0.002)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
