"""The text header of AEDAT 2.0 and 3.1, and the sizes of the sensors that it names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from recordings.formats.dataset_source import remark
from recordings.sandbox_child import Refused

MAGIC_2, MAGIC_3 = b"#!AER-DAT2.0", b"#!AER-DAT3.1"
# jAER writes all its preferences into the header: some 200 kB.
MAX_HEADER_BYTES = 16 << 20
END_OF_HEADER = "!END-HEADER"

_SIZES = (
    ("davis128", (128, 128)),
    ("davis208", (208, 192)),
    ("davis240", (240, 180)),
    ("davis346", (346, 260)),
    ("davis640", (640, 480)),
    ("dvs128", (128, 128)),
)


@dataclass(frozen=True, slots=True)
class TextHeader:
    """Lines without their `#`, and where the data begin."""

    lines: tuple[str, ...]
    data_at: int

    def value(self, key: str) -> str:
        """What stands behind `key:` in the first line that has it, "" when none does."""
        for line in self.lines:
            name, colon, value = line.partition(":")
            if colon and name.strip().lower() == key.lower():
                return value.strip()[:200]
        return ""


def read_header(path: Path) -> TextHeader:
    """The header's lines.

    A line of text that begins with `#` belongs to it, up to `#!END-HEADER` where there is one; the data may
    begin with the byte of `#` too, but are no text.

    Raises:
        Refused: longer than any header.
    """
    with path.open("rb") as f:
        start = f.read(MAX_HEADER_BYTES)
    lines: list[str] = []
    at = 0
    while start[at : at + 1] == b"#":
        end = start.find(b"\n", at)
        if end < 0:
            break
        text = start[at + 1 : end].rstrip(b"\r").decode("latin-1")
        if not text.replace("\t", " ").isprintable():
            break
        at = end + 1
        lines.append(text.strip())
        if text == END_OF_HEADER:
            break
    if at >= MAX_HEADER_BYTES - 1:
        raise Refused(f"its header is longer than {MAX_HEADER_BYTES >> 20} MiB; it is damaged")
    return TextHeader(tuple(lines), at)


def named_size(name: str) -> tuple[int, int] | None:
    """The size of the sensor that a name holds, None when it holds none that is known."""
    low = name.lower()
    return next((size for chip, size in _SIZES if chip in low), None)


def sensor_size(name: str, stated: tuple[int, int] | None, problems: list[str]) -> tuple[int, int]:
    """The sensor's size: stated by the person, which wins, or known by its name.

    Raises:
        Refused: neither.
    """
    known = named_size(name)
    if stated is not None:
        if known is not None and known != stated:
            remark(
                problems,
                f"the sensor {name[:60]} has {known[0]}×{known[1]} pixels; read as {stated[0]}×{stated[1]}, "
                "as was asked",
            )
        return stated
    if known is None:
        called = f"the size of its sensor {name[:60]!r} is not known" if name else "it does not name its sensor"
        raise Refused(f"{called}; state the size: --geometry 346x260")
    return known


class Bytes:
    """A file that is read piece by piece; what a disk does not give is an error, not the end of the process."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._fd).st_size

    def read(self, at: int, count: int) -> bytes:
        """Up to `count` bytes, fewer at the end of the file.

        Raises:
            Refused: the disk does not give them.
        """
        try:
            return os.pread(self._fd, count, at)
        except OSError as e:
            raise Refused(f"cannot be read at byte {at} ({e.strerror or e})") from e
