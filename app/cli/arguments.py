"""What verbs share: how words on the command line become values, with one-line errors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capture.errors import UsageError

MAX_INSTANTS = 1000
_OTHER_FILES = {
    ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".m2v", ".wmv", ".flv", ".ogv", ".ts", ".mts",
    ".m2ts", ".3gp", ".mp3", ".m4a", ".wav", ".gif", ".apng", ".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff",
    ".bmp", ".webp", ".heic", ".avif", ".jxl", ".jp2", ".pgm", ".ppm", ".exr", ".npy", ".npz", ".h5", ".hdf5",
    ".aedat", ".aedat4", ".raw", ".dat", ".bag", ".json", ".csv", ".txt", ".toml", ".pdf", ".zip",
}  # fmt: skip


def parse_latents(at: str | None, frames_per_exposure: int | None) -> tuple[float, ...]:
    """The instants inside each exposure, ascending fractions 0…1, at least 0.0001 apart.

    `at` is "0.5" or "0,0.25,0.5"; `frames_per_exposure` N stands for the middles of N equal parts, so that
    the pictures of exposures which follow each other are evenly spaced and none comes twice. Neither: 0.5.

    Raises:
        UsageError: both given, not numbers, outside 0…1, twice the same, too many.
    """
    if at is not None and frames_per_exposure is not None:
        raise UsageError("give either --at or --frames-per-exposure, not both")
    if frames_per_exposure is not None:
        n = frames_per_exposure
        if not 1 <= n <= MAX_INSTANTS:
            raise UsageError(f"--frames-per-exposure {n} is out of range; give 1 to {MAX_INSTANTS}")
        return tuple((k + 0.5) / n for k in range(n))
    words = "0.5" if at is None else at
    values = sorted(_number(w, "--at") for w in words.split(","))
    if len(values) > MAX_INSTANTS:
        raise UsageError(f"--at names {len(values)} instants; give at most {MAX_INSTANTS}")
    for v in values:
        if not 0.0 <= v <= 1.0:
            raise UsageError(f"--at {v:g} lies outside the exposure; give fractions from 0 (start) to 1 (end)")
    for a, b in itertools.pairwise(values):
        if b - a < 1e-4:
            raise UsageError(f"--at names {a:g} and {b:g}, which are the same instant; give each once")
    return tuple(values)


def parse_contrast(text: str | None) -> dict[str, Any]:
    """Restorer options for `--contrast`.

    "auto" (or nothing): searched, within the neighbourhood of the rig's thresholds where it states them.
    "rig": the rig's thresholds as they are. "0.2": both. "0.2,0.25": ON and OFF.

    Raises:
        UsageError: not one or two numbers, or not within 0.01…2.
    """
    if text is None or text.strip().lower() == "auto":
        return {}
    if text.strip().lower() == "rig":
        return {"contrast": "rig"}
    words = text.split(",")
    if len(words) > 2:
        raise UsageError(f"--contrast {text!r} has {len(words)} values; give one, or two as ON,OFF")
    values = [_number(w, "--contrast", "auto, rig, a threshold such as 0.2, or two as ON,OFF") for w in words]
    for v in values:
        if not 0.01 <= v <= 2.0:
            raise UsageError(
                f"--contrast {v:g} is out of range; thresholds lie within 0.01 to 2 (log intensity)"
            )
    return {"contrast_on": values[0], "contrast_off": values[-1]}


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """Restorer options for `--set KEY=VALUE`: true, false and none, whole and other numbers, else text.

    Raises:
        UsageError: no KEY=VALUE, or a key twice.
    """
    options: dict[str, Any] = {}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        if not (equals and key and value):
            raise UsageError(f"--set {word!r}: give KEY=VALUE, e.g. tile=512")
        if key in options:
            raise UsageError(f"--set {key} is given twice; give it once")
        options[key] = _value(value)
    return options


def _value(word: str) -> Any:
    known = {"true": True, "false": False, "none": None}
    if word.lower() in known:
        return known[word.lower()]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word


def output_path(path: Path) -> Path:
    """OUT of `deblur`: a video (.mp4) or a folder.

    Raises:
        UsageError: the name is that of a file of another kind, which would become a folder unasked.
    """
    if path.suffix.lower() in _OTHER_FILES:
        raise UsageError(f"-o {path}: videos are written as .mp4, pictures into a folder; give one of these")
    return path


def restorer_options(
    contrast: str | None,
    *,
    dtype: str | None,
    compiled: bool,
    random_weights: bool,
    settings: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Options of the restorer as the command line gives them; only those that were given.

    Args:
        settings: KEY=VALUE each, see `parse_settings`.

    Raises:
        UsageError: a contrast that is none, or a setting that is none or given twice.
    """
    options = parse_settings(settings or ())
    named = [*parse_contrast(contrast), *["dtype"] * (dtype is not None)]
    named += ["compile"] * compiled + ["random_weights"] * random_weights
    if twice := sorted(set(options) & set(named)):
        raise UsageError(f"--set {twice[0]}: this has an option of its own, which was given too; give one")
    options |= parse_contrast(contrast)
    if dtype is not None:
        options["dtype"] = dtype
    if compiled:
        options["compile"] = True
    if random_weights:
        options["random_weights"] = True
    return options


def checked_device(name: str) -> str:
    """`--device`, for a network that another process runs.

    Raises:
        UsageError: no such device here.
    """
    if name not in ("auto", "cpu"):  # the others cost the import of torch
        from inference.device import choose_device

        choose_device(name)
    return name


def refuse_input(output: Path, source: str | Path) -> None:
    """Hold the input safe from `--overwrite`: what is written of it holds less than it does.

    Raises:
        UsageError: OUT is the input itself, by whatever name, or a file in the folder that the input is. A new
            name in that folder may be given.
    """
    given = Path(source)
    if not (output.exists() and given.exists()):
        return
    if output.samefile(given):
        raise UsageError(f"-o {output} is the input itself; give another name")
    # By its own name and by what it leads to: a link in the recording would be replaced as well.
    names = (output.resolve(), output.parent.resolve() / output.name)
    if output.is_file() and given.is_dir() and any(n.is_relative_to(given.resolve()) for n in names):
        raise UsageError(f"-o {output} lies inside the input; give another place")


def refuse_no_rig(path: Path, option: str = "-o") -> None:
    """Hold files of other kinds safe from `--overwrite` of a rig file.

    Raises:
        UsageError: a file is there that is no rig file.
    """
    from sync.rig import Rig

    if not path.exists():
        return
    try:
        Rig.load(path)
    except UsageError:
        raise UsageError(f"{option} {path} is no rig file, so it is not replaced; give another name") from None


def recording_path(path: Path) -> Path:
    """The path of a recording that at least exists.

    Raises:
        UsageError: not there.
    """
    if not path.exists():
        raise UsageError(f"{path} does not exist; give the path of a recording")
    return path


def sensor_size(text: str | None) -> tuple[int, int] | None:
    """`--geometry`, where it was given; see `parse_geometry`."""
    return None if text is None else parse_geometry(text)


def parse_geometry(text: str) -> tuple[int, int]:
    """Width and height of `--geometry 640x480`.

    Raises:
        UsageError: not of this form.
    """
    import re

    found = re.fullmatch(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*", text)
    if found is None:
        raise UsageError(f"--geometry {text!r} is not a size; give WIDTHxHEIGHT, such as 1280x720")
    return int(found[1]), int(found[2])


def is_stream(source: object) -> bool:
    """Whether a source's name is an address at which pictures are published."""
    return isinstance(source, str) and source.startswith(("tcp://", "ipc://"))


def rig_source(text: str) -> str | Path:
    """What `live RIG` names: a camera name (`simulated:night`) or the path of a rig file.

    The rig file is read and the camera name is checked here, so that a typo costs no start-up.

    Raises:
        UsageError: a misspelt preset, camera or key; a recording (names the verb to use instead).
    """
    if is_stream(text):
        raise UsageError(f"{text} is where pictures are published; watch them with: halfmirror live {text}")
    path = Path(text)
    if path.suffix.lower() == ".toml":
        from sync.rig import Rig

        Rig.load(path)
        return path
    if "/" in text.partition(":")[0] and not path.exists():  # a camera's name begins with its driver's
        raise UsageError(f"{text} does not exist; give a rig file (.toml), simulated:PRESET, or a recording")
    if path.exists():
        raise UsageError(f"{text} is not a rig file (.toml); for a recording use: halfmirror replay {text}")
    from capture.registry import open_driver

    open_driver(text)
    return text


def positive_seconds(value: float, option: str = "--seconds") -> float:
    """A length of time on the command line.

    Raises:
        UsageError: not a positive, finite number, or more than a day.
    """
    if not (math.isfinite(value) and 0 < value <= 86_400):
        raise UsageError(f"{option} {value:g} is out of range; give more than 0 and at most 86400")
    return value


def positive_minutes(value: float, option: str = "--max-minutes") -> float:
    """A length of time in minutes, at most 100 days.

    Raises:
        UsageError: not a positive, finite number, or more than that.
    """
    if not (math.isfinite(value) and 0 < value <= 144_000):
        raise UsageError(f"{option} {value:g} is out of range; give more than 0 and at most 144000")
    return value


def _number(word: str, option: str, instead: str = "") -> float:
    try:
        value = float(word)
    except ValueError:
        give = f"; give {instead}" if instead else ""
        raise UsageError(f"{option}: {word.strip()!r} is not a number{give}") from None
    if not math.isfinite(value):
        raise UsageError(f"{option}: {word.strip()!r} is not a finite number")
    return value


def publishing_at(text: str | None) -> str | None:
    """The address that `--publish` names, which nobody else has; None without one.

    Raises:
        UsageError: no address, or one that is taken.
    """
    if text is None:
        return None
    from app.publishing import checked_address, require_free

    address = checked_address(text)
    require_free(address)
    return address
