"""The folder of a run: what was asked for, what came out, and what it takes to go on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.documents import parse_json
from capture.errors import UsageError
from inference import cards, store
from inference.weights_limits import WeightsError
from inference.weights_safetensors import read_header
from training import recipe as recipes
from training.errors import TrainingError, why
from training.files import replace_bytes, replace_json, save_weights
from training.paths import without_folders
from training.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

# Of the weights file's metadata; another version is refused.
WEIGHTS_VERSION = "1"
_LOCK = ".lock"
_STEP = "halfmirror.step"


class RunFolder:
    """Paths and records of one run.

    Files: `recipe.toml` (resolved), `run.json` (seed, git state, versions, data fingerprint, sessions),
    `metrics.jsonl`, `tensorboard/`, `previews/`, `weights.safetensors` (averaged), `state.pt` (to resume from).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @property
    def recipe(self) -> Path:
        """The recipe, resolved."""
        return self.path / "recipe.toml"

    @property
    def record(self) -> Path:
        """Facts of the run, JSON."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line: training and validation figures by step."""
        return self.path / "metrics.jsonl"

    @property
    def state(self) -> Path:
        """What a resumed run goes on from."""
        return self.path / "state.pt"

    @property
    def weights(self) -> Path:
        """The averaged weights of the newest saved state, or of the steps after it where a run was killed."""
        return self.path / "weights.safetensors"

    def bad_batch(self, step: int) -> Path:
        """Where the batch of a step goes whose loss is not finite."""
        return self.path / f"bad-batch-{step:06d}.pt"

    def preview(self, step: int, number: int) -> Path:
        """A picture drawn at a validation."""
        return self.path / "previews" / f"step-{step:06d}-{number}.png"

    # --- beginning ----------------------------------------------------------------------------------------

    def create(self, recipe: Recipe, facts: Mapping[str, Any]) -> None:
        """Begin a new run; the folder must be new or empty.

        Raises:
            UsageError: there is something in it, or the recipe names what TOML cannot.
            TrainingError: it cannot be written to.
        """
        try:
            text = recipe.dumps().encode()
        except UnicodeEncodeError as error:
            line = error.object[: error.end].splitlines()[-1]
            raise UsageError(
                f"a recipe holds UTF-8 only, not what begins with {line!a}; rename that"
            ) from error
        if self.path.is_dir() and any(p.name != _LOCK for p in self.path.iterdir()):
            go_on = f"; go on with: halfmirror train {self.path} --resume" if self.state.exists() else ""
            raise UsageError(f"{self.path} exists already and is not empty: give another folder with -o{go_on}")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(
                f"cannot make {self.path}: {why(error)}; give another folder with -o"
            ) from error
        self._hold()
        replace_bytes(self.recipe, text)
        self._write({**_surroundings(), "seed": recipe.seed, **facts, "sessions": []})

    def reopen(
        self, recipe: Recipe, fingerprint: str, as_begun: Callable[[Recipe], Recipe] = lambda kept: kept
    ) -> None:
        """Go on with a run that was stopped; metrics of steps that will be done again are dropped later.

        Args:
            recipe, fingerprint: to go on with.
            as_begun: states in the recipe that is kept what an older one leaves out.

        Raises:
            UsageError: no such run, nothing saved yet, another recipe or other data (with the difference).
        """
        if not self.recipe.is_file():
            raise UsageError(f"{self.path} holds no run to resume; leave --resume out to begin one")
        if not self.state.is_file():
            raise UsageError(f"{self.path} has no saved state to resume from; begin anew in another folder")
        if changed := recipes.differences(as_begun(recipes.load(self.path)), recipe):
            raise UsageError(
                f"{self.path} was begun with another recipe: {', '.join(changed)}; resume with the recipe as "
                f"it was (halfmirror train {self.path} --resume), or begin a run in another folder"
            )
        before = self.facts().get("data_fingerprint")
        if before is None:
            raise UsageError(
                f"{self.record} is damaged or gone, and nothing else tells what the run's data were: put it "
                "back, or begin a run in another folder"
            )
        if before != fingerprint:
            raise UsageError(
                f"{self.path} was begun with other data (fingerprint {before}, now {fingerprint}): "
                "photos, recordings, the number of a pool's samples or how they are made changed; begin a run "
                "in another folder"
            )
        self._hold()

    def discard(self) -> None:
        """Remove a folder in which nothing was trained yet.

        Raises:
            UsageError: another process trains in it.
        """
        held = self._lock is not None
        if not held:
            self._hold()
        try:
            if not self.state.exists():
                shutil.rmtree(self.path, ignore_errors=True)
        finally:
            if not held:
                self.release()

    # --- records ------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What `run.json` holds; empty when it cannot be read."""
        try:
            found = parse_json(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def session(self, **figures: Any) -> None:
        """Add a session (one call of the trainer) to the record."""
        facts = self.facts()
        facts.setdefault("sessions", []).append({"ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **figures})
        self._write(facts)

    def keep_metrics_until(self, step: int) -> None:
        """Drop lines of later steps, which the resumed run does again."""
        try:
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        kept = []
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):  # the last line may be cut off
                if parse_json(line)["step"] <= step:
                    kept.append(line)
        replace_bytes(self.metrics, "".join(f"{line}\n" for line in kept).encode())

    def write_weights(
        self,
        entries: Mapping[str, Tensor],
        recipe: Recipe,
        step: int,
        fingerprint: str,
        card_fields: Mapping[str, Any] | None = None,
    ) -> None:
        """The averaged weights with what is needed to know them again, and their card for `models add`.

        Args:
            entries: the network's own, by name.
            recipe, step, fingerprint: where they come from.
            card_fields: what the task says of them, see `training.task`.

        Raises:
            TrainingError: they cannot be written; the ones before stay.
        """
        recipe = without_folders(recipe)
        save_weights(
            self.weights,
            entries,
            {
                "halfmirror.weights": WEIGHTS_VERSION, "halfmirror.network": recipe.network.name,
                "halfmirror.options": json.dumps(recipe.network.options, sort_keys=True),
                "halfmirror.recipe": recipe.dumps(), _STEP: str(step),
                "halfmirror.data": fingerprint, **_card(recipe, step, card_fields),
            },
        )  # fmt: skip

    def weights_step(self) -> int | None:
        """After which step the weights are; None: there are none, or they do not tell."""
        try:
            return int((read_header(self.weights).metadata or {})[_STEP])
        except (OSError, WeightsError, LookupError, ValueError):
            return None

    def _write(self, facts: Mapping[str, Any]) -> None:
        replace_json(self.record, facts)

    def _hold(self) -> None:
        """One trainer a folder; the lock goes with the process."""
        lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise UsageError(f"{self.path} is in use by another run of the program; wait for it") from None
        except OSError:
            pass  # a file system without locks
        self._lock = lock

    def release(self) -> None:
        """Let another process have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _card(recipe: Recipe, step: int, fields: Mapping[str, Any] | None) -> dict[str, str]:
    """The card of trained weights, where the network has one."""
    name = recipe.network.name
    if name not in cards.NAMES:
        return {}
    data = recipe.data.photos or ", ".join(recipe.data.recordings) or "data of the task"
    trained = f"{recipe.data.kind} ({data}), recipe {recipe.name or recipe.task_name}, {step} steps"
    update = {"options": recipe.network.options, "trained_on": trained, "published": (), "evaluation": ()}
    about = cards.Card.model_validate(cards.card(name).model_dump() | update | dict(fields or {}))
    return store.metadata_of(about)


def _surroundings() -> dict[str, Any]:
    return {
        "begun": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "git": git_state(),
        "versions": {n: _version(n) for n in ("halfmirror", "torch", "pytorch-lightning", "numpy")}
        | {"python": platform.python_version()},
        "machine": platform.platform(),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def git_state() -> dict[str, Any]:
    """The program's commit and whether files differ from it; `{"commit": "unknown"}` outside a checkout."""
    root = str(Path(__file__).resolve().parents[1])

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", root, *words], capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != Path(root):
            return {"commit": "unknown"}
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": "unknown"}
