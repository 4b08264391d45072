"""Pictures for other programs: what is sent, to whom, and that nobody else notices."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from app.cli.program import execute
from app.live import LiveSession, make_session
from app.publishing import PUBLISH, checked_address, header_of, require_free
from capture.camera import CameraState
from capture.errors import UsageError
from tests.app.cli.fake_session import picture
from tests.app.live_watch import ONE_SENSOR, Watch

DOCS = Path(__file__).resolve().parents[2] / "docs" / "publishing.md"
INSTANTS = tuple(i / 11 for i in range(12))  # more than fit into one item of the ring


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Subscriber:
    def __init__(self, address: str) -> None:
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, 60_000)
        self.socket.connect(address)
        self.socket.subscribe("halfmirror")

    def next(self) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
        """The next restored picture; on a busy machine some exposures are refused."""
        while True:
            topic, header, blurred, sharp = self.socket.recv_multipart()
            assert topic == b"halfmirror"
            h = json.loads(header)
            assert (h["sharp"] is None) == (len(sharp) == 0) == bool(h["refusal"])
            if h["sharp"] is not None:
                pictures = np.frombuffer(sharp, np.uint8).reshape(h["sharp"])
                return h, np.frombuffer(blurred, np.uint8).reshape(h["blurred"]), pictures

    def close(self) -> None:
        self.socket.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"ipc://{tmp_path_factory.mktemp('s')}/p.sock"


@pytest.fixture(scope="module")
def live(address: str) -> Iterator[Watch]:
    session = make_session("simulated:davis", "edi", settings=ONE_SENSOR, publish=address)
    session.start()
    yield Watch(session)
    session.stop()


@pytest.fixture
def subscriber(address: str) -> Iterator[Subscriber]:
    s = Subscriber(address)
    yield s
    s.close()


def test_what_is_published_is_what_the_window_shows(live: Watch, subscriber: Subscriber) -> None:
    h, blurred, sharp = subscriber.next()
    both = live.until(lambda: [p for p in live.pictures if p.ordinal == h["ordinal"]], "the same picture")[0]
    assert np.array_equal(blurred, both.blurred)
    assert np.array_equal(sharp, both.sharp)
    assert (h["exposure_start_us"], h["exposure_end_us"]) == (both.exposure_start_us, both.exposure_end_us)
    assert h["times_us"] == [(both.exposure_start_us + both.exposure_end_us) // 2]
    assert (h["network"], h["exposure_source"], h["refusal"]) == ("edi", "chunk", "")
    assert h["figures"]["contrast_on"] == both.figures["contrast_on"]
    assert both.exposure_end_host_ns == h["exposure_end_host_ns"] < h["ready_host_ns"]


def test_the_process_says_who_listens(live: Watch, subscriber: Subscriber, address: str) -> None:
    live.until(lambda: live.worker(PUBLISH).detail == f"{address}: 1 listens", "one who listens")
    # That is for its dot, and not over the picture.
    live.until(lambda: live.session.status().message == "", "nothing to say")
    second = Subscriber(address)
    live.until(lambda: live.worker(PUBLISH).detail.endswith(": 2 listen"), "two who listen")
    second.close()
    live.until(lambda: live.worker(PUBLISH).detail.endswith(": 1 listens"), "one who listens")
    subscriber.close()
    live.until(lambda: live.worker(PUBLISH).detail.endswith("nobody listens"), "nobody")


def test_who_listens_is_counted_whatever_they_subscribe_to(
    live: Watch, subscriber: Subscriber, address: str
) -> None:
    subscriber.next()
    other = zmq.Context.instance().socket(zmq.XSUB)
    other.connect(address)
    for said in (b"\1halfmirror", b"\1halfmirror", b"\1", b"\1other", b"\0other", b"hello", b""):
        other.send(said)
    live.until(lambda: live.worker(PUBLISH).detail.endswith(": 2 listen"), "two who listen")
    other.close(0)
    live.until(lambda: live.worker(PUBLISH).detail.endswith(": 1 listens"), "one who listens")
    subscriber.next()
    subscriber.close()
    live.until(lambda: live.worker(PUBLISH).detail.endswith("nobody listens"), "nobody")


def test_who_subscribes_to_megabytes_is_cut_off(live: Watch, subscriber: Subscriber, address: str) -> None:
    """ZeroMQ would keep a hundred times as much."""
    subscriber.next()  # it serves now
    greeting = b"\xff" + bytes(8) + b"\x7f\3\0NULL" + bytes(48)
    ready = b"\4\x19\5READY\x0bSocket-Type\0\0\0\3SUB"
    with socket.socket(socket.AF_UNIX) as s:  # a ZeroMQ of our own would fall over it itself
        s.settimeout(20)
        s.connect(address.removeprefix("ipc://"))
        s.sendall(greeting + ready)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(b"\2" + (1_000_001).to_bytes(8) + b"\1" + b"x" * 1_000_000)
            while s.recv(4096):
                pass
    ordinal = subscriber.next()[0]["ordinal"]
    while subscriber.next()[0]["ordinal"] < ordinal + 10:
        pass
    assert live.worker(PUBLISH).restarts == 0


def test_what_the_window_asks_for_is_its_alone(live: Watch, subscriber: Subscriber) -> None:
    ordinal = live.restored(1)[-1].ordinal
    live.session.hold(ordinal)
    live.session.request_latents((0.1, 0.9))
    live.until(lambda: [p for p in live.pictures if p.held], "the answer")
    live.session.hold(None)
    live.session.command("residual", on=True)
    live.until(lambda: len([p for p in live.pictures if p.residual]) > 3, "residuals")
    live.session.command("residual", on=False)
    ordinals = []
    while len(ordinals) < 8 or ordinals[-1] < live.pictures[-1].ordinal:
        h, _, _ = subscriber.next()
        assert h["instants"] == [0.5]
        ordinals.append(h["ordinal"])
    assert ordinals == sorted(set(ordinals))


def test_many_instants_are_one_picture(live: Watch, subscriber: Subscriber) -> None:
    live.session.set_latents(INSTANTS)
    p = live.until(lambda: [p for p in live.pictures if len(p.latents) == 12], "twelve instants")[0]
    assert p.sharp.shape == (12, 48, 64)
    while True:
        h, _, sharp = subscriber.next()
        assert len(sharp) == len(h["instants"]) == len(h["times_us"])
        if len(sharp) == 12:
            break
    assert not np.array_equal(sharp[0], sharp[11])
    live.session.set_latents((0.5,))
    live.until(lambda: len(live.pictures[-1].latents) == 1, "one instant again")


def test_a_killed_publisher_comes_back_and_nobody_else_notices(live: Watch, subscriber: Subscriber) -> None:
    subscriber.next()
    others = {n: live.worker(n).restarts for n in ("events", "frames", "restore")}
    os.kill(live.worker(PUBLISH).pid or 0, signal.SIGKILL)
    live.until(lambda: live.worker(PUBLISH).restarts == 1, "the next publisher")
    newest = live.restored(len(live.restored(1)) + 3)[-1].ordinal
    while subscriber.next()[0]["ordinal"] <= newest:
        pass
    assert {n: live.worker(n).restarts for n in others} == others


def test_the_next_session_takes_the_address_over(tmp_path: Path) -> None:
    """As when another source is opened in the window: the new one starts while the old one ends."""
    address = f"tcp://127.0.0.1:{free_port()}"
    sessions = [make_session("simulated:davis", "edi", settings=ONE_SENSOR, publish=address) for _ in range(2)]
    subscriber = Subscriber(address)
    try:
        sessions[0].start()
        subscriber.next()
        sessions[1].start()
        second = Watch(sessions[1])
        second.until(lambda: second.worker_state(PUBLISH) is CameraState.STARTING, "waiting for the address")
        sessions[0].stop()
        second.until(lambda: second.worker_state(PUBLISH) is CameraState.RUNNING, "its turn")
        assert second.worker(PUBLISH).restarts == 0
        subscriber.next()
    finally:
        subscriber.close()
        for s in sessions:
            s.stop()


def test_the_document_reads_as_it_stands() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    port = free_port()
    session: LiveSession = make_session("simulated:davis", "edi", settings=ONE_SENSOR, publish=str(port))
    slow = "        __import__('time').sleep(0.2)\n"
    code = block.replace("5556", str(port)).replace("        print(header[", f"{slow}        print(header[")
    assert slow in code
    with subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, text=True) as reader:
        try:
            session.start()
            assert reader.stdout is not None
            lines: list[list[str]] = []
            while len(lines) < 5:
                words = reader.stdout.readline().split()
                lines += [words] if words[0] != "refused:" else []
        finally:
            reader.kill()
            session.stop()
    assert [line[2:] for line in lines] == [["(48,", "64)"]] * 5
    assert all(int(line[1]) > 0 for line in lines)
    assert int(lines[4][0]) - int(lines[1][0]) > 6  # it is slow, and sees new pictures all the same


def test_every_entry_is_explained() -> None:
    table = "".join(line for line in DOCS.read_text().splitlines() if line.startswith("| `"))
    for header in (header_of(picture(3), 1, "x"), header_of(picture(3, refusal="no events"), 1, "x")):
        assert all(f"`{name}`" in table for name in header)
        json.dumps(header, allow_nan=False)
    refused = header_of(picture(3, refusal="no events"), 1, "x")
    assert (refused["sharp"], refused["times_us"], refused["refusal"]) == (None, [], "no events")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("5556", "tcp://127.0.0.1:5556"),
        ("tcp://*:5556", "tcp://*:5556"),
        ("tcp://[::1]:1", "tcp://[::1]:1"),
        ("tcp://192.168.1.2:65535", "tcp://192.168.1.2:65535"),
        ("ipc:///tmp/a b.sock", "ipc:///tmp/a b.sock"),
    ],
)
def test_addresses(said: str, meant: str) -> None:
    assert checked_address(said) == meant


@pytest.mark.parametrize(
    "said",
    ["", "0", "65536", "tcp://127.0.0.1", "tcp://:5556", "http://localhost:5556", "localhost:5556", "ipc://",
     "ipc:///" + 100 * "x", "ipc://*", "٥٥٥٦", "tcp://a:1;tcp://b:2"],
)  # fmt: skip
def test_what_is_no_address(said: str) -> None:
    with pytest.raises(UsageError, match="is no address; give a port"):
        checked_address(said)


def test_an_address_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.sock"
    with socket.socket() as s, socket.socket(socket.AF_UNIX) as u:
        s.bind(("127.0.0.1", 0))
        s.listen()
        u.bind(str(path))
        u.listen()
        port = s.getsockname()[1]
        for taken in (str(port), f"ipc://{path}"):
            assert execute(["live", "--headless", "--publish", taken]) == 2
            error = capsys.readouterr().err
            assert "address already in use; another program has it; name another address" in error
            assert error.count("\n") == 1
    require_free(f"ipc://{path}")  # its server has gone: what is left of it may be replaced


def test_a_file_is_never_replaced_by_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "thesis.tex"
    path.write_text("months of work")
    with pytest.raises(UsageError, match="file exists"):
        require_free(f"ipc://{path}")
    assert path.read_text() == "months of work"


@pytest.mark.parametrize("address", ["ipc:///no/such/folder/p.sock", "tcp://192.0.2.1:5556"])
def test_an_address_that_this_machine_has_not(address: str) -> None:
    with pytest.raises(UsageError, match="name another address"):
        require_free(address)
