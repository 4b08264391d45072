"""One frame as GVSP packets, sent many at a time without copying the picture.

A block is a leader, data packets and a trailer. `sendmmsg` (Linux) takes a table of messages whose parts point
at the headers and straight into the picture, so that a frame of a hundred packets costs a dozen system calls.
Packets: `status u16, block id u16, format u8 and packet id u24`, big endian; the packet size on the wire counts
the 28 bytes of IP and UDP and these 8 as well (GigE Vision 2.0, chapters 24 and 25).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import CameraError
from capture.genicam.gvcp import Status

OVERHEAD = 36
"""IP, UDP and GVSP headers of a packet."""
LEADER, TRAILER, DATA = 1, 2, 3
IMAGE, IMAGE_AND_CHUNKS = 0x0001, 0x4001

_HEADER = struct.Struct(">HHI")
_LEADER = struct.Struct(">HHQIIIIIHH")
_TRAILER = struct.Struct(">HHI")

_IOVEC = np.dtype([("base", np.uint64), ("length", np.uint64)])
_MESSAGE = np.dtype(
    [
        ("name", np.uint64), ("name_length", np.uint32), ("pad0", np.uint32), ("parts", np.uint64),
        ("part_count", np.uint64), ("control", np.uint64), ("control_length", np.uint64), ("flags", np.int32),
        ("pad1", np.uint32), ("sent", np.uint32), ("pad2", np.uint32),
    ]
)  # fmt: skip
_HEADERS = np.dtype([("status", ">u2"), ("block", ">u2"), ("id", ">u4")])

Messages = NDArray[Any]


def _sendmmsg() -> Any:
    if sys.platform != "linux":
        raise CameraError("the simulated GigE Vision camera runs on Linux only")
    f = ctypes.CDLL(None, use_errno=True).sendmmsg
    f.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    f.restype = ctypes.c_int
    return f


class Target:
    """Where packets go: a UDP socket and the receiver's address in the system's own form."""

    def __init__(self, sender: socket.socket, address: str, port: int) -> None:
        self.socket, self.address, self.port = sender, address, port
        self._call = _sendmmsg()
        raw = struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(address) + bytes(8)
        self._name = ctypes.create_string_buffer(raw, len(raw))

    def address_into(self, messages: Messages) -> None:
        """Write the receiver's address into messages."""
        messages["name"] = ctypes.addressof(self._name)
        messages["name_length"] = 16

    def send(self, messages: Messages) -> None:
        """Send messages in order. Raises `OSError`."""
        done = 0
        while done < len(messages):
            rest = messages[done:]
            n = self._call(self.socket.fileno(), rest.ctypes.data, len(rest), 0)
            if n < 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            done += n


class Block:
    """A frame, ready to be sent, as a whole or packet by packet.

    Args:
        number: block id, 1 … 65535.
        image: the picture's bytes, C-contiguous; must not change while the block lives.
        stamp_ns: the camera's clock.
        size: (width, height, x, y) of the region.
        pixel_format: number of the pixel format.
        tail: chunk data behind the image, empty without chunks.
        packet_size: on the wire.
    """

    def __init__(
        self, number: int, image: NDArray[np.uint8], stamp_ns: int, size: tuple[int, int, int, int],
        pixel_format: int, tail: bytes, packet_size: int,
    ) -> None:  # fmt: skip
        self.number = number
        per = packet_size - OVERHEAD
        whole = image.nbytes // per  # packets that hold nothing but image
        # What does not fill a packet, with the chunks: the only bytes that are copied.
        rest = image.reshape(-1)[whole * per :].tobytes() + tail
        count = whole + -(-len(rest) // per)
        kind = IMAGE_AND_CHUNKS if tail else IMAGE
        width, height, x, y = size
        self._ends = [
            _HEADER.pack(0, number, LEADER << 24)
            + _LEADER.pack(0, kind, stamp_ns & (2**64 - 1), pixel_format, width, height, x, y, 0, 0),
            _HEADER.pack(0, number, TRAILER << 24 | (count + 1)) + _TRAILER.pack(0, kind, height),
        ]
        self._keep = (image, np.frombuffer(rest, np.uint8), *(np.frombuffer(e, np.uint8) for e in self._ends))
        headers = np.empty(count, _HEADERS)
        headers["status"], headers["block"] = 0, number
        headers["id"] = np.arange(1, count + 1, dtype=np.uint32) | np.uint32(DATA << 24)
        self._headers = headers

        parts = np.zeros(2 * (count + 2), _IOVEC)
        parts["base"][2:-2:2] = headers.ctypes.data + 8 * np.arange(count, dtype=np.uint64)
        parts["length"][2:-2:2] = 8
        payload = parts[3:-2:2]
        payload["base"][:whole] = image.ctypes.data + per * np.arange(whole, dtype=np.uint64)
        payload["length"][:whole] = per
        more = np.arange(count - whole, dtype=np.uint64)
        payload["base"][whole:] = self._keep[1].ctypes.data + per * more
        payload["length"][whole:] = np.minimum(per, len(rest) - per * more.astype(np.int64))
        for at, end in ((0, self._keep[2]), (-2, self._keep[3])):
            parts["base"][at], parts["length"][at] = end.ctypes.data, end.nbytes
        self._parts = parts

        self.messages: Messages = np.zeros(count + 2, _MESSAGE)
        self.messages["parts"] = parts.ctypes.data + 32 * np.arange(count + 2, dtype=np.uint64)
        self.messages["part_count"] = 2
        self.messages["part_count"][[0, -1]] = 1

    @property
    def nbytes(self) -> int:
        """Bytes of all packets, without IP and UDP headers."""
        return int(self._parts["length"].sum())


def test_packet(size: int) -> bytes:
    """The packet with which a client tries out a packet size: a header and as many bytes as fill it."""
    return _HEADER.pack(0, 0, DATA << 24) + bytes(max(0, size - OVERHEAD))


def unavailable(block: int, packet: int) -> bytes:
    """The answer to a request for a packet that is no longer kept."""
    return _HEADER.pack(Status.PACKET_UNAVAILABLE, block, DATA << 24 | packet)
