"""The first signal unwinds the program, later ones do not break that off; Ctrl+C does, after a moment."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from app import unwinding
from app.signals import kept_when_complete, shielded
from app.unwinding import Unwinding

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(unwinding, "monotonic", lambda: now[0])
    monkeypatch.setattr(unwinding, "leave_terminal", lambda: None)
    return now


@pytest.fixture
def handler(clock: list[float]) -> Iterator[Unwinding]:
    made = Unwinding()
    before = {number: signal.signal(number, made) for number in ALL}
    yield made
    for number, old in before.items():
        signal.signal(number, old)


def unwind(number: int) -> None:
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as raised:
        signal.raise_signal(number)
    if number != signal.SIGINT:
        assert raised.value.code == 128 + number


@pytest.mark.parametrize("first", ALL)
def test_only_a_later_ctrl_c_breaks_off(first: int, handler: Unwinding, clock: list[float]) -> None:
    unwind(first)
    for number in ALL:
        signal.raise_signal(number)
    clock[0] += 60
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGHUP)
    unwind(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)  # what that one tidies up is not broken off at once either
    assert handler.received == first


def test_what_comes_too_early_while_it_is_shielded_is_not_kept_for_later(
    handler: Unwinding, clock: list[float]
) -> None:
    unwind(signal.SIGINT)
    with shielded():
        clock[0] += 0.3
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGHUP)
        clock[0] += 2
    with pytest.raises(KeyboardInterrupt), shielded():
        signal.raise_signal(signal.SIGINT)


def test_the_first_one_waits_for_the_end_of_the_shield(handler: Unwinding, clock: list[float]) -> None:
    tidied = False
    with pytest.raises(SystemExit), shielded():
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        tidied = True
    assert tidied
    assert handler.received == signal.SIGHUP


@pytest.mark.parametrize("first", ALL)
def test_the_first_one_breaks_nothing_off_that_is_complete(
    first: int, handler: Unwinding, clock: list[float]
) -> None:
    with kept_when_complete() as complete:
        complete()
        with shielded():
            signal.raise_signal(first)
        assert handler.received == first
        for number in ALL:
            signal.raise_signal(number)
        clock[0] += 60
        unwind(signal.SIGINT)
    assert not handler.noting


@pytest.mark.parametrize("first", ALL)
def test_before_it_is_complete_the_first_one_unwinds(first: int, handler: Unwinding) -> None:
    with kept_when_complete():
        unwind(first)


@pytest.mark.parametrize("closed", [True, False])
def test_a_terminal_that_was_closed_takes_no_words_and_gives_no_error(closed: bool) -> None:
    code = (
        "import os, sys; from app.unwinding import leave_terminal\n"
        "sys.stdin.readline(); leave_terminal(); os.write(1, b'out'); os.write(2, b'error')"
    )
    master, slave = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=slave, stderr=slave)
    os.close(slave)
    if closed:
        os.close(master)
    child.communicate(b"\n", timeout=60)
    assert child.returncode == 0
    if not closed:
        assert os.read(master, 99).startswith(b"out")
        os.close(master)
