"""What a file of weights may ask for, and the error of one that is refused."""

from __future__ import annotations

from dataclasses import dataclass

from capture.errors import HalfmirrorError
from recordings.pickle_steps import megabytes as megabytes


class WeightsError(HalfmirrorError):
    """A file of weights is damaged, hostile, or not what it is used as. Nothing of it was run."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


def plain(text: str, longest: int = 1000) -> str:
    """Text that may quote a file, as one line for a terminal: names in a file can hold any characters."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text[: 4 * longest].split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that are checked on what a file declares, before anything is allocated.

    Attributes:
        total_bytes: the file, and all its tensors together. The largest published file is 65 MB.
        pickle_bytes: the pickled structure around the tensors.
        steps: opcodes of the pickled structure, and items that its calls copy.
        header_bytes: the JSON header of a safetensors file.
        entries: members of an archive or tensors of a safetensors file.
        dimensions: of one tensor.
    """

    total_bytes: int = 2 << 30
    pickle_bytes: int = 64 << 20
    steps: int = 2_000_000
    header_bytes: int = 16 << 20
    entries: int = 100_000
    dimensions: int = 16


LIMITS = Limits()
