"""`verify`: every kind of damage is found and named, and a sound recording is called sound."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Events, Frame, FrameClock, TriggerEdges
from recordings.checking import verify as verifying
from recordings.checking.findings import Grade, Verification
from recordings.checking.streams import StreamCheck
from recordings.checking.verify import verify
from recordings.formats.own_about import ABOUT, HEALTH, INDEX_FILE, STREAMS
from recordings.formats.own_chunks import EVENTS, FRAME
from recordings.recording import NotARecording
from recordings.sandbox import Sandbox
from tests.capture.simulated_small import small, small_davis
from tests.recordings.damage import (
    change_health,
    cut,
    killed,
    nth,
    rows_of,
    wrong_data,
    wrong_header,
)
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.make_datasets import SCALE, write_msrbd
from tests.recordings.make_prophesee import write
from tests.recordings.own_sample import Item, items_of, rig_of_config, write_own
from tests.recordings.sample import sample_edges, sample_events, sample_frames
from tests.recordings.test_prophesee import made_events

CONFIG = small(paced=False)


def texts(v: Verification, grade: Grade | None = None) -> list[str]:
    assert all("\n" not in f.text and f.text and f.where for f in v.findings)
    return [f"{f.where}: {f.text}" for f in v.findings if grade is None or f.grade == grade]


def test_a_sound_recording_is_sound(made: Path, given_items: list[Item]) -> None:
    shares: list[float] = []
    v = verify(made, progress=shares.append)
    assert (v.grade, v.verdict) == (Grade.NOTE, "sound")
    packets = [i for i in given_items if isinstance(i, EventPacket)]
    assert v.counts == {
        "events": sum(len(p.events) for p in packets), "event_packets": len(packets),
        "edges": sum(len(p.triggers) for p in packets), "frames": len(given_items) - len(packets), "epochs": 1,
    }  # fmt: skip
    assert all(0 <= s <= 1 for s in shares)
    (line,) = texts(v)
    n = v.counts["frames"]
    assert line.startswith(f"triggers: {n} of {n} frames have their edges (fit ")
    assert Verification.of(json.loads(json.dumps(v.values()))).values() == v.values()


def test_one_sensor_needs_no_triggers(tmp_path: Path) -> None:
    config = small_davis(paced=False)
    write_own(tmp_path / "d", rig_of_config(config), items_of(config, 0.5))
    v = verify(tmp_path / "d")
    assert (v.grade, texts(v)) == (Grade.NOTE, [])


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda f: wrong_data(f, nth(rows_of(f), EVENTS, 20)), "chunks damaged; first: chunk 22 has wrong"),
        (lambda f: wrong_data(f, nth(rows_of(f), FRAME, 3)), "not there any more: 1 frames"),
        (lambda f: wrong_header(f, 30), "are damaged (a chunk's header has wrong bytes)"),
        (lambda f: cut(f, 0.6), "are no whole chunk (cut short)"),
        (lambda f: killed(f, 100), "recorder: did not come to an end"),
        (lambda f: change_health(f, state="stopped", message="disk full"), "recorder: ended early: disk full"),
        (lambda f: change_health(f, losses={"ring frames": 3}), "recorder: lost 3 ring frames"),
        (lambda f: change_health(f, frames=1), "health.json: the recorder counted 1 frames, here are 25"),
        (lambda f: (f / HEALTH).write_text("[" * 10_000), "health.json: missing or not readable"),
    ],
)  # fmt: skip
def test_what_is_lost_is_named(copy: Path, damage: Damage, text: str) -> None:
    damage(copy)
    v = verify(copy)
    assert v.grade == Grade.LOSS
    assert any(text in line for line in texts(v, Grade.LOSS)), texts(v)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda f: (f / STREAMS).write_bytes(b""), f"{STREAMS}: nothing was recorded"),
        (lambda f: (f / STREAMS).unlink(), f"{STREAMS}: cannot be read (No such file"),
        (lambda f: (f / ABOUT).unlink(), f"{ABOUT}: cannot be read (No such file"),
        (lambda f: (f / ABOUT).write_text("x = ["), f"{ABOUT}: is not valid TOML"),
        (lambda f: (f / STREAMS).write_bytes(os.urandom(30_000)), f"{STREAMS}: nothing was recorded"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_called_so(copy: Path, damage: Damage, text: str) -> None:
    damage(copy)
    v = verify(copy)
    assert (v.grade, v.verdict) == (Grade.UNUSABLE, "unusable")
    assert any(text in line for line in texts(v, Grade.UNUSABLE)), texts(v)


def test_a_wire_that_bounces_is_not_sound(tmp_path: Path, given_items: list[Item]) -> None:
    """Every frame has its edges, and there are more of them than frames."""
    bounced: list[Item] = []
    n = 0
    for i in given_items:
        if (
            isinstance(i, EventPacket)
            and len(i.triggers)
            and n < 8
            and i.triggers.t[-1] + 20 < i.complete_until_us
        ):
            t, up, n = i.triggers.t, i.triggers.rising, n + 1
            again = [t[-1] + 8, t[-1] + 20]
            edges = TriggerEdges(np.append(t, again), np.append(up, [not up[-1], up[-1]]))
            i = replace(i, triggers=edges)
        bounced.append(i)
    assert n == 8
    write_own(tmp_path / "r", rig_of_config(CONFIG), bounced)
    v = verify(tmp_path / "r")
    frames = v.counts["frames"]
    (line,) = texts(v, Grade.LOSS)
    assert line.startswith(f"triggers: {frames} of {frames} frames have their edges")
    assert line.endswith("0 frames without, 16 edges too many")


@pytest.mark.parametrize("with_index", [True, False])
def test_how_much_is_missing_is_exact(copy: Path, with_index: bool) -> None:
    """From the index; without it from what the recorder counted."""
    rows = rows_of(copy)
    cut(copy, 0.5)
    if not with_index:
        (copy / INDEX_FILE).unlink()
    v = verify(copy)
    size = (copy / STREAMS).stat().st_size
    ends = np.append(rows["offset"][1:], np.iinfo(np.uint64).max)
    gone = rows[ends > size]
    events = gone[gone["kind"] == EVENTS]
    want = (
        f"not there any more: {len(events)} event packets with {events['amount'].sum()} events and "
        f"{events['edges'].sum()} edges, {(gone['kind'] == FRAME).sum()} frames"
    )
    assert f"{STREAMS}: {want}" in texts(v, Grade.LOSS)


def test_a_damaged_index_costs_nothing(copy: Path) -> None:
    (copy / INDEX_FILE).write_bytes(b"abc" * 500)
    v = verify(copy)
    assert v.grade == Grade.NOTE
    assert any("rows are not those of the chunks" in t for t in texts(v))
    (copy / INDEX_FILE).unlink()
    assert any("is made anew" in t for t in texts(verify(copy)))


def test_missing_edges_and_frames_are_found(tmp_path: Path, given_items: list[Item]) -> None:
    """A loose wire, and frames that the camera lost."""
    changed: list[Item] = []
    for i in given_items:
        if isinstance(i, EventPacket):
            keep = (i.triggers.t < 400_000) | (i.triggers.t > 650_000)
            i = replace(i, triggers=TriggerEdges(i.triggers.t[keep], i.triggers.rising[keep]))
        elif i.sequence in (2, 3):
            continue
        changed.append(i)
    write_own(tmp_path / "r", rig_of_config(CONFIG), changed)
    lost = texts(verify(tmp_path / "r"), Grade.LOSS)
    assert any("frames: 2 missing by the camera's numbers, first at number 4" in t for t in lost)
    assert any(t.startswith("triggers:") and "frames without" in t for t in lost)
    assert "recorder: lost 2 camera frames" in lost


def packet(t: list[int], until: int, **more: object) -> EventPacket:
    n = len(t)
    e = Events(
        np.array(t, np.int64), np.zeros(n, np.uint16), np.zeros(n, np.uint16), np.ones(n, np.bool_), 8, 8
    )
    return replace(EventPacket(e, TriggerEdges.empty(), until), **more)


def frame(number: int, start: int, length: int | None, **more: object) -> Frame:
    from capture.packets import PixelLayout

    end = None if length is None else (start + length) * 1000
    f = Frame(np.zeros((2, 2), np.uint8), PixelLayout.GRAY, number, start * 1000, end, FrameClock.EVENT)
    return replace(f, **more)


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([packet([1], 10), packet([2], 5)], "events: time runs backwards at 1 packets, first at 0.000 s"),
        ([packet([1], 10), packet([4, 11], 20)], "events: 1 are older than the packets before them said"),
        ([packet([1], 10), packet([12], 20, gap=True)], "events: interrupted at 1 places"),
        ([frame(0, 0, 5), frame(1, 4, 5)], "frames: 1 exposures begin before the ones before them end"),
        ([frame(0, 9, 5), frame(1, 4, 5)], "frames: 1 stamps are older than the ones before them"),
        ([frame(0, 0, 0)], "frames: 1 exposures have no length"),
        ([frame(0, 0, 5), frame(4, 9, 5)], "frames: 3 missing by their numbers, first at number 4"),
        ([frame(4, 0, 5), frame(4, 9, 5)], "frames: 1 numbers do not follow"),
    ],
)  # fmt: skip
def test_streams_of_any_format_are_checked(items: list[Item], text: str) -> None:
    check, v = StreamCheck(), Verification("x")
    for i in items:
        check.frame(i) if isinstance(i, Frame) else check.packet(i)
    check.finish(v)
    assert any(line.startswith(text) for line in texts(v, Grade.LOSS)), texts(v)


def test_a_new_epoch_is_no_step_back() -> None:
    check, v = StreamCheck(), Verification("x")
    for i in [packet([1], 10), frame(7, 1, 5), packet([2], 5, epoch=1), frame(0, 1, 5, epoch=1)]:
        check.frame(i) if isinstance(i, Frame) else check.packet(i)
    check.finish(v)
    assert v.grade == Grade.NOTE
    assert v.counts["epochs"] == 2


# -- other formats ---------------------------------------------------------------------------------------


def test_a_sound_aedat4_is_sound_and_its_stamps_agree_with_its_edges(sample: Path) -> None:
    v = verify(sample)
    assert (v.grade, v.format) == (Grade.NOTE, "aedat4")
    assert any(t.startswith("triggers: every exposure has its edge, at most ") for t in texts(v))


def test_a_cut_aedat4_is_usable_with_losses(sample: Path, tmp_path: Path) -> None:
    data = sample.read_bytes()
    (tmp_path / "c.aedat4").write_bytes(data[: len(data) // 2])
    v = verify(tmp_path / "c.aedat4")
    assert v.grade == Grade.LOSS
    assert any("the file is cut" in t for t in texts(v, Grade.LOSS))


def test_exposures_without_edges_are_found(tmp_path: Path) -> None:
    edges = sample_edges()
    keep = np.ones(len(edges.t), np.bool_)
    keep[4:6] = False
    path = write_aedat4(
        tmp_path / "e.aedat4", sample_events(), sample_frames(), TriggerEdges(edges.t[keep], edges.rising[keep])
    )
    assert any("of 10 exposures have no edge at their beginning" in t for t in texts(verify(path), Grade.LOSS))


def test_overlapping_exposures_are_found(tmp_path: Path) -> None:
    images = [WrittenFrame(f.start_us, 200_000, f.image) for f in sample_frames()]
    path = write_aedat4(tmp_path / "o.aedat4", sample_events(), images)
    assert any("begin before the ones before them end" in t for t in texts(verify(path), Grade.LOSS))


def test_prophesee_and_datasets_are_checked(tmp_path: Path) -> None:
    raw = write(tmp_path / "p.raw", "evt3", made_events(5000, span_us=500_000))
    v = verify(raw)
    assert (v.grade, v.counts["events"], texts(v)) == (Grade.NOTE, 5000, ["frames: there are none"])
    raw.write_bytes(raw.read_bytes() + b"\x00\xb0" * 3)
    assert "file: 3 words are of types that do not exist" in texts(verify(raw), Grade.LOSS)
    files = write_msrbd(tmp_path / "rbd", scale=SCALE)
    assert verify(tmp_path / "rbd").grade == Grade.NOTE
    files[1].write_bytes(files[1].read_bytes()[:1000])
    v = verify(tmp_path / "rbd")
    assert v.grade == Grade.LOSS
    assert any(files[1].name in t for t in texts(v, Grade.LOSS))


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(NotARecording, match="is not a recording of a known format"):
        verify(tmp_path / "x.txt")


@pytest.mark.parametrize("server", ["Hanging", "Crashing"])
def test_a_check_that_hangs_or_crashes_is_a_finding(
    sample: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    def other(target: str, arguments: dict[str, object], **how: object) -> Sandbox:
        return Sandbox(f"tests.recordings.servers:{server}", {}, **{**how, "deadline_s": 0.5})  # type: ignore[arg-type]

    monkeypatch.setattr(verifying, "Sandbox", other)
    began = time.monotonic()
    v = verify(sample, deadline_s=0.5)
    assert time.monotonic() - began < 30
    assert v.grade == Grade.UNUSABLE
    assert "damaged" in v.findings[0].text


def test_a_name_that_is_no_utf_8_is_no_damage(sample: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.aedat4"))
    odd.symlink_to(sample)
    v = verify(odd)
    assert v.grade < Grade.UNUSABLE
    assert v.counts["events"] > 0
