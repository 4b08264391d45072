"""Makes a data set of synthetic videos with its two splits, several worker processes at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.documents import parse_json
from capture.errors import UsageError
from capture.validation import did_you_mean
from training.files import replace_bytes
from training.processes import processes
from training.synthesis import spikes
from training.synthesis.clip import ClipPlan, make_clip
from training.synthesis.config import SynthesisConfig
from training.synthesis.photo_cache import PhotoCache
from training.synthesis.writers import FORMATS, last_written

DRAWING = 2
"""Raised whenever the same settings and seed give other videos; the first sets do not say theirs."""
ABOUT = "synthesis.json"
"""In the folder of a set of videos: what they are made of."""
_HELD_OUT = 8
"""Of so many photos one is for the test split, and for nothing else."""


@dataclass(frozen=True, slots=True)
class VideoOrder:
    """What is to be made.

    Attributes:
        folder: of the set; `train` and `test` come into it.
        format: one of `writers.FORMATS`, or `spikes.FORMAT`.
        train, test: videos of either split.
        plan, config, seed: of the videos.
        photos: what `training.photos.open_photos` gives.
        workers: processes.
    """

    folder: Path
    format: str
    train: int
    test: int
    plan: ClipPlan
    config: SynthesisConfig
    seed: int
    photos: Any
    workers: int = 1


def check_format(name: str) -> None:
    """Raises `UsageError`: `name` is no format of videos; names those that are, and a pool."""
    known = ["pool", *FORMATS, spikes.FORMAT]
    if name not in known[1:]:
        raise UsageError(f"--format {name!r}: {did_you_mean(name, known)}known are {', '.join(known)}")


def make_videos(order: VideoOrder, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
    """Make what is missing of a set; gives the number of videos drawn now.

    No photo serves both splits.

    Raises:
        UsageError: an unknown format, fewer photos than two splits need, another set in the folder, or one of
            an older version that lacks videos.
        TrainingError: a file cannot be written. KeyboardInterrupt: stopped; finished videos stay.
    """
    check_format(order.format)
    if order.test and len(order.photos) < 2:
        raise UsageError("two splits take two photos at the least, one of them for the test split alone")
    older = _claim(order)
    wanted = [(split, k) for split in ("train", "test") for k in range(getattr(order, split))]
    missing = [w for w in wanted if not _place(order, *w).exists()]
    if missing and older:
        raise UsageError(
            f"{order.folder} holds videos that were drawn by an older version: they can be used, not added to; "
            "give another folder"
        )
    done = len(wanted) - len(missing)
    progress(done, len(wanted))
    if not missing:
        return 0
    with processes(min(order.workers, len(missing)), _begin) as pool:
        running = [pool.submit(_make, order, *w) for w in missing]
        for future in as_completed(running):
            future.result()
            done += 1
            progress(done, len(wanted))
    return len(missing)


def _claim(order: VideoOrder) -> bool:
    """Take the folder; True: it holds this set as an older version drew it, with other bytes."""
    what = {
        "format": order.format, "seed": order.seed, "photos": order.photos.fingerprint,
        "plan": [order.plan.frames, order.plan.duty, order.plan.scale, order.plan.instants],
        "synthesis": order.config.model_dump(mode="json"), "held_out": order.test > 0, "drawing": DRAWING,
    }  # fmt: skip
    path = order.folder / ABOUT
    try:
        order.folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            found = parse_json(path.read_text(encoding="utf-8"))
            if found != what:
                if isinstance(found, dict) and {**found, "held_out": order.test > 0} == what:
                    made = "with" if found.get("held_out") else "without"
                    raise UsageError(
                        f"{order.folder} was made {made} test videos, whose photos no other may show; give "
                        "another folder, or --test as it was"
                    )
                if isinstance(found, dict) and {**found, "drawing": DRAWING} == what:
                    # The second drawing has other noise; videos of a spike camera have none of it.
                    return order.format != spikes.FORMAT
                raise UsageError(
                    f"{order.folder} holds videos of other photos, seed or settings; give another folder"
                )
            return False
        if any(order.folder.iterdir()):
            raise UsageError(f"{order.folder} holds something else; give a new folder")
    except OSError as error:
        raise UsageError(f"cannot use {order.folder}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"cannot use {order.folder}: {path.name} is damaged ({error})") from error
    replace_bytes(path, json.dumps(what, indent=1).encode())
    return False


def _name(order: VideoOrder, split: str, number: int) -> str:
    return f"{split}{number:04d}"


def _place(order: VideoOrder, split: str, number: int) -> Path:
    folder, name = order.folder / split, _name(order, split, number)
    if order.format == spikes.FORMAT:
        return spikes.written(folder, name)
    return last_written(order.format, folder, name, order.plan.frames)


def _begin() -> None:
    """In a worker: one thread, Ctrl+C is the parent's business."""
    import signal

    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _make(order: VideoOrder, split: str, number: int) -> None:
    count = len(order.photos)
    held = list(range(_HELD_OUT - 1, count, _HELD_OUT)) or [count - 1]
    kept = [i for i in range(count) if i not in held] if order.test else list(range(count))
    cache = PhotoCache(order.photos, held if split == "test" else kept, 64)
    # Numbers of both splits stay apart, so that a larger set grows.
    index = 2 * number + (split == "test")
    folder, name = order.folder / split, _name(order, split, number)
    if order.format == spikes.FORMAT:
        shots = spikes.make_shots(
            order.config, order.plan.frames, cache.load, len(cache), order.seed, index
        )  # fmt: skip
        spikes.write_shots(folder, name, shots)
        return
    clip = make_clip(order.config, order.plan, cache.load, len(cache), order.seed, index)
    FORMATS[order.format](folder, name, clip)
