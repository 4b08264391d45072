"""Recipes that build on each other, run one after another: each an ordinary run in a folder of its own.

The chain's folder holds `chain.json` (which chain, what was changed, with what it goes on) and a run folder a
stage. A stage that is complete is left alone, one that was stopped goes on, so the chain is resumed like a run.
What was learnt from stays as it is: more minutes are for the stages that nothing was built on yet.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capture.documents import parse_json
from capture.errors import UsageError
from training import recipe as recipes
from training import tasks
from training.engine import Outcome, Request, already_complete, train
from training.errors import TrainingError, why
from training.files import replace_bytes
from training.paths import absolute_values
from training.recipe import Recipe
from training.run import RunFolder

RECORD = "chain.json"


@dataclass(frozen=True, slots=True)
class Stage:
    """One recipe of a chain.

    Attributes:
        name: of the stage, and of its folder.
        recipe: built-in recipe.
        takes: keys of the recipe that are the weights of an earlier stage, by its name.
    """

    name: str
    recipe: str
    takes: Mapping[str, str] = field(default_factory=dict)


CHAINS: dict[str, tuple[Stage, ...]] = {
    "s-sdm": (
        Stage("bsn", "s-sdm-bsn"),
        Stage("edsr", "s-sdm-edsr"),
        Stage("ldn", "s-sdm-ldn", {"data.options.bsn": "bsn", "data.options.edsr": "edsr"}),
    ),
}


@dataclass(frozen=True, slots=True)
class ChainRequest:
    """What one call is to do.

    Attributes:
        chain: a name of `CHAINS`, or the folder of a chain that is to go on.
        folder: of the chain.
        overrides: values by `table.key` for every stage, by `stage.table.key` for one.
        resume: go on with the chain in the folder.
        init: first weights of the last stage.
        max_minutes: of each stage; may differ from before when a chain is resumed, and is then of the stages
            from the last begun one on, as long as those before were complete.
        device: see `training.engine.Request`.
    """

    chain: str
    folder: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    init: Path | None = None
    max_minutes: float | None = None
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class _Record:
    """What a chain was begun with, as `chain.json` keeps it; the fields are those of the request."""

    chain: str
    overrides: dict[str, Any]
    init: str | None
    max_minutes: float | None


def is_chain(source: str) -> bool:
    """`source` names a chain, or a folder with one."""
    return source in CHAINS or (Path(source) / RECORD).is_file()


def run(request: ChainRequest, say: Callable[[str, Outcome], None] = lambda _stage, _outcome: None) -> Outcome:
    """Train stage by stage; gives the outcome of the last one that ran.

    Args:
        say: told of each stage that ended, complete or stopped.

    Raises:
        UsageError: as `training.engine.train`, of the stage; or another process trains a stage.
        WeightsError, TrainingError, KeyboardInterrupt: as `training.engine.train`, of the stage.
    """
    began = _asked(request)
    stages = CHAINS[began.chain]
    planned = {stage.name: _recipe(stage, stages, request.folder, began.overrides) for stage in stages}
    for recipe in planned.values():
        tasks.create(recipe)  # what a later stage cannot use is told before the first is trained
    if not request.resume:
        _create(request.folder)
    record = request.folder / RECORD
    before = record.read_bytes() if request.resume else b""
    replace_bytes(record, json.dumps(dataclasses.asdict(began), indent=1).encode())
    init = Path(began.init) if began.init else None
    outcome: Outcome | None = None
    for stage in stages:
        folder = request.folder / stage.name
        goes_on = request.resume and RunFolder(folder).state.is_file()
        if request.resume and RunFolder(folder).recipe.is_file():
            RunFolder(folder).discard()  # of one that was killed before its first saved state
        first = init if stage is stages[-1] and not goes_on else None
        later = [request.folder / s.name for s in stages[stages.index(stage) + 1 :]]
        minutes = began.max_minutes
        if goes_on and any(RunFolder(f).state.is_file() for f in later):
            minutes = _settled(folder, minutes)
        try:
            outcome = train(Request(planned[stage.name], folder, goes_on, first, minutes, request.device))
        except UsageError:
            if request.resume and outcome is None:  # nothing goes on with what was told anew
                replace_bytes(record, before)
            raise
        finally:
            _discard(request.folder)
        say(stage.name, outcome)
        if not outcome.complete:
            break
    assert outcome is not None
    return outcome


def _asked(request: ChainRequest) -> _Record:
    """What the chain is begun with; of one that goes on, as its folder has it, but for what is told anew."""
    if not request.resume:
        if request.chain not in CHAINS:
            raise UsageError(f"{request.chain} holds a chain that was begun; go on with it: --resume")
        init = None if request.init is None else str(request.init.resolve())
        return _Record(request.chain, absolute_values(request.overrides), init, request.max_minutes)
    if request.init is not None:
        raise UsageError("--init gives a new run its first weights; a resumed one has its own")
    path = request.folder / RECORD
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        minutes = found.get("max_minutes") if request.max_minutes is None else request.max_minutes
        record = _Record(
            found["chain"], absolute_values({**found["overrides"], **request.overrides}), found["init"],
            None if minutes is None else float(minutes),
        )  # fmt: skip
    except FileNotFoundError as error:
        raise UsageError(
            f"{request.folder} holds no chain to resume; leave --resume out to begin one"
        ) from error
    except (OSError, AttributeError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged; begin anew in another folder") from error
    if record.chain not in CHAINS or (request.chain in CHAINS and record.chain != request.chain):
        raise UsageError(
            f"{request.folder} holds the chain {record.chain!r}; resume that, or give another folder"
        )
    return record


def _recipe(stage: Stage, stages: tuple[Stage, ...], folder: Path, overrides: Mapping[str, Any]) -> Recipe:
    """The stage's recipe with what is meant for it, and the weights of earlier stages."""
    names = {s.name for s in stages}
    own = {k: v for k, v in overrides.items() if k.partition(".")[0] not in names}
    mine = f"{stage.name}."
    own |= {k.removeprefix(mine): v for k, v in overrides.items() if k.startswith(mine)}
    own |= {key: str(folder.resolve() / s / "weights.safetensors") for key, s in stage.takes.items()}
    return recipes.load(stage.recipe, own)


def _settled(folder: Path, minutes: float | None) -> float | None:
    """The minutes of a stage that others were built on: its own if it was complete by them."""
    own = recipes.load(folder)
    return own.run.max_minutes if already_complete(RunFolder(folder), own) else minutes


def _create(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        go_on = f"; go on with: halfmirror train {folder} --resume" if (folder / RECORD).exists() else ""
        raise UsageError(f"{folder} exists already and is not empty: give another folder with -o{go_on}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make {folder}: {why(error)}; give another folder with -o") from error


def _discard(folder: Path) -> None:
    """Remove a chain of which nothing was trained."""
    if [p.name for p in folder.iterdir()] == [RECORD]:
        (folder / RECORD).unlink()
        folder.rmdir()
