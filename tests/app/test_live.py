"""The whole pipeline with real processes, on a small simulated rig."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app import live
from app.figures import PARTS
from app.live import make_session
from app.picture_reader import room_for
from app.sources import Source
from capture.camera import CameraState
from capture.errors import CameraError
from inference import models
from tests.app import failing_network, lost_gpu
from tests.app.live_watch import EVENT_PLACES, ONE_SENSOR, TWO_SENSORS, Watch, segments

MOST_WAITING = 9
"""What waits is what no place of loss tells: half a second of frames at most, on a machine short of breath."""


@pytest.fixture(scope="module")
def davis() -> Iterator[Watch]:
    session = make_session("simulated:davis", "edi", settings=ONE_SENSOR)
    session.start()
    yield Watch(session)
    session.stop()


def test_two_cameras_become_sharp_pictures(davis: Watch) -> None:
    p = davis.restored(5)[-1]
    assert p.sharp is not None
    assert p.sharp.shape == (1, 48, 64)
    assert p.blurred.shape == (48, 64)
    assert (p.source, p.latents, p.network) == ("chunk", (0.5,), "edi")
    assert p.exposure_start_us is not None
    assert p.exposure_end_us is not None
    assert p.exposure_end_us - p.exposure_start_us == 30_000
    assert p.events is not None
    assert p.exposure_start_us <= p.events.t[0] <= p.events.t[-1] < p.exposure_end_us
    assert np.any(p.sharp[0] != p.blurred)
    assert "contrast_on" in p.figures


def test_every_exposure_is_accounted_for(davis: Watch) -> None:
    davis.restored(8)
    s = davis.settled()
    dropped = sum(n for place, n in s.losses.items() if place not in EVENT_PLACES)
    assert s.items_in == s.items_out + dropped + s.waiting
    assert s.waiting <= MOST_WAITING
    # Ordinals that were not shown were lost in a named place, not in silence.
    stream = [p.ordinal for p in davis.pictures if not p.held]
    assert stream == sorted(set(stream))
    assert s.items_in >= stream[-1] + 1
    assert s.fps > 0
    assert {w.name: w.state for w in s.workers} == dict.fromkeys(
        ("events", "frames", "restore"), CameraState.RUNNING
    )


def test_latency_runs_from_the_end_of_the_exposure(davis: Watch) -> None:
    p = davis.restored(len(davis.pictures) + 1)[-1]
    assert 0 <= p.ready_host_ns - p.exposure_end_host_ns < 5e9
    s = davis.session.status()
    assert s.latency_p95_ms >= s.latency_p50_ms > 0
    assert tuple(s.latency_parts_ms) == PARTS
    assert s.latency_parts_ms["restoring"] > 0


def test_the_held_exposure_is_restored_at_other_instants(davis: Watch) -> None:
    last = davis.restored(len(davis.pictures) + 1)[-1]
    davis.session.hold(last.ordinal)
    at = tuple(i / 11 for i in range(12))  # more than fit into one part
    davis.session.request_latents(at)
    answer = davis.until(lambda: next((p for p in davis.pictures if p.held), None), "the answer")
    assert answer.ordinal == last.ordinal
    assert answer.sharp is not None
    assert answer.sharp.shape == (12, 48, 64)
    assert answer.latents == pytest.approx(at)
    assert np.any(answer.sharp[0] != answer.sharp[-1])
    davis.session.hold(None)
    n = len(davis.pictures)
    davis.until(lambda: len(davis.pictures) > n + 2, "the stream goes on")


def test_more_instants_than_fit_into_one_item_are_one_picture(davis: Watch) -> None:
    davis.session.set_latents(tuple(i / 11 for i in range(12)))
    p = davis.until(lambda: [p for p in davis.pictures if len(p.latents) == 12], "twelve instants")[0]
    assert p.sharp is not None
    assert p.sharp.shape == (12, 48, 64)
    davis.session.set_latents((0.5,))
    davis.until(lambda: davis.pictures[-1].latents == (0.5,), "one instant again")
    many = [p for p in davis.pictures if len(p.latents) == 12]
    assert [p.ordinal for p in many] == sorted({p.ordinal for p in many})
    assert all(p.sharp is not None and len(p.sharp) == 12 for p in many)


def test_all_parts_of_a_picture_have_room_in_the_ring() -> None:
    frame = 1152 * 768 * 3
    usual = room_for(1, frame)
    assert room_for(5, frame) == usual
    for latents in (6, 20, 50):
        parts = -(-latents // 5)
        assert room_for(latents, frame) >= (latents + 2 * parts) * frame + usual // 3
    assert (
        room_for(1000, frame) == 1 << 30
    )  # no picture of that many is whole there; it does not take all memory


def test_networks_switch_while_streaming(davis: Watch) -> None:
    davis.session.select_network("none")
    p = davis.until(
        lambda: next((p for p in davis.pictures if p.network == "none"), None), "a picture passed through"
    )
    assert np.array_equal(p.sharp[0], p.blurred)
    davis.until(lambda: davis.session.status().network == "none", "what the worker says")
    n = len(davis.pictures)
    davis.session.select_network("edi")
    davis.until(lambda: any(p.network == "edi" for p in davis.pictures[n:]), "EDI again")
    davis.settled()
    row = next(c for c in davis.session.networks() if c.name == "edi")
    assert row.usable
    assert row.last_ms is not None
    davis.session.select_network("magic")
    davis.until(lambda: "unknown network 'magic'" in davis.session.status().message, "the reason on screen")
    assert davis.session.status().network == "edi"


def test_residuals_beside_the_stream_and_of_the_held_exposure(davis: Watch) -> None:
    n = len(davis.pictures)
    before = davis.settled().items_out
    davis.session.command("residual", on=True)
    p = davis.until(lambda: next((p for p in davis.pictures[n:] if p.residual is not None), None), "a residual")
    assert p.sharp is not None
    assert not p.held
    assert p.residual.map.shape == p.blurred.shape[:2]
    assert 0 <= p.residual.rms < 10
    n = len(davis.pictures)
    newest = davis.until(
        lambda: next((p for p in davis.pictures[n:] if p.residual is None), None), "the stream"
    )
    davis.session.hold(newest.ordinal)
    held = davis.until(
        lambda: next((p for p in davis.pictures[n:] if p.residual is not None and p.held), None),
        "of the held one",
    )
    assert (held.ordinal, held.sharp, held.refusal) == (newest.ordinal, None, "")
    davis.session.hold(None)
    davis.session.command("residual", on=False)
    s = davis.settled()
    stream = [q for q in davis.pictures if not q.held and q.residual is None and q.sharp is not None]
    assert s.items_out == len(stream) > before, "a residual counts for no exposure"


def test_workers_killed_while_live_come_back_and_the_loss_is_shown() -> None:
    before = segments()
    session = make_session("simulated:davis", "edi", settings=ONE_SENSOR)
    session.start()
    watch = Watch(session)
    try:
        watch.restored(3)
        session.command("residual", on=True)
        for name in ("restore", "events", "frames"):
            pid = watch.worker(name).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            watch.until(lambda n=name: watch.worker(n).restarts == 1, f"{name} restarted")
            watch.until(lambda n=name: watch.worker(n).state is CameraState.RUNNING, f"{name} running")
            seen = len(watch.pictures)
            watch.until(
                lambda s=seen: any(p.sharp is not None for p in watch.pictures[s:]), f"pictures after {name}"
            )
        seen = len(watch.pictures)
        watch.until(
            lambda: any(p.residual is not None for p in watch.pictures[seen:]), "the wish outlived the worker"
        )
        s = watch.settled()
        assert s.losses["camera frames"] > 0, f"the frame camera was away for some frames: {s}"
        assert s.losses["restart"] + s.losses["ring frames"] > 0, "the restore worker was away for some frames"
        dropped = sum(n for place, n in s.losses.items() if place not in EVENT_PLACES)
        assert s.items_in == s.items_out + dropped + s.waiting
        assert s.waiting <= MOST_WAITING
    finally:
        session.stop()
    assert segments() == before


def test_a_network_without_memory_gives_way_and_the_cameras_notice_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(models._MODELS, failing_network.NAME, failing_network.ENTRY)
    monkeypatch.setattr("app.live.run_restore_worker", failing_network.run)
    session = make_session("simulated:davis", failing_network.NAME, settings=ONE_SENSOR)
    session.start()
    watch = Watch(session)
    try:
        watch.until(lambda: any(p.network == "none" for p in watch.pictures), "frames pass through")
        s = watch.settled()
        shown = [p.network for p in watch.pictures if p.sharp is not None]
        assert set(shown) == {failing_network.NAME, "none"}
        assert s.message == "failing ran out of memory (MemoryError: 3 GB wanted); frames pass through"
        assert s.losses["failed"] == 1
        assert {w.name: (w.state, w.restarts) for w in s.workers} == dict.fromkeys(
            ("events", "frames", "restore"), (CameraState.RUNNING, 0)
        )
        assert s.losses["camera frames"] == s.losses["ring frames"] == s.losses["ring event packets"] == 0
        dropped = sum(n for place, n in s.losses.items() if place not in EVENT_PLACES)
        assert s.items_in == s.items_out + dropped + s.waiting
        assert s.waiting <= MOST_WAITING
        failed = [p for p in watch.pictures if p.sharp is None]
        assert [p.refusal for p in failed] in ([], ["failing failed: MemoryError: 3 GB wanted"])
        session.select_network("edi")
        watch.until(lambda: any(p.network == "edi" for p in watch.pictures), "EDI after it")
        assert watch.settled().message == ""
    finally:
        session.stop()


def test_a_worker_that_has_lost_its_gpu_is_started_anew_with_the_network_wanted_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(models._MODELS, lost_gpu.NAME, lost_gpu.ENTRY)
    monkeypatch.setattr("app.live.run_restore_worker", lost_gpu.run)
    session = make_session("simulated:davis", "edi", settings=ONE_SENSOR)
    session.start()
    watch = Watch(session)
    try:
        watch.until(lambda: any(p.network == "edi" for p in watch.pictures), "the first network")
        session.select_network(lost_gpu.NAME)
        watch.until(lambda: any(p.network == lost_gpu.NAME for p in watch.pictures), "the other one")

        def restarts() -> int:
            return watch.worker("restore").restarts

        watch.until(lambda: restarts() == 1, "the restart")
        watch.pictures.clear()

        def again() -> bool:
            return restarts() == 1 and sum(p.network == lost_gpu.NAME for p in watch.pictures) > lost_gpu.GOOD

        watch.until(again, "the same network")
        assert (restarts(), watch.settled().network) == (1, lost_gpu.NAME)
    finally:
        session.stop()


def test_edges_tell_the_exposures_of_two_cameras() -> None:
    before, children = segments(), {c.pid for c in multiprocessing.active_children()}
    session = make_session("simulated", "edi", settings=TWO_SENSORS)
    session.start()
    watch = Watch(session)
    try:
        p = watch.restored(4)[-1]
        assert p.source == "trigger"
        assert 0 < p.uncertainty_us < 1000
        assert p.sharp is not None
        assert p.sharp.shape == (1, 64, 96, 3)
        assert p.events is not None
        assert (p.events.width, p.events.height) == (24, 16)
        assert np.linalg.det(p.image_from_event[:2, :2]) < 0, "the mirror flips"
    finally:
        began = time.monotonic()
        session.stop()
    assert time.monotonic() - began < 4.0
    assert segments() == before
    assert {c.pid for c in multiprocessing.active_children()} <= children


def test_stopping_at_once_leaves_nothing() -> None:
    before = segments()
    for pause in (0.0, 0.3, 1.0):
        session = make_session("simulated:davis", "edi", settings=ONE_SENSOR)
        session.start()
        time.sleep(pause)
        session.stop()
        session.stop()
    deadline = time.monotonic() + 5
    while segments() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert segments() == before


def test_a_network_that_cannot_be_made_is_replaced_by_another_one() -> None:
    """Its worker has been given up: it has to begin anew with the other network, and without its options."""
    session = make_session("simulated:davis", "edi", options={"nonsense": 1}, settings=ONE_SENSOR)
    session.start()
    watch = Watch(session)
    try:
        watch.until(
            lambda: any(w.state is CameraState.FAULTED for w in session.status().workers), "it is given up"
        )
        assert "unknown option 'nonsense'" in watch.worker("restore").detail
        session.select_network("none")
        watch.until(lambda: any(p.network == "none" for p in watch.pictures), "frames pass through")
        watch.until(lambda: watch.worker("restore").state is CameraState.RUNNING, "and its worker says so")
    finally:
        session.stop()


def test_a_source_that_did_not_open_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def absent(request: Any, **_: Any) -> Source:
        tries.append(request.text)
        raise CameraError("webcam:0: no such camera; plug it in")

    monkeypatch.setattr("app.live.resolve", absent)
    session = make_session("simulated:davis", "edi", settings=ONE_SENSOR)
    session.start()
    watch = Watch(session)
    try:
        for n in (1, 2):
            watch.until(lambda: session.status().workers[0].state is CameraState.FAULTED, "does not open")
            assert len(tries) == n
            session.command("restart", worker="source")
    finally:
        session.stop()


def test_a_source_that_does_not_answer_is_said_and_opens_when_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    back = threading.Event()
    resolve = live.resolve

    def late(*args: Any, **more: Any) -> Source:  # as a file on a network drive that is not there
        back.wait(60)
        return resolve(*args, **more)

    monkeypatch.setattr(live, "resolve", late)
    monkeypatch.setattr(live, "SLOW_S", 0.3)
    monkeypatch.setattr(live, "LIMIT_S", 1.0)
    session = make_session("simulated:davis", "edi", settings=ONE_SENSOR)
    session.start()
    try:
        (source,) = session.status().workers
        assert (source.state, source.detail) == (CameraState.STARTING, "opening simulated:davis")
        time.sleep(0.4)
        (source,) = session.status().workers
        assert source.state is CameraState.STARTING
        assert "simulated:davis has not answered for 0 s; see whether its disk" in source.detail
        time.sleep(0.8)
        assert session.status().workers[0].state is CameraState.FAULTED
        assert "choose another source" in session.status().message
        back.set()
        assert Watch(session).restored(2)
    finally:
        back.set()
        session.stop()
