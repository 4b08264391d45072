"""Sharp pictures for other programs while they are made: a process that publishes them over ZeroMQ.

What is sent, and how to read it with ten lines in any language: `docs/publishing.md`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray
from zmq.utils.monitor import parse_monitor_message

from app.escapes import escaped
from app.picture_reader import PictureReader
from app.session import Picture
from capture import notices
from capture.camera import CameraState
from capture.errors import HalfmirrorError, UsageError
from capture.link import WorkerLink
from capture.rate import Rate
from capture.ring import RingRef
from inference.memory import keep_freed_memory
from sync.rig import Rig

PUBLISH = "publish"
PUBLISHER = "publisher"
TOPIC = b"halfmirror"
VERSION = 1
QUEUED = 2
"""Pictures that wait for a subscriber who is slow; what comes then is not sent to it."""
BIND_S = 5.0
"""How long an address may still be held by the session before this one."""
GREETING_S = 3.0
"""Who connects and says nothing for so long (a port scan, a probe) is cut off, and does not count as
one who listens any longer. ZeroMQ itself waits 30 s."""
LONGEST_TEXT = 1000
"""Letters of one text of a header."""
LONGEST_SUBSCRIPTION = 1024
"""Bytes of a subscriber's message; who sends more is cut off. ZeroMQ keeps a topic in a hundred times its
length."""
_FIGURES_S = 2.0
_IPC = "ipc://"


@dataclass(frozen=True, slots=True)
class PublishSpec:
    """What the publishing process is to do; picklable.

    Attributes:
        pictures: ring to read, under the reader name `PUBLISHER`.
        rig: whose pictures they are.
        address: as of `checked_address`.
        source: the session's name, sent along.
    """

    pictures: RingRef
    rig: Rig
    address: str
    source: str


def checked_address(text: str) -> str:
    """An address to publish at, as ZeroMQ has it.

    `5556` is that port on this machine only; `tcp://HOST:PORT` one of this machine's addresses, `tcp://*:PORT`
    all of them; `ipc://PATH` a socket in the file system.

    Raises:
        UsageError: none of these.
    """
    if text.isascii() and text.isdigit():
        text = f"tcp://127.0.0.1:{text}"
    if m := re.fullmatch(r"tcp://(\*|[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})", text):
        if 1 <= int(m[2]) <= 65535:
            return text
    elif (
        text.startswith(_IPC)
        and 0 < len(text.removeprefix(_IPC).encode(errors="replace")) <= 100
        and text != f"{_IPC}*"
    ):  # for which ZeroMQ chooses a path that nobody learns
        return text
    raise UsageError(
        f"--publish {text!r} is no address; give a port (5556), tcp://HOST:PORT (tcp://*:5556 for other "
        "machines too) or ipc://PATH"
    )


def require_free(address: str) -> None:
    """Refuse an address before anything starts.

    Raises:
        UsageError: another program has it, or this machine has no such address.
    """
    with _bound(address):
        pass


@contextlib.contextmanager
def _bound(address: str) -> Iterator[zmq.Socket[bytes]]:
    out = _bind(address)
    try:
        yield out
    finally:
        # ZeroMQ leaves the file behind. It goes first: once the socket is closed it may be the next one's.
        if address.startswith(_IPC):
            Path(address.removeprefix(_IPC)).unlink(missing_ok=True)
        out.close()


def _bind(address: str) -> zmq.Socket[bytes]:
    out = notices.socket(zmq.PUB, hwm=QUEUED)
    out.setsockopt(zmq.MAXMSGSIZE, LONGEST_SUBSCRIPTION)
    out.setsockopt(zmq.HANDSHAKE_IVL, round(1e3 * GREETING_S))
    out.setsockopt(zmq.IPV6, "[" in address)
    try:
        if address.startswith(_IPC):
            _spare(Path(address.removeprefix(_IPC)))
        out.bind(address)
    except (zmq.ZMQError, OSError) as e:
        out.close()
        why = zmq.strerror(e.errno).lower() if e.errno else str(e)
        taken = "another program has it; " if e.errno == errno.EADDRINUSE else ""
        raise UsageError(f"--publish {address}: {why}; {taken}name another address") from e
    return out


def _spare(path: Path) -> None:
    """ZeroMQ replaces whatever lies at a socket's path: that must be a socket which nobody serves any more.

    Raises:
        OSError: something else lies there, or somebody listens.
    """
    if not path.exists():
        return
    if not path.is_socket():
        raise OSError(errno.EEXIST, "")
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(1.0)  # somebody who hangs takes no connections after so many
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            return
    raise OSError(errno.EADDRINUSE, "")


def header_of(p: Picture, number: int, source: str) -> dict[str, Any]:
    """What is told of a picture, as JSON takes it (`docs/publishing.md` explains every entry)."""
    start, end = p.exposure_start_us, p.exposure_end_us
    known = start is not None and end is not None
    return {
        "version": VERSION,
        "number": number,
        "source": _text(source),
        "ordinal": p.ordinal,
        "blurred": list(p.blurred.shape),
        "sharp": None if p.sharp is None else list(p.sharp.shape),
        "instants": list(p.latents),
        "times_us": [start + round(f * (end - start)) for f in p.latents] if known else [],  # type: ignore[operator]
        "exposure_start_us": start,
        "exposure_end_us": end,
        "exposure_source": p.source,
        "uncertainty_us": float(p.uncertainty_us),
        "exposure_end_host_ns": p.exposure_end_host_ns,
        "ready_host_ns": p.ready_host_ns,
        "network": p.network,
        "refusal": _text(p.refusal),
        "flags": [_text(f) for f in p.flags],
        "figures": {k: v if np.isfinite(v) else None for k, v in p.figures.items()},
    }


def _text(words: str) -> str:
    """As readers take it. A path in it may be no valid text, and longer than any of them wants to read."""
    return escaped(words)[:LONGEST_TEXT]


def _plain(image: NDArray[np.uint8]) -> memoryview:
    return np.ascontiguousarray(image).data


def run_publish_worker(link: WorkerLink, spec: PublishSpec) -> None:
    """Publish until told to stop. The target of the process.

    Raises:
        HalfmirrorError: the address stayed taken; it is tried again.
    """
    keep_freed_memory()  # every picture is copied out of the ring; fresh memory costs more than the copy
    link.status(CameraState.STARTING, f"binding {spec.address}")
    deadline = time.monotonic() + BIND_S
    with contextlib.ExitStack() as stack:
        while not link.stopping:
            try:
                out = stack.enter_context(_bound(spec.address))
                audience = stack.enter_context(contextlib.closing(_Audience(out)))
            except UsageError as e:
                if time.monotonic() > deadline:
                    raise HalfmirrorError(str(e)) from e
                link.poll(0.1)
                link.beat(CameraState.STARTING, f"waiting for {spec.address}")
                continue
            reader = stack.enter_context(contextlib.closing(PictureReader(spec.pictures, spec.rig, PUBLISHER)))
            _Publisher(link, spec, out, audience, reader).run()


class _Audience:
    """Who is connected, so that nothing is done for nobody.

    Connections are counted, not subscriptions: of those a program may have several, or the same one twice, of
    which ZeroMQ tells fewer endings than beginnings.
    """

    def __init__(self, out: zmq.Socket[bytes]) -> None:
        self._out = out
        self._monitor = out.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._connected: set[int] = set()

    def count(self) -> int:
        """How many there are now."""
        with contextlib.suppress(zmq.Again):
            while True:
                event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))
                if event["event"] == zmq.EVENT_ACCEPTED:
                    self._connected.add(event["value"])
                else:
                    self._connected.discard(event["value"])
        return len(self._connected)

    def close(self) -> None:
        self._out.disable_monitor()


class _Publisher:
    def __init__(
        self, link: WorkerLink, spec: PublishSpec, out: zmq.Socket[bytes], audience: _Audience,
        reader: PictureReader,
    ) -> None:  # fmt: skip
        self._link, self._spec, self._socket, self._reader = link, spec, out, reader
        self._audience = audience
        self._number = 0
        self._listening = 0
        self._sending = Rate(_FIGURES_S)

    def run(self) -> None:
        while not self._link.stopping:
            self._link.poll()
            self._listening = self._audience.count()
            p = None
            if self._listening:
                p = self._reader.poll()
            else:
                self._number += self._reader.pass_over()
            if p is None:
                self._reader.wait(0.02)
            elif p.residual is None:  # the window's map of an exposure that was sent; its requests are not read
                self._publish(p)
            if self._link.beat_due:
                self._report()

    def _publish(self, p: Picture) -> None:
        self._number += 1
        header = json.dumps(header_of(p, self._number, self._spec.source), allow_nan=False).encode()
        parts = (TOPIC, header, _plain(p.blurred), b"" if p.sharp is None else _plain(p.sharp))
        # Whoever is too slow misses this one and sees it by the number; nobody waits for it.
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
            self._sending.tick()

    def _report(self) -> None:
        now = time.monotonic()
        who = {0: "nobody listens", 1: "1 listens"}.get(self._listening, f"{self._listening} listen")
        self._link.status(
            CameraState.RUNNING, f"{self._spec.address}: {who}",
            items=self._number, fps=self._sending.hz(now),
        )  # fmt: skip
