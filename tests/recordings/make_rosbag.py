"""Bags of ROS 1 and 2, written and serialised by rosbags, as a rig's drivers fill them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from capture.packets import Events, TriggerEdges
from tests.recordings.make_prophesee import payload

KINDS = ("ros1", "ros2-sqlite", "ros2-mcap")
EVENT = "dvs_msgs/msg/Event"
ARRAY, PACKET, META = (
    "dvs_msgs/msg/EventArray",
    "event_camera_msgs/msg/EventPacket",
    "flir_camera_msgs/msg/ImageMetaData",
)
DEFINITIONS = {
    EVENT: "uint16 x\nuint16 y\ntime ts\nbool polarity\n",
    ARRAY: "std_msgs/Header header\nuint32 height\nuint32 width\ndvs_msgs/Event[] events\n",
    PACKET: "std_msgs/Header header\nuint32 height\nuint32 width\nuint64 seq\nuint64 time_base\n"
    "string encoding\nbool is_bigendian\nuint8[] events\n",
    META: "std_msgs/Header header\nuint64 camera_time\nint16 brightness\nuint32 exposure_time\n"
    "uint32 max_exposure_time\nfloat32 gain\n",
}  # fmt: skip
Message = tuple[str, str, int, Any]  # topic, type, time of writing (ns), message


class Maker:
    """Makes messages of one kind of ROS and writes them."""

    def __init__(self, kind: str, definitions: dict[str, str] | None = None) -> None:
        self.kind = kind
        self.ros1 = kind == "ros1"
        self.store = get_typestore(Stores.ROS1_NOETIC if self.ros1 else Stores.ROS2_HUMBLE)
        for name, text in (definitions or DEFINITIONS).items():
            if not self.ros1:
                text = text.replace("time ts", "builtin_interfaces/Time ts")
            self.store.register(get_types_from_msg(text, name))

    def make(self, name: str, **fields: Any) -> Any:
        return self.store.types[name](**fields)

    def time(self, us: int, ns: int = 0) -> Any:
        total = 1000 * us + ns
        return self.make("builtin_interfaces/msg/Time", sec=total // 10**9, nanosec=total % 10**9)

    def header(self, us: int, frame_id: str = "cam") -> Any:
        number = {"seq": 7} if self.ros1 else {}
        return self.make("std_msgs/msg/Header", **number, stamp=self.time(us), frame_id=frame_id)

    def array(self, e: Events, first: int, last: int, frame_id: str = "dvs") -> Any:
        events = [
            self.make(
                EVENT, x=int(e.x[i]), y=int(e.y[i]), ts=self.time(int(e.t[i]), 321), polarity=bool(e.p[i])
            )
            for i in range(first, last)
        ]
        stamp = int(e.t[first]) if first < last else 0
        return self.make(
            ARRAY, header=self.header(stamp, frame_id), height=e.height, width=e.width, events=events
        )

    def packet(self, e: Events, stamp_us: int, encoding: str, data: bytes) -> Any:
        return self.make(
            PACKET, header=self.header(stamp_us), height=e.height, width=e.width, seq=3, time_base=12345,
            encoding=encoding, is_bigendian=False, events=np.frombuffer(data, np.uint8),
        )  # fmt: skip

    def image(self, us: int, pixels: NDArray[Any], encoding: str, pad: int = 0, big: bool = False) -> Any:
        rows = pixels.reshape(len(pixels), -1).view(np.uint8)
        rows = np.pad(rows, ((0, 0), (0, pad)), constant_values=99)
        return self.make(
            "sensor_msgs/msg/Image", header=self.header(us), height=len(pixels), width=pixels.shape[1],
            encoding=encoding, is_bigendian=int(big), step=rows.shape[1], data=rows.reshape(-1),
        )  # fmt: skip

    def compressed(self, us: int, pixels: NDArray[Any]) -> Any:
        ok, data = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)
        assert ok
        return self.make(
            "sensor_msgs/msg/CompressedImage", header=self.header(us), format="png", data=data.reshape(-1)
        )

    def exposure(self, us: int) -> Any:
        return self.make("std_msgs/msg/Int32", data=us)

    def meta(self, stamp_us: int, exposure_us: int) -> Any:
        return self.make(
            META, header=self.header(stamp_us), camera_time=1, brightness=-1, exposure_time=exposure_us,
            max_exposure_time=9, gain=1.5,
        )  # fmt: skip

    def write(
        self, path: Path, messages: list[Message], *, definitions: bool = True, lz4: bool = False
    ) -> Path:
        """Write the messages in order of their times of writing."""
        if self.ros1:
            path = path.with_suffix(".bag")
            writer: Any = Writer1(path)
            if lz4:
                writer.set_compression(Writer1.CompressionFormat.LZ4)
        else:
            plugin = StoragePlugin.MCAP if self.kind == "ros2-mcap" else StoragePlugin.SQLITE3
            writer = Writer2(path, version=9 if definitions else 8, storage_plugin=plugin)
        with writer:
            topics: dict[str, Any] = {}
            for topic, name, at_ns, message in sorted(messages, key=lambda m: m[2]):
                if topic not in topics:
                    topics[topic] = writer.add_connection(topic, name, typestore=self.store)
                serialise = self.store.serialize_ros1 if self.ros1 else self.store.serialize_cdr
                writer.write(topics[topic], at_ns, serialise(message, name))
        return path


def slices(e: Events, n: int) -> Iterator[tuple[int, int]]:
    """The events in messages of `n`."""
    for a in range(0, len(e), n):
        yield a, min(a + n, len(e))


def davis(
    kind: str, path: Path, e: Events, frames: list[tuple[int, int, NDArray[np.uint8]]], *, delay_us: int = 5000,
    exposure: bool = True, **more: Any,
) -> Path:  # fmt: skip
    """What the DVS packages' driver of a DAVIS writes; frames are (start, length of exposure, pixels)."""
    m = Maker(kind)
    messages: list[Message] = [
        ("/dvs/events", ARRAY, 1000 * (int(e.t[b - 1]) + delay_us), m.array(e, a, b)) for a, b in slices(e, 500)
    ]
    for start, length, pixels in frames:
        at = 1000 * (start + length + delay_us)
        encoding = "rgb8" if pixels.ndim == 3 else "mono8"
        messages.append(
            ("/dvs/image_raw", "sensor_msgs/msg/Image", at, m.image(start + length // 2, pixels, encoding))
        )
        if exposure:
            messages.append(("/dvs/exposure", "std_msgs/msg/Int32", at + 50_000, m.exposure(length)))
    return m.write(path, messages, **more)


def mono(e: Events) -> bytes:
    """Events as `mono`, their times counted from the first."""
    words = (e.p.astype(np.uint64) << 63) | (e.y.astype(np.uint64) << 48) | (e.x.astype(np.uint64) << 32)
    return (words | ((e.t - e.t[0]) * 1000).astype(np.uint64)).astype("<u8").tobytes()


def prophesee(
    kind: str, path: Path, e: Events, edges: TriggerEdges | None, encoding: str, *, sensor_us: int = 0,
    scatter_us: int = 0, drift: float = 0.0, each: int = 500,
) -> Path:  # fmt: skip
    """Packets as the Metavision driver writes them; `sensor_us`: the sensor's clock less the stamps' (EVT3).

    The stamps' clock gains `drift` on the sensor's, from the first event on. `each`: events in a packet.
    """
    m, messages = Maker(kind), []
    edges = edges or TriggerEdges.empty()
    for n, (a, b) in enumerate(slices(e, each)):
        part = Events(e.t[a:b] + sensor_us, e.x[a:b], e.y[a:b], e.p[a:b], e.width, e.height)
        low, high = int(e.t[a]), int(e.t[b]) if b < len(e) else 1 << 60
        ours = (edges.t >= low) & (edges.t < high)
        if encoding == "evt3":
            data = payload("evt3", part, TriggerEdges(edges.t[ours] + sensor_us, edges.rising[ours]))
        else:
            data = mono(part)
        stamp = int(e.t[a]) + (scatter_us if n % 2 else -scatter_us) + round(drift * int(e.t[a] - e.t[0]))
        messages.append(
            ("/ev/events", PACKET, 1000 * (int(e.t[b - 1]) + 3000), m.packet(e, stamp, encoding, data))
        )
    return m.write(path, messages)
