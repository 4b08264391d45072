"""The engine: every exposure once, in order, with the right neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capture.packets import Events
from inference.engine import Engine, Failed
from inference.restorers.base import LatentTimes, Needs, Restored, check_latents
from inference.restorers.passthrough import PassThrough
from sync.exposure import AlignedExposure
from tests.inference.moving_scene import exposure_of, rig_for

RIG = rig_for((8, 8))


def numbered(n: int, epoch: int = 0) -> AlignedExposure:
    image = np.full((8, 8), n, np.uint8)
    return exposure_of(image, Events.empty(8, 8), RIG, 1000 * n, 1000 * n + 500, n, epoch=epoch)


class Recorder:
    """Notes which neighbours it is given."""

    name = "recorder"

    def __init__(self, before: int = 0, after: int = 0, fixed: tuple[float, ...] = ()) -> None:
        kind = LatentTimes.FIXED if fixed else LatentTimes.ANY
        self.needs = Needs(frames_before=before, frames_after=after, latent=kind, fixed_latents=fixed)
        self.windows: list[list[int]] = []
        self.resets = 0
        self.prepared: list[tuple[int, int]] = []
        self.options: dict[str, Any] = {}

    def prepare(self, width: int, height: int) -> None:
        self.prepared.append((width, height))

    def reset(self) -> None:
        self.resets += 1

    def set(self, options: dict[str, Any]) -> None:
        self.options.update(options)

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        at = check_latents(latents)
        self.windows.append([a.ordinal for a in window])
        a = window[self.needs.frames_before]
        images = np.repeat(a.frame.image[None], len(at), axis=0)
        return Restored(a.ordinal, at, tuple(a.exposure.time_at(f) for f in at), images, self.name)


def test_without_neighbours_each_comes_out_at_once() -> None:
    engine = Engine(Recorder())
    for k in range(3):
        (got,) = engine.push(numbered(k), [0.5])
        assert got.ordinal == k
        assert got.seconds > 0
    assert engine.flush() == []


def test_neighbours_and_lag() -> None:
    restorer = Recorder(before=2, after=1)
    engine = Engine(restorer)
    out = [[r.ordinal for r in engine.push(numbered(k), [0.5])] for k in range(4)]
    assert out == [[], [0], [1], [2]]
    assert engine.waiting == 1
    assert [r.ordinal for r in engine.flush()] == [3]
    # At the borders the outermost exposure stands in.
    assert restorer.windows == [[0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 3]]


def test_each_keeps_the_instants_it_was_pushed_with() -> None:
    engine = Engine(Recorder(after=1))
    engine.push(numbered(0), [0.1, 0.9])
    (first,) = engine.push(numbered(1), [0.5])
    assert first.latents == (0.1, 0.9)
    assert len(first.images) == 2


def test_a_gap_gives_what_waits_and_forgets_neighbours() -> None:
    restorer = Recorder(before=1, after=1)
    engine = Engine(restorer)
    engine.push(numbered(0), [0.5])
    engine.push(numbered(1), [0.5])
    assert [r.ordinal for r in engine.gap()] == [1]
    assert restorer.resets == 1
    engine.push(numbered(5), [0.5])
    engine.push(numbered(6), [0.5])
    assert restorer.windows == [[0, 0, 1], [0, 1, 1], [5, 5, 6]]


def test_a_new_epoch_is_a_gap() -> None:
    restorer = Recorder(before=1, after=1)
    engine = Engine(restorer)
    engine.push(numbered(7), [0.5])
    out = engine.push(numbered(0, epoch=1), [0.5])
    assert [r.ordinal for r in out] == [7]
    assert restorer.resets == 1
    engine.flush()
    assert restorer.windows == [[7, 7, 7], [0, 0, 0]]


def test_a_frame_before_which_its_camera_was_away_has_no_neighbours_before_it() -> None:
    restorer = Recorder(before=1, after=1)
    engine = Engine(restorer)
    engine.push(numbered(7), [0.5])
    back = numbered(8)
    out = engine.push(replace(back, frame=replace(back.frame, gap=True)), [0.5])
    assert [r.ordinal for r in out] == [7]
    assert restorer.resets == 1
    engine.flush()
    assert restorer.windows == [[7, 7, 7], [8, 8, 8]]


def test_fixed_instants_replace_those_asked_for() -> None:
    engine = Engine(Recorder(fixed=(0.5,)))
    (got,) = engine.push(numbered(0), [0.0, 0.3, 1.0])
    assert got.latents == (0.5,)


def test_bad_instants_are_refused_before_anything_happens() -> None:
    engine = Engine(Recorder(after=1))
    for latents in ([], [1.5], [float("nan")]):
        with pytest.raises(ValueError, match="latent"):
            engine.push(numbered(0), latents)
    assert engine.waiting == 0


def test_again_leaves_the_stream_alone() -> None:
    restorer = Recorder(before=1, after=1)
    engine = Engine(restorer)
    engine.push(numbered(0), [0.5])
    got = engine.again([numbered(8), numbered(9), numbered(10)], [0.2, 0.8])
    assert isinstance(got, Restored)
    assert (got.ordinal, got.latents) == (9, (0.2, 0.8))
    assert restorer.windows == [[8, 9, 10]]
    assert [r.ordinal for r in engine.push(numbered(1), [0.5])] == [0]


class Fragile(Recorder):
    """Fails on some ordinals."""

    def __init__(self, fails: set[int], **more: Any) -> None:
        super().__init__(**more)
        self.fails = fails

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        if window[self.needs.frames_before].ordinal in self.fails:
            raise RuntimeError("no memory")
        return super().restore(window, latents)


def outcomes(attempts: Sequence[Restored | Failed]) -> list[tuple[str, int]]:
    return [
        ("failed", a.exposure.ordinal) if isinstance(a, Failed) else ("restored", a.ordinal) for a in attempts
    ]


def test_a_failure_stands_in_its_own_exposures_place() -> None:
    engine = Engine(Fragile({0, 3}, after=2))
    got = [a for k in range(6) for a in engine.try_push(numbered(k), [0.5])]
    got += engine.try_flush()
    assert outcomes(got) == [
        ("failed", 0), ("restored", 1), ("restored", 2), ("failed", 3), ("restored", 4), ("restored", 5),
    ]  # fmt: skip
    error = got[0].error if isinstance(got[0], Failed) else None
    assert isinstance(error, RuntimeError)


def test_a_gap_after_failures_still_resets() -> None:
    restorer = Fragile({0, 1}, after=2)
    engine = Engine(restorer)
    engine.push(numbered(0), [0.5])
    engine.push(numbered(1), [0.5])
    assert outcomes(engine.try_gap()) == [("failed", 0), ("failed", 1)]
    assert restorer.resets == 1
    assert engine.waiting == 0


def test_unguarded_a_failure_is_raised() -> None:
    engine = Engine(Fragile({0}))
    with pytest.raises(RuntimeError, match="no memory"):
        engine.push(numbered(0), [0.5])
    assert [r.ordinal for r in engine.push(numbered(1), [0.5])] == [1]


def test_what_waits_can_be_taken_away_with_its_instants() -> None:
    engine = Engine(Recorder(after=2))
    engine.push(numbered(0), [0.25])
    engine.push(numbered(1), [0.5])
    assert [(e.ordinal, at) for e, at in engine.give_up()] == [(0, (0.25,)), (1, (0.5,))]
    assert engine.flush() == []


def test_warm_up_once_per_size() -> None:
    restorer = Recorder()
    engine = Engine(restorer)
    engine.prepare(8, 8)
    engine.push(numbered(0), [0.5])
    engine.push(numbered(1), [0.5])
    assert restorer.prepared == [(8, 8)]


def test_a_restorer_that_gives_the_wrong_thing_is_named() -> None:
    class Wrong(Recorder):
        def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
            good = super().restore(window, latents)
            return Restored(good.ordinal, good.latents, good.times_us, good.images[:0], "wrong")

    with pytest.raises(ValueError, match="recorder gave 0 pictures"):
        Engine(Wrong()).push(numbered(0), [0.5])


def test_pass_through_is_identical() -> None:
    a = numbered(3)
    (got,) = Engine(PassThrough(RIG)).push(a, [0.0, 0.5])
    assert got.network == "none"
    assert got.times_us == (3000, 3250)
    for image in got.images:
        np.testing.assert_array_equal(image, a.frame.image)
