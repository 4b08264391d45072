"""Bags of ROS: what drivers wrote comes back, whichever ROS and storage; what is not told is not guessed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from app.cli.program import execute
from app.sources import rig_for
from capture import evt_time
from capture.packets import EventPacket, Events, Frame, TriggerEdges
from recordings.export.evt3 import Evt3Encoder
from recordings.formats.dataset_source import Edges
from recordings.formats.ros_bag import Bag
from recordings.formats.ros_clock import WRAP_US, SensorClock
from recordings.formats.ros_events import EventStream
from recordings.formats.trigger_channel import TriggerChannel
from recordings.open import open_recording
from recordings.recording import NotARecording, RecordingError
from recordings.sandbox_child import Refused
from sync.rig import Clock, EventEntry, Geometry, ImageEntry, Rig
from tests.recordings.make_datasets import EXPOSURE_US, FRAMES, PERIOD_US, made_events
from tests.recordings.make_prophesee import payload
from tests.recordings.make_rosbag import (
    ARRAY,
    DEFINITIONS,
    KINDS,
    META,
    PACKET,
    Maker,
    davis,
    mono,
    prophesee,
)  # fmt: skip
from tests.recordings.reading import events_and_frames, same_events

SIZE = (64, 48)
EPOCH_US = 1_700_000_000_000_000
START_US = EPOCH_US + 1_000_000


def events(n: int = 4001) -> Events:
    e = made_events(n, size=SIZE)
    return Events(e.t + EPOCH_US, e.x, e.y, e.p, *SIZE)


def frames(colour: bool = True, length: int = EXPOSURE_US) -> list[tuple[int, int, np.ndarray]]:
    rng = np.random.default_rng(5)
    shape = (48, 64, 3) if colour else (48, 64)
    return [
        (START_US + k * PERIOD_US, length - 2 * k, rng.integers(0, 256, shape, np.uint8)) for k in range(FRAMES)
    ]


def spans(f: Frame) -> tuple[int | None, int | None]:
    """Start and end of exposure, µs."""
    a, b = f.device_start_ns, f.device_end_ns
    return None if a is None else a // 1000, None if b is None else b // 1000


@pytest.mark.parametrize("kind", KINDS)
def test_a_davis_comes_back(tmp_path: Path, kind: str) -> None:
    e, wanted = events(), frames()
    path = davis(kind, tmp_path / "bag", e, wanted)
    with open_recording(path) as r:
        assert (r.info.event_size, r.info.image_size, r.info.frames) == (SIZE, SIZE, FRAMES)
        assert r.info.format == ("ROS 1 bag" if kind == "ros1" else "ROS 2 bag")
        assert (r.info.start_us, r.info.camera) == (START_US, "/dvs/events")
        assert r.info.end_us == max(int(e.t[-1]), wanted[-1][0] + wanted[-1][1])
        facts = r.rig_facts()
        assert facts is not None
        assert facts.one_sensor
        found, pictures = events_and_frames(r)
        assert same_events(found, e)
        assert r.report.ignored == {}
        assert [spans(f) for f in pictures] == [(start, start + length) for start, length, _ in wanted]
        assert all(np.array_equal(f.image, pixels) for f, (_, _, pixels) in zip(pictures, wanted, strict=True))
        (note,) = r.report.problems
        assert note == "exposures are those of /dvs/exposure, around the pictures' stamps"
        # From the middle.
        later, pictures = events_and_frames(r, wanted[2][0])
        assert np.array_equal(later.t, e.t[e.t >= wanted[2][0]])
        assert [np.array_equal(f.image, w[2]) for f, w in zip(pictures, wanted[2:], strict=True)] == [True] * 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ["mono", "evt3"])
def test_packets_of_a_prophesee_come_back(tmp_path: Path, kind: str, encoding: str) -> None:
    e = events()
    edges = TriggerEdges(e.t[100:3900:100] + 1, np.arange(38) % 2 == 0)
    sensor = 4_000_000 - int(e.t[0])
    path = prophesee(kind, tmp_path / "bag", e, edges, encoding, sensor_us=sensor if encoding == "evt3" else 0)
    with open_recording(path) as r:
        assert (r.info.event_size, r.info.image_size, r.info.has_triggers) == (SIZE, None, encoding == "evt3")
        items = [i for i in r.items() if isinstance(i, EventPacket)]
        found = Events.concatenate([p.events for p in items])
        if encoding == "mono":
            assert same_events(found, e)
        else:  # which sorts events of one time by rows
            assert np.array_equal(found.t, e.t)
            assert sorted(zip(found.t, found.x, found.y, found.p, strict=True)) == sorted(
                zip(e.t, e.x, e.y, e.p, strict=True)
            )
            assert np.array_equal(np.concatenate([p.triggers.t for p in items]), edges.t)
            assert np.array_equal(np.concatenate([p.triggers.rising for p in items]), edges.rising)
        middle = int(e.t[3000])
        assert np.array_equal(events_and_frames(r, middle)[0].t, e.t[e.t >= middle])


def test_the_sensors_clock_is_laid_on_stamps_that_scatter_and_through_its_wraps(tmp_path: Path) -> None:
    """EVT3 counts 16.8 s; stamps are the host's, early and late."""
    e = events(6000)
    e = Events(START_US + (e.t - e.t[0]) * 130, e.x, e.y, e.p, *SIZE)  # 42 s
    path = prophesee("ros1", tmp_path / "bag", e, None, "evt3", sensor_us=10_000_000 - START_US, scatter_us=700)
    with open_recording(path) as r:
        assert any("which scatter by 1.4 ms" in p for p in r.info.problems)
        found = events_and_frames(r)[0]
        shift = found.t - e.t
        assert abs(int(shift[0])) <= 700
        assert np.ptp(shift) == 0
        for k in (2000, 5500):
            later = events_and_frames(r, int(found.t[k]))[0]
            assert np.array_equal(later.t, found.t[found.t >= found.t[k]])


def test_clocks_that_run_apart_are_held_together(tmp_path: Path) -> None:
    """80 ppm, 20 ms in four minutes: events lie where the host's clock had them, at the end, too."""
    e = events(100_000)
    e = Events(START_US + (e.t - e.t[0]) * 750, e.x, e.y, e.p, *SIZE)
    path = prophesee(
        "ros1", tmp_path / "bag", e, None, "evt3",
        sensor_us=5_000_000 - START_US, scatter_us=300, drift=8e-5, each=50,
    )  # fmt: skip
    with open_recording(path) as r:
        assert any("and drifts by 80 ppm" in p for p in r.info.problems)
        error = events_and_frames(r)[0].t - e.t - np.rint(8e-5 * (e.t - e.t[0])).astype(np.int64)
        assert np.abs(error).max() < 400
        later = events_and_frames(r, int(e.t[90_000]))[0]
        assert np.array_equal(later.t, events_and_frames(r)[0].t[-len(later.t) :])


def test_a_stamp_that_jumps_is_no_drift() -> None:
    first = [(1000 * k, 1000 * k + 7_000_000) for k in range(200)]
    clock = SensorClock.of(first)
    later = [(s + 60_000_000, h + 60_000_000) for s, h in first]
    assert clock.followed(later).drift == 0
    assert clock.followed([(s, h + 5_000_000) for s, h in later]) == clock
    assert clock.followed([(s, h + 6000) for s, h in later]).drift == pytest.approx(1e-4)
    assert clock.followed([]) == clock
    wrapped = [(s % WRAP_US, h + 6000) for s, h in later]
    assert clock.followed(wrapped).drift == pytest.approx(1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_two_cameras_and_the_meta_data_of_a_flir(tmp_path: Path, kind: str) -> None:
    """Other topics beside it; pictures both raw and compressed; events on a grid of their own."""
    e, m = events(), Maker(kind)
    rgb = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    messages = [("/cam/events", ARRAY, 1000 * int(e.t[k]), m.array(e, k, k + 400)) for k in range(0, 4000, 400)]
    for k in range(3):
        stamp = START_US + 50_000 + k * PERIOD_US
        at = 1000 * (stamp + 9000)
        messages += [
            ("/flir/image_raw", "sensor_msgs/msg/Image", at, m.image(stamp, rgb, "rgb8", pad=5)),
            ("/flir/meta", META, at - 500, m.meta(stamp, 8000 + 2 * k)),
            ("/flir/image_raw/compressed", "sensor_msgs/msg/CompressedImage", at + 9, m.compressed(stamp, rgb)),
            ("/wheel", "std_msgs/msg/Int32", at + 20, m.exposure(7)),
        ]
    path = m.write(tmp_path / "bag", messages)
    with open_recording(path) as r:
        assert (r.info.event_size, r.info.image_size, r.rig_facts()) == (SIZE, (128, 96), None)
        pictures = events_and_frames(r)[1]
        starts = [START_US + 46_000 + k * PERIOD_US - k for k in range(3)]
        assert [spans(f) for f in pictures] == [(a, a + 8000 + 2 * k) for k, a in enumerate(starts)]
        assert all(np.array_equal(f.image, rgb) for f in pictures)
        assert any("2 topics have pictures; /flir/image_raw is read" in p for p in r.info.problems)
        assert r.report.ignored == {"messages of /flir/image_raw/compressed": 3, "messages of /wheel": 3}


def of_one_size(path: Path, events_topic: str, pictures_topic: str) -> Path:
    """Events and pictures of 64×48."""
    e, m = events(), Maker("ros1")
    messages = [(events_topic, ARRAY, 1000 * int(e.t[k]), m.array(e, k, k + 400)) for k in range(0, 4000, 400)]
    for start, length, pixels in frames():
        image = m.image(start + length // 2, pixels, "rgb8")
        messages.append((pictures_topic, "sensor_msgs/msg/Image", 1000 * (start + length), image))
    return m.write(path, messages)


@pytest.mark.parametrize(
    ("of_events", "of_pictures", "one"),
    [
        ("/dvs/events", "/dvs/image_raw", True),
        ("/events", "/image", True),
        ("/cam/events", "/cam/image_raw/compressed_no", True),
        ("/davis/stream/events", "/davis/image_raw", True),
        ("/davis/left/events", "/davis/right/image_raw", False),
        ("/event_camera/events", "/event_camera_2/image_raw", False),
        ("/prophesee/events", "/flir/image_raw", False),
        ("/prophesee/events", "/image_raw", False),
    ],
)
def test_cameras_of_equal_size_are_told_apart_by_their_topics(
    tmp_path: Path, of_events: str, of_pictures: str, one: bool
) -> None:
    path = of_one_size(tmp_path / "bag", of_events, of_pictures)
    with open_recording(path, exposure_us=10_000) as r:
        facts = r.rig_facts()
        assert (facts is not None and facts.one_sensor) == one
        said = [p for p in r.info.problems if "two cameras" in p]
        assert len(said) == (not one)
        assert all(of_events in p and of_pictures in p for p in said)


def test_a_rig_file_says_otherwise(tmp_path: Path) -> None:
    """Two cameras of one size in one name space are taken for one sensor until somebody says so; and back."""
    size = {"width": SIZE[0], "height": SIZE[1]}
    shifted = Geometry(image_from_event=((1.0, 0.0, 3.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), measured="by hand")
    for name, geometry in (("two", shifted), ("one", Geometry())):
        said = tmp_path / f"{name}.toml"
        made = Rig(
            name=name, events=EventEntry(camera="a", **size), image=ImageEntry(camera="b", **size),
            geometry=geometry, clock=Clock(),
        )  # fmt: skip
        made.save(said)
        for events_topic in ("/rig/events", "/other/events"):
            path = of_one_size(tmp_path / f"{name}{events_topic.count('o')}", events_topic, "/rig/image")
            with open_recording(path, exposure_us=10_000) as r:
                assert rig_for(r, "bag", said).geometry.image_from_event == geometry.image_from_event


@pytest.mark.parametrize("kind", ["ros1", "ros2-mcap"])
@pytest.mark.parametrize("encoding", ["array", "mono", "evt3"])
def test_messages_without_events(tmp_path: Path, kind: str, encoding: str) -> None:
    """Drivers send them while nothing moves: longer than the beginning that is looked at, and at the end."""
    e, m = events(), Maker(kind)
    start, end = int(e.t[0]), int(e.t[-1])
    messages = []
    for k in range(250):
        for at in (start - 10**6 + 1000 * k, end + 10**6 + 1000 * k):
            if encoding == "array":
                messages.append(("/ev/events", ARRAY, 1000 * at, m.array(e, 0, 0)))
            else:
                messages.append(("/ev/events", PACKET, 1000 * at, m.packet(e, at, encoding, b"")))
    if encoding == "array":
        messages.append(("/ev/events", ARRAY, 1000 * start, m.array(e, 0, len(e))))
    else:
        data = payload(encoding, e, TriggerEdges.empty()) if encoding == "evt3" else mono(e)
        messages.append(("/ev/events", PACKET, 1000 * start, m.packet(e, start, encoding, data)))
    path = m.write(tmp_path / "bag", messages)
    with open_recording(path) as r:
        assert (r.info.start_us, r.info.end_us) == (start, end)
        assert np.array_equal(events_and_frames(r)[0].t, e.t)
        assert not [p for p in r.report.problems if "cut off" in p]
    none = m.write(tmp_path / "none", [x for x in messages if x[2] != 1000 * start])
    with pytest.raises(RecordingError, match="/ev/events: no events in any of its messages"):
        open_recording(none)


def test_without_exposures_they_are_asked_for(tmp_path: Path) -> None:
    path = davis("ros1", tmp_path / "bag", events(), frames(), exposure=False)
    with open_recording(path) as r:
        assert any("no frame has an exposure" in p for p in r.info.problems)
        assert all(spans(f)[1] is None for f in events_and_frames(r)[1])
    with open_recording(path, exposure_us=10_000) as r:
        middle = START_US + EXPOSURE_US // 2
        assert spans(events_and_frames(r)[1][0]) == (middle - 5000, middle + 5000)


def test_a_topic_beside_the_pictures_is_theirs(tmp_path: Path) -> None:
    """Of two cameras' events the first by name; pictures that stand beside them."""
    m, e = Maker("ros1"), events()
    messages = []
    for side, colour in (("left", 10), ("right", 200)):
        gray = np.full((48, 64), colour, np.uint8)
        messages += [(f"/{side}/events", ARRAY, 1000 * int(e.t[499]), m.array(e, 0, 500))]
        messages += [
            (f"/{side}/image_raw", "sensor_msgs/msg/Image", 1000 * START_US, m.image(START_US, gray, "mono8"))
        ]
    messages.append(
        ("/a/image", "sensor_msgs/msg/Image", 1000 * START_US, m.image(START_US, gray + 1, "mono8"))
    )
    path = m.write(tmp_path / "bag", messages)
    with open_recording(path) as r:
        assert r.info.camera == "/left/events"
        assert events_and_frames(r)[1][0].image.max() == 10
    apart = [(topic.replace("/left/image", "/color/image"), *rest) for topic, *rest in messages]
    path = m.write(tmp_path / "apart", [x for x in apart if "/color/" in x[0] or "/left/" in x[0]])
    for rig, asked in ((None, 1), (tmp_path / "rig.toml", 0)):
        with open_recording(path, rig=rig) as r:
            assert sum("a rig file is needed (--rig)" in p for p in r.info.problems) == asked


@pytest.mark.parametrize("kind", ["ros1", "ros2-mcap"])
@pytest.mark.parametrize(
    ("encoding", "wanted"),
    [
        ("mono8", [[10, 200]]), ("mono16", [[0x12, 0xFE]]), ("bgr8", [[[3, 2, 1], [6, 5, 4]]]),
        ("rgba8", [[[1, 2, 3], [5, 6, 7]]]), ("bgra8", [[[3, 2, 1], [7, 6, 5]]]),
    ],
)  # fmt: skip
def test_encodings_of_pictures(tmp_path: Path, kind: str, encoding: str, wanted: list) -> None:
    given = {
        "mono8": np.array([[10, 200]], np.uint8), "mono16": np.array([[0x1234, 0xFEDC]], "<u2"),
        "bgr8": np.arange(1, 7, dtype=np.uint8).reshape(1, 2, 3),
        "rgba8": np.arange(1, 9, dtype=np.uint8).reshape(1, 2, 4),
        "bgra8": np.arange(1, 9, dtype=np.uint8).reshape(1, 2, 4),
    }[encoding]  # fmt: skip
    m, e = Maker(kind), events()
    pair = np.concatenate([given, given])
    messages = [
        ("/events", ARRAY, 1000 * int(e.t[9]), m.array(e, 0, 10)),
        ("/image", "sensor_msgs/msg/Image", 1000 * START_US, m.image(START_US, pair, encoding, pad=3)),
    ]
    with open_recording(m.write(tmp_path / "bag", messages)) as r:
        image = events_and_frames(r)[1][0].image
    assert np.array_equal(image, np.array(wanted + wanted, np.uint8))


@pytest.mark.parametrize("form", ["little", "big", "png"])
@pytest.mark.parametrize("top", [4095, 4096])
def test_pictures_of_16_bits_that_use_the_lower_ones_are_said(tmp_path: Path, form: str, top: int) -> None:
    m, e = Maker("ros1"), events()
    ramp = np.linspace(0, top, 48 * 64).reshape(48, 64).astype(np.uint16)
    if form == "png":
        kind, picture = "CompressedImage", m.compressed(START_US, ramp)
    else:
        stored = ramp.astype(">u2" if form == "big" else "<u2")
        kind, picture = "Image", m.image(START_US, stored, "mono16", big=form == "big")
    messages = [
        ("/events", ARRAY, 1000 * int(e.t[9]), m.array(e, 0, 10)),
        ("/image", f"sensor_msgs/msg/{kind}", 1000 * START_US, picture),
    ]
    with open_recording(m.write(tmp_path / "bag", messages)) as r:
        assert np.array_equal(events_and_frames(r)[1][0].image, ramp >> 8)
        said = [p for p in r.info.problems if "16 bits and no value above 4095" in p]
    assert len(said) == (top == 4095)


@pytest.mark.parametrize(
    ("pattern", "places"),
    [
        ("bayer_rggb8", ((0, 0), (1, 1))), ("bayer_bggr8", ((1, 1), (0, 0))),
        ("bayer_grbg8", ((0, 1), (1, 0))), ("bayer_gbrg8", ((1, 0), (0, 1))),
    ],
)  # fmt: skip
def test_bayer_patterns_keep_red_red(tmp_path: Path, pattern: str, places: tuple) -> None:
    (ry, rx), (by, bx) = places
    mosaic = np.full((48, 64), 90, np.uint8)
    mosaic[ry::2, rx::2], mosaic[by::2, bx::2] = 250, 20
    m, e = Maker("ros1"), events()
    messages = [
        ("/events", ARRAY, 1000 * int(e.t[9]), m.array(e, 0, 10)),
        ("/image", "sensor_msgs/msg/Image", 1000 * START_US, m.image(START_US, mosaic, pattern)),
    ]
    with open_recording(m.write(tmp_path / "bag", messages)) as r:
        image = events_and_frames(r)[1][0].image
    assert image[10:-10, 10:-10].reshape(-1, 3).mean(0) == pytest.approx([250, 90, 20])


def test_a_picture_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    m, e, good = Maker("ros1"), events(), np.full((48, 64), 7, np.uint8)
    messages = [("/events", ARRAY, 1000 * int(e.t[9]), m.array(e, 0, 10))]
    for k, (pixels, encoding) in enumerate(
        [(good, "mono8"), (good, "32FC1"), (good[:, :32], "rgb8"), (good, "mono8")]
    ):
        message = m.image(START_US + k, pixels, encoding)
        message.width = 64
        messages.append(("/image", "sensor_msgs/msg/Image", 1000 * (START_US + k), message))
    with open_recording(m.write(tmp_path / "bag", messages)) as r:
        assert len(events_and_frames(r)[1]) == 2
        assert r.report.frames_rejected == 2
        said = " ".join(r.report.problems)
        assert "encoded as '32fc1', which is not read" in said
        assert "is cut off" in said


def test_pictures_written_at_the_same_time_are_told_apart(tmp_path: Path) -> None:
    m, e = Maker("ros2-sqlite"), events()
    messages = [("/events", ARRAY, 1000 * int(e.t[9]), m.array(e, 0, 10))]
    for k in range(4):
        image = m.image(START_US + 1000 * k, np.full((48, 64), k, np.uint8), "mono8")
        messages.append(("/image", "sensor_msgs/msg/Image", 1000 * (START_US + (k // 3) * 5000), image))
    with open_recording(m.write(tmp_path / "bag", messages)) as r:
        assert [int(f.image[0, 0]) for f in events_and_frames(r)[1]] == [0, 1, 2, 3]
        assert [int(f.image[0, 0]) for f in events_and_frames(r, START_US + 1500)[1]] == [2, 3]


def test_pictures_that_were_written_out_of_order(tmp_path: Path) -> None:
    m, e = Maker("ros1"), events()
    messages = [("/events", ARRAY, 1000 * int(e.t[9]), m.array(e, 0, 10))]
    for place, k in enumerate([0, 2, 1, 3, 4]):
        image = m.image(START_US + 1000 * k, np.full((48, 64), k, np.uint8), "mono8")
        messages.append(("/image", "sensor_msgs/msg/Image", 1000 * (START_US + 9000 * place), image))
    with open_recording(m.write(tmp_path / "bag", messages)) as r:
        assert [int(f.image[0, 0]) for f in events_and_frames(r)[1]] == [0, 1, 2, 3, 4]
        assert any("do not lie in order of time" in p for p in r.info.problems)


@pytest.mark.parametrize("kind", KINDS)
def test_other_encodings_and_layouts_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    m, e = Maker(kind), events()
    message = m.packet(e, START_US, "libcaer_cmp", b"abc")
    path = m.write(tmp_path / "a", [("/ev", "event_camera_msgs/msg/EventPacket", 1, message)])
    with pytest.raises(RecordingError, match="encoded as 'libcaer_cmp' are not read"):
        open_recording(path)
    path = m.write(tmp_path / "b", [("/wheel", "std_msgs/msg/Int32", 1, m.exposure(3))])
    with pytest.raises(
        RecordingError, match="holds neither events nor pictures that are known; in it: std_msgs"
    ):
        open_recording(path)
    if kind != "ros2-sqlite":  # whose old bags tell no layouts
        swapped = DEFINITIONS | {"dvs_msgs/msg/Event": "uint16 y\nuint16 x\ntime ts\nbool polarity\n"}
        m = Maker(kind, swapped)
        path = m.write(tmp_path / "c", [("/ev", ARRAY, 1, m.array(e, 0, 10))])
        with pytest.raises(RecordingError, match="has the fields y, x, ts, polarity instead of x, y, ts, pol"):
            open_recording(path)


def test_damage_is_one_line(tmp_path: Path) -> None:
    path = davis("ros1", tmp_path / "bag", events(), frames())
    data = path.read_bytes()
    cut = tmp_path / "cut.bag"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordingError, match="is a bag that cannot be read"):
        open_recording(cut)
    at = data.index(b"index_pos=") + 10
    unclosed = tmp_path / "unclosed.bag"
    unclosed.write_bytes(data[:at] + bytes(8) + data[at + 8 :])
    with pytest.raises(RecordingError, match="mend it with: rosbag reindex"):
        open_recording(unclosed)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metadata.yaml").write_text("a: [")
    with pytest.raises(RecordingError, match="is a bag that cannot be read"):
        open_recording(tmp_path / "empty")
    wrong = tmp_path / "wrong.bag"
    wrong.write_text("no bag")
    with pytest.raises(NotARecording, match=r"is called \.bag but does not begin like ROS bag"):
        open_recording(wrong)


def test_a_bag_that_is_packed_as_a_whole(tmp_path: Path) -> None:
    path = davis("ros2-mcap", tmp_path / "bag", events(), frames())
    (path / "bag.mcap.zst").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"zstd -d bag.mcap.zst\) and open bag.mcap instead"):
        open_recording(path)
    with open_recording(path / "bag.mcap") as r:  # one file by itself
        assert same_events(events_and_frames(r)[0], events())


def test_without_rosbags_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = davis("ros1", tmp_path / "bag", events(), frames())
    monkeypatch.setitem(sys.modules, "rosbags.rosbag1", None)
    with pytest.raises(Refused, match=r"needs: pip install 'halfmirror\[ros\]'"):
        Bag(path)


@pytest.mark.parametrize("kind", ["ros1", "ros2-mcap"])
def test_the_commands_take_a_bag(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = davis(kind, tmp_path / "bag", events(), frames(colour=False))
    assert execute(["recordings", "info", str(path)]) == 0
    assert "ROS" in capsys.readouterr().out
    assert execute(["recordings", "verify", str(path)]) in (0, 1)
    assert execute(["deblur", str(path), "-o", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == FRAMES
    assert execute(["export", str(path), "--to", "aedat4", "-o", str(tmp_path / "a.aedat4")]) == 0
    with open_recording(tmp_path / "a.aedat4") as r:
        assert same_events(events_and_frames(r)[0], events())


def test_edges_of_one_trigger_channel_are_taken() -> None:
    """The first that occurs, as everywhere; two on one clock would give every exposure twice."""
    a, b = events()[:50], events()[50:100]
    words = b"".join(
        Evt3Encoder(*SIZE, channel=c, zero_us=int(a.t[0])).encode(
            e, TriggerEdges(e.t[[10, 20]], np.array([True, False]))
        )
        for c, e in ((2, a), (0, b))
    )
    stream = EventStream.__new__(EventStream)
    stream._channel = TriggerChannel()
    found = stream._evt3(SimpleNamespace(data=words), evt_time.new_state())  # type: ignore[arg-type]
    edges = [f for f in found if isinstance(f, Edges)]
    assert sum(len(f.t) for f in edges) == 2
    assert stream._channel.passed_over() == {"edges_of_channel_0": 2}
