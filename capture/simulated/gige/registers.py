"""The memory of the simulated camera: bootstrap registers, feature registers, the XML file."""

from __future__ import annotations

import ipaddress
import math
import struct

from capture.genicam.gvcp import Register, Status
from capture.simulated.gige.features import NAMED, PIXEL_FORMATS, Feature, Kind, count, placed
from capture.simulated.gige.xml import description

XML_AT = 0x10_0000
_SIZE = 0x2_0000
_CAPABILITY = 0xF800_0017
"""User name, serial number, heartbeat, link speed; write, concatenation and resend as a Blackfly S has them."""

Value = int | float | str


class Refused(Exception):
    """A register access that the camera answers with an error."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class Registers:
    """Memory by address for the wire, by feature name for the camera itself.

    Args:
        address, model, serial: of the camera.
        formats: pixel formats that its sensor has.
    """

    def __init__(self, address: str, model: str, serial: str, formats: tuple[str, ...]) -> None:
        self._data = bytearray(_SIZE)
        self._formats = {PIXEL_FORMATS[name] for name in formats}
        self._xml = description(model, formats)
        self._at: dict[str, int] = {}
        self._by_address: dict[int, tuple[Feature, int]] = {}
        for f, at in placed():
            self._at[f.name] = at
            for k in range(count(f)):
                self._by_address[at + 8 * k] = (f, k)
                if f.kind is not Kind.STRING:
                    self.set(f.name, f.value, k)
        self._bootstrap(address, model, serial)

    def _bootstrap(self, address: str, model: str, serial: str) -> None:
        ip = int(ipaddress.IPv4Address(address))
        url = f"Local:halfmirror.xml;{XML_AT:X};{len(self._xml):X}"
        numbers = {
            Register.VERSION: 0x0002_0000, Register.DEVICE_MODE: 0x8000_0001,
            # The maker's part of the address; the rest tells cameras apart.
            Register.MAC_HIGH: 0x2CDD, Register.MAC_LOW: 0xA300_0000 | ip & 0xFF_FFFF,
            Register.IP_OPTIONS: 6, Register.IP_CONFIGURATION: 6, Register.IP_ADDRESS: ip,
            Register.SUBNET_MASK: 0xFF00_0000, Register.INTERFACES: 1, Register.STREAM_CHANNELS: 1,
            Register.CAPABILITY: _CAPABILITY, Register.HEARTBEAT_MS: 3000, Register.TICKS_LOW: 1_000_000_000,
            Register.STREAM_PACKET_SIZE: 1400,
        }  # fmt: skip
        for at, number in numbers.items():
            self.put(at, number)
        words = {
            Register.VENDOR: ("FLIR", 32), Register.MODEL: (model, 32), Register.DEVICE_VERSION: ("1.0", 32),
            Register.MANUFACTURER_INFO: ("simulated camera", 48), Register.SERIAL: (serial, 16),
            Register.FIRST_URL: (url, 512),
        }  # fmt: skip
        for at, (word, length) in words.items():
            raw = word.encode()[: length - 1]
            self._data[at : at + len(raw)] = raw

    # -- by address ----------------------------------------------------------------------------------------

    def word(self, at: int) -> int:
        """A 32-bit register."""
        return int(struct.unpack_from(">I", self._data, at)[0])

    def put(self, at: int, value: int) -> None:
        """Set a 32-bit register."""
        struct.pack_into(">I", self._data, at, value & 0xFFFF_FFFF)

    def read(self, at: int, length: int) -> bytes:
        """Bytes as the wire asks for them. Raises `Refused`."""
        if at % 4 or length % 4:
            raise Refused(Status.BAD_ALIGNMENT)
        if XML_AT <= at < XML_AT + len(self._xml) + 4:
            return self._xml[at - XML_AT : at - XML_AT + length].ljust(length, b"\0")
        if at + length > _SIZE:
            raise Refused(Status.INVALID_ADDRESS)
        return bytes(self._data[at : at + length])

    def feature_at(self, at: int) -> tuple[Feature, int] | None:
        """The feature whose register lies there, and which of its registers it is."""
        return self._by_address.get(at)

    def write(self, at: int, data: bytes, streaming: bool) -> tuple[Feature, int] | None:
        """Write a register of the wire; the feature that it belongs to, if any. Raises `Refused`."""
        if at % 4 or at + len(data) > _SIZE:
            raise Refused(Status.BAD_ALIGNMENT if at % 4 else Status.INVALID_ADDRESS)
        found = self._by_address.get(at)
        if found is None:
            if at not in (
                Register.HEARTBEAT_MS, Register.CONTROL, Register.STREAM_PORT, Register.STREAM_PACKET_SIZE,
                Register.STREAM_ADDRESS,
            ):  # fmt: skip
                raise Refused(Status.WRITE_PROTECT)
            self._data[at : at + len(data)] = data
            return None
        f, _ = found
        if not f.writable or (f.locked and streaming):
            raise Refused(Status.WRITE_PROTECT)
        if len(data) != f.size:
            raise Refused(Status.INVALID_PARAMETER)
        self._check(f, data)
        self._data[at : at + len(data)] = data
        return found

    def _check(self, f: Feature, data: bytes) -> None:
        value: float = struct.unpack(">d" if f.kind is Kind.FLOAT else ">I", data)[0]
        good = math.isfinite(value)
        if f.kind is Kind.ENUMERATION:
            good = value in (self._formats if f.name == "PixelFormat" else dict(f.entries).values())
        low, high = (self.get(b) if isinstance(b, str) else b for b in (f.low, f.high))
        good = good and (low is None or value >= float(low)) and (high is None or value <= float(high))
        if f.kind is Kind.INTEGER and low is not None:
            good = good and (value - float(low)) % f.step == 0
        if not good:
            raise Refused(Status.INVALID_PARAMETER)

    # -- by name -------------------------------------------------------------------------------------------

    def get(self, name: str, index: int = 0) -> float:
        """The number in a feature's register."""
        f, at = NAMED[name], self._at[name] + 8 * index
        return float(struct.unpack_from(">d" if f.kind is Kind.FLOAT else ">I", self._data, at)[0])

    def whole(self, name: str, index: int = 0) -> int:
        """The same as a whole number."""
        return int(self.get(name, index))

    def entry(self, name: str, index: int = 0) -> str:
        """The name of an enumeration's present entry."""
        value = self.whole(name, index)
        return next(n for n, v in NAMED[name].entries if v == value)

    def set(self, name: str, value: Value, index: int = 0) -> None:
        """Set a feature: a number, or an entry's name."""
        f, at = NAMED[name], self._at[name] + 8 * index
        if isinstance(value, str):
            value = dict(f.entries)[value]
        struct.pack_into(">d" if f.kind is Kind.FLOAT else ">I", self._data, at, value)
