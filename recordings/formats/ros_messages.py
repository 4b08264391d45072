"""Messages of ROS 1 (packed) and ROS 2 (CDR), read field by field: what a bag holds of cameras.

Layouts, after the header (stamp, name of the frame):

* `dvs_msgs/EventArray`, `prophesee_event_msgs/EventArray`: height, width uint32; events: x, y uint16, time,
  polarity bool.
* `event_camera_msgs/EventPacket`: height, width uint32; seq, time_base uint64; encoding; big-endian bool;
  bytes.
* `sensor_msgs/Image`: height, width uint32; encoding; big-endian uint8; bytes a row uint32; bytes.
* `sensor_msgs/CompressedImage`: format; the bytes of a picture file.
* `flir_camera_msgs/ImageMetaData`: camera_time uint64, brightness int16, exposure_time uint32 (µs), …
* `std_msgs/Int32` has no header.

ROS 1 puts values one behind the other; CDR aligns each to its own size, counted from behind its four first
bytes. Nothing of a bag's own definitions is turned into code; they are compared with the layouts above.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import Piece, coordinates

EVENT_ARRAYS = ("dvs_msgs/msg/EventArray", "prophesee_event_msgs/msg/EventArray")
EVENT_PACKET = "event_camera_msgs/msg/EventPacket"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
META_DATA = ("flir_camera_msgs/msg/ImageMetaData", "image_meta_msgs/msg/ImageMetaData")
INT32 = "std_msgs/msg/Int32"

_EVENT_1 = np.dtype([("x", "<u2"), ("y", "<u2"), ("s", "<u4"), ("ns", "<u4"), ("p", "u1")])
_STEP_2 = 16  # bytes from event to event in CDR: 13, and three that align
_LINE = re.compile(r"^\s*[\w/]+(?:\[[^\]]*\])?\s+(\w+)\s*(?:#.*)?$")
_ARRAY, _EVENT = ["header", "height", "width", "events"], ["x", "y", "ts", "polarity"]
_PACKET = ["header", "height", "width", "seq", "time_base", "encoding", "is_bigendian", "events"]


class Malformed(Exception):
    """A message is cut off or is none of its kind; the text says how."""


class Wire:
    """Reads a message from its beginning.

    Args:
        data: the message.
        cdr: as ROS 2 writes it, else as ROS 1.

    Raises:
        Malformed: (each call) the message ends before.
    """

    def __init__(self, data: bytes, cdr: bool) -> None:
        self._data, self._cdr = data, cdr
        self._base = self.at = 4 if cdr else 0
        if cdr and (len(data) < 4 or data[1] & 1 == 0):
            raise Malformed("is not written in little-endian order")

    def _take(self, kind: str) -> int:
        size = struct.calcsize(kind)
        self._align(size)
        if self.at + size > len(self._data):
            raise Malformed("is cut off")
        (value,) = struct.unpack_from("<" + kind, self._data, self.at)
        self.at += size
        return int(value)

    def _align(self, size: int) -> None:
        if self._cdr:
            self.at += -(self.at - self._base) % size

    def u8(self) -> int:
        """One byte."""
        return self._take("B")

    def i16(self) -> int:
        """Two bytes, signed."""
        return self._take("h")

    def i32(self) -> int:
        """Four bytes, signed."""
        return self._take("i")

    def u32(self) -> int:
        """Four bytes."""
        return self._take("I")

    def u64(self) -> int:
        """Eight bytes."""
        return self._take("Q")

    def blob(self) -> memoryview:
        """Bytes behind their number."""
        size = self.u32()
        if self.at + size > len(self._data):
            raise Malformed("is cut off")
        self.at += size
        return memoryview(self._data)[self.at - size : self.at]

    def text(self) -> str:
        """A string."""
        return bytes(self.blob()).rstrip(b"\0").decode("utf-8", "replace")

    def header(self) -> int:
        """A `std_msgs/Header`: its stamp, ns."""
        if not self._cdr:
            self.u32()  # a number
        s, ns = (self.i32(), self.u32()) if self._cdr else (self.u32(), self.u32())
        self.text()
        return s * 1_000_000_000 + ns

    def events(self) -> Piece:
        """The events of an `EventArray`; each has its own time, µs."""
        count, data = self.u32(), self._data
        if not self._cdr:
            if self.at + count * _EVENT_1.itemsize > len(data):
                raise Malformed("is cut off")
            e = np.frombuffer(data, _EVENT_1, count, self.at)
            return _piece(e["s"], e["ns"], e["x"], e["y"], e["p"])
        if not count:
            none = np.empty(0, np.int16)
            return Piece(np.empty(0, np.int64), none, none, np.empty(0, np.bool_))
        # From the second event on x stands two bytes earlier: it needs less alignment than the time behind it.
        if self.at + (count - 1) * _STEP_2 + 13 > len(data):
            raise Malformed("is cut off")

        def column(kind: str, offset: int) -> NDArray[np.generic]:
            return np.ndarray((count,), kind, data, self.at + offset, (_STEP_2,))

        x, y = column("<u2", -2).copy(), column("<u2", 0).copy()
        x[0], y[0] = struct.unpack_from("<HH", data, self.at)
        return _piece(column("<u4", 4), column("<u4", 8), x, y, column("u1", 12))


def _piece(
    s: NDArray[np.generic], ns: NDArray[np.generic], x: NDArray[np.generic], y: NDArray[np.generic],
    p: NDArray[np.generic],
) -> Piece:  # fmt: skip
    t = s.astype(np.int64) * 1_000_000 + ns.astype(np.int64) // 1000
    return Piece(t, coordinates(x), coordinates(y), p.astype(np.bool_))


def event_array(data: bytes, cdr: bool) -> tuple[Wire, tuple[int, int]]:
    """An `EventArray`: what is left of it, from the number of its events on, and (width, height) of the sensor.

    Raises:
        Malformed: it is cut off before.
    """
    w = Wire(data, cdr)
    w.header()
    height, width = w.u32(), w.u32()
    return w, (width, height)


class Packet(NamedTuple):
    """An `EventPacket`: its stamp (ns, the host's clock), the sensor's size, how it is encoded, its bytes."""

    stamp_ns: int
    size: tuple[int, int]
    encoding: str
    data: memoryview


def packet(data: bytes, cdr: bool) -> Packet:
    """Read an `EventPacket`. Raises `Malformed`."""
    w = Wire(data, cdr)
    stamp = w.header()
    height, width = w.u32(), w.u32()
    w.u64()
    w.u64()
    encoding = w.text()
    if w.u8():
        raise Malformed("is written in big-endian order")
    return Packet(stamp, (width, height), encoding, w.blob())


def mono_events(p: Packet) -> Piece:
    """Events encoded as `mono`: 64-bit words of polarity (63), y (62:48), x (47:32), ns since the stamp."""
    words = np.frombuffer(p.data, "<u8", len(p.data) // 8)
    t = (p.stamp_ns + (words & 0xFFFFFFFF).astype(np.int64)) // 1000
    x, y = ((words >> shift).astype(np.int64) & mask for shift, mask in ((32, 0xFFFF), (48, 0x7FFF)))
    return Piece(t, coordinates(x), coordinates(y), (words >> 63) != 0)


def require_layout(msgtype: str, definition: str) -> None:
    """Compare what a bag says of a message with what is read here. Without a definition nothing can be said.

    Raises:
        Malformed: other fields, or in another order.
    """
    if not definition or msgtype not in (*EVENT_ARRAYS, EVENT_PACKET):
        return
    first, *others = re.split(r"^=+\s*$", definition, flags=re.MULTILINE)
    checks = [(first, _PACKET if msgtype == EVENT_PACKET else _ARRAY)]
    checks += [(o, _EVENT) for o in others if re.match(r"\s*MSG: \w+/(msg/)?Event\s", o)]
    for text, wanted in checks:
        found = [m[1] for line in text.splitlines() if (m := _LINE.match(line))]
        if found != wanted:
            raise Malformed(f"has the fields {', '.join(found)[:120]} instead of {', '.join(wanted)}")
