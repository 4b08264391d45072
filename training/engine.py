"""One training run, from a recipe to a folder with weights: Lightning's Trainer and what stands around it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from capture.errors import UsageError, first_line
from inference.device import multiplies_bfloat16
from inference.memory import out_of_memory
from training import paths, tasks
from training import recipe as recipes
from training.callbacks.averaging import MovingAverage, averaged_in
from training.callbacks.conduct import Conduct
from training.callbacks.metrics import JsonLines, Metrics
from training.callbacks.previews import Previews
from training.callbacks.progress import ShownProgress
from training.callbacks.states import StateFile, States
from training.errors import TrainingError, why
from training.files import load_tree, replace_bytes
from training.module import TrainingModule, hold_still
from training.recipe import Recipe
from training.run import RunFolder
from training.schedule import Length
from training.sizes import of_network, of_state, sized
from training.stopping import Interrupted, StopSignals
from training.task import Task
from training.weights import initialise

_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
# PyTorch has one class for all of them: what it says of a device, and of sizes that do not go together.
_OF_DEVICES = ("cuda", "cudnn", "nccl", "same device")
_OF_SHAPES = ("size", "shape", "dimension", "channel", "stride", "kernel", "elements", "expect")


@dataclass(frozen=True, slots=True)
class Request:
    """What one call of the trainer is to do.

    Attributes:
        recipe: of the run.
        folder: of the run.
        resume: go on with the run in the folder.
        init: file of first weights.
        max_minutes: of the whole run; may differ from before when a run is resumed.
        device: "auto", "cpu" or "cuda".
        devices, nodes: processes on each machine, and machines. Ignored under torchrun, which says it itself.
    """

    recipe: Recipe
    folder: Path
    resume: bool = False
    init: Path | None = None
    max_minutes: float | None = None
    device: str = "auto"
    devices: int = 1
    nodes: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call of the trainer ended.

    Attributes:
        folder: of the run.
        step: optimiser steps done.
        elapsed_s: of all sessions.
        complete: the run reached its length.
        signal: number of the signal that stopped it; 0: none.
        figures: newest means of training and validation.
    """

    folder: Path
    step: int
    elapsed_s: float
    complete: bool
    signal: int
    figures: dict[str, float]


def train(request: Request) -> Outcome:
    """Train until the run's length is reached or a signal stops it.

    Raises:
        UsageError: the request cannot be meant: see `recipe`, `run`, the task; nothing is left behind.
        TrainingError: the run ended early; what was saved before is whole.
        KeyboardInterrupt: interrupted before the first step, or twice.
    """
    run = RunFolder(request.folder)
    recipe = _with_precision(_with_minutes(request), request, run)
    task = tasks.create(recipe)
    places, spent = tuple(getattr(task, "paths", ())), tuple(getattr(task, "first_weights", ()))
    if request.resume and spent:
        task = tasks.create(paths.without(recipe, spent))
    recipe = paths.absolute(recipe, places)
    # As the network was when the run began, where it goes on: the usual size may have changed since.
    begun = of_state(run.state) if request.resume and hasattr(task, "sizes") else {}
    recipe = sized(recipe, task, begun)
    torch.manual_seed(recipe.seed)
    network = task.build_network(recipe.network.options)
    recipe = sized(recipe, task, of_network(network))
    if recipe.network.start == "input":
        _start_at_input(task, network, recipe)
    grew = False
    if request.init is not None:
        if request.resume:
            raise UsageError("--init gives a new run its first weights; a resumed one has its own")
        grew = initialise(network, request.init, recipe.network, bool(getattr(task, "grows", False)))
    hold_still(recipe.optimiser, network)
    training, validation = task.datasets(recipe)
    fingerprint = training.fingerprint()
    conduct = Conduct(recipe, Length.of(recipe.run), run, signals := StopSignals())
    metrics = Metrics(recipe, conduct)
    average = MovingAverage(recipe.run.ema)
    module = TrainingModule(recipe, task, network, training, validation)
    module.stop = lambda: signals.received != 0
    first = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
    if first:
        if request.resume:
            _reopen(
                request, recipe, run, fingerprint,
                lambda kept: paths.moved(sized(kept, task, begun), recipe, places, spent),
            )  # fmt: skip
        else:
            _create(request, recipe, run, fingerprint, getattr(task, "data_facts", dict)(), grew)
    if request.resume and (done := already_complete(run, recipe)):
        if first and run.weights_step() != done.step:  # removed since, or the disk was full when they were due
            fields: Mapping[str, Any] = getattr(task, "card_fields", dict)()
            run.write_weights(averaged_in(run.state), recipe, done.step, fingerprint, fields)
        run.release()
        return done
    with _quiet(), signals, _ended(run, first, conduct):
        trainer = _trainer(
            request, recipe, run,
            [
                conduct, average, metrics, Previews(recipe, run, conduct), ShownProgress(conduct, metrics),
                States(recipe, run, conduct, average, fingerprint),
            ],
            validate=len(validation) > 0,
        )  # fmt: skip
        if begin := getattr(task, "begin", None):
            begin(network, run.path, begun=request.init is not None, resumed=request.resume, writes=first)
        stopped = 0
        try:
            trainer.fit(module, ckpt_path=run.state if request.resume else None, weights_only=True)
        except Interrupted as error:
            stopped = error.number
        except SystemExit as error:  # what Lightning makes of Ctrl+C
            raise KeyboardInterrupt from error
        except (MemoryError, RuntimeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            if out_of_memory(error):
                raise TrainingError(
                    "a step does not fit into the device's memory: set run.batch lower than "
                    f'{recipe.run.batch} (and run.accumulate higher), or run.precision = "bf16"'
                ) from error
            asked = request.recipe.network.options
            if not asked or conduct.step or not _may_be_of_options(error):
                raise
            # It was built with them, which is all that can be said before a sample has gone through.
            raise UsageError(
                f"{recipe.network.name} does not run with network.options {asked}: {first_line(error)}"
            ) from error
        except OSError as error:
            raise TrainingError(
                f"the run in {run.path} ended: {why(error)}; mend that, then --resume"
            ) from error
        return Outcome(
            run.path, conduct.step, conduct.elapsed_s, conduct.progress >= 1, stopped, dict(metrics.newest)
        )


def _may_be_of_options(error: Exception) -> bool:
    """Whether a first step may end so for what the network was built with; not where the device failed."""
    if not isinstance(error, RuntimeError):
        return True
    text = str(error).lower()
    return not any(w in text for w in _OF_DEVICES) and any(w in text for w in _OF_SHAPES)


def _start_at_input(task: Task, network: nn.Module, recipe: Recipe) -> None:
    start = getattr(task, "start_at_input", None)
    if start is None:
        raise UsageError(
            f'network.start = "input": {recipe.task_name} has no such first weights; leave it at "published"'
        )
    start(network)


def _with_minutes(request: Request) -> Recipe:
    if request.max_minutes is None:
        return request.recipe
    return _with_run(request.recipe, max_minutes=request.max_minutes)


def _with_run(recipe: Recipe, **changed: Any) -> Recipe:
    """The recipe with other values in its `run`."""
    return recipe.model_copy(update={"run": recipe.run.model_copy(update=changed)})


def _with_precision(recipe: Recipe, request: Request, run: RunFolder) -> Recipe:
    """The recipe with "auto" settled: as the run began, or by what the device has instructions for."""
    if recipe.run.precision != "auto":
        return recipe
    if request.resume and run.recipe.is_file():
        chosen = recipes.load(run.path).run.precision
    elif _uses_cuda(request.device):
        chosen = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    else:
        chosen = "bf16" if multiplies_bfloat16() else "32"
    return _with_run(recipe, precision=chosen)


def _create(
    request: Request, recipe: Recipe, run: RunFolder, fingerprint: str, data: Mapping[str, Any], grew: bool
) -> None:
    init = request.init
    run.create(
        recipe,
        {
            "data_fingerprint": fingerprint, "data": dict(data),
            "devices": request.devices, "nodes": request.nodes,
            "init": None if init is None
            else {"file": str(init), "sha256": hashlib.sha256(init.read_bytes()).hexdigest(), "grown": grew},
        },
    )  # fmt: skip
    if grew:
        print(f"{init}: a smaller network's, which the larger one begins as", file=sys.stderr, flush=True)


def _reopen(
    request: Request, recipe: Recipe, run: RunFolder, fingerprint: str, as_begun: Callable[[Recipe], Recipe]
) -> None:
    compared = recipe
    if request.max_minutes is not None and run.recipe.is_file():
        # The one thing that may be changed: how long the whole run is to last.
        before = recipes.load(run.path).run.max_minutes
        compared = _with_run(recipe, max_minutes=before)
    run.reopen(compared, fingerprint, as_begun)
    replace_bytes(run.recipe, recipe.dumps().encode())
    run.keep_metrics_until(int(load_tree(run.state, mapped=True)["global_step"]))


def already_complete(run: RunFolder, recipe: Recipe) -> Outcome | None:
    """The outcome of a run that has nothing left to do by a recipe; None: it has.

    Raises:
        TrainingError: its state cannot be read.
    """
    state = load_tree(run.state, mapped=True)
    own = state["callbacks"][Conduct.__qualname__]
    step, elapsed = int(own["step"]), float(own["elapsed_s"])
    if Length.of(recipe.run).progress(step, elapsed) < 1:
        return None
    return Outcome(run.path, step, elapsed, True, 0, {})


def _trainer(
    request: Request, recipe: Recipe, run: RunFolder, callbacks: list[pl.Callback], validate: bool
) -> pl.Trainer:
    cuda = _uses_cuda(request.device)
    devices, nodes = request.devices, request.nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if cuda and devices > torch.cuda.device_count():
        raise UsageError(f"--devices {devices}: this machine has {torch.cuda.device_count()} CUDA devices")
    several = devices * nodes > 1
    return pl.Trainer(
        accelerator="gpu" if cuda else "cpu", devices=devices, num_nodes=nodes,
        strategy=DDPStrategy(
            process_group_backend="nccl" if cuda else "gloo",
            find_unused_parameters=recipe.run.unused_parameters,
        ) if several else "auto",
        precision=_PRECISION[recipe.run.precision], max_epochs=-1, max_steps=-1,
        accumulate_grad_batches=recipe.run.accumulate, gradient_clip_val=recipe.run.clip_norm or None,
        val_check_interval=recipe.run.validate_every * recipe.run.accumulate, check_val_every_n_epoch=None,
        limit_val_batches=1.0 if validate else 0, num_sanity_val_steps=0,
        logger=[JsonLines(run.metrics), TensorBoardLogger(run.path, name="", version="tensorboard")],
        callbacks=callbacks, plugins=[StateFile()], use_distributed_sampler=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        default_root_dir=run.path, log_every_n_steps=recipe.run.log_every,
        # All batches have one size, so what cuDNN finds to be fastest in the first step stays so.
        benchmark=cuda or None,
    )  # fmt: skip


def _uses_cuda(device: str) -> bool:
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device!r} is none of auto, cpu, cuda (give the number with --devices)")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch sees no CUDA device here; see halfmirror doctor")
    return device != "cpu" and torch.cuda.is_available()


@contextlib.contextmanager
def _ended(run: RunFolder, first: bool, conduct: Conduct) -> Iterator[None]:
    """Record how a session ended, or remove a folder in which nothing happened."""
    how = "failed"
    try:
        yield
        how = "complete" if conduct.progress >= 1 else "stopped"
    except (KeyboardInterrupt, UsageError):
        how = "stopped"
        if first and conduct.step == 0:
            run.discard()
        raise
    finally:
        if first and run.path.is_dir():
            with contextlib.suppress(TrainingError):  # a full disk is told of elsewhere
                run.session(ended_as=how, step=conduct.step, elapsed_s=round(conduct.elapsed_s, 1))
        run.release()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's remarks stay away; what matters here is said in our own words."""
    names = ("pytorch_lightning", "lightning_fabric", "lightning.pytorch")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric|torch\.optim")
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
