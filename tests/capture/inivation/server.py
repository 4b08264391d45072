"""A server process that plays a scene as AEDAT4 streams; it can be killed and comes back. Also naughty ones."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from capture.inivation.stream_source import wait_for
from capture.simulated.davis_server import DavisServer
from capture.simulated.loops import event_loop, frame_loop
from capture.simulated.presets import configure

ROOT = Path(__file__).resolve().parents[3]
SMALL = {
    "image_width": 96, "image_height": 64, "event_width": 48, "event_height": 32, "loop_s": 0.6,
    "rate_hz": 25.0, "exposure_us": 15_000, "packet_us": 2_000, "fine": 1,
}  # fmt: skip
DAVIS = {
    "image_width": 48, "image_height": 32, "event_width": 48, "event_height": 32, "loop_s": 0.6,
    "packet_us": 2_000, "triggers": True,
}  # fmt: skip


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens at now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(n)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [int(s.getsockname()[1]) for s in sockets]


class Served:
    """The scene of a preset at fixed addresses; `kill` and `start` as often as one likes.

    Attributes:
        name, settings: what opens it.
    """

    def __init__(self, preset: str, folder: Path | None = None) -> None:
        kinds = ["EVTS", "TRIG", "IMUS", *(["FRME"] if preset == "davis" else [])]
        if folder is None:
            places: dict[str, Any] = {
                k: ("127.0.0.1", p) for k, p in zip(kinds, free_ports(len(kinds)), strict=True)
            }
            self.name = f"aedat4-tcp:127.0.0.1:{places['EVTS'][1]}"
        else:
            places = {k: str(folder / k) for k in kinds}
            self.name = f"aedat4-unix:{places['EVTS']}"
        keys = {"TRIG": "triggers", "IMUS": "imu", "FRME": "frames"}
        self.settings = {
            keys[k]: v if isinstance(v, str) else f"{v[0]}:{v[1]}" for k, v in places.items() if k != "EVTS"
        }
        self.preset, self.places = preset, places
        self.process: subprocess.Popen[bytes] | None = None
        self._spare, self._spare_ready = self._spawn(), False
        self.start()

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.capture.inivation.server", self.preset, repr(self.places)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(self) -> None:
        """Begin, and wait until every stream is served. The process waits ready, so that this is quick."""
        if self.process is not None:
            return
        self.process = self._spare
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        for kind, place in self.places.items():
            wait_for("test", place, kind, 60.0)
        self._spare, self._spare_ready = self._spawn(), False

    def await_spare(self) -> None:
        """Wait until the next process could serve at once, so that a test measures the driver, not Python."""
        assert self._spare.stdout is not None
        if not self._spare_ready:
            assert self._spare.stdout.readline() == b"ready\n"
            self._spare_ready = True

    def kill(self) -> None:
        """As a plug that is pulled: no goodbye."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.communicate()

    def end(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self._spare.kill()
        self._spare.communicate()


class Naughty:
    """Listens at a port and answers every connection with `data` and then silence, or a closed connection."""

    def __init__(self, data: bytes = b"", *, close: bool = False, repeat: bytes = b"") -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._data, self._close, self._repeat = data, close, repeat
        self._kept: list[socket.socket] = []
        self._ended = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                c, _ = self._socket.accept()
            except OSError:
                return
            if self._close:
                c.close()
                continue
            self._kept.append(c)
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c: socket.socket) -> None:
        with contextlib.suppress(OSError):
            c.sendall(self._data)
            while self._repeat and not self._ended:
                c.sendall(self._repeat)
                time.sleep(0.01)

    def end(self) -> None:
        self._ended = True
        for s in (self._socket, *self._kept):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()


if __name__ == "__main__":
    import ast

    preset, places = sys.argv[1], ast.literal_eval(sys.argv[2])
    settings = DAVIS if preset == "davis" else SMALL
    config = configure(preset, settings)
    event_loop(config)
    frame_loop(config)
    print("ready", flush=True)
    if not sys.stdin.readline():
        sys.exit()
    server = DavisServer(config, places)
    server.start()
    sys.stdin.read()  # until the test is gone
