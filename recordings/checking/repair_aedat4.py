"""Saves an AEDAT4 file that lost its end or was never finished: every whole packet, under a fitting header."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.camera import Progress
from recordings.formats.aedat4_container import Container, Malformed, complete_packets_end, read_container
from recordings.recording import RecordingError

_BLOCK = 8 << 20


@dataclass(frozen=True, slots=True)
class Aedat4Repair:
    """What was saved.

    Attributes:
        bytes: kept, the header included.
        lost: bytes of a torn packet at the end of the file.
        missing: bytes that a cut file once had and that are not in it, as its header says; 0 when unknown.
    """

    bytes: int
    lost: int
    missing: int

    @property
    def verdict(self) -> str:
        """Such a file has always lost something: its index at least, and whatever came last."""
        return "lossy"

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"kept: {self.bytes / 1e6:.1f} MB, every whole packet; programs read it without its index"]
        if self.lost:
            lines.append(f"not readable: {self.lost} bytes of a torn packet at its end")
        if self.missing:
            lines.append(f"lost: at least {self.missing / 1e6:.1f} MB that once followed")
        else:
            lines.append("not known: what its writer had in hand when it ended")
        return lines

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "verdict": self.verdict, "kept": {"bytes": self.bytes}, "bytes_unread": self.lost,
            "lost": {"bytes": self.missing},
        }  # fmt: skip


def repair_aedat4(path: Path, out: Path, progress: Progress | None = None) -> Aedat4Repair:
    """Write the whole packets of a cut or unfinished file. No native code meets the file.

    Args:
        path: the file; it is only read.
        out: to be written; it holds something half-written when an error is raised.
        progress: called now and then with a share 0…1.

    Raises:
        RecordingError: there is nothing to mend, or nothing to save.
        OSError: the disk of `out` is full, or one of them is gone.
    """
    try:
        container = read_container(path)
    except Malformed as e:
        raise RecordingError(f"{path}: nothing can be saved; it {e}") from e
    if container.finished:
        raise RecordingError(
            f"{path}: has its index and its end, so there is nothing to mend; "
            "what is damaged inside is passed over when it is read (halfmirror recordings verify tells)"
        )
    end = max(complete_packets_end(path, container))
    if end <= container.data_start:
        raise RecordingError(f"{path}: nothing can be saved; there is not one whole packet in it")
    _copy(path, out, container, end, progress)
    missing = container.table - container.size if container.table is not None else 0
    return Aedat4Repair(end, container.size - end, missing)


def _copy(path: Path, out: Path, container: Container, end: int, progress: Progress | None) -> None:
    with path.open("rb") as source, out.open("wb") as target:
        done = 0
        while done < end:
            block = source.read(min(_BLOCK, end - done))
            if not block:
                raise RecordingError(f"{path}: became shorter while it was read")
            target.write(block)
            done += len(block)
            if progress is not None:
                progress(done / end)
        if container.table_field is not None:
            target.seek(container.table_field)
            target.write(struct.pack("<q", -1))
        target.flush()
        os.fsync(target.fileno())
