"""The features of the simulated camera: names of the SFNC as a Blackfly S has them, and where each lies.

One table makes the GenICam XML (`xml`) and the register memory (`registers`), so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from capture.genicam.gvcp import Register

BASE = 0x10000
"""Where feature registers begin, above the bootstrap registers."""


class Kind(StrEnum):
    """How a feature is read and written."""

    INTEGER = "Integer"
    FLOAT = "Float"
    ENUMERATION = "Enumeration"
    BOOLEAN = "Boolean"
    COMMAND = "Command"
    STRING = "String"


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature.

    Attributes:
        name: of the SFNC.
        kind: what it is.
        category: the group it is listed under.
        value: at power-up.
        low, high: bounds; a word names the feature that holds the bound just now.
        step: of an integer.
        unit: for a person.
        entries: of an enumeration, name → value.
        selector: the enumeration that chooses among several of this feature.
        writable: the client may set it.
        locked: not while it streams.
        address: a register with a fixed place.
        length: bytes of a string.
    """

    name: str
    kind: Kind
    category: str
    value: int | float | str = 0
    low: float | str | None = None
    high: float | str | None = None
    step: int = 1
    unit: str = ""
    entries: tuple[tuple[str, int], ...] = ()
    selector: str = ""
    writable: bool = True
    locked: bool = False
    address: int = -1
    length: int = 0

    @property
    def size(self) -> int:
        """Bytes of the register."""
        return self.length or (8 if self.kind is Kind.FLOAT else 4)


def _enum(
    name: str, category: str, words: str, value: int = 0, *, selector: str = "", locked: bool = False
) -> Feature:
    entries = tuple((w, k) for k, w in enumerate(words.split()))
    return Feature(name, Kind.ENUMERATION, category, value, entries=entries, selector=selector, locked=locked)


def _switch(name: str, category: str, on: bool = False, selector: str = "", locked: bool = False) -> Feature:
    return Feature(name, Kind.BOOLEAN, category, int(on), selector=selector, locked=locked)


def _int(
    name: str, category: str, value: int, low: float | str, high: float | str, step: int = 1, **more: bool
) -> Feature:
    return Feature(name, Kind.INTEGER, category, value, low, high, step, **more)  # type: ignore[arg-type]


def _float(
    name: str, category: str, value: float, low: float | str, high: float | str, unit: str, selector: str = ""
) -> Feature:
    return Feature(name, Kind.FLOAT, category, value, low, high, unit=unit, selector=selector)


def _told(name: str, category: str, kind: Kind = Kind.INTEGER) -> Feature:
    """Read only."""
    return Feature(name, kind, category, writable=False)


def _string(name: str, register: Register, length: int) -> Feature:
    return Feature(name, Kind.STRING, "DeviceControl", "", writable=False, address=register, length=length)


PIXEL_FORMATS: dict[str, int] = {
    "Mono8": 0x01080001, "BayerGR8": 0x01080008, "BayerRG8": 0x01080009, "BayerGB8": 0x0108000A,
    "BayerBG8": 0x0108000B, "BayerRG16": 0x0110002F, "RGB8": 0x02180014,
}  # fmt: skip
"""Numbers of the GenICam Pixel Format Naming Convention."""

CHUNKS: dict[str, tuple[int, Kind]] = {
    "FrameID": (0x0F01, Kind.INTEGER), "ExposureTime": (0x0F02, Kind.FLOAT),
    "Timestamp": (0x0F03, Kind.INTEGER), "Gain": (0x0F04, Kind.FLOAT),
}  # fmt: skip
"""What may be appended to a frame: name → chunk id and kind. All take 8 bytes."""
IMAGE_CHUNK = 0x0F00

LINES = ("Line0", "Line1", "Line2", "Line3")

_IMAGE, _ACQUISITION, _ANALOG = "ImageFormatControl", "AcquisitionControl", "AnalogControl"
_IO, _CHUNK, _TRANSPORT = "DigitalIOControl", "ChunkDataControl", "TransportLayerControl"

TABLE: tuple[Feature, ...] = (
    _string("DeviceVendorName", Register.VENDOR, 32),
    _string("DeviceModelName", Register.MODEL, 32),
    _string("DeviceVersion", Register.DEVICE_VERSION, 32),
    _string("DeviceManufacturerInfo", Register.MANUFACTURER_INFO, 48),
    _string("DeviceSerialNumber", Register.SERIAL, 16),
    _string("DeviceUserID", Register.USER_NAME, 16),
    _told("DeviceTemperature", "DeviceControl", Kind.FLOAT),
    _int("DeviceLinkThroughputLimit", "DeviceControl", 125_000_000, 1_000_000, 1_000_000_000),

    _told("SensorWidth", _IMAGE), _told("SensorHeight", _IMAGE), _told("WidthMax", _IMAGE),
    _told("HeightMax", _IMAGE), _told("OffsetXMax", _IMAGE), _told("OffsetYMax", _IMAGE),
    _int("Width", _IMAGE, 0, 16, "WidthMax", 2, locked=True),
    _int("Height", _IMAGE, 0, 16, "HeightMax", 2, locked=True),
    _int("OffsetX", _IMAGE, 0, 0, "OffsetXMax", 2, locked=True),
    _int("OffsetY", _IMAGE, 0, 0, "OffsetYMax", 2, locked=True),
    Feature("PixelFormat", Kind.ENUMERATION, _IMAGE, locked=True, entries=tuple(PIXEL_FORMATS.items())),

    _enum("AcquisitionMode", _ACQUISITION, "Continuous"),
    Feature("AcquisitionStart", Kind.COMMAND, _ACQUISITION),
    Feature("AcquisitionStop", Kind.COMMAND, _ACQUISITION),
    _switch("AcquisitionFrameRateEnable", _ACQUISITION),
    _float(
        "AcquisitionFrameRate", _ACQUISITION, 0.0, "AcquisitionFrameRateMin", "AcquisitionFrameRateMax", "Hz"
    ),
    _told("AcquisitionFrameRateMin", _ACQUISITION, Kind.FLOAT),
    _told("AcquisitionFrameRateMax", _ACQUISITION, Kind.FLOAT),
    _told("AcquisitionResultingFrameRate", _ACQUISITION, Kind.FLOAT),
    _enum("TriggerSelector", _ACQUISITION, "FrameStart"),
    _enum("TriggerMode", _ACQUISITION, "Off On"),
    _enum("TriggerSource", _ACQUISITION, "Software Line0 Line1 Line2 Line3"),
    _enum("TriggerActivation", _ACQUISITION, "RisingEdge FallingEdge"),
    Feature("TriggerSoftware", Kind.COMMAND, _ACQUISITION),
    _enum("ExposureMode", _ACQUISITION, "Timed"),
    Feature(
        "SensorShutterMode", Kind.ENUMERATION, _ACQUISITION, entries=(("Global", 0), ("Rolling", 1)),
        writable=False,
    ),
    # As with the real camera: automatic until it is told otherwise.
    _enum("ExposureAuto", _ACQUISITION, "Off Once Continuous", 2),
    _float("ExposureTime", _ACQUISITION, 0.0, "ExposureTimeMin", "ExposureTimeMax", "us"),
    _told("ExposureTimeMin", _ACQUISITION, Kind.FLOAT),
    _told("ExposureTimeMax", _ACQUISITION, Kind.FLOAT),

    _enum("GainSelector", _ANALOG, "All"),
    _enum("GainAuto", _ANALOG, "Off Once Continuous", 2),
    _float("Gain", _ANALOG, 0.0, 0.0, 47.99, "dB"),
    _enum("BalanceWhiteAuto", _ANALOG, "Off Once Continuous", 2),
    _enum("BalanceRatioSelector", _ANALOG, "Red Blue"),
    _float("BalanceRatio", _ANALOG, 1.0, 0.25, 4.0, "", "BalanceRatioSelector"),
    _switch("GammaEnable", _ANALOG, True),
    _float("Gamma", _ANALOG, 0.8, 0.25, 4.0, ""),

    _enum("LineSelector", _IO, " ".join(LINES)),
    _enum("LineMode", _IO, "Input Output", selector="LineSelector"),
    _switch("LineInverter", _IO, selector="LineSelector"),
    _enum("LineSource", _IO, "Off ExposureActive", selector="LineSelector"),

    _switch("ChunkModeActive", _CHUNK, locked=True),
    _enum("ChunkSelector", _CHUNK, " ".join(CHUNKS)),
    _switch("ChunkEnable", _CHUNK, selector="ChunkSelector", locked=True),

    _told("PayloadSize", _TRANSPORT),
    Feature("GevSCPSPacketSize", Kind.INTEGER, _TRANSPORT, 1400, 220, 65532, 4, locked=True),
    Feature("GevSCPSFireTestPacket", Kind.COMMAND, _TRANSPORT),
    _switch("GevSCPSDoNotFragment", _TRANSPORT, True),
    Feature(
        "GevSCPD", Kind.INTEGER, _TRANSPORT, 0, 0, 0xFFFF_FFFF, address=Register.STREAM_PACKET_DELAY
    ),
    _int("TLParamsLocked", _TRANSPORT, 0, 0, 1),
)  # fmt: skip

_SPACING = 0x40


def placed() -> Iterator[tuple[Feature, int]]:
    """Every feature with the address of its register (the first one of a selected feature)."""
    for k, f in enumerate(TABLE):
        yield f, f.address if f.address >= 0 else BASE + k * _SPACING


def count(f: Feature) -> int:
    """How many registers a feature has: one for each entry of its selector."""
    return len(NAMED[f.selector].entries) if f.selector else 1


NAMED = {f.name: f for f in TABLE}
