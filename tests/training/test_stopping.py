"""Signals during a run: the first is remembered, a second ends it."""

from __future__ import annotations

import signal

import pytest

from training import stopping
from training.stopping import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_ends_at_once(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(stopping, "monotonic", lambda: now)
    with StopSignals() as signals:
        signals.install()
        signal.raise_signal(number)
        now += 5
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert signals.received == number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_timeout_or_a_closing_terminal_sends_twice_is_one_signal(number: int) -> None:
    with StopSignals() as signals:
        signals.install()
        for _ in range(3):
            signal.raise_signal(number)
        assert signals.received == number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_pressed_twice_by_impatience_is_one() -> None:
    with StopSignals() as signals:
        signals.install()
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        assert signals.received == signal.SIGINT
