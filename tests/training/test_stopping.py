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


def test_what_timeout_sends_twice_is_one_signal() -> None:
    with StopSignals() as signals:
        signals.install()
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert signals.received == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
