"""The paths in a recipe: where a run's data lie, told such that it can be gone on with from any folder.

A recipe may name them from the working folder. A run keeps them whole; its weights, which travel, keep the last
name alone. Data may be moved: what they are is known by their fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.photos import source
from training.recipe import DataEntry, Recipe


def absolute(recipe: Recipe, options: Sequence[str]) -> Recipe:
    """The recipe with whole paths.

    Args:
        recipe: photos and recordings are paths of it.
        options: names of those of `data.options` that are paths, too.
    """
    own = recipe.data.options
    whole = {n: _whole(v) for n, v in own.items() if n in options and isinstance(v, str) and v}
    return _with(
        recipe,
        photos=_photos(recipe.data.photos),
        recordings=tuple(map(_whole, recipe.data.recordings)),
        options={**own, **whole},
    )


def absolute_values(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Values by `table.key` or `stage.table.key` with whole paths of photos and recordings."""
    out = dict(overrides)
    for key, value in overrides.items():
        if key.endswith("data.photos") and isinstance(value, str):
            out[key] = _photos(value)
        elif key.endswith("data.recordings") and isinstance(value, list | tuple):
            out[key] = [_whole(v) if isinstance(v, str) else v for v in value]
    return out


def moved(kept: Recipe, now: Recipe, options: Sequence[str], spent: Sequence[str] = ()) -> Recipe:
    """The recipe that a run keeps with the paths of today; whether the data are the same tells the fingerprint.

    Args:
        kept, now: of the run, and to go on with.
        options: see `absolute`. They may lead anywhere; photos and recordings, which may be for validation
            alone and then are in no fingerprint, have to be called as they were.
        spent: those of them that are in no fingerprint, see `without`; a run that had none is given none.
    """
    before, after = kept.data, now.data
    named = [n for n in options if n in after.options and (before.options.get(n) or n not in spent)]
    return _with(
        kept,
        photos=after.photos if _called_alike(before.photos, after.photos) else before.photos,
        recordings=after.recordings if _names(before) == _names(after) else before.recordings,
        options={**before.options, **{n: after.options[n] for n in named}},
    )


def without(recipe: Recipe, spent: Sequence[str]) -> Recipe:
    """The recipe without the options that name files which a run that goes on does not read again."""
    return _with(recipe, options={n: v for n, v in recipe.data.options.items() if n not in spent})


def without_folders(recipe: Recipe) -> Recipe:
    """The recipe with the last name alone of each whole path: as it goes with weights, wherever they go."""

    def short(value: Any) -> Any:
        return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value

    return _with(
        recipe,
        photos=_named(recipe.data.photos),
        recordings=_names(recipe.data),
        options={name: short(value) for name, value in recipe.data.options.items()},
    )


def _whole(path: str) -> str:
    whole = str(Path(path).absolute())
    try:
        whole.encode()
    except UnicodeEncodeError:  # TOML has no words for it
        return path
    return whole


def _photos(spec: str) -> str:
    return source.each_folder(spec, lambda folder: _whole(str(Path(folder).expanduser())))


def _named(photos: str) -> str:
    return source.each_folder(photos, _name)


def _called_alike(before: str, after: str) -> bool:
    name = _named(after)
    # Where a folder with commas is gone, its name alone looks like several folders.
    return _named(before) == name or (source.may_be_one(before) and _name(before) == name)


def _names(data: DataEntry) -> tuple[str, ...]:
    return tuple(map(_name, data.recordings))


def _name(path: str) -> str:
    return Path(path).absolute().name


def _with(recipe: Recipe, **changed: Any) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=changed)})
