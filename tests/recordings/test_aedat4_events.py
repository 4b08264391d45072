"""Events of AEDAT4 files by our own reader, held against those that dv-processing gives."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.packets import EventPacket, Events, Frame, TriggerEdges
from recordings.export.aedat4 import Aedat4Writer
from recordings.formats import aedat4, aedat4_event_packets
from recordings.formats.aedat4_container import read_container
from recordings.formats.aedat4_event_packets import Damaged, gathered_packets, rows
from recordings.formats.aedat4_frame_heads import NotSo
from recordings.formats.aedat4_keys import Reached
from recordings.open import open_recording
from recordings.recording import RecordingError
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.make_datasets import mutated
from tests.recordings.reading import events_and_frames, same_events
from tests.recordings.sample import HEIGHT, START_US, WIDTH, sample_edges, sample_events, sample_frames

PACKED = ["NONE", "LZ4", "LZ4_HIGH"]
Read = tuple[list[EventPacket | Frame], list[str]]


@pytest.fixture
def by(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], Read]:
    """All items and problems of a file, read by `ByLibrary`, `ByOwn`, or both as the program does."""

    def read(who: str, path: Path) -> Read:
        where = (
            "recordings.formats.aedat4_native" if who == "Aedat4Server" else "tests.recordings.aedat4_servers"
        )
        monkeypatch.setattr(aedat4, "_SERVER", f"{where}:{who}")
        # The library hangs on damaged indices: no need to wait for long until it is stopped.
        with open_recording(path, deadline_s=4.0) as r:
            items = list(r.items())
            return items, [*r.report.problems, f"{r.report.events} events", f"{r.report.ignored}"]

    return read


def same(a: Read, b: Read) -> bool:
    return a[1] == b[1] and len(a[0]) == len(b[0]) and all(map(_same, a[0], b[0]))


def _same(a: EventPacket | Frame, b: EventPacket | Frame) -> bool:
    if isinstance(a, EventPacket) and isinstance(b, EventPacket):
        told = [(i.complete_until_us, i.gap, i.rejected, i.triggers.t.tolist()) for i in (a, b)]
        return told[0] == told[1] and same_events(a.events, b.events)
    assert isinstance(a, Frame)
    assert isinstance(b, Frame)
    return a.sequence == b.sequence and np.array_equal(a.image, b.image)


def packets_of(path: Path) -> list[tuple[int, int]]:
    """(place, bytes) of the payload of each packet of events."""
    c, data = read_container(path), path.read_bytes()
    at, found = c.data_start, []
    while at + 8 <= (c.table or len(data)):
        stream, size = struct.unpack_from("<ii", data, at)
        if stream == 0:
            found.append((at + 8, size))
        at += 8 + size
    return found


@pytest.mark.parametrize("compression", [*PACKED, "ZSTD"])
@pytest.mark.parametrize("packet_us", [500, 10_000, 2_000_000])
def test_every_packing_gives_what_the_library_gives(
    tmp_path: Path, by: Callable[[str, Path], Read], compression: str, packet_us: int
) -> None:
    # The largest packets are longer than what is read, and than what is unpacked, at once.
    events = sample_events(120_000 if packet_us > 1_000_000 else 8_000)
    path = write_aedat4(
        tmp_path / "a.aedat4", events, sample_frames(), sample_edges(), compression=compression,
        packet_us=packet_us, camera_marks=True,
    )  # fmt: skip
    found = by("ByLibrary", path)
    assert sum(len(i.events) for i in found[0] if isinstance(i, EventPacket)) == len(events)
    if compression == "ZSTD":
        with pytest.raises(RecordingError, match="the library was asked"):
            by("ByOwn", path)
    else:
        assert same(by("ByOwn", path), found)
    assert same(by("Aedat4Server", path), found)


@pytest.mark.parametrize("compression", PACKED)
@pytest.mark.parametrize("how", ["unfinished", "cut", "cut in a packet", "odd name", "index damaged"])
def test_files_without_their_end_or_index(
    tmp_path: Path, by: Callable[[str, Path], Read], compression: str, how: str
) -> None:
    path = write_aedat4(
        tmp_path / "a.aedat4", sample_events(60_000 if how == "unfinished" else 6000), sample_frames(),
        sample_edges(), compression=compression, finish=how != "unfinished",
    )  # fmt: skip
    data = path.read_bytes()
    if how.startswith("cut"):
        at, size = packets_of(path)[40]
        path.write_bytes(data[: at + (size // 2 if "packet" in how else size)])
    elif how == "odd name":
        path = path.rename(tmp_path / "a.recording")
    elif how == "index damaged":
        table = read_container(path).table
        assert table is not None
        path.write_bytes(data[: table + 8] + b"\xff" * 64 + data[table + 72 :])
    found = by("ByLibrary", path)
    assert sum(isinstance(i, EventPacket) for i in found[0]) > 10
    assert same(by("ByOwn", path), found)


def test_real_ones(shared_data: Path, by: Callable[[str, Path], Read]) -> None:
    paths = sorted((shared_data / "event").glob("*.aedat4"))
    ours = [p for p in paths if read_container(p).compression in (0, 1, 2)]
    assert len(ours) >= 2
    for path in ours:
        assert same(by("ByOwn", path), by("ByLibrary", path)), path.name


def _written_by_faery(path: Path, kinds: list[str], events: Events) -> Path:
    from faery import aedat

    def text(v: str) -> aedat.DescriptionAttribute:
        return aedat.DescriptionAttribute("string", v)

    size = {k: aedat.DescriptionAttribute("int", v) for k, v in (("sizeX", WIDTH), ("sizeY", HEIGHT))}
    nodes = [
        aedat.DescriptionNode(
            str(k), None,
            {
                "compression": text("LZ4"), "originalModuleName": text("made"),
                "originalOutputName": text(f"s{k}"), "typeDescription": text(kind),
                "typeIdentifier": text(kind),
            },
            [aedat.DescriptionNode("info", None, {"source": text("DAVIS346_MADE"), **size}, [])],
        )
        for k, kind in enumerate(kinds)
    ]  # fmt: skip
    root = [aedat.DescriptionNode("outInfo", "/outInfo/", {}, nodes)]
    dtype = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
    table = np.zeros(len(events), dtype)
    table["t"], table["x"], table["y"], table["on"] = events.t, events.x, events.y, events.p
    with aedat.Encoder(str(path), root, aedat.LZ4_DEFAULT) as e:
        for a in range(0, len(table), 500):
            for k, kind in enumerate(kinds):
                if kind == "EVTS":
                    e.write(k, table[a + 100 * k : a + 500])
    return path


def test_of_two_streams_of_events_the_first_is_read_by_the_library(
    tmp_path: Path, by: Callable[[str, Path], Read]
) -> None:
    path = _written_by_faery(tmp_path / "two.aedat4", ["EVTS", "EVTS", "TRIG"], sample_events(4000))
    found = by("ByLibrary", path)
    assert same(by("Aedat4Server", path), found)
    with pytest.raises(RecordingError, match="the library was asked"):
        by("ByOwn", path)


def test_another_writer(tmp_path: Path, by: Callable[[str, Path], Read]) -> None:
    path = _written_by_faery(tmp_path / "f.aedat4", ["TRIG", "EVTS"], sample_events(4000))
    assert same(by("ByOwn", path), by("ByLibrary", path))


def test_times_and_places_that_cannot_be_are_refused_alike(
    tmp_path: Path, by: Callable[[str, Path], Read]
) -> None:
    path = write_aedat4(tmp_path / "a.aedat4", sample_events(6000), sample_frames(), compression="NONE")
    data = bytearray(path.read_bytes())
    packets = packets_of(path)
    for n, (k, back, x, y) in enumerate(
        [(10, -30_000, 3, 4), (30, 1 << 50, 3, 4), (50, 0, -5, 4), (60, 0, 3, 48)]
    ):
        at = packets[k][0] + 32 + 16 * (3 + n)
        (t,) = struct.unpack_from("<q", data, at)
        struct.pack_into("<qhh", data, at, t + back, x, y)
    path.write_bytes(data)
    found = by("ByLibrary", path)
    assert sum(i.rejected.total for i in found[0] if isinstance(i, EventPacket)) >= 4
    assert same(by("ByOwn", path), found)


@pytest.mark.parametrize("compression", PACKED)
def test_a_broken_chain_of_packets_is_left_to_the_library_without_a_loss(
    tmp_path: Path, by: Callable[[str, Path], Read], compression: str
) -> None:
    events = sample_events(6000)
    # All of one packet and some of the next one have one time: what was given must not come again.
    t = np.sort(
        np.where(
            (events.t > START_US + 195_000) & (events.t < START_US + 205_000), START_US + 199_999, events.t
        )
    )
    events = Events(t, events.x, events.y, events.p, WIDTH, HEIGHT)
    path = write_aedat4(tmp_path / "a.aedat4", events, sample_frames(), compression=compression)
    data = bytearray(path.read_bytes())
    struct.pack_into("<i", data, packets_of(path)[22][0] - 4, 1 << 20)
    path.write_bytes(data)
    found = by("Aedat4Server", path)
    got = Events.concatenate([i.events for i in found[0] if isinstance(i, EventPacket)])
    whole = by("ByLibrary", path)
    assert len(got) == sum(len(i.events) for i in whole[0] if isinstance(i, EventPacket)) > 5000
    assert same(found, whole)


@pytest.mark.parametrize("where", ["head", "middle", "short"])
def test_a_damaged_packet_costs_itself_and_no_time(tmp_path: Path, where: str) -> None:
    """The library hangs over some of these until its process is ended."""
    events = sample_events(6000)
    path = write_aedat4(tmp_path / "a.aedat4", events, sample_frames(), compression="LZ4")
    data = bytearray(path.read_bytes())
    at, size = packets_of(path)[40]
    if where == "head":
        data[at + 11 : at + 40] = b"\xff" * 29
    elif where == "middle":
        data[at + size // 2 : at + size - 8] = b"\x11" * (size - 8 - size // 2)
    else:
        struct.pack_into("<I", data, at + 7, 3)
    path.write_bytes(data)
    begun = time.monotonic()
    with open_recording(path, deadline_s=30.0) as r:
        got, frames = events_and_frames(r)
        assert any("a packet of events cannot be read" in p for p in r.report.problems)
    assert time.monotonic() - begun < 15
    assert len(frames) == 10
    lost = len(events) - len(got)
    assert 0 < lost < 200
    assert np.isin(got.t, events.t).all()


@given(
    capacity=st.integers(1, 400),
    enough=st.integers(1, 2000),
    enough_us=st.integers(1, 2_000_000),
    compression=st.sampled_from(["NONE", "LZ4"]),
)
@settings(max_examples=40, deadline=None)
def test_however_packets_are_gathered_the_events_are_the_same(
    packed: Callable[[str], Path], capacity: int, enough: int, enough_us: int, compression: str
) -> None:
    path = packed(compression)
    c = read_container(path)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(aedat4_event_packets, "_WINDOW_BYTES", 2048)
        # Kept, as a message waits for its turn among the other streams': nothing of it may be used again.
        how = {"capacity": capacity, "enough": enough, "enough_us": enough_us}
        found = list(gathered_packets(path, c, c.table or 0, **how))
    whole = sample_events(1200)
    parts = [p for f in found if not isinstance(f, str) for p in f]
    for name in "txy":
        assert np.array_equal(np.concatenate([p[name] for p in parts]), getattr(whole, name))
    assert np.array_equal(np.concatenate([p["p"] for p in parts]) != 0, whole.p)
    for f in found:
        assert not isinstance(f, str)
        assert all(len(p) for p in f)
        assert sum(map(len, f)) <= capacity
        # Handed on as soon as it is enough.
        before = sum(map(len, f[:-1]))
        assert before < enough
        assert not before or int(f[-2]["t"][-1]) - int(f[0]["t"][0]) < enough_us


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The same events in packets of some dozen, packed so or so."""
    folder = tmp_path_factory.mktemp("packed")
    paths = {
        name: write_aedat4(folder / f"{name}.aedat4", sample_events(1200), compression=name, packet_us=10_000)
        for name in ("NONE", "LZ4")
    }
    return paths.__getitem__


@pytest.mark.parametrize("compression", ["NONE", "LZ4"])
def test_whatever_is_in_it_reading_ends(tmp_path: Path, compression: str) -> None:
    path = write_aedat4(
        tmp_path / "a.aedat4", sample_events(2000), sample_frames(), sample_edges(), compression=compression
    )
    whole, c = path.read_bytes(), read_container(path)
    ends = dict.fromkeys(("read", "not so", "damaged"), 0)
    for seed in range(200):
        data = whole[: c.data_start] + mutated(whole[c.data_start : c.table], seed)
        path.write_bytes(data)
        try:
            found = list(gathered_packets(path, c, len(data), capacity=5000, enough=1000, enough_us=50_000))
            assert sum(len(p) for f in found if not isinstance(f, str) for p in f) <= 2000
            ends["damaged" if any(isinstance(f, str) for f in found) else "read"] += 1
        except NotSo:
            ends["not so"] += 1
    assert all(ends.values()) or compression == "NONE", ends
    assert ends["not so"] > 0


def test_a_packet_that_unpacks_to_too_much_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aedat4_event_packets, "PACKET_BYTES", 4 << 20)
    path = write_aedat4(tmp_path / "a.aedat4", sample_events(500), compression="LZ4")
    c, data = read_container(path), path.read_bytes()
    bomb = lz4.frame.compress(bytes(4) + struct.pack("<I4s", 8, b"EVTS") + bytes(64 << 20))
    assert len(bomb) < 1 << 20
    at, size = packets_of(path)[3]
    path.write_bytes(data[: at - 4] + struct.pack("<i", len(bomb)) + bomb + data[at + size : c.table])
    end = path.stat().st_size
    found = list(gathered_packets(path, c, end, capacity=5000, enough=1000, enough_us=50_000))
    assert [f for f in found if isinstance(f, str)] == ["it unpacks to more than 4.2 MB"]
    assert 300 < sum(len(p) for f in found if not isinstance(f, str) for p in f) < 500


def test_of_packets_with_much_beside_their_events_only_those_are_kept(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "a.aedat4", sample_events(500), compression="LZ4")
    c, data = read_container(path), path.read_bytes()
    event = struct.pack("<qhhBxxx", 5, 1, 2, 1)
    head = struct.pack("<II4s", 0, 16, b"EVTS") + b"\0\0" + struct.pack("<HHH", 6, 8, 4)
    sound = head + struct.pack("<iI", 6, 4) + struct.pack("<I", 1) + event
    large = lz4.frame.compress(sound + bytes(8 << 20))
    path.write_bytes(data[: c.data_start] + 30 * (struct.pack("<ii", 0, len(large)) + large))
    tracemalloc.start()
    try:
        found = list(
            gathered_packets(path, c, path.stat().st_size, capacity=5000, enough=1000, enough_us=50_000)
        )
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert [len(f) for f in found] == [30]
    assert np.concatenate(found[0])["t"].tolist() == 30 * [5]


def test_a_packet_claims_no_more_than_it_holds() -> None:
    # Size, root, name; vtable of six bytes; table; vector of two events.
    events = struct.pack("<qhhBxxxqhhBxxx", 5, 1, 2, 7, 6, 3, 4, 0)
    head = struct.pack("<II4s", 0, 16, b"EVTS") + b"\0\0" + struct.pack("<HHH", 6, 8, 4)
    sound = head + struct.pack("<iI", 6, 4) + struct.pack("<I", 2) + events
    found = rows(sound)
    assert found["t"].tolist() == [5, 6]
    assert found["x"].tolist() == [1, 3]
    at = len(head) + 8
    with pytest.raises(Damaged, match="claims 3 events"):
        rows(sound[:at] + struct.pack("<I", 3) + events)
    for n in range(len(sound)):
        with pytest.raises(Damaged):
            rows(sound[:n])


def test_where_another_reader_would_go_on() -> None:
    r = Reached((0, 1_000_000))
    r.note(np.array([1, 2, 2], np.int64))
    assert (r.time_us, r.given) == (2, 2)
    r.note(np.full(3000, 2, np.int64))
    assert (r.time_us, r.given) == (2, 3002)
    r.note(np.array([5, 1 << 50], np.int64))
    assert (r.time_us, r.given) == (5, 1)
    r.note(np.array([1 << 50], np.int64))
    r.note(np.array([3], np.int64))
    assert (r.time_us, r.given) == (5, 1)


def test_it_is_written_where_the_disk_knows_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """exFAT, on the disks that recordings are carried on."""
    link = Path.symlink_to

    def refused(self: Path, target: Path | str, target_is_directory: bool = False) -> None:
        if self.parent == tmp_path:
            raise PermissionError(1, "Operation not permitted")
        link(self, target)

    monkeypatch.setattr(Path, "symlink_to", refused)
    e = sample_events()
    part = tmp_path / ".e.aedat4.part"
    writer = Aedat4Writer(part, (e.width, e.height), None, False, "DAVIS346_00000001")
    writer.add(e, TriggerEdges.empty())
    writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == [part.name]
    part.rename(tmp_path / "e.aedat4")
    with open_recording(tmp_path / "e.aedat4") as r:
        assert sum(len(i.events) for i in r.items() if isinstance(i, EventPacket)) == len(e)
