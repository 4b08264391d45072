"""How far a run is, for the person in front of it: a bar in a terminal, lines in a file."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from training.callbacks.conduct import Conduct
from training.callbacks.metrics import Metrics

_EVERY_S = 0.2


class ShownProgress(pl.Callback):
    """Step, loss, newest validation, waiting share and time left, in process 0, on stderr."""

    def __init__(self, conduct: Conduct, metrics: Metrics) -> None:
        self._conduct, self._metrics = conduct, metrics
        self._bar: Progress | None = None
        self._last = 0.0
        self._said = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the bar."""
        if trainer.is_global_zero and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("step {task.fields[step]}"), BarColumn(), TextColumn("{task.fields[text]}"),
                console=Console(stderr=True, highlight=False), refresh_per_second=5,
            )  # fmt: skip
            self._bar.add_task("", total=1.0, step=self._conduct.step, text="")
            self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on."""
        self._show(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show its figures."""
        self._said = -1
        self._show(trainer, now=True)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the terminal as it was, however the run ends."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, trainer: pl.Trainer, now: bool = False) -> None:
        if not trainer.is_global_zero:
            return
        conduct = self._conduct
        if self._bar is not None:
            if now or time.monotonic() - self._last > _EVERY_S:
                self._last = time.monotonic()
                self._bar.update(
                    self._bar.task_ids[0], completed=conduct.progress, step=conduct.step, text=self._text()
                )
        elif self._metrics.logged != self._said:
            self._said = self._metrics.logged
            print(f"step {conduct.step}  {self._text()}", file=sys.stderr, flush=True)

    def _text(self) -> str:
        newest, conduct = self._metrics.newest, self._conduct
        words = [f"loss {newest['loss']:.4g}"] if "loss" in newest else []
        words += [
            f"{name.removeprefix('val/')} {value:.4g}"
            for name, value in newest.items()
            if name.startswith("val/") and name != "val/seconds"
        ]
        if "steps_per_s" in newest:
            words += [f"{newest['steps_per_s']:.3g} steps/s", f"waiting {newest['idle']:.0%}"]
        words.append(f"{_clock(conduct.elapsed_s)} done, {_clock(conduct.remaining_s)} left")
        return "  ".join(words)


def _clock(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"
