"""The text header of Prophesee RAW and DAT files: encoding, word order, sensor size, where the data begin.

A header is a run of lines `% key value`. Newer files close it with `% end`; in older ones the data simply
follow, and may begin with the byte `%` too, so a line counts only when it is printable text.

The size of the sensor stands in `geometry`, in `format` (`EVT3;height=720;width=1280`) or in DAT's `Width`
and `Height`. Older files have none of these. Then it follows from the sensor that the file names (plug-in,
sensor name, system id), as far as these are known for sure; else it has to be stated.

`time_zero_us`, which this program's export writes, is what was subtracted from all times to bring them below
the first wrap; readers of RAW here add it again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from recordings.recording import NotARecording, RecordingError, Remark

MAGIC = b"% "
# Headers have about ten lines; far more is damage, or another kind of file.
MAX_HEADER_BYTES = 64 << 10
MAX_LINE_BYTES = 4096
_ZERO = "time_zero_us"

# By the sensor's name in a plug-in or sensor name. Longer names first.
_SENSORS = (
    ("genx320", (320, 320)),
    ("imx636", (1280, 720)),
    ("imx646", (1280, 720)),
    ("imx637", (640, 512)),
    ("imx647", (640, 512)),
    ("gen31", (640, 480)),
    ("gen3", (640, 480)),
    ("gen4", (1280, 720)),
)
_SYSTEM_IDS = {21: (640, 480), 49: (1280, 720)}

_FORMAT = {"EVT2": "evt2", "EVT21": "evt2.1", "EVT2.1": "evt2.1", "EVT3": "evt3"}
_EVT = {"2.0": "evt2", "2.1": "evt2.1", "3.0": "evt3"}


@dataclass(frozen=True, slots=True)
class Header:
    """What a header tells.

    Attributes:
        encoding: "evt2", "evt2.1", "evt3" or "dat".
        fields: all lines, keys in lower case, the last of equal ones.
        data_at: where the data begin, bytes from the start of the file (DAT: behind its two bytes of type).
        swapped: EVT2.1 only: the 32-bit halves of each word are exchanged (`endianness=legacy`).
        version: DAT only: 1 or 2.
        zero_us: RAW only: to be added to all times.
        size: (width, height) as the header states it, None when it does not.
        problems: one line each.
    """

    encoding: str
    fields: dict[str, str]
    data_at: int
    swapped: bool = False
    version: int = 0
    zero_us: int = 0
    size: tuple[int, int] | None = None
    problems: tuple[str, ...] = field(default=())

    @property
    def camera(self) -> str:
        """Maker, plug-in and serial number, as far as they are there."""
        f = self.fields
        sensor = f.get("sensor_name") or f.get("plugin_name", "").removeprefix("hal_plugin_")
        maker = f.get("integrator_name") or f.get("camera_integrator_name") or "Prophesee"
        return " ".join(w for w in (maker, sensor, f.get("serial_number", "")) if w)[:200]

    def inferred_size(self) -> tuple[tuple[int, int], str] | None:
        """The sensor's size by what it is called, and by which line; None when that tells nothing."""
        for key in ("sensor_name", "plugin_name"):
            name = self.fields.get(key, "").lower()
            for sensor, size in _SENSORS:
                if sensor in name:
                    return size, f"{key} {self.fields[key]}"
        number = self.fields.get("system_id", "")
        if number.isdecimal() and int(number) in _SYSTEM_IDS:
            return _SYSTEM_IDS[int(number)], f"system_ID {number}"
        if self.encoding == "dat" and self.version == 1:
            return (304, 240), "DAT version 1, which only the 304×240 sensor wrote"
        return None


def read_header(path: Path) -> Header:
    """Read the header of a RAW or DAT file.

    Raises:
        NotARecording: it begins like one and is none, or its encoding is not known.
        RecordingError: the header is damaged, or the file cannot be read.
    """
    try:
        with path.open("rb") as f:
            start = f.read(MAX_HEADER_BYTES + 2)
    except OSError as e:
        raise RecordingError(f"{path}: cannot be read ({e.strerror or e})") from e
    fields, at = _lines(path, start)
    if "format" not in fields and "evt" not in fields:
        return _dat(path, fields, start, at)
    return _raw(path, fields, at)


def _lines(path: Path, start: bytes) -> tuple[dict[str, str], int]:
    """The lines and where they end."""
    fields: dict[str, str] = {}
    at = 0
    while start[at : at + 1] == b"%":
        end = start.find(b"\n", at, at + MAX_LINE_BYTES)
        text = start[at + 1 : end].rstrip(b"\r").decode("latin-1") if end >= 0 else "\0"
        if not text.isprintable() or (text and not text.startswith(" ")):
            break  # data that happen to begin with the byte of "%"
        at = end + 1
        key, _, value = text.strip().partition(" ")
        if key.lower() == "end":
            break
        if key:
            fields[key.lower()] = value.strip()
    if at >= MAX_HEADER_BYTES:
        raise RecordingError(f"{path}: its header is longer than {MAX_HEADER_BYTES >> 10} KiB; it is damaged")
    return fields, at


def _raw(path: Path, fields: dict[str, str], at: int) -> Header:
    words = [w.strip() for w in fields.get("format", "").split(";")]
    options = {k.strip().lower(): v.strip() for k, _, v in (w.partition("=") for w in words[1:])}
    by_format = _FORMAT.get(words[0].upper())
    by_evt = _EVT.get(fields.get("evt", ""))
    encoding = by_format or by_evt
    problems: list[str] = []
    if encoding is None:
        said = fields.get("format") or f"evt {fields.get('evt')}"
        raise NotARecording(
            f"{path}: its encoding {said[:80]!r} is not known; known: EVT2, EVT2.1, EVT3. "
            "Convert it to EVT3 with the maker's tools"
        )
    if by_format and by_evt and by_format != by_evt:
        problems.append(
            f"the header names two encodings, format {words[0]} and evt {fields['evt']}; read as {by_format}"
        )
    size = (options.get("width", ""), options.get("height", ""))
    if "geometry" in fields:
        found = re.fullmatch(r"(\d{1,9})\s*[xX×]\s*(\d{1,9})", fields["geometry"])
        if found is None:
            said = fields["geometry"][:80]
            problems.append(f"the header's geometry {said!r} is not of the form 1280x720; it was left out")
        else:
            size = (found[1], found[2])
    zero = fields.get(_ZERO, "0")
    if not re.fullmatch(r"-?\d{1,17}", zero, re.ASCII):
        problems.append(f"the header's {_ZERO} {zero[:80]!r} is no time; times begin where the file's do")
        zero = "0"
    order = options.get("endianness") or fields.get("endianness", "")
    return Header(
        encoding, fields, at, swapped=order.lower() == "legacy", size=_size(path, *size),
        zero_us=int(zero), problems=tuple(problems),
    )  # fmt: skip


def _dat(path: Path, fields: dict[str, str], start: bytes, at: int) -> Header:
    number = fields.get("version", "")
    if not fields or (number and number not in ("1", "2")):
        why = f"DAT version {number[:20]!r} is not known; known: 1, 2" if number else "its header is damaged"
        raise NotARecording(f"{path}: begins like a Prophesee file and is none that can be read: {why}")
    if len(start) < at + 2:
        raise RecordingError(f"{path}: ends inside its header; nothing can be read")
    kind, size = start[at], start[at + 1]
    if kind == 0x0E:
        raise RecordingError(f"{path}: holds triggers and no events; give the file with the events (…_cd.dat)")
    if kind not in (0x00, 0x0C) or size != 8:
        raise RecordingError(
            f"{path}: holds items of type {kind:#04x} with {size} bytes; events are 0x00 or 0x0C with 8"
        )
    stated = _size(path, fields.get("width", ""), fields.get("height", ""))
    return Header("dat", fields, at + 2, version=int(number or 1), size=stated)


def _size(path: Path, width: str, height: str) -> tuple[int, int] | None:
    if not (width.isdecimal() and height.isdecimal()):
        return None
    size = int(width), int(height)
    if not all(0 < v <= 1 << 14 for v in size):
        raise RecordingError(
            f"{path}: claims a sensor of {width[:12]}×{height[:12]} pixels; its header is damaged. "
            "State the size: --geometry 1280x720"
        )
    return size


def sensor_size(
    path: Path, header: Header, stated: tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """The sensor's size and what is to be said about where it comes from.

    Args:
        path: for the message.
        header: of the file.
        stated: by the person; it wins.

    Raises:
        RecordingError: nothing tells it.
    """
    if stated is not None:
        if header.size is not None and header.size != stated:
            w, h = header.size
            as_asked = f"read as {stated[0]}×{stated[1]}, as was asked"
            return stated, (Remark(f"the header says {w}×{h}; {as_asked}"),)
        return stated, ()
    if header.size is not None:
        return header.size, ()
    found = header.inferred_size()
    if found is None:
        raise RecordingError(f"{path}: nothing in it tells the sensor's size; state it: --geometry 1280x720")
    (w, h), by = found
    return (w, h), (Remark(f"the header has no sensor size; {w}×{h} follows from {by}"),)
