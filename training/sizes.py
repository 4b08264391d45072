"""A recipe's network with the sizes that it is built with, which a program of another day may choose otherwise.

A recipe need not state how wide and deep its network is. The recipe that a run keeps does, so that it can be
gone on with when the usual size has changed; of a run that was begun without, its state tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from training.callbacks.averaging import averaged_in
from training.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from training.task import Task

Shapes = Mapping[str, tuple[int, ...]]


def sized(recipe: Recipe, task: Task, shapes: Shapes) -> Recipe:
    """The recipe with those of its network's sizes stated that it leaves out.

    Args:
        recipe: its own values stay.
        task: knows which options are sizes (`sizes`); without it the recipe is as it was.
        shapes: of the entries of the network, by name; none: the recipe is as it was.
    """
    sizes: Callable[[Shapes], Mapping[str, Any]] | None = getattr(task, "sizes", None)
    if sizes is None or not shapes:
        return recipe
    options = {**sizes(shapes), **recipe.network.options}
    return recipe.model_copy(update={"network": recipe.network.model_copy(update={"options": options})})


def of_network(network: nn.Module) -> Shapes:
    """Shapes of a network's entries."""
    return {name: tuple(t.shape) for name, t in network.state_dict().items()}


def of_state(state: Path) -> Shapes:
    """Shapes of the entries of a network whose training is to go on; none where no state is there.

    Raises:
        TrainingError: the state cannot be read.
    """
    return {n: tuple(t.shape) for n, t in averaged_in(state).items()} if state.is_file() else {}
