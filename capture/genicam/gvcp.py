"""GigE Vision's control protocol, as far as discovery and the simulated camera need it.

GVCP runs over UDP port 3956, all numbers big endian. A command is `0x42, flags, command u16, length u16,
id u16` and `length` bytes; an answer is `status u16, command + 1 u16, length u16, id u16` and its bytes.
(GigE Vision 2.0, chapters 14 to 18 and the table of bootstrap registers.)
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import psutil

PORT = 3956
KEY = 0x42
ACK_REQUIRED = 0x01
HEADER = struct.Struct(">BBHHH")
ANSWER = struct.Struct(">HHHH")
LARGEST = 540
"""Bytes of the largest GVCP payload."""

INTERFACES = "HALFMIRROR_GIGE_INTERFACES"
"""Environment variable: network interfaces that are searched for cameras, separated by commas ("lo"); all
that are up when it is not set, none when it is empty."""


class Verb(IntEnum):
    """Commands; an answer's number is one higher."""

    DISCOVERY = 0x02
    PACKET_RESEND = 0x40
    READ_REGISTER = 0x80
    WRITE_REGISTER = 0x82
    READ_MEMORY = 0x84
    WRITE_MEMORY = 0x86


class Status(IntEnum):
    """What an answer says about its command."""

    SUCCESS = 0x0000
    NOT_IMPLEMENTED = 0x8001
    INVALID_PARAMETER = 0x8002
    INVALID_ADDRESS = 0x8003
    WRITE_PROTECT = 0x8004
    BAD_ALIGNMENT = 0x8005
    ACCESS_DENIED = 0x8006
    PACKET_UNAVAILABLE = 0x800C


class Register(IntEnum):
    """Addresses of bootstrap registers."""

    VERSION = 0x0000
    DEVICE_MODE = 0x0004
    MAC_HIGH = 0x0008
    MAC_LOW = 0x000C
    IP_OPTIONS = 0x0010
    IP_CONFIGURATION = 0x0014
    IP_ADDRESS = 0x0024
    SUBNET_MASK = 0x0034
    VENDOR = 0x0048
    MODEL = 0x0068
    DEVICE_VERSION = 0x0088
    MANUFACTURER_INFO = 0x00A8
    SERIAL = 0x00D8
    USER_NAME = 0x00E8
    FIRST_URL = 0x0200
    INTERFACES = 0x0600
    MESSAGE_CHANNELS = 0x0900
    STREAM_CHANNELS = 0x0904
    CAPABILITY = 0x0934
    HEARTBEAT_MS = 0x0938
    TICKS_HIGH = 0x093C
    TICKS_LOW = 0x0940
    CONTROL = 0x0A00
    STREAM_PORT = 0x0D00
    STREAM_PACKET_SIZE = 0x0D04
    STREAM_PACKET_DELAY = 0x0D08
    STREAM_ADDRESS = 0x0D18


DISCOVERY_BYTES = 0xF8
"""A discovery answer is the first so many bytes of the bootstrap registers."""


def command(verb: Verb, payload: bytes = b"", number: int = 1, flags: int = ACK_REQUIRED) -> bytes:
    """The bytes of a command."""
    return HEADER.pack(KEY, flags, verb, len(payload), number) + payload


def answer(verb: int, number: int, payload: bytes = b"", status: int = Status.SUCCESS) -> bytes:
    """The bytes of the answer to a command."""
    return ANSWER.pack(status, verb + 1, len(payload), number) + payload


@dataclass(frozen=True, slots=True)
class Found:
    """A GigE Vision camera that answered.

    Attributes:
        address: where it says it is, dotted.
        vendor, model, serial: as it tells.
    """

    address: str
    vendor: str
    model: str
    serial: str


def _text(data: bytes, at: int, length: int) -> str:
    return data[at : at + length].split(b"\0")[0].decode("utf-8", "replace").strip()


def found_in(data: bytes) -> Found | None:
    """The camera in a discovery answer, None when the bytes are not one."""
    if len(data) < ANSWER.size + DISCOVERY_BYTES:
        return None
    status, verb, _, _ = ANSWER.unpack_from(data)
    if status != Status.SUCCESS or verb != Verb.DISCOVERY + 1:
        return None
    d = data[ANSWER.size :]
    address = str(ipaddress.IPv4Address(d[Register.IP_ADDRESS : Register.IP_ADDRESS + 4]))
    vendor, model = _text(d, Register.VENDOR, 32), _text(d, Register.MODEL, 32)
    return Found(address, vendor, model, _text(d, Register.SERIAL, 16))


def interfaces() -> list[str] | None:
    """Names of interfaces to search by the environment variable, None for all."""
    wanted = os.environ.get(INTERFACES)
    return None if wanted is None else [n.strip() for n in wanted.split(",") if n.strip()]


def _targets(wanted: Sequence[str] | None) -> Iterable[tuple[str, str]]:
    """(own address, broadcast address) of every interface to search.

    On the loopback interface it is 127.255.255.255, which no packet leaves the machine for.
    """
    up = {name for name, s in psutil.net_if_stats().items() if s.isup}
    for name, addresses in psutil.net_if_addrs().items():
        if name not in up or (wanted is not None and name not in wanted):
            continue
        for a in addresses:
            if a.family != socket.AF_INET or not a.netmask:
                continue
            network = ipaddress.IPv4Network(f"{a.address}/{a.netmask}", strict=False)
            yield a.address, str(network.broadcast_address)
            if not network.is_loopback:
                # A camera with a wrong address hears only this one.
                yield a.address, "255.255.255.255"


def discover(timeout_s: float = 0.25, wanted: Sequence[str] | None = None) -> list[Found]:
    """Cameras that answer a discovery broadcast, in order of address, each once. Never raises.

    Args:
        wanted: names of interfaces; None: those of the environment variable, or all that are up.
    """
    sockets: list[socket.socket] = []
    answers: dict[str, Found] = {}
    try:
        for own, broadcast in _targets(interfaces() if wanted is None else wanted):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sockets.append(s)
            with contextlib.suppress(OSError):  # an interface without a route
                s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                s.bind((own, 0))
                s.sendto(command(Verb.DISCOVERY), (broadcast, PORT))
        deadline = time.monotonic() + timeout_s
        while sockets and (left := deadline - time.monotonic()) > 0:
            for s in select.select(sockets, [], [], left)[0]:
                with contextlib.suppress(OSError):
                    f = found_in(s.recv(2048))
                    if f is not None:
                        answers[f.address] = f
    except OSError:
        pass
    finally:
        for s in sockets:
            s.close()
    return sorted(answers.values(), key=lambda f: ipaddress.IPv4Address(f.address))
