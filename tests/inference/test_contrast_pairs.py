"""Both thresholds from exposures in a row: found, not found, and who may have a say."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from capture.packets import Events
from inference.quality import psnr
from inference.representations.double_integral import Contrast
from inference.restorers import contrast_learner, contrast_pairs
from inference.restorers.contrast import AROUND, MAX_EVENTS, MAX_PIXELS
from inference.restorers.contrast_learner import (
    LEARN_FROM,
    ContrastLearner,
    light_on_event_grid,
    weighed,
)
from inference.restorers.contrast_pairs import Neighbours, Seen, compare, follows
from inference.restorers.edi import EdiRestorer
from inference.restorers.picture import picture_of
from inference.tone import Tone, encode
from sync.exposure import AlignedExposure
from tests.inference.moving_scene import Light, blurred_of, events_of, exposure_of, panning, rig_for
from tests.inference.restorers.rigs import noise_exposure, one_grid

LENGTH, PERIOD = 30_000, 36_000
START = Contrast(0.2, 0.2)


@lru_cache(maxsize=16)
def row(
    on: float = 0.15, off: float = 0.25, count: int = 2, seed: int = 0, reach_us: int = PERIOD - LENGTH,
    pixels: float = 10.0, tone: Tone = "linear", size: tuple[int, int] = (96, 72), spread: float = 0.0,
    noise_hz: float = 0.0,
) -> tuple[tuple[AlignedExposure, ...], Light]:  # fmt: skip
    """Exposures of one panning camera, `reach_us` of events before each; and the light of the last."""
    total = (count - 1) * PERIOD + LENGTH
    light = panning(*size, pixels * total / LENGTH, seed)
    rig = rig_for(size, tone=tone)
    events = events_of(light, 0, total, on, off, steps=100 * count, seed=seed, spread=spread, noise_hz=noise_hz)
    out: list[AlignedExposure] = []

    def part(begin: int) -> Light:
        return lambda f: light((begin + f * LENGTH) / total)

    for k in range(count):
        begin = k * PERIOD
        first = max(0, begin - reach_us)
        image = encode(blurred_of(part(begin), 60), tone)
        a = exposure_of(image, events.between(first, begin + LENGTH), rig, begin, begin + LENGTH, k)
        out.append(replace(a, window_start_us=first))
    return tuple(out), part((count - 1) * PERIOD)


def seen(a: AlignedExposure) -> Seen:
    return Seen(a, light_on_event_grid(a.frame.image, a.rig))


def said(*exposures: AlignedExposure, tone: Tone = "linear") -> Neighbours | None:
    before, after = exposures
    assert follows(before, after)
    return compare(seen(before), seen(after), tone, START)


def learnt(*exposures: AlignedExposure) -> ContrastLearner:
    learner = ContrastLearner(exposures[0].rig)
    for a in exposures:
        learner.learn(a, a.frame.image, a.rig)
    return learner


def pairs_of(learner: ContrastLearner) -> int:
    return len(learner._pairs)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("on", "off"), [(0.15, 0.25), (0.3, 0.18), (0.1, 0.1), (0.35, 0.5)])
def test_unlike_thresholds_are_measured(on: float, off: float, seed: int) -> None:
    found = said(*row(on, off, seed=seed)[0])
    assert found is not None
    # A step's remainder is noise to the fit: the larger the steps, the less sure it is.
    assert on / 1.25 < found.measured.on < on * 1.25
    assert off / 1.25 < found.measured.off < off * 1.25
    assert found.measured.off / found.measured.on == pytest.approx(off / on, rel=0.2)
    assert found.evaluations <= contrast_pairs.ROUNDS
    assert found.contrast.off / found.contrast.on == pytest.approx(found.measured.off / found.measured.on)
    assert 1.0 <= found.contrast.on / found.measured.on <= contrast_pairs.FACTOR_MOST


@pytest.mark.parametrize("tone", ["linear", "srgb"])
def test_without_the_gaps_events_silent_pixels_tell(tone: Tone) -> None:
    exposures = row(0.15, 0.25, reach_us=0, tone=tone)[0]
    found, whole = said(*exposures, tone=tone), said(*row(0.15, 0.25, tone=tone)[0], tone=tone)
    assert found is not None
    assert whole is not None
    assert found.pixels < whole.pixels
    assert 0.15 * 0.7 < found.measured.on < 0.15 * 1.15
    assert 0.25 * 0.7 < found.measured.off < 0.25 * 1.15


def test_the_earlier_exposures_window_may_reach_over_the_gap() -> None:
    before, after = row(0.15, 0.25)[0]
    gap = after.events.between(before.exposure.end_us, after.exposure.start_us)
    longer = replace(
        before, events=Events.concatenate([before.events, gap]), window_end_us=after.exposure.start_us
    )
    shorter = replace(after, events=after.exposure_events(), window_start_us=after.exposure.start_us)
    one, other = said(before, after), said(longer, shorter)
    assert one is not None
    assert other is not None
    assert one.measured == other.measured


def test_a_gain_between_the_frames_is_no_threshold() -> None:
    before, after = row(0.15, 0.25)[0]
    dim = replace(after, frame=replace(after.frame, image=(after.frame.image * 0.8).astype(np.uint8)))
    plain, dimmed = said(before, after), said(before, dim)
    assert plain is not None
    assert dimmed is not None
    assert dimmed.measured.on == pytest.approx(plain.measured.on, rel=0.05)
    assert dimmed.measured.off == pytest.approx(plain.measured.off, rel=0.05)


def test_both_thresholds_make_a_better_picture_than_edges_alone() -> None:
    gains = []
    for seed in (0, 1, 2):
        exposures, light = row(0.14, 0.28, count=4, seed=seed, spread=0.05, noise_hz=2.0)
        truth = encode(light(0.5), "linear")
        last = exposures[-1]
        found = EdiRestorer(last.rig, {}, "cpu")
        for a in exposures:
            picture = found.restore([a], [0.5])
        alone = EdiRestorer(last.rig, {}, "cpu").restore([last], [0.5])
        gains.append(psnr(picture.images[0], truth) - psnr(alone.images[0], truth))
    assert np.mean(gains) > 0.3


def test_the_result_does_not_hang_on_where_the_search_begins() -> None:
    before, after = (seen(a) for a in row(0.15, 0.25)[0])
    found = [compare(before, after, "linear", Contrast(c, c)) for c in (0.07, 0.2, 0.6)]
    assert all(f is not None for f in found)
    logs = np.log([[f.measured.on, f.measured.off] for f in found if f is not None])
    assert np.ptp(logs, axis=0).max() < 0.03


def test_cost_is_bounded_however_large_and_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n, w, h = 400_000, 640, 480
    sizes: list[tuple[int, int]] = []
    real = contrast_pairs._moments

    def counted(t: np.ndarray, *rest: object) -> None:
        sizes.append((len(t), len(rest[-1][0])))  # type: ignore[index]
        real(t, *rest)

    monkeypatch.setattr(contrast_pairs, "_moments", counted)
    rig = rig_for((w, h))
    both = []
    for k in range(2):
        t = np.sort(rng.integers(k * PERIOD, k * PERIOD + LENGTH, n))
        x = rng.normal(500, 60, n).astype(int).clip(0, w - 1)
        events = Events.checked(t, x, rng.integers(0, h, n), rng.random(n) < 0.5, w, h)
        image = rng.integers(60, 200, (h, w)).astype(np.uint8)
        both.append(exposure_of(image, events, rig, k * PERIOD, k * PERIOD + LENGTH, k))
    said(*both)
    assert 0 < len(sizes) <= 2 * contrast_pairs.ROUNDS
    assert max(s[0] for s in sizes) <= 2 * MAX_EVENTS
    assert max(s[1] for s in sizes) <= MAX_PIXELS


# -- what tells nothing


def test_a_still_scene_tells_nothing() -> None:
    before, after = row()[0]
    none = Events.empty(96, 72)
    still = [replace(a, events=none, frame=replace(a.frame, image=before.frame.image)) for a in (before, after)]
    assert said(*still) is None
    assert learnt(*still).assumed


def test_events_that_have_nothing_to_do_with_the_frames_tell_nothing() -> None:
    before, after = row()[0]
    e = after.events
    swapped = replace(after, events=Events(e.t, e.x[::-1].copy(), e.y[::-1].copy(), e.p, e.width, e.height))
    e = before.events
    other = replace(before, events=Events(e.t, e.x[::-1].copy(), e.y[::-1].copy(), e.p, e.width, e.height))
    assert said(other, swapped) is None


@pytest.mark.parametrize("value", [0, 255])
def test_a_black_or_clipped_frame_tells_nothing(value: int) -> None:
    before, after = row()[0]
    flat = replace(after, frame=replace(after.frame, image=np.full((72, 96), value, np.uint8)))
    assert said(before, flat) is None


def test_frames_of_another_size_are_no_neighbours() -> None:
    before = row()[0][0]
    other = row(size=(64, 48))[0][1]
    assert not follows(before, other)


def test_who_follows_whom() -> None:
    before, after = row()[0]
    far = after.exposure.start_us + round(5 * LENGTH)
    assert follows(before, after)
    for stranger in (
        replace(after, ordinal=3),  # one between was refused or left out
        replace(after, ordinal=0),
        replace(after, complete=False),
        replace(after, frame=replace(after.frame, epoch=1)),  # seek, or the next round of a loop
        replace(after, frame=replace(after.frame, gap=True)),  # the camera was away
        replace(after, exposure=replace(after.exposure, start_us=far, end_us=far + LENGTH)),
        replace(after, exposure=replace(after.exposure, start_us=1000)),  # overlaps
    ):
        assert not follows(before, stranger)
    assert not follows(replace(before, complete=False), after)
    assert not follows(after, before)


def test_a_long_gap_without_its_events_tells_nothing() -> None:
    before, after = row(reach_us=0)[0]
    later = 2 * LENGTH
    moved = replace(
        after,
        exposure=replace(after.exposure, start_us=PERIOD + later, end_us=PERIOD + later + LENGTH),
        events=Events(
            after.events.t + later, after.events.x, after.events.y, after.events.p, 96, 72
        ),
        window_start_us=PERIOD + later, window_end_us=PERIOD + later + LENGTH,
    )  # fmt: skip
    assert follows(before, moved)
    assert compare(seen(before), seen(moved), "linear", START) is None


# -- the learner


def test_pairs_have_their_say_and_then_it_is_held() -> None:
    exposures = row(count=LEARN_FROM + 2)[0]
    learner = ContrastLearner(exposures[0].rig)
    found = []
    for a in exposures:
        learner.learn(a, a.frame.image, a.rig)
        learner.learn(a, a.frame.image, a.rig)  # looked into again: no second say
        found.append((learner.contrast, learner.samples))
    assert [n for _, n in found] == [*range(1, LEARN_FROM + 1), LEARN_FROM, LEARN_FROM]
    assert pairs_of(learner) == LEARN_FROM - 1
    assert len({c for c, _ in found[LEARN_FROM - 1 :]}) == 1
    assert learner._before is None
    assert learnt(*exposures).contrast == learner.contrast
    learner.restart()
    assert learner.assumed
    assert pairs_of(learner) == 0


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_an_exposure_that_lost_events_parts_its_neighbours(lost: int) -> None:
    exposures = list(row(count=4)[0])
    exposures[lost] = replace(exposures[lost], complete=False)
    learner = learnt(*exposures)
    assert learner.samples == 3
    assert pairs_of(learner) == (2 if lost == 0 else 1)


def test_a_loop_is_no_neighbour_of_its_end() -> None:
    once = row(count=2)[0]
    again = [replace(a, frame=replace(a.frame, epoch=1)) for a in once]
    learner = learnt(*once, *again)
    assert (learner.samples, pairs_of(learner)) == (4, 2)
    # Backwards within one epoch: nothing new, or no neighbour.
    back = learnt(*once[::-1])
    assert (back.samples, pairs_of(back)) == (2, 0)


def test_another_rig_has_no_neighbour_yet() -> None:
    first, second = row()[0]
    learner = learnt(first)
    learner.use_rig(rig_for((96, 72), thresholds=(0.2, 0.2)))
    learner.learn(second, second.frame.image, second.rig)
    assert (learner.samples, pairs_of(learner)) == (2, 0)


def test_stated_thresholds_limit_what_pairs_say() -> None:
    exposures = row(0.1, 0.1)[0]
    rig = rig_for((96, 72), thresholds=(0.4, 0.4))
    found = learnt(*(replace(a, rig=rig) for a in exposures)).contrast
    assert math.sqrt(found.on * found.off) == pytest.approx(0.4 / AROUND)


def test_the_surer_way_wins() -> None:
    def pair(certainty: float) -> Neighbours:
        return Neighbours(Contrast(0.1, 0.2), Contrast(0.1, 0.2), np.eye(2) * certainty, 0.8, 9000, 3)

    alone = Contrast(0.3, 0.3)
    sure, unsure = weighed([pair(1e4)], alone, None), weighed([pair(1e-3)], alone, None)
    assert (sure.on, sure.off) == (pytest.approx(0.1, rel=0.01), pytest.approx(0.2, rel=0.01))
    assert (unsure.on, unsure.off) == (pytest.approx(0.3, rel=0.01), pytest.approx(0.3, rel=0.01))
    some = weighed([pair(8.0)], alone, None)
    assert 0.1 < some.on < 0.3
    assert weighed([pair(8.0)] * 4, alone, None).on < some.on


def test_a_still_scene_that_tells_nothing_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast_learner, "search", lambda *_: None)
    monkeypatch.setattr(contrast_learner, "compare", lambda *_: None)
    rig = one_grid(16, 12)
    learner = ContrastLearner(rig)
    a = noise_exposure(rig)
    for k in range(3 * contrast_learner.SEEN):
        learner.learn(replace(a, ordinal=k), picture_of(a.frame), rig)
    assert len(learner._seen) == contrast_learner.SEEN
