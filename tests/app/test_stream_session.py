"""Published pictures seen elsewhere: read back, what comes in their place, senders that go and come again."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

import halfmirror
from app import stream_session
from app.cli.arguments import is_stream
from app.cli.program import execute
from app.published import MessageError, read_message, stream_address
from app.publishing import TOPIC, header_of
from app.session import Picture
from app.stream_session import StreamSession
from capture.camera import CameraState
from capture.errors import UsageError
from tests.app.cli.fake_session import picture
from tests.app.test_publishing import free_port


def message(p: Picture, number: int = 1, **changes: Any) -> list[bytes]:
    header = {**header_of(p, number, "lab"), **changes}
    sharp = b"" if p.sharp is None else p.sharp.tobytes()
    return [TOPIC, json.dumps(header).encode(), p.blurred.tobytes(), sharp]


GRAY = replace(
    picture(3), figures={"a": 1.5, "b": float("nan")},
    blurred=np.arange(48 * 64, dtype=np.uint8).reshape(48, 64),
    sharp=np.arange(2 * 48 * 64, dtype=np.uint8).reshape(2, 48, 64), latents=(0.25, 0.5), flags=("one",),
)  # fmt: skip


@pytest.mark.parametrize("p", [picture(5), GRAY, picture(7, refusal="no edges")])
def test_what_was_sent_is_what_is_seen(p: Picture) -> None:
    header, q = read_message(message(p, 12))
    assert (header.number, header.source, q.ordinal) == (12, "lab", p.ordinal)
    assert np.array_equal(q.blurred, p.blurred)
    assert (q.sharp is None) == (p.sharp is None or bool(p.refusal))
    if q.sharp is not None:
        assert p.sharp is not None
        assert np.array_equal(q.sharp, p.sharp)
        assert q.latents == p.latents
    same = ("exposure_start_us", "exposure_end_us", "source", "refusal", "network", "flags", "uncertainty_us")
    assert [getattr(q, k) for k in same] == [getattr(p, k) for k in same]
    assert q.figures == {k: v for k, v in p.figures.items() if np.isfinite(v)}


def test_a_path_that_is_no_valid_text_or_very_long_costs_no_picture() -> None:
    path = os.fsdecode(b"/data/caf\xe9/") + "d" * 2000
    p = replace(picture(5, refusal=f"{path} is odd"), flags=(path,))
    header, q = read_message(message(p, **{"source": header_of(p, 1, path)["source"]}))
    assert header.source.startswith(r"/data/caf\udce9/ddd")
    assert q.refusal.startswith(r"/data/caf\udce9/ddd")
    assert q.flags[0].startswith(r"/data/caf\udce9/ddd")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": 2}, "version 2, this program reads 1"),
        ({"version": "1x"}, "version"),
        ({"blurred": [48, 64, 4]}, "neither gray nor RGB"),
        ({"blurred": [48, 1 << 40]}, "blurred"),
        ({"blurred": [48]}, "blurred"),
        ({"blurred": [48, 63, 3]}, "came with 9216 bytes"),
        ({"sharp": [2, 48, 64, 3]}, "do not fit"),
        ({"sharp": [1, 24, 128, 3]}, "do not fit"),
        ({"instants": [1.5]}, "instants"),
        ({"instants": [float("nan")]}, "instants"),
        ({"ordinal": -1}, "ordinal"),
        ({"network": 3}, "network"),
        ({"flags": "many"}, "flags"),
        ({"source": "x" * 5000}, "source"),
        ({"figures": {"a": "b"}}, "figures"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_line(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(MessageError, match=told) as e:
        read_message(message(picture(1), **changes))
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 300


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6), st.integers(0, 3), st.binary(max_size=80))
def test_any_bytes_are_a_picture_or_refused(parts: list[bytes], at: int, junk: bytes) -> None:
    whole = message(picture(1))
    for given_ in (parts, [TOPIC, *parts[:3]], [*whole[:at], junk, *whole[at + 1 :]]):
        try:
            read_message(given_)
        except MessageError:
            continue
        assert given_[:3] == whole[:3]


@pytest.mark.parametrize(
    "text", ["tcp://lab:5556", "tcp://[::1]:1", "ipc:///tmp/a.sock", "tcp://10.0.0.7:65535"]
)
def test_addresses(text: str) -> None:
    assert is_stream(text)
    assert stream_address(text) == text


@pytest.mark.parametrize(
    "text", ["tcp://*:5556", "tcp://lab", "tcp://lab:0", "tcp://lab:70000", "ipc://", "udp://a:1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="no address of published pictures"):
        stream_address(text)
    assert not is_stream("simulated:night")


class Sender:
    def __init__(self, address: str) -> None:
        self.address = address
        self.socket: zmq.Socket[bytes] | None = None
        self.open()

    def open(self) -> None:
        self.socket = zmq.Context.instance().socket(zmq.PUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(self.address)

    def send(self, parts: list[bytes]) -> None:
        assert self.socket is not None
        self.socket.send_multipart(parts)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket = None


@pytest.fixture
def sender() -> Iterator[Sender]:
    s = Sender(f"tcp://127.0.0.1:{free_port()}")
    yield s
    s.close()


@pytest.fixture
def seen(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> Iterator[StreamSession]:
    monkeypatch.setattr(stream_session, "ANSWER_S", 0.5)
    session = StreamSession(sender.address)
    session.start()
    yield session
    began = time.monotonic()
    session.stop()
    assert time.monotonic() - began < 2


def until(found: Callable[[], Any], do: Callable[[], object] = lambda: None, seconds: float = 20.0) -> Any:
    """The first thing found that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        do()
        if got := found():
            return got
        time.sleep(0.02)
    raise AssertionError("it never came")


def worker(session: StreamSession) -> tuple[CameraState, str]:
    (w,) = session.status().workers
    return w.state, w.detail


def test_pictures_come_and_are_accounted_for(sender: Sender, seen: StreamSession) -> None:
    numbers = itertools.count(1)  # nobody listens to the first ones, which are then none that were missed
    first = until(seen.poll, lambda: sender.send(message(picture(0), next(numbers))))
    assert (first.network, first.sharp.shape) == ("edi", (1, 48, 64, 3))
    assert time.monotonic_ns() - first.ready_host_ns < 60e9  # on this machine's clock
    last = next(numbers) - 1
    for n in (1, 2, 6):
        sender.send(message(picture(n + 1), last + n))
    found = lambda: (p := seen.poll()) is not None and p.ordinal == 7  # noqa: E731
    until(found)
    s = seen.status()
    assert s.items_in == s.items_out + s.waiting + sum(
        n for k, n in s.losses.items() if k != "damaged messages"
    )
    assert s.losses["missed on the way"] == 3
    assert (s.network, [c.name for c in seen.networks()]) == ("edi", ["edi"])
    assert not seen.networks()[0].any_latent
    sender.send(message(picture(9), 1))  # its program was started anew
    until(seen.poll)
    assert seen.status().losses["missed on the way"] == 3


def test_something_else_is_said_and_a_picture_mends_it(sender: Sender, seen: StreamSession) -> None:
    until(lambda: worker(seen)[0] is CameraState.FAULTED, lambda: sender.send([TOPIC, b"{}", b"", b""]))
    assert "header cannot be read" in worker(seen)[1]
    assert seen.poll() is None
    until(seen.poll, lambda: sender.send(message(picture(0))))
    until(lambda: worker(seen)[0] is CameraState.RUNNING)
    assert seen.status().losses["damaged messages"] >= 1


def test_a_sender_that_goes_and_comes_again(sender: Sender, seen: StreamSession) -> None:
    until(seen.poll, lambda: sender.send(message(picture(0))))
    until(lambda: "sends nothing for" in worker(seen)[1])
    sender.close()
    until(lambda: worker(seen)[0] is CameraState.FAULTED)
    assert worker(seen)[1] == f"lost the connection to {sender.address}"
    sender.open()
    again = lambda: (p := seen.poll()) is not None and p.ordinal == 1  # noqa: E731
    until(again, lambda: sender.send(message(picture(1))))
    assert worker(seen) == (CameraState.RUNNING, "")


class Wire:
    """Stands between a subscriber and senders. One that was `cut` takes what comes and passes nothing on."""

    def __init__(self, to: str) -> None:
        self.to = int(to.rsplit(":", 1)[1])
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.server.getsockname()[1]}"
        self.accepted = self.cuts = 0
        self._ends: list[socket.socket] = [self.server]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.cuts += 1

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here = self.server.accept()[0]
                self.accepted += 1
                there = socket.create_connection(("127.0.0.1", self.to))
                self._ends += [here, there]
                for a, b in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=(a, b, self.cuts), daemon=True).start()

    def _pass(self, a: socket.socket, b: socket.socket, cuts: int) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                if cuts == self.cuts:
                    b.sendall(data)

    def close(self) -> None:
        for s in self._ends:
            s.close()


@pytest.fixture
def wire(sender: Sender) -> Iterator[Wire]:
    w = Wire(sender.address)
    yield w
    w.close()


def test_a_sender_that_vanishes_without_a_word_is_connected_anew(
    sender: Sender, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power, a cable: the connection stays, and nothing comes through it any more."""
    monkeypatch.setattr(stream_session, "BEAT_MS", 50)
    monkeypatch.setattr(stream_session, "SILENT_MS", 300)
    session = StreamSession(wire.address)
    session.start()
    try:
        until(session.poll, lambda: sender.send(message(picture(0))))
        wire.cut()
        again = lambda: (p := session.poll()) is not None and p.ordinal == 1  # noqa: E731
        until(again, lambda: sender.send(message(picture(1))), 8.0)
    finally:
        session.stop()


def test_where_nothing_comes_one_connects_anew_when_asked(
    sender: Sender, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_session, "ANSWER_S", 0.3)
    session = StreamSession(wire.address)
    session.start()
    try:
        until(session.poll, lambda: sender.send(message(picture(0))))
        session.command("restart", worker="stream")
        assert wire.accepted == 1  # pictures come: nothing to mend
        wire.cut()
        until(lambda: "sends nothing for" in worker(session)[1])
        session.command("restart", worker="stream")
        again = lambda: (p := session.poll()) is not None and p.ordinal == 1  # noqa: E731
        until(again, lambda: sender.send(message(picture(1))))
    finally:
        session.stop()


def test_what_takes_connections_and_closes_them_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel or a proxy before nobody."""
    monkeypatch.setattr(stream_session, "ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        session = StreamSession(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        session.start()

        def hang_up() -> None:
            with contextlib.suppress(TimeoutError):
                server.accept()[0].close()

        try:
            until(lambda: "nobody answers" in worker(session)[1], hang_up)
        finally:
            session.stop()


def test_a_refused_exposure_has_no_network_of_its_own(sender: Sender, seen: StreamSession) -> None:
    until(seen.poll, lambda: sender.send(message(picture(0))))
    refused = lambda: (p := seen.poll()) is not None and p.refusal  # noqa: E731
    until(refused, lambda: sender.send(message(replace(picture(1, refusal="no edges"), network=""))))
    assert (seen.status().network, seen.networks()[0].name) == ("edi", "edi")


def test_for_programs(sender: Sender) -> None:
    stop = threading.Event()

    def keep_sending() -> None:
        n = 0
        while not stop.wait(0.02):
            n += 1
            sender.send(message(picture(n), n))

    sending = threading.Thread(target=keep_sending)
    sending.start()
    try:
        with halfmirror.published(sender.address) as pictures:
            first, second = (next(pictures) for _ in range(2))
    finally:
        stop.set()
        sending.join()
    assert first.ordinal < second.ordinal
    with pytest.raises(UsageError, match="no address"), halfmirror.published("5556"):
        pass


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(stream_session, "ANSWER_S", 0.2)
    monkeypatch.setattr("app.following.FAULT_PATIENCE_S", 0.3)
    address = f"tcp://127.0.0.1:{free_port()}"
    assert execute(["live", address, "--headless"]) == 1
    assert f"nobody answers at {address}; is Halfmirror running there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--network", "edi"], "--network is chosen where the pictures of"),
        (["--contrast", "0.2"], "--contrast is chosen where"),
        (["--publish", "5556"], "--publish is chosen where"),
        (["--seconds", "-1"], "out of range"),
    ],
)
def test_what_is_chosen_elsewhere(more: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["live", "tcp://127.0.0.1:5556", "--headless", *more]) == 2
    assert told in capsys.readouterr().err


def test_it_cannot_be_recorded(seen: StreamSession) -> None:
    assert seen.elsewhere
    with pytest.raises(UsageError, match="hold no events"):
        seen.begin_recording(None)  # type: ignore[arg-type]
    seen.select_network("glint")
    assert "chosen where the pictures are made" in seen.status().message


def test_listening_that_failed_begins_again_when_asked(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise zmq.ZMQError(24)  # too many open files

    session = StreamSession(sender.address)
    with monkeypatch.context() as m:
        m.setattr(zmq.Socket, "connect", none)
        session.start()
        until(lambda: worker(session)[0] is CameraState.FAULTED)
    session.command("restart", worker="stream")
    try:
        until(session.poll, lambda: sender.send(message(picture(0))))
    finally:
        session.stop()


def test_a_program_may_be_there_before_its_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_session, "ANSWER_S", 0.1)
    monkeypatch.setattr("app.following.FAULT_PATIENCE_S", 0.1)
    address = f"tcp://127.0.0.1:{free_port()}"
    found: list[int] = []

    def look() -> None:
        with halfmirror.published(address, quiet_s=None) as pictures:
            found.append(next(pictures).ordinal)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(1.0)
    assert looking.is_alive()
    late = Sender(address)
    until(lambda: found, lambda: late.send(message(picture(4))))
    late.close()
    looking.join(10)
    assert found == [4]
