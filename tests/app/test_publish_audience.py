"""Who counts as a listener: nothing is copied for what only knocks at the port."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from app import publishing


@pytest.fixture
def port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def audience(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[publishing._Audience]:
    monkeypatch.setattr(publishing, "GREETING_S", 0.5)
    with publishing._bound(f"tcp://127.0.0.1:{port}") as out:
        a = publishing._Audience(out)
        yield a
        a.close()


def soon(what: Callable[[], bool], seconds: float = 8.0) -> bool:
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.05)
    return what()


def test_who_says_nothing_is_no_listener_for_long(audience: publishing._Audience, port: int) -> None:
    with contextlib.closing(zmq.Context.instance().socket(zmq.SUB)) as real:
        real.setsockopt(zmq.LINGER, 0)
        real.connect(f"tcp://127.0.0.1:{port}")
        assert soon(lambda: audience.count() == 1)
        with socket.create_connection(("127.0.0.1", port)):
            assert soon(lambda: audience.count() == 2)
            assert soon(lambda: audience.count() == 1)  # the probe is still connected
        time.sleep(0.7)  # who has greeted stays
        assert audience.count() == 1
    assert soon(lambda: audience.count() == 0)
