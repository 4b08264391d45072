"""In and out marks of a recording, kept beside it; where that cannot be written, in the user's own folder.

Beside a file `cups.aedat4` lies `cups.aedat4.marks.json`, in our own recordings' folders `marks.json`. In the
user's folder the name is made of the recording's whole path.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from capture.documents import parse_json
from capture.errors import HalfmirrorError, UsageError
from recordings.formats.own_about import ABOUT

VERSION = 1
_LARGEST = 1 << 16


class MarksError(HalfmirrorError):
    """Marks cannot be kept; the message names the places that were tried."""


@dataclass(frozen=True, slots=True)
class Marks:
    """A part of a recording, in µs since its start; None: to the end of that side.

    Attributes:
        in_us, out_us: out lies behind in.
    """

    in_us: int | None = None
    out_us: int | None = None

    def __post_init__(self) -> None:
        ends = [v for v in (self.in_us, self.out_us) if v is not None]
        if any(v < 0 for v in ends) or (len(ends) == 2 and ends[1] <= ends[0]):
            raise UsageError(f"marks at {self.in_us} and {self.out_us} µs: out has to lie behind in")


def places(recording: Path) -> tuple[Path, Path]:
    """Where marks may lie: beside the recording, and in the user's folder."""
    whole = recording.absolute()
    beside = whole / "marks.json" if (whole / ABOUT).is_file() else whole.with_name(f"{whole.name}.marks.json")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:16]
    return beside, Path(base) / "halfmirror" / "marks" / f"{whole.name[:80]}-{digest}.json"


def load(recording: Path) -> Marks:
    """The newest marks of a recording; none where there are none, or what is there is no marks file."""
    for place in sorted(places(recording), key=_changed_at, reverse=True):
        try:
            if place.stat().st_size > _LARGEST:
                continue
            content = parse_json(place.read_text(encoding="utf-8"))
            values = [content[k] for k in ("in_us", "out_us")]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if content.get("version") == VERSION and all(v is None or type(v) is int for v in values):
            try:
                return Marks(*values)
            except UsageError:
                continue
    return Marks()


def _changed_at(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except OSError:
        return 0.0


def save(recording: Path, marks: Marks) -> Path:
    """Keep marks, or forget them where both are None. Returns where.

    Raises:
        MarksError: neither place can be written to.
    """
    beside, own = places(recording)
    why = ""
    for place in (beside, own):
        try:
            if marks == Marks():
                beside.unlink(missing_ok=True)
                try:
                    own.unlink(missing_ok=True)
                except OSError:
                    if _changed_at(own):  # else there are none, or none that could be read again
                        raise
                return place
            if place == own:
                place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
            try:
                text = {"version": VERSION, "in_us": marks.in_us, "out_us": marks.out_us}
                part.write_text(json.dumps(text) + "\n", encoding="utf-8")
                part.replace(place)
            finally:
                part.unlink(missing_ok=True)
        except OSError as e:
            why = e.strerror or str(e)
            continue
        if place == beside:
            with contextlib.suppress(OSError):  # also where there is no folder of one's own
                own.unlink()  # an older one from when this could not be written
        return place
    raise MarksError(f"the marks cannot be kept, neither as {beside} nor as {own} ({why})")


def seconds(recording: Path) -> tuple[float, float | None]:
    """What is marked, as seconds since the start, for `--from` and `--until`.

    Raises:
        UsageError: nothing is marked.
    """
    marks = load(recording)
    if marks == Marks():
        raise UsageError(f"{recording}: nothing is marked; set marks in the viewer with I and O")
    return (marks.in_us or 0) / 1e6, None if marks.out_us is None else marks.out_us / 1e6
