"""A process that serves event packets and edges which a test asks for, line by line.

Not in the test's own process: dv-processing holds the interpreter's lock while it connects.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np

from capture.packets import Events, TriggerEdges
from capture.simulated import aedat4_wire as wire
from tests.capture.inivation.server import ROOT

WIDTH, HEIGHT = 64, 48


class Player:
    """The test's side.

    Attributes:
        name, settings: what opens it.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.capture.inivation.player"], cwd=ROOT, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._said = self._ask()
        self.name = f"aedat4-tcp:127.0.0.1:{self._said['events']}"
        self.settings: dict[str, Any] = {"triggers": self._said["edges"]}

    @property
    def port(self) -> int:
        return int(self._said["events"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def send(self, first_us: int, n: int = 10, step_us: int = 100) -> None:
        """A packet of events at one pixel."""
        self.put([first_us + step_us * k for k in range(n)])

    def put(self, t: list[int], x: list[int] | None = None) -> None:
        """A packet of events at these times and columns."""
        self._ask(do="events", t=t, x=x or [0] * len(t))

    def edge(self, t_us: int, up: bool = True) -> None:
        self._ask(do="edges", t=[t_us], up=[up])

    def garbage(self, data: bytes) -> None:
        self._ask(do="garbage", data=data.hex())

    def clients(self) -> tuple[int, int]:
        said = self._ask(do="clients")
        return int(said["events"]), int(said["edges"])

    def close_streams(self) -> None:
        """The server ends its connections; its process goes on."""
        self._ask(do="close")

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def _main() -> None:
    from capture.simulated.stream_server import StreamServer

    events = StreamServer(("127.0.0.1", 0), wire.head("EVTS", "DAVIS346_T1", (WIDTH, HEIGHT)))
    edges = StreamServer(("127.0.0.1", 0), wire.head("TRIG", "DAVIS346_T1"))
    for line in sys.stdin:
        r = json.loads(line)
        what, answer = r.get("do"), {"events": events.address[1], "edges": edges.address[1]}
        if what == "events":
            t, z = np.array(r["t"], np.int64), np.zeros(len(r["t"]), np.uint16)
            x = np.array(r["x"], np.uint16)
            events.send(wire.events(Events(t, x, z, np.ones(len(t), np.bool_), WIDTH, HEIGHT)))
        elif what == "edges":
            edges.send(wire.triggers(TriggerEdges(np.array(r["t"], np.int64), np.array(r["up"], np.bool_))))
        elif what == "garbage":
            events.send(bytes.fromhex(r["data"]))
        elif what == "clients":
            answer = {"events": events.clients, "edges": edges.clients}
        elif what == "close":
            events.close()
            edges.close()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()
