"""Networks exchanged while the stream runs, and what happens when one fails."""

from __future__ import annotations

import math
import threading
import time
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from capture.errors import UsageError
from inference.lost_device import DeviceLostError, device_lost
from inference.outcomes import Result
from inference.restorers.base import RANDOM_FLAG, Needs
from inference.switching import out_of_memory
from tests.inference.stage.toys import Make, Slow, adds_up, feed, until, with_needs


def test_a_failing_network_gives_way_to_pass_through_and_says_so(
    make: Make, slow: type[Slow], results: list[Result]
) -> None:
    slow.gate.set()
    slow.failures = 3
    stage = make("slow", every_item=True)
    for k in range(5):
        feed(stage, [k])
        until(lambda n=k: len(results) == n + 1, "an outcome")  # type: ignore[misc]
    assert [r.failure for r in results[:3]] == ["slow failed: RuntimeError: no kernel image"] * 3
    assert [r.restored.network for r in results[3:] if r.restored] == ["none", "none"]
    assert "frames pass through" in stage.status()["message"]
    assert stage.status()["stage"]["failed"] == 3
    assert adds_up(stage)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "slow ran out of memory (MemoryError); frames pass through"),
        (MemoryError("2 GB"), "slow ran out of memory (MemoryError: 2 GB); frames pass through"),
        (torch.OutOfMemoryError("CUDA out of memory"), "slow ran out of memory (OutOfMemoryError: CUDA"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
            "slow ran out of memory (RuntimeError: [enforce fail",
        ),
    ],
)  # fmt: skip
def test_without_memory_frames_pass_through_at_once(
    make: Make, slow: type[Slow], results: list[Result], error: Exception, says: str
) -> None:
    slow.gate.set()
    slow.failures, slow.error = 99, error
    stage = make("slow", every_item=True)
    feed(stage, range(4))
    until(lambda: len(results) == 4, "four outcomes")
    assert results[0].restored is None
    assert results[0].failure.startswith("slow failed: ")
    assert [r.restored.network for r in results[1:] if r.restored] == ["none"] * 3
    assert stage.status()["message"].startswith(says)
    assert stage.status()["sync"]["frames_in"] == 4, "what comes in is untouched"
    assert stage.status()["stage"]["failed"] == 1
    assert adds_up(stage)


def test_torch_without_memory_on_the_cpu_is_known_by_what_it_really_says() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("shapes do not fit"))


def test_after_a_fall_back_another_choice_clears_the_message(
    make: Make, slow: type[Slow], results: list[Result]
) -> None:
    slow.gate.set()
    slow.failures, slow.error = 1, MemoryError()
    stage = make("slow", every_item=True)
    feed(stage, [0])
    until(lambda: stage.network == "none", "the fall-back")
    assert stage.status()["wanted"] == "none"
    stage.select("slow")
    assert stage.status()["wanted"] == "slow"
    until(lambda: stage.network == "slow", "the second try")
    feed(stage, [1])
    until(lambda: len(results) == 2, "a picture")
    assert results[1].restored is not None
    assert results[1].restored.network == "slow"
    assert stage.status()["message"] == ""


def test_a_network_that_gave_way_is_tried_again(make: Make, slow: type[Slow], results: list[Result]) -> None:
    """Somebody else's job took the memory for a minute, at the second hour of a run that nobody looks at."""
    slow.gate.set()
    slow.failures, slow.error = 3, MemoryError("3 GB wanted")
    stage = make("slow", every_item=True, retry_s=3600.0)

    def time_is_up() -> None:
        with stage._lock:
            assert time.monotonic() + 3000.0 < stage._switch._again_at < math.inf
            stage._switch._again_at = 0.0

    feed(stage, [0])
    until(lambda: stage.network == "none", "the fall-back")
    assert stage.status()["message"] == "slow ran out of memory (MemoryError: 3 GB wanted); frames pass through"
    feed(stage, [1])
    until(lambda: len(results) == 2, "one that passes through")
    time_is_up()
    until(lambda: stage.network == "slow", "the second try")
    assert stage.status()["message"] == ""
    feed(stage, [2, 3])  # the first one's failure lets go of the one at rest
    until(lambda: stage.network == "none", "it fails once more")
    time_is_up()
    until(lambda: stage.network == "slow", "the third try")
    feed(stage, [4])
    until(lambda: len(results) == 5, "five outcomes")
    assert [r.restored.network if r.restored else "" for r in results] == ["", "none", "", "", "slow"]
    assert stage.status()["wanted"] == "slow"
    assert adds_up(stage)


def test_a_network_that_cannot_be_made_again_says_so_and_is_tried_further(
    make: Make, slow: type[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    slow.failures, slow.error = 1, MemoryError("3 GB wanted")
    stage = make("slow", every_item=True, retry_s=0.1)
    tries: list[float] = []

    def prepare(*_: object) -> None:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise MemoryError("4 GB wanted")

    monkeypatch.setattr(Slow, "prepare", prepare)
    feed(stage, [0])
    says = "slow was tried again: MemoryError: 4 GB wanted; frames pass through"
    until(lambda: stage.status()["message"] == says, "the first try in vain")
    until(lambda: stage.network == "slow", "the third try")
    assert len(tries) == 3
    assert tries[1] - tries[0] > 0.19, "each pause is twice as long"
    assert tries[2] - tries[1] > 0.39


def test_who_has_chosen_another_network_keeps_it(make: Make, slow: type[Slow]) -> None:
    slow.gate.set()
    slow.failures, slow.error = 1, MemoryError()
    stage = make("slow", every_item=True, retry_s=0.2)
    feed(stage, [0])
    until(lambda: stage.network == "none", "the fall-back")
    stage.select("none")
    time.sleep(0.8)
    assert (stage.network, stage.status()["loading"]) == ("none", "")


def test_a_gpu_that_is_lost_ends_the_stage_and_the_network_stays_wanted(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each network would fail from now on, in this process."""
    slow.gate.set()
    slow.failures, slow.error = 9, RuntimeError("CUDA error: unknown error\nCompile with `TORCH_USE_CUDA_DSA`")
    monkeypatch.setattr("inference.switching.device_lost", lambda: True)
    stage = make("slow", every_item=True)

    def ended() -> bool:
        try:
            stage.tick(None)
        except DeviceLostError as e:
            return str(e) == "slow has lost the GPU (RuntimeError: CUDA error: unknown error)"
        return False

    feed(stage, [0])
    until(ended, "the end")
    assert (stage.network, stage.status()["wanted"], stage.status()["device_lost"]) == ("slow", "slow", True)
    assert results[0].failure == "slow failed: RuntimeError: CUDA error: unknown error"
    assert adds_up(stage)


def test_a_network_that_cannot_be_loaded_since_the_gpu_is_lost_stays_wanted(
    make: Make, slow: type[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: unknown error")

    monkeypatch.setattr(Slow, "prepare", broken)
    monkeypatch.setattr("inference.switching.device_lost", lambda: True)
    stage = make("none", every_item=True)
    stage.select("slow")
    until(lambda: bool(stage.status()["device_lost"]), "the loss")
    assert stage.status()["wanted"] == "slow"
    with pytest.raises(DeviceLostError, match="slow has lost the GPU"):
        stage.tick(None)


@pytest.mark.parametrize(("initialized", "error", "lost"), [
    (False, RuntimeError("CUDA error"), False), (True, None, False), (True, RuntimeError("CUDA error"), True),
    (True, RuntimeError("operation not permitted when stream is capturing"), False),
])  # fmt: skip
def test_a_gpu_is_lost_that_answers_whatever_is_asked_by_an_error(
    initialized: bool, error: Exception | None, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def synchronize() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialized)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: SimpleNamespace(synchronize=synchronize))
    assert device_lost() is lost


def test_what_a_failing_network_still_owes_passes_through(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    with_needs(monkeypatch, Needs(frames_after=2), MemoryError("3 GB wanted"))
    stage = make("slow", every_item=True)
    feed(stage, [0, 1])
    until(lambda: stage.status()["stage"]["waiting"] == 2, "two that wait for later neighbours")
    assert adds_up(stage)
    feed(stage, [2, 3])
    until(lambda: len(results) == 4, "four outcomes")
    assert [(r.exposure.ordinal, bool(r.failure)) for r in results] == [
        (0, True),
        (1, False),
        (2, False),
        (3, False),
    ]
    assert adds_up(stage)


def test_failures_at_the_end_of_a_stream_are_counted(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    with_needs(monkeypatch, Needs(frames_after=2), ValueError("odd"))
    stage = make("slow", every_item=True)
    feed(stage, [0, 1])
    stage.end()
    until(lambda: len(results) == 2, "two outcomes")
    assert [r.failure for r in results] == ["slow failed: ValueError: odd"] * 2
    assert stage.status()["stage"]["failed"] == 2
    assert adds_up(stage)


def test_options_come_back_with_their_network(make: Make, results: list[Result]) -> None:
    stage = make("edi", every_item=True, options={"contrast": 0.31})
    stage.select("none")
    until(lambda: stage.network == "none", "the switch")
    stage.select("edi")
    until(lambda: stage.network == "edi", "back again")
    feed(stage, [0])
    until(lambda: len(results) == 1, "a picture")
    assert results[0].restored is not None
    assert results[0].restored.figures["contrast_on"] == 0.31


def test_a_network_is_warmed_up_before_it_takes_over_and_not_again(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    monkeypatch.setattr(Slow, "prepare", lambda *_: threads.append(threading.current_thread().name))
    slow.gate.set()
    stage = make("none", every_item=True)
    stage.select("slow")
    until(lambda: stage.network == "slow", "the switch")
    feed(stage, [0, 1])
    until(lambda: len(results) == 2, "two pictures")
    assert threads == ["load"]


def test_one_failure_is_not_the_end_of_a_network(make: Make, slow: type[Slow], results: list[Result]) -> None:
    slow.gate.set()
    slow.failures = 1
    stage = make("slow", every_item=True)
    for k in range(3):
        feed(stage, [k])
    until(lambda: len(results) == 3, "three outcomes")
    assert stage.network == "slow"
    assert results[2].restored is not None


def test_switching_keeps_the_old_network_until_the_new_one_is_ready(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = threading.Event()
    slow.gate.set()

    def prepare(self: Slow, width: int, height: int) -> None:
        assert ready.wait(20)

    stage = make("none", every_item=True)
    monkeypatch.setattr(Slow, "prepare", prepare)
    stage.select("slow")
    feed(stage, [0])
    until(lambda: len(results) == 1, "the old one goes on")
    assert results[0].restored is not None
    assert results[0].restored.network == "none"
    assert stage.status()["loading"] == "slow"
    ready.set()
    until(lambda: stage.network == "slow", "the switch")
    feed(stage, [1])
    until(lambda: len(results) == 2, "the new one")
    assert results[1].restored is not None
    assert results[1].restored.network == "slow"


def test_the_network_chosen_last_wins_however_long_each_takes(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, done = threading.Event(), threading.Event()

    def prepare(self: Slow, width: int, height: int) -> None:
        assert ready.wait(20)
        done.set()

    stage = make("edi", every_item=True)
    monkeypatch.setattr(Slow, "prepare", prepare)
    stage.select("slow")
    stage.select("none")
    until(lambda: stage.network == "none", "the quicker one, chosen last")
    ready.set()
    assert done.wait(20)
    feed(stage, [0, 1])
    until(lambda: len(results) == 2, "two pictures")
    assert stage.network == "none"
    assert stage.status()["loading"] == ""


def test_a_network_that_cannot_be_loaded_leaves_the_old_one(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make("none", every_item=True)
    with pytest.raises(UsageError, match=r"unknown network 'magic'; known: .*edi"):
        stage.select("magic")

    def broken(self: Slow, width: int, height: int) -> None:
        raise MemoryError("3 GB wanted")

    monkeypatch.setattr(Slow, "prepare", broken)
    stage.select("slow")
    until(lambda: bool(stage.status()["message"]), "the reason")
    assert stage.status()["message"] == (
        "network slow could not be loaded: MemoryError: 3 GB wanted; none goes on"
    )
    feed(stage, [0])
    until(lambda: len(results) == 1, "the old one goes on")


@pytest.mark.usefixtures("one_thread")
def test_random_weights_hold_for_every_network_that_is_chosen_later(
    make: Make, results: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path))
    stage = make("edi", every_item=True, options={"random_weights": True, "contrast": 0.2})
    stage.select("s-sdm-ldn")
    until(lambda: stage.network == "s-sdm-ldn", "LDN without weights")
    feed(stage, [0])
    until(lambda: len(results) == 1, "a picture")
    assert results[0].restored is not None
    assert RANDOM_FLAG in results[0].restored.flags
    plain = make("edi", every_item=True)
    with pytest.raises(UsageError, match="no weights"):
        plain.select("s-sdm-ldn")


def test_going_back_to_a_network_makes_nothing_anew_and_begins_a_new_stretch(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    resets: list[int] = []
    monkeypatch.setattr(Slow, "prepare", lambda *_: made.append("slow"))
    monkeypatch.setattr(Slow, "reset", lambda *_: resets.append(1))
    slow.gate.set()
    stage = make("slow", every_item=True)
    feed(stage, [0])
    for network in ("none", "slow", "edi", "none", "slow"):
        stage.select(network)
        until(lambda n=network: stage.network == n, network)  # type: ignore[misc]
    assert made == ["slow"], "it was in memory each time"
    assert len(resets) >= 2, "what it carried from exposure to exposure is forgotten when it rests"
    feed(stage, [1])
    until(lambda: len(results) == 2, "a picture")
    assert results[1].restored is not None
    assert results[1].restored.network == "slow"


def test_choosing_quickly_there_and_back_makes_nothing_anew(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a network has learnt of the camera goes with it when it is made again."""
    made: list[str] = []
    monkeypatch.setattr(Slow, "prepare", lambda *_: made.append("slow"))
    stage = make("slow", every_item=True)
    running = stage._switch.engine
    feed(stage, [0])
    until(lambda: slow.calls == [0], "the picture under way")  # which lets nothing take over
    stage.select("none")
    until(lambda: stage._switch.ready, "the other one")
    stage.select("slow")
    until(lambda: not stage._switch.ready, "the wish that was taken back")
    slow.gate.set()
    until(lambda: len(results) == 1, "the picture")
    stage.select("none")
    until(lambda: stage.network == "none", "the other one at last")
    stage.select("slow")
    stage.select("none")  # before `slow` is back: it rests again
    until(lambda: not any(t.name == "load" for t in threading.enumerate()), "both")
    stage.select("slow")
    until(lambda: stage.network == "slow", "back again")
    assert stage._switch.engine is running
    assert made == ["slow"]


def test_memory_is_given_back_when_a_network_runs_out_of_it(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    stage = make("edi", every_item=True)
    resting = weakref.ref(stage._switch.engine)
    stage.select("slow")
    until(lambda: stage.network == "slow", "the switch")
    assert resting() is not None
    slow.failures, slow.error = 2, MemoryError()
    failing = weakref.ref(stage._switch.engine)
    feed(stage, [0, 1])
    until(lambda: stage.network == "none", "the fall-back")
    until(lambda: resting() is None and failing() is None, "neither of both is held on to")


def test_a_network_that_runs_out_of_memory_gets_that_of_those_at_rest(
    make: Make, slow: type[Slow], results: list[Result]
) -> None:
    slow.gate.set()
    stage = make("edi", every_item=True)
    resting = weakref.ref(stage._switch.engine)
    stage.select("slow")
    until(lambda: stage.network == "slow", "the switch")
    slow.failures, slow.error = 1, MemoryError()
    feed(stage, [0, 1])
    until(lambda: len(results) == 2, "two outcomes")
    assert results[0].failure == "slow failed: MemoryError"
    assert results[1].restored is not None
    assert results[1].restored.network == stage.network == "slow"
    assert resting() is None
    assert adds_up(stage)


def test_a_network_that_does_not_fit_beside_those_at_rest_takes_their_place(
    make: Make, slow: type[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make("edi", every_item=True)
    resting = weakref.ref(stage._switch.engine)
    stage.select("none")
    until(lambda: stage.network == "none", "the first switch")

    def prepare(self: Slow, width: int, height: int) -> None:
        if resting() is not None:
            raise MemoryError("3 GB wanted")

    monkeypatch.setattr(Slow, "prepare", prepare)
    stage.select("slow")
    until(lambda: stage.network == "slow", "the second switch")
    assert resting() is None
    assert stage.status()["message"] == ""
