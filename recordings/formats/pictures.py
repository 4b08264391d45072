"""Picture files of a folder and when they were taken, as data sets keep them: PNGs and a text file of times.

A line of such a text file has one time (the frame's stamp) or two (start and end of its exposure), behind the
picture's name or number where it has one; `#` and lines without numbers are headings. The unit is what a
heading says (us, ns, ms, s); where none does, it is the one in which pictures and events cover about the same
time, and that is said. The table that this program writes itself is known by its heading (`own_pictures`).
Decoding is OpenCV's, which meets such files only in the sandbox's child.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import MAX_PICTURE_BYTES, FrameRefused, FrameTime, picture, remark, times
from recordings.formats.names import files_with
from recordings.formats.names import natural as natural
from recordings.formats.own_pictures import own_rows
from recordings.pickle_steps import megabytes
from recordings.sandbox_child import Refused

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
MAX_PICTURES = 1_000_000
MAX_TEXT_BYTES = 64 << 20
# A picture's file may be this large; what it decodes to is bounded by `MAX_PICTURE_BYTES`.
MAX_FILE_BYTES = MAX_PICTURE_BYTES

LOW = 1 << 12
"""A picture of 16 bits that stays below this has its values in the lower bits."""

_UNITS = {"µs": 1.0, "s": 1e6, "ns": 1e-3, "ms": 1e3}
_WORDS = (
    ("µs", re.compile(r"(?<![a-z])(us|µs|usec|micro\w*)(?![a-z])")),
    ("ns", re.compile(r"(?<![a-z])(ns|nsec|nano\w*)(?![a-z])")),
    ("ms", re.compile(r"(?<![a-z])(ms|msec|milli\w*)(?![a-z])")),
    ("s", re.compile(r"(?<![a-z'’])(s|sec|secs|seconds?)(?![a-z])")),  # nor the camera's
)
# Pictures and events of one recording cover the same time within this factor; units lie a thousand apart.
LIKE = 30.0


def find_pictures(folder: Path) -> list[Path]:
    """The picture files in a folder itself, in order of their numbers.

    Raises:
        Refused: more than are read.
    """
    found = files_with(folder, *SUFFIXES)
    if len(found) > MAX_PICTURES:
        raise Refused(f"{folder.name} holds {len(found)} pictures; at most {MAX_PICTURES} are read")
    return found


def read_picture(path: Path) -> NDArray[np.uint8]:
    """One picture, (H, W) gray or (H, W, 3) RGB, as stored (no turning by EXIF); of 16 bits the upper 8.

    Raises:
        FrameRefused: not readable, damaged, or too large.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FrameRefused(
                f"{path.name} has {megabytes(size)}; at most {megabytes(MAX_FILE_BYTES)} are read"
            )
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as e:
        raise FrameRefused(f"{path.name} cannot be read ({e.strerror or e})") from e
    return decoded(data, path.name)


def decoded(data: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The picture that a file's bytes hold; `name` stands in messages. See `read_picture`."""
    # OpenCV looks at this when it is first loaded; larger pictures are refused before they are allocated.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PICTURE_BYTES // 3))
    import cv2

    try:
        image = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION) if len(data) else None
    except (cv2.error, MemoryError) as e:
        limit = f"damaged, or larger than {megabytes(MAX_PICTURE_BYTES)} of memory"
        raise FrameRefused(f"{name} is {limit}") from e
    if image is None:
        raise FrameRefused(f"{name} is no picture that can be read, or damaged")
    return picture(np.asarray(image), planes_first=False, bgr=True)


def largest_of_16(data: NDArray[np.uint8]) -> int | None:
    """The largest value in a picture's file of 16 bits; None of any other."""
    import cv2  # late: see `decoded`

    how = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(data, how) if len(data) else None
    except (cv2.error, MemoryError):
        return None
    return int(image.max()) if image is not None and image.dtype == np.uint16 else None


def _largest_in(path: Path) -> int | None:
    return largest_of_16(np.frombuffer(path.read_bytes(), np.uint8))


def remark_if_low(image: NDArray[np.uint8], largest: Callable[[], int | None], problems: list[str]) -> None:
    """Say so where a picture of 16 bits uses the lower ones alone, as cameras of 10 and 12 bits write them.

    Args:
        image: the first picture, as it is shown.
        largest: gives the largest value of what was stored, None where that is not of 16 bits; asked only of
            a dark picture.
        problems: the remark is added.
    """
    if int(image.max()) >= LOW >> 8:
        return
    most = largest()
    if most is not None and 0 < most < LOW:
        remark(
            problems,
            f"its first picture has 16 bits and no value above {most}; the upper 8 bits are shown, which is "
            "nearly black: if the camera has 10 or 12 bits, write pictures of 8",
        )


def first_size(paths: list[Path], problems: list[str]) -> tuple[int, int]:
    """(width, height) of the first picture that can be read.

    Args:
        paths: of the pictures.
        problems: what is remarkable about that picture is added.

    Raises:
        Refused: none of the first ones can.
    """
    why = ""
    for path in paths[:20]:
        try:
            image = read_picture(path)
        except FrameRefused as e:
            why = why or str(e)
            continue
        remark_if_low(image, partial(_largest_in, path), problems)
        return image.shape[1], image.shape[0]
    raise Refused(f"none of its pictures can be read; the first: {why}")


@dataclass(frozen=True, slots=True)
class Stamps:
    """A text file of times.

    Attributes:
        name: of the file.
        rows: one or two numbers each, in the file's unit.
        names: of the pictures they belong to; empty where the lines do not say.
        unit: what a heading says, "" when none does.
        whole: all numbers are integers.
        own: it is this program's own table, in which a row without length is of an unknown exposure.
        note: how it was read, "" where there is nothing to be said.
    """

    name: str
    rows: list[tuple[float, ...]]
    names: list[str]
    unit: str
    whole: bool
    own: bool = False
    note: str = ""


def read_stamps(path: Path) -> Stamps:
    """Read a text file of times.

    Raises:
        Refused: it is none.
    """
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise Refused(f"{path.name} has {megabytes(size)}; at most {megabytes(MAX_TEXT_BYTES)} are read")
    text = path.read_text(encoding="utf-8", errors="replace")
    if (own := own_rows(path, text)) is not None:
        return Stamps(path.name, list(own[0].values()), list(own[0]), "µs", True, True, own[1])
    heading, rows, names = path.stem, [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = [w for w in re.split(r"[,;\s]+", line.strip()) if w]
        values = [_number(w) for w in words]
        if line.lstrip().startswith("#") or all(v is None for v in values):
            heading += " " + line
            continue
        if values[0] is None:
            names.append(Path(words[0]).name)
            values = values[1:]
        elif len(values) > 1 and values[-1] is None:  # time first, then the name
            names.append(Path(words[-1]).name)
            values = values[:-1]
        sound = [v for v in values if v is not None]
        if len(sound) != len(values) or not 1 <= len(sound) <= 3:
            raise Refused(
                f"{path.name}, line {number}: expected a time, or the start and the end of an exposure"
            )
        rows.append(tuple(sound))
    if not rows or len({len(r) for r in rows}) != 1 or (names and len(names) != len(rows)):
        raise Refused(f"{path.name} is no list of times, one line for each picture")
    rows = _without_numbers(rows)
    if len(rows[0]) > 2:
        raise Refused(f"{path.name}: expected a time, or the start and the end of an exposure, in each line")
    unit = next((u for u, pattern in _WORDS if pattern.search(heading.lower().replace("_", " "))), "")
    return Stamps(path.name, rows, names, unit, all(float(v).is_integer() for r in rows for v in r))


def _without_numbers(rows: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Rows without a first column that only counts the pictures."""
    if len(rows[0]) < 2 or (len(rows) == 1 and len(rows[0]) == 2):
        return rows
    first = [r[0] for r in rows]
    if any(first == [float(k + begin) for k in range(len(rows))] for begin in (0, 1)):
        return [r[1:] for r in rows]
    return rows


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def frame_times(
    stamps: Stamps, pictures: list[Path], events: tuple[int, int] | None, problems: list[str]
) -> list[FrameTime]:
    """When each picture was taken.

    Args:
        stamps: of the text file.
        pictures: in order.
        events: first and last time of the events, µs; None without events.
        problems: what was decided is added.

    Raises:
        Refused: counts or names do not agree, or no unit makes sense.
    """
    rows = stamps.rows
    if stamps.names:
        by_name = dict(zip(stamps.names, rows, strict=True))
        missing = [p.name for p in pictures if p.name not in by_name]
        if missing:
            raise Refused(
                f"{stamps.name} has no time for {missing[0]} ({len(missing)} of {len(pictures)} pictures)"
            )
        rows = [by_name[p.name] for p in pictures]
    elif len(rows) != len(pictures):
        raise Refused(f"{stamps.name} has {len(rows)} times for {len(pictures)} pictures; they must agree")
    unit = stamps.unit or _likely_unit(stamps, events, problems)
    values = times(np.array(rows, np.float64), _UNITS[unit]).reshape(len(rows), -1)
    if stamps.note:
        remark(problems, stamps.note)
    bad = int(np.count_nonzero(values[:, -1] <= values[:, 0])) if values.shape[1] == 2 else 0
    if bad and not stamps.own:
        problems.append(
            f"{stamps.name}: {bad} exposures end where they start, or before; these lengths are not used"
        )
    found = [FrameTime(int(r[0]), max(int(r[0]), int(r[-1]))) for r in values]
    if events is not None and not any(f.start_us <= events[1] and f.end_us >= events[0] for f in found):
        first, last = min(f.start_us for f in found), max(f.end_us for f in found)
        problems.append(
            f"{stamps.name}: no picture lies among the events, so none can be restored: pictures from "
            f"{first / 1e6:.3f} to {last / 1e6:.3f} s, events from {events[0] / 1e6:.3f} to "
            f"{events[1] / 1e6:.3f} s; give both on one clock and in one unit"
        )
    return found


def _likely_unit(stamps: Stamps, events: tuple[int, int] | None, problems: list[str]) -> str:
    """The unit in which pictures and events cover about the same time."""
    low, high = min(r[0] for r in stamps.rows), max(r[-1] for r in stamps.rows)
    if events is None:
        unit = "µs" if stamps.whole else "s"
        remark(problems, f"{stamps.name} does not say its unit; it is taken as {unit}")
        return unit
    span = max(1, events[1] - events[0])
    fitting = [
        u
        for u, us in _UNITS.items()
        if high * us >= events[0] - span
        and low * us <= events[1] + span
        and (high == low or 1 / LIKE <= (high - low) * us / span <= LIKE)
    ]
    if len(fitting) != 1:
        why = "more than one fits" if fitting else "in none (µs, s, ns, ms) its pictures lie among the events"
        raise Refused(f"{stamps.name} does not say its unit, and {why}; write it into a first line: # µs")
    remark(problems, f"{stamps.name} does not say its unit; {fitting[0]} is the one that fits the events")
    return fitting[0]
