"""A small suite with truth: moving scenes of the test's own, exact events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.inference.moving_scene import Scene, scene
from training.suite import ListedSuite, SuiteItem


def item(sequence: str, name: str, s: Scene, latents: Sequence[float] = (0.5,)) -> SuiteItem:
    truth = np.stack([s.truth(f) for f in latents]) if latents else np.empty((0, 1, 1), np.uint8)
    return SuiteItem(sequence, name, s.exposure, tuple(latents), truth)


def made_suite(**_: object) -> ListedSuite:
    """Two sequences: thresholds 0.15 and 0.3."""
    items = [
        item("a", "a0", scene(on=0.15, off=0.15, seed=1), (0.25, 0.5)),
        item("b", "b0", scene(on=0.3, off=0.3, seed=3)),
    ]
    return ListedSuite("made", [lambda i=i: i for i in items])  # type: ignore[misc]
