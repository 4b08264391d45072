"""How long a switch of networks takes while pictures stream, and what the stream notices of it.

The restore stage of the live pipeline, in this process, fed with the simulated rig at its own pace. Each
network is chosen twice, from EDI: first it is built (torch imported, weights read or drawn), then it is in
memory. The old network goes on until the new one takes over; the first picture comes when that one has restored
it.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the restore worker does

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from app.offline_input import open_input
from capture.packets import Frame
from inference import store
from inference.outcomes import Result
from inference.restore_stage import RestoreStage

SHARED = Path(os.environ.get("HALFMIRROR_SHARED", Path(__file__).resolve().parents[2] / "shared"))
LDN = SHARED / "weights" / "s-sdm-ldn-gopro.pth"
GOAL_S = 1.0
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch.

    Attributes:
        took: seconds until the new network takes over.
        picture: seconds until its first picture.
        meanwhile: pictures of the old one until it took over.
        gap: longest time without a picture until then, in seconds.
    """

    took: float
    picture: float
    meanwhile: int
    gap: float


class Stream:
    """The simulated rig, its items made beforehand and fed in a loop at their own pace."""

    def __init__(self, source: str, seconds: float) -> None:
        with open_input(source, seconds) as opened:
            opened.prepare(lambda _share: None)
            self.rig = opened.rig
            self.items = list(opened.items)
        self.pictures: list[tuple[float, str]] = []
        self._stop = threading.Event()

    def run(self, options: dict[str, object], switches: list[str]) -> list[Switch]:
        self.pictures.clear()
        self._stop.clear()
        stage = RestoreStage(self.rig, "edi", self._publish, options=options, device="cpu", live=True)
        stage.start()
        feeder = threading.Thread(target=self._feed, args=(stage,), daemon=True)
        feeder.start()
        try:
            self._until(lambda: len(self.pictures) > 10)
            return [self._switch(stage, name) for name in switches]
        finally:
            self._stop.set()
            feeder.join()
            stage.stop()
            stage._thread.join()  # a slow network may still be at its last picture

    def _publish(self, result: Result) -> None:
        if result.restored is not None:
            self.pictures.append((time.perf_counter(), result.restored.network))

    def _feed(self, stage: RestoreStage) -> None:
        epoch = 0
        while not self._stop.is_set():
            began, first, at = time.perf_counter(), None, 0
            for item in self.items:
                if self._stop.is_set():
                    return
                frame = isinstance(item, Frame)
                # Items are in order of time; a frame's own stamp may be of another clock.
                at = at if frame else item.complete_until_us
                first = at if first is None else first
                wait = (at - first) * 1e-6 - (time.perf_counter() - began)
                if wait > 0:
                    time.sleep(wait)
                item = replace(item, epoch=epoch, host_ns=time.monotonic_ns())
                (stage.feed_frame if frame else stage.feed_events)(item)
                stage.tick(time.monotonic_ns())
            epoch += 1

    def _switch(self, stage: RestoreStage, name: str) -> Switch:
        n, began = len(self.pictures), time.perf_counter()
        stage.select(name)
        self._until(lambda: stage.network == name)
        took, new = time.perf_counter(), len(self.pictures)
        times = [began, *(t for t, _ in self.pictures[n:new]), took]
        gap = max(b - a for a, b in pairwise(times))
        self._until(lambda: any(network == name for _, network in self.pictures[new:]))
        picture = next(t for t, network in self.pictures[new:] if network == name)
        return Switch(took - began, picture - began, new - n, gap)

    @staticmethod
    def _until(condition: Callable[[], bool]) -> None:
        deadline = time.perf_counter() + LIMIT_S
        while not condition():
            if time.perf_counter() > deadline:
                raise SystemExit(f"nothing came within {LIMIT_S:.0f} s")
            time.sleep(0.002)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--source", default="simulated:davis")
    arguments.add_argument("--networks", default="none,s-sdm-ldn,gem,efnet,stra,cdvd-tsp")
    arguments.add_argument("--seconds", type=float, default=2.0, help="length of the loop that is fed")
    a = arguments.parse_args()
    stream = Stream(a.source, a.seconds)
    title = f"switching from EDI while {a.source} streams; goal: {GOAL_S:g} s once the weights are in memory"
    table = Table(title=title, caption="python -m benchmarks.bench_switch")
    columns = (
        "network", "weights", "built, s", "pictures meanwhile", "longest gap, s", "in memory, s", "picture, s",
    )  # fmt: skip
    for heading in columns:
        table.add_column(heading, justify="left" if heading in ("network", "weights") else "right")

    def row(name: str, weights: str, options: dict[str, object]) -> None:
        first, _, again = stream.run(options, [name, "edi", name])
        table.add_row(
            name, weights, f"{first.took:.2f}", str(first.meanwhile), f"{first.gap:.2f}", f"{again.took:.3f}",
            f"{again.picture:.2f}",
        )  # fmt: skip

    with TemporaryDirectory() as folder:
        os.environ["HALFMIRROR_MODELS"] = folder
        for name in a.networks.split(","):
            if name == "s-sdm-ldn" and LDN.is_file():
                store.add(name, LDN)
                row(name, "published", {})
            row(name, "none needed" if name == "none" else "random", {"random_weights": True})
    Console(width=112).print(table)


if __name__ == "__main__":
    main()
