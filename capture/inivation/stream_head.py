"""What an AEDAT4 stream over a socket begins with, read without dv-processing.

dv-processing's `NetworkReader` waits without limit, and without letting any other thread run, for a server that
accepts and says nothing or that announces a header of gigabytes. So a stream is looked at first: four bytes of
length, then a flatbuffer with the identifier `IOHE` that holds an XML text of what the stream carries.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from dataclasses import dataclass

from capture.errors import CameraError

LARGEST_HEAD = 1 << 20
KINDS = {"EVTS": "events", "FRME": "frames", "TRIG": "triggers", "IMUS": "IMU samples"}
_ATTRIBUTE = re.compile(r'<attr key="([^"]{1,64})" type="[a-z]{1,8}">([^<]{0,256})</attr>')

Address = tuple[str, int] | str
"""(host, port) of a TCP server, or the path of a Unix socket."""


@dataclass(frozen=True, slots=True)
class StreamHead:
    """What a stream says of itself.

    Attributes:
        kind: "EVTS", "FRME", "TRIG", "IMUS".
        width, height: of the sensor; 0 where the stream has none.
        source: the camera's name and serial, as the server tells them.
    """

    kind: str
    width: int
    height: int
    source: str


def written(address: Address) -> str:
    """An address for a person."""
    return address if isinstance(address, str) else f"{address[0]}:{address[1]}"


def look(name: str, address: Address, timeout_s: float = 2.0) -> StreamHead:
    """Connect, read the head, close.

    Raises:
        CameraError: nobody listens, says nothing in time, or says something else.
    """
    where = f"{name}: {written(address)}"
    deadline = time.monotonic() + timeout_s
    try:
        with _connected(address, timeout_s) as s:
            size = struct.unpack("<I", _exactly(s, 4, deadline))[0]
            if not 32 <= size <= LARGEST_HEAD:
                raise CameraError(f"{where} sends no AEDAT4 stream (garbage, or another service on this port)")
            head = _exactly(s, size, deadline)
    except TimeoutError:
        raise CameraError(
            f"{where} accepts connections but sent no stream header in {timeout_s:g} s; is it an AEDAT4 server?"
        ) from None
    except EOFError:
        raise CameraError(f"{where} closed the connection before the stream began") from None
    except (OSError, UnicodeError) as e:  # the latter: a host's name that cannot be one
        why = (getattr(e, "strerror", None) or str(e)).lower()
        raise CameraError(f"{where} cannot be reached ({why}); start the server, then it connects") from e
    return _parsed(where, head)


def _connected(address: Address, timeout_s: float) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout_s)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        s.settimeout(timeout_s)
        s.connect(address)
    except BaseException:
        s.close()
        raise
    return s


def _exactly(s: socket.socket, n: int, deadline: float) -> bytes:
    parts, have = [], 0
    while have < n:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        s.settimeout(left)
        part = s.recv(n - have)
        if not part:
            raise EOFError
        parts.append(part)
        have += len(part)
    return b"".join(parts)


def _parsed(where: str, head: bytes) -> StreamHead:
    text = head.decode("utf-8", "replace")
    if head[4:8] != b"IOHE" or "<dv" not in text:
        raise CameraError(f"{where} sends no AEDAT4 stream (garbage, or another service on this port)")
    found = dict(_ATTRIBUTE.findall(text))
    kind = found.get("typeIdentifier", "")
    if kind not in KINDS:
        raise CameraError(f"{where} sends a stream of type {kind or '?'}; known are {', '.join(KINDS)}")
    size = [int(v) if (v := found.get(k, "0")).isdigit() else 0 for k in ("sizeX", "sizeY")]
    if any(not 0 <= v < 1 << 15 for v in size) or (kind in ("EVTS", "FRME") and 0 in size):
        raise CameraError(f"{where} claims a sensor of {size[0]}×{size[1]} pixels; its header is damaged")
    return StreamHead(kind, size[0], size[1], found.get("source", ""))
