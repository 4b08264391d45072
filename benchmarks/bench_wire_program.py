"""The whole program on the wire rig: events over TCP, frames over GigE Vision, EDI; each camera killed twice.

    python -m benchmarks.bench_wire_program --seconds 300

The cameras are processes of their own (`halfmirror simulate events`, `simulate genicam`) on loopback; one is
killed (SIGKILL) in turn and started again. Measured from the moment at which it listens again, since the time
to start Python is not the driver's: until its worker runs, and until the first sharp picture.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from app.cli.simulate_events import write_rig
from app.cli.simulate_shared import with_bayer
from app.live import make_session
from app.recorder import RecordRequest
from app.session import Session, SessionStatus
from capture.camera import CameraState
from capture.inivation.stream_source import wait_for
from capture.simulated.davis_server import example

RIG = "simulated"
SETTINGS = {
    "image_width": "576", "image_height": "384", "event_width": "144", "event_height": "96", "loop_s": "1.2",
}  # fmt: skip
PORT, FRAMES = 17_811, "127.0.9.1"
PLACES = {kind: ("127.0.0.1", PORT + i) for i, kind in enumerate(("EVTS", "TRIG", "IMUS"))}
KILLS = ("events", "frames", "events", "frames")
START_S, BACK_S = 240.0, 60.0
OF_EVENTS = ("ring event packets", "camera events", "rejected events")


class Camera:
    """A simulated camera as a process that is killed and started again."""

    def __init__(self, *arguments: str) -> None:
        settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
        self._command = [sys.executable, "-m", "app.cli.main", "simulate", *arguments, *settings]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Watch:
    """Polls the session and remembers what became of the exposures, and when."""

    def __init__(self, session: Session, verbose: bool) -> None:
        self._session, self._verbose, self._began = session, verbose, time.monotonic()
        self.status = session.status()
        self.restored_s = 0.0
        self.phase = "running"
        self.refused: dict[str, Counter[str]] = {}

    def state(self, name: str) -> CameraState | None:
        return next((w.state for w in self.status.workers if w.name == name), None)

    def until(self, done: Callable[[], bool], limit_s: float) -> float:
        """Poll until something holds; the seconds that it took.

        Raises:
            TimeoutError: it did not come about in time.
        """
        began = time.monotonic()
        while not done():
            if time.monotonic() - began > limit_s:
                raise TimeoutError(f"waited {limit_s:g} s in vain; workers: {self.status.workers}")
            self._poll()
            time.sleep(0.01)
        return time.monotonic() - began

    def seconds(self, wanted: float) -> None:
        end = time.monotonic() + wanted
        self.until(lambda: time.monotonic() >= end, wanted + 1.0)

    def say(self, text: str) -> None:
        if self._verbose:
            print(f"{time.monotonic() - self._began:7.2f} s  {text}", flush=True)

    def _poll(self) -> None:
        p = self._session.poll()
        before = self.status
        self.status = self._session.status()
        for name, n in self.status.losses.items():
            if name.startswith("refused") and n > before.losses.get(name, 0):
                more = n - before.losses.get(name, 0)
                self.refused.setdefault(self.phase, Counter())[name.partition(": ")[2]] += more
        if p is None:
            return
        if p.refusal:
            self.say(f"{p.ordinal}: {p.refusal}")
        elif p.sharp is not None and not p.held:
            if time.monotonic() - self.restored_s > 0.5:
                self.say(f"{p.ordinal}: restored, {p.source}")
            self.restored_s = time.monotonic()


def listening(name: str) -> None:
    """Wait until a camera that is starting can be connected to."""
    if name == "events":
        wait_for("bench", PLACES["EVTS"], "EVTS", START_S)
        return
    discovery = bytes([0x42, 1, 0, 2, 0, 0, 0, 1])
    deadline = time.monotonic() + START_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.2)
        while time.monotonic() < deadline:
            probe.sendto(discovery, (FRAMES, 3956))
            try:
                probe.recv(1024)
                return
            except OSError:
                time.sleep(0.05)
    raise TimeoutError(f"{name}: has not come up in {START_S:g} s")


def program(seconds: float, verbose: bool, record: Path | None) -> None:
    epoch = str(time.monotonic_ns())
    cameras = {
        "events": Camera("events", "--port", str(PORT), "--epoch-ns", epoch),
        "frames": Camera("genicam", "--address", FRAMES, "--epoch-ns", epoch),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wire.toml"
        frames = {"camera": f"genicam:{FRAMES}", "settings": {}}
        write_rig(path, with_bayer(RIG, SETTINGS), example(PLACES), frames, overwrite=True)
        session = make_session(path, "edi", record=None if record is None else RecordRequest(record))
        try:
            for name in cameras:
                listening(name)
            session.start()
            run(session, cameras, seconds, verbose)
        finally:
            session.stop()
            for camera in cameras.values():
                camera.kill()


def run(session: Session, cameras: dict[str, Camera], seconds: float, verbose: bool) -> None:
    w = Watch(session, verbose)
    w.until(lambda: w.restored_s > 0, START_S)
    began = time.monotonic()
    back: list[str] = []
    for n, name in enumerate(KILLS):
        w.seconds(max(1.0, began + seconds * (n + 1) / (len(KILLS) + 1) - time.monotonic()))
        back.append(killed(w, name, cameras[name]))
    w.seconds(max(2.0, began + seconds - time.monotonic()))
    report(w.status, w.refused, back, time.monotonic() - began)


def killed(w: Watch, name: str, camera: Camera) -> str:
    """Kill a camera, start it again, and wait for the pictures; one line on how long each took."""
    w.say(f"{name} killed")
    w.phase = f"{name} away"
    camera.kill()
    noticed = w.until(lambda: w.state(name) is not CameraState.RUNNING, BACK_S)
    camera.start()
    listening(name)
    listens = time.monotonic()
    w.say(f"{name} listens again")
    running = w.until(lambda: w.state(name) is CameraState.RUNNING, BACK_S)
    w.say(f"{name} runs again")
    w.phase = f"{name} back"
    w.until(lambda: w.restored_s > listens + running, BACK_S)
    w.phase = "running"
    sharp = w.restored_s - listens
    return f"{name}: noticed after {noticed:.1f}, runs after {running:.1f}, sharp after {sharp:.1f} s"


def report(s: SessionStatus, refused: dict[str, Counter[str]], back: list[str], seconds: float) -> None:
    named = {k: v for k, v in s.losses.items() if v and k not in OF_EVENTS}
    accounted = s.items_out + sum(named.values()) + s.waiting
    print(
        f"whole program on the wire, EDI, {seconds:.0f} s: {s.items_in} exposures in = {s.items_out} restored "
        f"and shown + {sum(named.values())} named + {s.waiting} waiting"
        + ("" if s.items_in == accounted else f", BUT THAT IS {accounted}")
    )
    print(f"  named: {named}")
    for phase, causes in sorted(refused.items()):
        print(f"  refused, {phase}: {dict(causes)}")
    print(f"  events lost: { ({k: v for k, v in s.losses.items() if v and k in OF_EVENTS}) }")
    for line in back:
        print(f"  {line}")
    print(f"  latency p95 {s.latency_p95_ms:.0f} ms; load {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--verbose", action="store_true", help="every refusal, as it comes")
    parser.add_argument("--record", type=Path, help="keep what the cameras said in this folder")
    a = parser.parse_args()
    program(a.seconds, a.verbose, a.record)


if __name__ == "__main__":
    main()
