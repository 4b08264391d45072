"""What `--photos` names, opened: a folder, `package:NAME`, `package:all`, or several with commas between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from capture.errors import UsageError
from training.photos import fetch, folder, pools
from training.photos.photo import MAX_SIDE, Photo, Photos, Skipped

_PREFIX = "package:"


def open_photos(
    spec: str | Path,
    *,
    max_side: int | None = MAX_SIDE,
    say: fetch.Say = lambda _: None,
    progress: folder.Progress = lambda _done, _all: None,
) -> Photos:
    """Open photos for training; pools that are not here yet are fetched.

    Args:
        spec: "~/Pictures", "package:gcompris", "package:all", or "package:lomiri,~/Pictures". A folder with a
            comma in its name can be given alone.
        max_side: larger photos are scaled down to this longest side; None: never.
        say: told what is fetched.
        progress: told how many files of a folder have been looked at.

    Raises:
        UsageError: an empty spec, an unknown pool, a folder that is not there.
        PhotoError: a folder is unreadable or without photos; a pool cannot be fetched.
    """
    asked_pools: list[pools.Pool] = []
    folders: list[Path] = []
    order: list[pools.Pool | Path] = []
    for word in _words(spec):
        for found in _resolve(word):
            if found not in order:
                order.append(found)
                (folders if isinstance(found, Path) else asked_pools).append(found)  # type: ignore[arg-type]
    opened = {f: folder.open_folder(f, progress) for f in folders}  # before the network is asked for anything
    fetch.fetch(asked_pools, say)
    photos: list[Photo] = []
    skipped: list[Skipped] = []
    first: dict[str, str] = {}
    for part in order:
        found_photos, found_skipped = opened[part] if isinstance(part, Path) else (fetch.photos(part), [])
        skipped += found_skipped
        for photo in found_photos:
            if photo.sha256 in first:
                skipped.append(Skipped(photo.name, f"is a copy of {first[photo.sha256]}"))
            else:
                first[photo.sha256] = photo.name
                photos.append(photo)
    return Photos(photos, skipped, max_side=max_side)


def each_folder(spec: str, change: Callable[[str], str]) -> str:
    """A spec with its folders changed and its pools as they are.

    It stays as it is where the changed one could not be told apart again: of several folders one with a comma.
    Nothing is opened: a folder that cannot be looked into counts as not there.
    """
    try:
        words = _words(spec)
    except OSError:
        words = spec.split(",")
    changed = [w if not w.strip() or w.strip().startswith(_PREFIX) else change(w.strip()) for w in words]
    if len(words) > 1 and any("," in word for word in changed):
        return spec
    return ",".join(changed)


def may_be_one(spec: str) -> bool:
    """A spec of whole paths names one folder with commas, gone or not: there is one that begins no path."""
    later = [w.strip() for w in spec.split(",")[1:]]
    return any(not w.startswith(_PREFIX) and not Path(w).is_absolute() for w in later)


def _words(spec: str | Path) -> list[str]:
    text = str(spec)
    # An empty name is the working folder to the system, which nobody means by it.
    if isinstance(spec, Path) or (text.strip() and Path(text).expanduser().exists()):
        return [text]
    return text.split(",")


def _resolve(word: str) -> list[pools.Pool | Path]:
    word = word.strip()
    if not word:
        raise UsageError("the photos' name has an empty part; give a folder, package:NAME, or package:all")
    if not word.startswith(_PREFIX):
        return [Path(word).expanduser()]
    name = word.removeprefix(_PREFIX)
    return list(pools.every_pool()) if name == "all" else [pools.pool(name)]
