"""A training recipe: one TOML file, every key checked before anything heavy is loaded.

Built-in recipes lie in `training/recipes` and are named without path. A run keeps its recipe resolved (defaults
and overrides filled in), so that what was trained can be read years later.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, ValidationError, model_validator

from capture.documents import parse_toml, read_toml
from capture.errors import UsageError
from capture.validation import Strict, did_you_mean, first_error

FOLDER = Path(__file__).parent / "recipes"
# They change how fast samples come, never which.
_WITHOUT_EFFECT = {("data", "workers"), ("data", "prefetch")}

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# float32 holds them, and what an optimiser makes of them.
Rate = Annotated[float, Field(gt=0, le=1e6)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=10**12)]  # beyond any use, within what indices can hold


class NetworkEntry(Strict):
    """Which network is trained; `options` are its own and checked by whoever builds it.

    Attributes:
        start: first weights as `published`, or such that it begins by giving its `input` back, see
            `training.starts`; a file of weights (`--init`) comes after either.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    start: Literal["published", "input"] = "published"


class DataEntry(Strict):
    """Where samples come from.

    Attributes:
        kind: `synthetic` (made as they are needed) or `recorded`.
        photos: of synthetic data: a folder, or `package:NAME`.
        recordings: paths of recorded data.
        validation: number of validation samples.
        options: the task's own (crop, representation …), checked by the task.
        synthesis: settings of the synthesis, checked by it.
        workers: processes that make samples; None: one less than there are processor cores, at most 16.
        prefetch: batches that each worker keeps ready.
    """

    kind: Literal["synthetic", "recorded"] = "synthetic"
    photos: str = ""
    recordings: tuple[str, ...] = ()
    validation: Annotated[int, Field(ge=0, le=10**6)] = 64
    options: dict[str, Any] = Field(default_factory=dict)
    synthesis: dict[str, Any] = Field(default_factory=dict)
    workers: Annotated[int, Field(ge=0, le=256)] | None = None
    prefetch: Annotated[int, Field(ge=1, le=64)] = 4


class GroupEntry(Strict):
    """Parameters whose names begin with `prefix` get a learning rate (and weight decay) of their own.

    With the rate 0 they stay as they are, and what their gradient costs is saved.
    """

    prefix: str
    lr: Weight
    weight_decay: Weight | None = None


class OptimiserEntry(Strict):
    """The optimiser, with PyTorch's meaning of each value; `momentum` is `sgd`'s, `betas` are the others'."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Rate = 1e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Rate = 1e-8
    weight_decay: Weight = 0.0
    momentum: Fraction = 0.0
    groups: tuple[GroupEntry, ...] = ()


class ScheduleEntry(Strict):
    """How the learning rate goes over the run, as a factor on each group's own rate.

    `progress` is 0 at the first step and 1 at the end: the larger of step / steps and elapsed / max_minutes, of
    those that are set, so that the schedule is complete whichever ends the run.

    Attributes:
        name: `cosine` (1 to `final`), `constant`, `steps` (times `gamma` after each of `milestones`),
            or `swing` (a cosine from 1 to `final` in `period` steps and back, without end: as S-SDM's LDN was
            trained).
        warmup_steps: steps over which the rate rises from near 0; the first step has 1 / warmup_steps of it.
        final: factor at the end of `cosine`.
        milestones: fractions of progress, ascending.
    """

    name: Literal["cosine", "constant", "steps", "swing"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    milestones: tuple[Fraction, ...] = ()
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.5
    period: Count = 151

    @model_validator(mode="after")
    def _goes_on(self) -> ScheduleEntry:
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError("milestones are fractions of the run, the earlier first")
        if self.name == "steps" and not self.milestones:
            raise ValueError("the schedule steps needs milestones, such as [0.5, 0.75]")
        return self


class LossEntry(Strict):
    """Which loss of the task, and the weights of its parts; both checked by the task."""

    name: str = ""
    weights: dict[str, Weight] = Field(default_factory=dict)


class RunEntry(Strict):
    """Length and conduct of the run.

    Attributes:
        batch: samples of one process and step.
        accumulate: batches whose gradients make one step.
        steps, max_minutes: what ends the run; at least one of them.
        precision: number type of the forward pass: `32`, `bf16` or `16` (mixed precision); `auto`: `bf16` where
            the device has instructions for it, else `32`. A run's own recipe says which.
        clip_norm: largest norm of all gradients together; 0: no clipping.
        ema: decay of the moving average of the weights, which is validated and kept; 0: the weights themselves.
        unused_parameters: some parameters get no gradient in some steps (costs a little with many devices).
        validate_every, log_every: in steps.
        previews: pictures drawn at each validation, at most.
        save_minutes: between two saved states.
    """

    batch: Count = 8
    accumulate: Count = 1
    steps: Count | None = None
    max_minutes: Positive | None = None
    precision: Literal["auto", "32", "bf16", "16"] = "32"
    clip_norm: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    ema: Fraction = 0.999
    unused_parameters: bool = False
    validate_every: Count = 500
    log_every: Count = 20
    previews: Annotated[int, Field(ge=0)] = 4
    save_minutes: Positive = 5.0

    @model_validator(mode="after")
    def _ends(self) -> RunEntry:
        if self.steps is None and self.max_minutes is None:
            raise ValueError("nothing ends the run; set steps or max_minutes")
        return self


class Recipe(Strict):
    """Everything that decides what comes out of a run.

    Attributes:
        name: of the recipe; the file's name where it states none.
        task: how the network is trained, see `training.tasks`; the network's name where it states none.
        seed: of the first weights and of every sample.
    """

    name: str = ""
    task: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    network: NetworkEntry
    data: DataEntry = Field(default_factory=DataEntry)
    optimiser: OptimiserEntry = Field(default_factory=OptimiserEntry)
    schedule: ScheduleEntry = Field(default_factory=ScheduleEntry)
    loss: LossEntry = Field(default_factory=LossEntry)
    run: RunEntry

    @property
    def task_name(self) -> str:
        """The task, or the network's name where none is stated."""
        return self.task or self.network.name

    def dumps(self) -> str:
        """TOML with every value, also the defaults; what is None is left out."""
        # As Python's values: JSON has no word for a NaN, which an option may be.
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def built_in() -> tuple[str, ...]:
    """Names of the recipes that come with the program."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(source: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe that `source` names: a built-in one, the path of a TOML file, or a run folder (its own).

    Args:
        source: as above.
        overrides: values by `table.key`, in place of the file's.

    Raises:
        UsageError: not there, not TOML, a key that is unknown, a value out of range: one line with the key.
    """
    path = _path_of(source)
    try:
        data = read_toml(path)
    except OSError as error:
        raise UsageError(f"recipe {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"recipe {path} is not valid TOML: {error}") from error
    for key, value in (overrides or {}).items():
        _set(data, key, value)
    data.setdefault("name", path.stem)
    return parse(data, f"recipe {source}")


def override(text: str) -> tuple[str, Any]:
    """`table.key=value` as key and value; the value is TOML, and a bare word is text.

    Raises:
        UsageError: no key, or no equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text!r} is no table.key=value, such as run.batch=4")
    try:
        return key.strip(), parse_toml(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def parse(data: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from plain values.

    Raises:
        UsageError: one line that names the key.
    """
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{where}: {first_error(error, Recipe)}") from error


def differences(old: Recipe, new: Recipe) -> list[str]:
    """Each value that differs, as `table.key old → new`; workers and prefetch do not count."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    return [
        f"{'.'.join(key)} {_shown(before.get(key))} → {_shown(after.get(key))}"
        for key in sorted(before.keys() | after.keys())
        if key not in _WITHOUT_EFFECT and before.get(key) != after.get(key)
    ]


def _path_of(source: str | Path) -> Path:
    path = Path(source)
    if path.is_dir():
        if (path / "recipe.toml").is_file():
            return path / "recipe.toml"
        raise UsageError(f"{path} is a folder without recipe.toml; give a recipe or the folder of a run")
    if path.suffix == ".toml" or "/" in str(source):
        if not path.is_file():
            raise UsageError(f"recipe {path} does not exist; built in are: {', '.join(built_in()) or 'none'}")
        return path
    own = FOLDER / f"{source}.toml"
    if str(source) not in built_in():
        near = did_you_mean(str(source), built_in())
        raise UsageError(
            f"no recipe is called {source!r}; {near}built in are: {', '.join(built_in()) or 'none'}"
        )
    return own


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    table = data
    for name in parents:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise UsageError(f"--set {key}: {name} is a value, not a table")
    table[last] = value


def _flat(value: Any, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(value, dict):
        return {above: value}
    return {key: leaf for name, inner in value.items() for key, leaf in _flat(inner, (*above, name)).items()}


def _shown(value: Any) -> str:
    return "(unset)" if value is None else repr(value)
