"""Bad input: a reason in one line, the readable part used, never a crash or a hang of the program."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Events, Frame, FrameKind, TriggerEdges
from recordings.formats import aedat4
from recordings.formats.aedat4_container import complete_packets_end, read_container
from recordings.open import open_recording, require_events, require_frames
from recordings.recording import NotARecording, RecordingError, Remark
from recordings.sandbox import Reply
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.sample import HEIGHT, START_US, WIDTH, sample_edges, sample_events, sample_frames


def test_what_is_no_recording_is_refused_by_name(tmp_path: Path, sample: Path) -> None:
    cases: dict[str, tuple[Path, str]] = {}

    def case(name: str, data: bytes, says: str) -> None:
        (tmp_path / name).write_bytes(data)
        cases[name] = (tmp_path / name, says)

    case("empty.aedat4", b"", "is empty")
    case("noise.aedat4", np.random.default_rng(0).bytes(5000), "does not begin like AEDAT4")
    case("noise.bin", np.random.default_rng(0).bytes(5000), r"is not a recording of .*; known: .*AEDAT4")
    case("text.aedat4", b"Dear diary,\n" * 50, "does not begin like AEDAT4")
    case("short.aedat4", sample.read_bytes()[:5], "does not begin like AEDAT4")
    cases["absent"] = (tmp_path / "absent.aedat4", "no such file")
    cases["folder"] = (tmp_path, "is a folder")
    os.mkfifo(tmp_path / "pipe.aedat4")
    cases["pipe"] = (tmp_path / "pipe.aedat4", "is not a regular file")
    for path, says in cases.values():
        with pytest.raises(NotARecording, match=says) as e:
            open_recording(path)
        assert str(path) in str(e.value)
        assert "\n" not in str(e.value)


def test_a_file_that_may_not_be_read_says_so(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "locked.aedat4"
    path.write_bytes(sample.read_bytes())
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything: let the system call answer as for anybody else

        def denied(self: Path, *_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(RecordingError, match=r"locked\.aedat4: cannot be read \(Permission denied\)"):
        open_recording(path)


@pytest.mark.parametrize("keep", [14, 17, 18, 60, 500])
def test_a_file_cut_inside_its_header_is_refused(sample: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.aedat4"
    path.write_bytes(sample.read_bytes()[:keep])
    with pytest.raises(RecordingError, match="ends inside its header"):
        open_recording(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_a_cut_file_gives_its_readable_part_and_says_what_is_missing(
    sample: Path, tmp_path: Path, share: float
) -> None:
    data = sample.read_bytes()
    whole = read_container(sample)
    assert whole.table is not None
    cut = int(whole.table * share)
    path = tmp_path / "cut.aedat4"
    path.write_bytes(data[:cut])
    *_, end = complete_packets_end(path, read_container(path))
    with open_recording(sample) as r:
        everything = list(r.items())
    with open_recording(path) as r:
        got = list(r.items())
        assert len(r.info.problems) == 1
        assert r.info.problems[0].startswith("the file is cut: at least ")
        last = (r.info.end_us - r.info.start_us) / 1e6
        assert f"readable up to {last:.3f} s" in r.info.problems[0]
        assert r.report.bytes_unread == cut - end
        assert r.report.problems == list(r.info.problems)
        assert last == pytest.approx(share, abs=0.15)
    assert path.read_bytes() == data[:cut]  # the original is left as it was
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.aedat4"]
    events = Events.concatenate([i.events for i in got if isinstance(i, EventPacket)])
    expected = Events.concatenate([i.events for i in everything if isinstance(i, EventPacket)])
    assert len(events) > share * 0.7 * len(expected)
    for k in "txyp":
        assert np.array_equal(getattr(events, k), getattr(expected, k)[: len(events)])
    pictures = [i.image for i in got if isinstance(i, Frame)]
    assert all(np.array_equal(a, b.image) for a, b in zip(pictures, sample_frames(), strict=False))


@pytest.mark.parametrize("name", ["REC.AEDAT4", "recording", "rec.bin"])
def test_contents_count_and_not_the_name(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    path = tmp_path / name
    path.write_bytes(sample.read_bytes())
    with open_recording(path) as r:
        assert r.info.path == path
        assert sum(isinstance(i, Frame) for i in r.items()) == 10
    path.write_bytes(sample.read_bytes()[:100_000])
    with open_recording(path) as r:
        assert "the file is cut" in r.info.problems[0]
    assert list((tmp_path / "scratch").iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from recordings.open import open_recording
r = open_recording(Path(sys.argv[1]))
print(r.child_pid, flush=True)
time.sleep(60)
"""


def test_what_a_killed_read_left_goes_with_the_next(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    path = tmp_path / "recording"
    path.write_bytes(sample.read_bytes())
    reading = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert reading.stdout is not None
        child = int(reading.stdout.readline())
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        with open_recording(path):
            assert len(list(scratch.glob("halfmirror-recording-*"))) == 2, "what is being read stays"
        os.kill(child, signal.SIGKILL)
    finally:
        reading.kill()
        reading.wait(20)
    (left,) = scratch.glob("halfmirror-recording-*")
    with open_recording(path):
        assert not left.exists()
    assert not list(scratch.glob("halfmirror-recording-*"))


def test_an_unfinished_recording_is_read(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "killed.aedat4", sample_events(), sample_frames(), finish=False)
    with open_recording(path) as r:
        n = sum(len(i.events) for i in r.items() if isinstance(i, EventPacket))
        assert n > 5000
        assert r.info.problems[0].startswith("the recording was not closed properly: readable up to")
        assert "export --to aedat4 writes a file that has one" in r.info.problems[1]
        assert isinstance(r.info.problems[1], Remark)


def test_a_damaged_index_is_done_without(sample: Path, tmp_path: Path) -> None:
    data = bytearray(sample.read_bytes())
    table = read_container(sample).table
    assert table is not None
    data[table:] = bytes(len(data) - table)
    path = tmp_path / "index.aedat4"
    path.write_bytes(data)
    with open_recording(path, deadline_s=1) as r, open_recording(sample) as good:
        assert "the file's index is damaged; it is read without" in r.info.problems
        assert any("export --to aedat4" in p for p in r.info.problems)
        assert good.info.problems == ()
        assert sum(1 for _ in r.items()) == sum(1 for _ in good.items())
        assert r.report.events == good.report.events


def events_at(data: bytes, t: int) -> int:
    """Where an event lies in an uncompressed file (16 bytes: t, x, y, p); not a packet's first or last."""
    at = data.find(struct.pack("<q", t))
    assert at > 0
    assert data.find(struct.pack("<q", t), at + 1) == -1
    return at


def test_unsound_events_are_refused_with_counts(tmp_path: Path) -> None:
    t = START_US + np.arange(1000, dtype=np.int64) * 1000
    e = Events(
        t, np.arange(1000).astype(np.uint16) % 60, np.full(1000, 7, np.uint16), t % 2 == 0, WIDTH, HEIGHT
    )
    path = write_aedat4(tmp_path / "e.aedat4", e, compression="NONE")
    data = bytearray(path.read_bytes())
    for k in (15, 333, 334):  # back in time
        struct.pack_into("<q", data, events_at(data, int(t[k])), int(t[k]) - 5000)
    for k in (25, 501):  # outside the sensor
        struct.pack_into("<h", data, events_at(data, int(t[k])) + 8, WIDTH)
    struct.pack_into("<h", data, events_at(data, int(t[705])) + 10, -1)
    struct.pack_into("<q", data, events_at(data, int(t[805])), 1 << 60)  # one wild stamp must not cost the rest
    path.write_bytes(data)
    with open_recording(path) as r:
        packets = [i for i in r.items() if isinstance(i, EventPacket)]
        assert r.report.events_rejected_decreasing == 4
        assert r.report.events_rejected_outside == 3
        assert r.report.events == 993 == sum(len(p.events) for p in packets)
        assert sum(p.rejected.total for p in packets) == 7
    kept = np.concatenate([p.events.t for p in packets])
    assert np.array_equal(kept, np.delete(t, [15, 25, 333, 334, 501, 705, 805]))


def test_frames_without_exposure_have_no_end_and_drawn_ones_are_named(tmp_path: Path) -> None:
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    written = [
        WrittenFrame(START_US + 100_000, None, image),
        WrittenFrame(START_US + 200_000, -40, image),
        WrittenFrame(START_US + 300_000, 5_000, image, "ACCUMULATION"),
        WrittenFrame(START_US + 400_000, 5_000, image, "UNDEFINED"),
        WrittenFrame(START_US + 500_000, 5_000, image[:20, :30], position=(8, 4)),
        WrittenFrame(START_US + 600_000, 5_000, image[:20, :30]),
    ]
    path = write_aedat4(tmp_path / "f.aedat4", sample_events(), written)
    with open_recording(path) as r:
        frames = [i for i in r.items() if isinstance(i, Frame)]
        times = r.frame_times_us()
    assert [f.device_end_ns for f in frames[:2]] == [None, None]
    assert [f.device_start_ns for f in frames[:2]] == [1000 * w.start_us for w in written[:2]]
    assert [f.kind for f in frames] == [FrameKind.SENSOR] * 2 + [FrameKind.ACCUMULATOR, FrameKind.SENSOR]
    assert r.report.frames_rejected == 2
    assert "frame 4: it shows a part of the sensor, from (8, 4); it was left out" in r.report.problems
    assert "frame 5: 30×20 pixels in a stream of 64×48; it was left out" in r.report.problems
    assert [e for _, e in times[:3]] == [None, None, START_US + 305_000]


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
def test_colour_frames_edges_and_marks_come_as_written(tmp_path: Path, compression: str) -> None:
    written = sample_frames(colour=True)
    path = tmp_path / "c.aedat4"
    write_aedat4(path, sample_events(), written, sample_edges(), compression=compression, camera_marks=True)
    with open_recording(path) as r:
        items = list(r.items())
        assert r.info.has_triggers
        assert r.report.ignored == {"camera_marks": 20}
        assert r.report.edges == 20
    frames = [i for i in items if isinstance(i, Frame)]
    assert all(np.array_equal(f.image, w.image) for f, w in zip(frames, written, strict=True))
    edges = [i.triggers for i in items if isinstance(i, EventPacket)]
    assert np.array_equal(np.concatenate([e.t for e in edges]), sample_edges().t)
    assert np.array_equal(np.concatenate([e.rising for e in edges]), sample_edges().rising)


def test_one_stream_alone_opens_and_the_lack_is_named(events_only: Path, frames_only: Path) -> None:
    with open_recording(events_only) as r:
        assert r.info.image_size is None
        assert r.rig_facts() is None
        with pytest.raises(RecordingError, match="has no frames, only events of DAVIS346_TEST"):
            require_frames(r)
    with open_recording(frames_only) as r:
        assert r.info.event_size is None
        assert [type(i) for i in r.items()] == [Frame] * 10
        with pytest.raises(RecordingError, match="has no events, only frames"):
            require_events(r)


def test_two_cameras_of_different_size_get_no_guessed_geometry(tmp_path: Path) -> None:
    frames = [WrittenFrame(START_US, 1000, np.zeros((96, 128), np.uint8))]
    path = write_aedat4(tmp_path / "two.aedat4", sample_events(), frames, sample_edges())
    with open_recording(path) as r:
        assert r.rig_facts() is None
        assert any("a rig file is needed" in p for p in r.info.problems)


def test_an_empty_recording_says_that_it_holds_nothing(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "none.aedat4", Events.empty(WIDTH, HEIGHT), [], TriggerEdges.empty())
    with pytest.raises(RecordingError, match="holds no data"):
        open_recording(path)


def mutated(data: bytes, seed: int) -> bytes:
    """The file with bits flipped, bytes replaced, a hole, or a lying packet size."""
    rng = np.random.default_rng(seed)
    b = bytearray(data)
    match seed % 4:
        case 0:
            for k in rng.integers(0, len(b), 6):
                b[k] ^= 1 << int(rng.integers(8))
        case 1:
            for k in rng.integers(1500, len(b), 150):
                b[k] = int(rng.integers(256))
        case 2:
            k = int(rng.integers(1500, len(b) - 600))
            b[k : k + 512] = rng.bytes(512)
        case _:
            for k in rng.integers(400, len(b) - 4, 3):
                struct.pack_into("<i", b, int(k), int(rng.integers(-(1 << 31), 1 << 31)))
    return bytes(b)


def read_through(path: Path) -> None:
    """Read everything and check what holds whatever the file holds."""
    with open_recording(path, deadline_s=0.5) as r:
        until = None
        for item in r.items():
            if isinstance(item, EventPacket):
                assert until is None or item.complete_until_us > until
                assert not len(item.events) or until is None or item.events.t[0] >= until
                until = item.complete_until_us
        assert all("\n" not in p for p in r.report.problems)


@pytest.mark.parametrize(("compression", "files"), [("NONE", 8), ("ZSTD", 8), ("LZ4", 4)])
def test_damaged_files_cost_neither_life_nor_time(
    tmp_path: Path, compression: str, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens is an item, a count, or one line."""
    monkeypatch.setattr(aedat4, "MAX_RESUMES", 2)  # each hang costs its deadline
    source = tmp_path / "s.aedat4"
    write_aedat4(source, sample_events(4000), sample_frames(), sample_edges(), compression=compression)
    data = source.read_bytes()
    path = tmp_path / "damaged.aedat4"
    refused = 0
    for seed in range(files):
        path.write_bytes(mutated(data, seed))
        try:
            read_through(path)
        except (RecordingError, NotARecording) as e:
            refused += 1
            text = str(e)
            if "\n" in text or str(path) not in text:
                pytest.fail(f"seed {seed}: {text!r}")
    assert refused < files


@pytest.mark.parametrize("packets", [1, 9])
@pytest.mark.parametrize("library", [False, True])
def test_broken_packets_cost_only_their_surroundings(
    tmp_path: Path, packets: int, library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dv-processing hangs over such a packet; what lies behind is read all the same, the gap is marked.

    Our own reader of events knows such a packet and passes over it, and it alone.
    """
    if library:
        monkeypatch.setattr(aedat4, "_SERVER", "tests.recordings.aedat4_servers:ByLibrary")
    source = write_aedat4(tmp_path / "s.aedat4", sample_events(), sample_frames(), compression="LZ4")
    container = read_container(source)
    data = bytearray(source.read_bytes())
    at, n = container.data_start, 0
    while n < 30 + packets:
        stream, size = struct.unpack_from("<ii", data, at)
        n += stream == 0
        if stream == 0 and n > 30:  # from the 31st packet of events on: 0.3 s
            data[at + 12 : at + 48] = bytes(36)  # the header of the compressed frame
        at += 8 + size
    path = tmp_path / "broken.aedat4"
    path.write_bytes(data)
    with open_recording(path, deadline_s=0.7) as r:
        items = list(r.items())
        assert r.report.problems
        says = "hung over events at 0." if library else "a packet of events cannot be read"
        assert all(says in p for p in r.report.problems)
    got = [i for i in items if isinstance(i, EventPacket)]
    lost = (START_US + 300_000, START_US + 300_000 + packets * 10_000)
    kept = Events.concatenate([p.events for p in got])
    whole = sample_events()
    around = 120_000 if library else 10_000
    assert len(kept) > len(whole) - (packets * 10_000 + around) * len(whole) // 900_000
    for piece in (whole.between(0, lost[0] - 20_000), whole.between(lost[1] + 120_000, 1 << 62)):
        part = kept.between(int(piece.t[0]), int(piece.t[-1]) + 1)
        assert all(np.array_equal(getattr(piece, k), getattr(part, k)) for k in "txyp")
    assert sum(isinstance(i, Frame) for i in items) == 10
    gaps = [p.complete_until_us for p in got if p.gap]
    assert min(gaps) <= lost[0] + 20_000
    assert max(gaps) >= lost[1]
    assert lost[0] - 20_000 <= min(gaps)
    assert max(gaps) <= lost[1] + 120_000


def test_what_is_read_again_is_not_given_twice() -> None:
    """Reading goes on at the last time that was given; of that time the file may hold more."""

    def events(*t: int) -> Reply:
        return Reply("events", {}, {"t": np.array(t, np.int64), "n": np.arange(len(t))})

    given = aedat4._Given()
    assert given.again(5) == 5
    for part in ((1, 2, 2), (2, 2), (2,)):
        assert given.left_of(events(*part)).arrays["t"].tolist() == list(part)
    assert given.again(3) == 2
    again = given.left_of(events(2, 2, 2, 2, 2, 2, 7)).arrays
    assert (again["t"].tolist(), again["n"].tolist()) == ([2, 7], [5, 6])
    assert given.left_of(events(7, 8)).arrays["t"].tolist() == [7, 8]
    assert given.again(9) == 8
    assert given.left_of(events(8)).arrays["t"].tolist() == []


def test_zeros_behind_the_last_packet_are_no_packets(sample: Path, tmp_path: Path) -> None:
    """A disk that lost power leaves them."""
    data = sample.read_bytes()
    broken = tmp_path / "broken.aedat4"
    broken.write_bytes(data[: len(data) // 2])
    *_, end = complete_packets_end(broken, read_container(broken))
    broken.write_bytes(data[:end] + bytes(64 * 1024))
    assert [*complete_packets_end(broken, read_container(broken))][-1] == end
