"""Tasks by name, imported only when chosen."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from capture.errors import UsageError
from capture.validation import did_you_mean

if TYPE_CHECKING:
    from training.recipe import Recipe
    from training.task import Task

# name → "module:class"; the class is called with the recipe
_TASKS: dict[str, str] = {
    "glint": "training.tasks.glint:GlintTask",
    "efnet": "training.tasks.efnet:EfnetTask",
    "gem": "training.tasks.gem:GemTask",
    "cdvd-tsp": "training.tasks.cdvd_tsp:CdvdTask",
    "sc-net": "training.tasks.sc_net:ScNetTask",
    "stra": "training.tasks.sc_net:ScNetTask",
    "s-sdm-bsn": "training.tasks.s_sdm:BsnTask",
    "s-sdm-edsr": "training.tasks.s_sdm:EdsrTask",
    "s-sdm-ldn": "training.tasks.s_sdm_ldn:LdnTask",
}


def names() -> tuple[str, ...]:
    """The tasks that `create` knows."""
    return tuple(_TASKS)


def register(name: str, where: str) -> None:
    """Add a task: `where` is `module:class`, called with the recipe."""
    _TASKS[name] = where


def create(recipe: Recipe) -> Task:
    """The task that a recipe names.

    Raises:
        UsageError: unknown (lists the known ones), or the recipe's values do not suit it.
    """
    if recipe.task_name not in _TASKS:
        near = did_you_mean(recipe.task_name, _TASKS)
        raise UsageError(f"no task is called {recipe.task_name!r}; {near}known: {', '.join(_TASKS)}")
    module, _, kind = _TASKS[recipe.task_name].partition(":")
    made: Task = getattr(import_module(module), kind)(recipe)
    return made
