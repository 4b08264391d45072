"""Workers that misbehave, for the supervisor's tests."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from capture.camera import CameraState
from capture.errors import CameraError, UsageError
from capture.link import WorkerLink


def steady(link: WorkerLink, payload: Any) -> None:
    """Beats, publishes its payload, answers commands."""
    link.publish("payload", {"payload": payload, "incarnation": link.incarnation})
    while not link.stopping:
        link.beat(CameraState.RUNNING, fps=25.0, backlog=3)
        for c in link.poll(0.02):
            if c.verb == "forget":
                continue
            if c.verb == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            link.reply(c, {"verb": c.verb, **c.arguments})


def fails(link: WorkerLink, payload: Any) -> None:
    """Raises at once: "camera", "usage" or anything else."""
    if payload == "camera":
        raise CameraError("no camera\nat this port")
    if payload == "usage":
        raise UsageError("unknown network 'edo'; known: edi")
    raise ZeroDivisionError("of a bug")


def exits(link: WorkerLink, payload: int) -> None:
    """Leaves without a word."""
    os._exit(payload)


def returns(link: WorkerLink, payload: Any) -> None:
    """Done at once."""


def hangs(link: WorkerLink, payload: Any) -> None:
    """Runs, then says nothing more; deaf to SIGTERM as well."""
    link.status(CameraState.RUNNING)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(100)


def floods(link: WorkerLink, payload: int) -> None:
    """Publishes a lot at once."""
    for n in range(payload):
        while not link.publish("n", {"n": n}):
            time.sleep(0.001)
    steady(link, None)


def tries(link: WorkerLink, payload: float) -> None:
    """A camera that is not there for so long: it takes a while each time until that is known."""
    until = time.monotonic() + payload
    while time.monotonic() < until and not link.stopping:
        for state, text in ((CameraState.STARTING, "preparing 0%"), (CameraState.FAULTED, "no camera answers")):
            link.status(state, text)
            time.sleep(0.15)
    link.status(CameraState.RUNNING, items=1)
    steady(link, None)


def opens_in_vain(link: WorkerLink, payload: Any) -> None:
    """A camera that opens well, whose frames a firewall drops."""
    while not link.stopping:
        for state, text in ((CameraState.RUNNING, ""), (CameraState.FAULTED, "not one packet has come")):
            link.status(state, text)
            time.sleep(0.15)
