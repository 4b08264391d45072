"""Calls into a library that may never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from capture.errors import CameraLost
from capture.sdk_thread import SdkThread


@pytest.fixture
def sdk() -> Iterator[SdkThread]:
    s = SdkThread("cam")
    yield s
    s.finish(lambda: None, 1.0)


def test_results_and_errors_reach_the_caller(sdk: SdkThread) -> None:
    assert sdk.call(lambda: 7, 1.0, "counting") == 7
    with pytest.raises(ZeroDivisionError):
        sdk.call(lambda: 1 // 0, 1.0, "counting")
    assert not sdk.hung


def test_calls_run_one_after_another_on_one_thread(sdk: SdkThread) -> None:
    seen = {sdk.call(threading.get_ident, 1.0, "asking") for _ in range(3)}
    assert len(seen) == 1
    assert threading.get_ident() not in seen


def test_a_call_that_hangs_is_left_alone() -> None:
    s, gate, ran = SdkThread("cam"), threading.Event(), []
    began = time.monotonic()
    with pytest.raises(CameraLost, match=r"cam: the camera does not answer \(waiting had no end after 0.1 s\)"):
        s.call(gate.wait, 0.1, "waiting")
    assert s.hung
    with pytest.raises(CameraLost):  # at once: nobody queues up behind it
        s.call(lambda: ran.append("never"), 5.0, "more")
    assert time.monotonic() - began < 2
    assert not s.finish(lambda: ran.append("last"), 0.05)
    gate.set()
    s._thread.join(2)
    assert ran == ["last"]


def test_who_waits_may_do_something_meanwhile_and_may_leave() -> None:
    s, gate, turns = SdkThread("cam"), threading.Event(), []

    def waiting() -> None:
        turns.append(1)
        if len(turns) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        s.call(gate.wait, 30.0, "waiting", waiting)
    gate.set()
    assert s.finish(lambda: None, 2.0)
