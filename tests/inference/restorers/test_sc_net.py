"""SC-Net and STRA as restorers: windows of events, the feature handed on, gaps, grids, any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from capture.errors import UsageError
from capture.packets import Events
from inference import networks
from inference.engine import Engine
from inference.restorers.base import RANDOM_FLAG, Restored
from inference.restorers.event_flags import LOST_FLAG, NO_EVENTS_FLAG
from inference.restorers.neural import NAN_FLAG
from inference.restorers.sc_net import ScNetRestorer, StraRestorer
from sync.exposure import AlignedExposure
from sync.geometry import scaled_homography
from tests.inference.moving_scene import rig_for
from tests.inference.restorers.streams import EXPOSURE_US, PERIOD_US, OneThread, exposures

RIG = rig_for((42, 30))  # no multiple of 4
LOUD = {"random_weights": True, "theta_s": 1.0, "theta_t": 1.0}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with OneThread():
        yield


def make(kind: type[ScNetRestorer] = StraRestorer, **options: Any) -> ScNetRestorer:
    """A restorer whose picture depends on its events: as published they hardly matter."""
    restorer = kind(RIG, {**LOUD, **options}, "cpu")
    restorer.prepare(42, 30)
    for fusion in (restorer._net.sfb1[0], restorer._net.sfb2[0]):  # type: ignore[union-attr, index]
        fusion.gamma.fill_(30.0)
    return restorer


def stream(ordinals: Sequence[int], **kind: Any) -> list[AlignedExposure]:
    return exposures(ordinals, **{"rig": RIG, **kind})


def run(restorer: ScNetRestorer, given: Sequence[AlignedExposure]) -> list[Restored]:
    return [restorer.restore([a], (0.5,)) for a in given]


def fed(restorer: ScNetRestorer) -> list[torch.Tensor]:
    """The event maps that the network gets from now on, (6, H, W) or (6, H, W, T)."""
    seen: list[torch.Tensor] = []

    def note(_: Any, given: tuple[torch.Tensor, ...]) -> None:
        seen.append((given[2] if len(given) > 2 else given[0][:, 3:])[0].clone())

    restorer._net.register_forward_pre_hook(note)  # type: ignore[union-attr]
    return seen


@pytest.mark.parametrize("kind", [StraRestorer, ScNetRestorer])
def test_a_stream_is_the_networks_own_recurrence(kind: type[ScNetRestorer]) -> None:
    """Against the counts of each window by hand, and the whole feature from call to call."""
    restorer = make(kind)
    net: Any = restorer._net
    engine = Engine(restorer)
    engine.prepare(42, 30)
    given = stream(range(4))
    seen = fed(restorer)
    got = [r for a in given for r in engine.push(a, [0.2])]
    assert [r.ordinal for r in got] == [0, 1, 2, 3]
    feature = None
    for a, r in zip(given, got, strict=True):
        steps = 16 if kind is ScNetRestorer else 1
        maps = torch.zeros(1, 6, 32, 44, steps)
        s, e = a.exposure.start_us, a.exposure.end_us
        for k, (first, last) in enumerate([(s - EXPOSURE_US, s), (s, e), (e, e + EXPOSURE_US)]):
            for t, x, y, p in zip(a.events.t, a.events.x, a.events.y, a.events.p, strict=True):
                if first <= t <= last:
                    step = min(steps - 1, steps * (int(t) - first) // (last - first))
                    maps[0, 2 * k + int(p), y, x, step] += 1
        assert torch.equal(seen.pop(0), maps[0] if steps > 1 else maps[0, ..., 0])
        picture = torch.from_numpy(np.pad(a.frame.image, ((0, 2), (0, 2), (0, 0)), mode="reflect"))
        image = picture.permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            if steps > 1:
                out, feature = net(image, feature, maps)
            else:
                out, feature = net(torch.cat([image, maps[..., 0]], 1), feature)
        seen.pop()
        wanted = out[0, :, :30, :42].permute(1, 2, 0).clamp(0, 1).numpy() * 255
        assert np.abs(r.images[0] - wanted).max() <= 0.51  # rounding
        assert RANDOM_FLAG in r.flags
        assert not any("cut" in f for f in r.flags)


def test_the_feature_is_handed_on_over_small_jumps_and_not_over_gaps() -> None:
    restorer = make(reach=2)
    first, second, far = (r.images for r in run(restorer, stream([0, 2, 5])))
    restorer.reset()
    alone = run(restorer, stream([2]))[0].images
    assert not np.array_equal(second, alone)  # it got something
    restorer.reset()
    fresh = run(restorer, stream([5]))[0]
    np.testing.assert_array_equal(far, fresh.images)
    restorer.reset()
    again = run(restorer, stream([0, 2, 5]))
    np.testing.assert_array_equal(again[0].images, first)
    assert "memory began anew after a gap of 3 frames" in again[2].flags
    assert again[1].flags == (RANDOM_FLAG,)


def test_a_new_epoch_begins_anew() -> None:
    restorer = make()
    run(restorer, stream([0, 1]))
    there = run(restorer, stream([2], epoch=1))[0].images
    restorer.reset()
    np.testing.assert_array_equal(there, run(restorer, stream([2], epoch=1))[0].images)


def test_held_exposures_restored_again_come_out_alike_and_disturb_nothing() -> None:
    restorer = make()
    given = stream(range(5))
    features: list[Any] = []
    restorer._net.register_forward_pre_hook(lambda _, inputs: features.append(inputs[1]))  # type: ignore[union-attr]
    plain = [r.images for r in run(restorer, given)]
    wanted, features[:] = list(features), []
    assert wanted[0] is None
    for a, b in pairwise(wanted[1:]):
        assert not torch.equal(a, b)
    restorer.reset()
    for n in range(len(given)):
        for k in (n, n, max(0, n - 1), 0):  # the first time as the stream's next
            again = restorer.restore([given[k]], (0.5,))
            np.testing.assert_array_equal(again.images, plain[k])
            got = features.pop()
            assert (got is None) == (k == 0)
            assert got is None or torch.equal(got, wanted[k])


def test_no_events_pass_the_frame_and_the_stream_goes_on() -> None:
    restorer = make()
    given = stream(range(3))
    silent = replace(given[1], events=Events.empty(42, 30))
    _, passed, after = run(restorer, [given[0], silent, given[2]])
    assert NO_EVENTS_FLAG in passed.flags
    np.testing.assert_array_equal(passed.images[0], silent.frame.image)
    restorer.reset()
    np.testing.assert_array_equal(run(restorer, [given[0], given[2]])[1].images, after.images)


def test_incomplete_exposures_and_cut_windows_are_flagged() -> None:
    restorer = make()
    (a,) = stream([3])
    lost = replace(a, complete=False)
    assert LOST_FLAG in run(restorer, [lost])[0].flags
    s, e = a.exposure.start_us, a.exposure.end_us
    cut = replace(a, window_start_us=s - 5000, window_end_us=e, events=a.events.between(s - 5000, e))
    restorer.reset()
    assert "windows before and after cut to 5.0 and 0.0 of 20.0 ms" in run(restorer, [cut])[0].flags


def test_windows_that_do_not_wait() -> None:
    assert make().needs.margin_after_us == 40_000
    (a,) = stream([0])
    s, e = a.exposure.start_us, a.exposure.end_us
    late = replace(a, window_end_us=e, events=a.events.between(s - EXPOSURE_US, e))
    for following in ("repeat", "none"):
        restorer = make(next_window=following, window_ms=30)
        assert (restorer.needs.margin_before_us, restorer.needs.margin_after_us) == (30_000, 0)
        seen = fed(restorer)
        assert run(restorer, [late])[0].flags == (RANDOM_FLAG,)
        ((_, now, after),) = (maps.split(2) for maps in seen)
        assert now.sum() > 0
        assert torch.equal(after, now if following == "repeat" else torch.zeros_like(now))


def test_a_feature_that_is_not_finite_is_not_handed_on() -> None:
    restorer = make()
    net: Any = restorer._net
    kept = net.sfb1[0].event_feature_extract[1].main[0].bias.clone()
    net.sfb1[0].event_feature_extract[1].main[0].bias.fill_(torch.nan)
    given = stream(range(2))
    (bad,) = run(restorer, given[:1])
    assert NAN_FLAG in bad.flags
    np.testing.assert_array_equal(bad.images[0], given[0].frame.image)
    net.sfb1[0].event_feature_extract[1].main[0].bias.copy_(kept)
    (good,) = run(restorer, given[1:])
    assert good.flags == (RANDOM_FLAG,)


@pytest.mark.parametrize("size", [(41, 27), (16, 16), (64, 48)])
@pytest.mark.parametrize("kind", [StraRestorer, ScNetRestorer])
def test_any_size_and_gray(kind: type[ScNetRestorer], size: tuple[int, int]) -> None:
    rig = rig_for(size)
    restorer = kind(rig, {"random_weights": True}, "cpu")
    for gray in (False, True):
        got = run(restorer, stream([0, 1], rig=rig, gray=gray))[1]
        assert got.images.shape == ((1, size[1], size[0]) if gray else (1, size[1], size[0], 3))
        restorer.reset()


def test_event_cameras_of_another_resolution() -> None:
    """A scene in the middle of the view: coarse and fine event grids tell much the same."""
    fine = rig_for((48, 32))
    coarse = rig_for((12, 8), (48, 32), image_from_event=scaled_homography(4.0))
    (a,) = stream([0], rig=fine, events=3000)
    few = Events.checked(a.events.t, a.events.x // 4, a.events.y // 4, a.events.p, 12, 8)
    b = replace(a, events=few, rig=coarse)
    restorer = make()
    on_image = restorer.restore([b], (0.5,))
    assert on_image.images.shape == (1, 32, 48, 3)
    restorer.set({"grid": "event"})
    on_events = restorer.restore([b], (0.5,))
    assert "restored on the event grid 12×8" in on_events.flags
    assert on_events.images.shape == (1, 32, 48, 3)


def test_attention_that_hardly_counts_is_left_out() -> None:
    restorer = make(theta_t=1e-4)
    net: Any = restorer._net
    assert not net.tmb.attention
    (a,) = stream([0])
    skipped = restorer.restore([a], (0.5,)).images.astype(int)
    restorer.set({"attention": "exact"})
    assert net.tmb.attention
    exact = restorer.restore([a], (0.5,)).images.astype(int)
    assert np.abs(skipped - exact).max() <= 1
    restorer.set({"attention": "auto", "theta_t": 0.01})
    assert net.tmb.attention
    assert net.tmb.theta == 0.01
    restorer.set({"attention": "skip"})
    assert not net.tmb.attention


def test_tiles_agree_with_the_whole_picture() -> None:
    rig = rig_for((320, 64))
    (a, b) = stream([0, 1], rig=rig, events=6000)
    whole = StraRestorer(rig, {"random_weights": True}, "cpu")
    tiled = StraRestorer(rig, {"random_weights": True, "tile": 256}, "cpu")
    for x in (a, b):  # as published its attention counts for next to nothing
        one, other = (r.restore([x], (0.5,)).images.astype(int) for r in (whole, tiled))
        assert np.abs(one - other)[:, 8:-8, 8:-8].max() <= 1
    sc_net = ScNetRestorer(rig, {"random_weights": True, "tile": 256}, "cpu")
    assert run(sc_net, [a, b])[1].images.shape == (1, 64, 320, 3)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (StraRestorer, {"steps": 8}, "stra: unknown option 'steps'"),
        (ScNetRestorer, {"steps": 1}, "sc-net: steps 1: give a whole number from 2 to 64"),
        (ScNetRestorer, {"window_ms": 0}, "sc-net: window_ms 0: give a whole number from 1 to 1000"),
        (
            ScNetRestorer,
            {"next_window": "later"},
            "sc-net: next_window 'later': give one of wait, repeat, none",
        ),
        (ScNetRestorer, {"attention": True}, "sc-net: attention True: give one of auto, exact, skip"),
        (StraRestorer, {"theta_s": float("nan")}, "stra: theta_s nan: give a number from 0 to 10"),
        (StraRestorer, {"tile": 64}, "stra: tile 64: give a side of at least 256 pixels"),
    ],
)
def test_options_are_refused_by_name(kind: type[ScNetRestorer], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kind(RIG, {"random_weights": True, **options}, "cpu")


def test_weights_of_the_published_clip_form_are_refused() -> None:
    restorer = ScNetRestorer(RIG, {"random_weights": True}, "cpu")
    with pytest.raises(UsageError, match="8 frames at a time"):
        restorer._finish(networks.build("sc-net"))


def test_one_instant_only() -> None:
    with pytest.raises(ValueError, match="restores the instants"):
        make().restore(stream([0]), (0.0,))


def test_one_event_and_all_events_at_one_instant() -> None:
    restorer = make(ScNetRestorer)
    (a,) = stream([0])
    middle = PERIOD_US * 0 + EXPOSURE_US // 2
    for count in (1, 500):
        t = np.full(count, middle)
        events = Events.checked(t, np.zeros(count, int), np.zeros(count, int), np.ones(count, bool), 42, 30)
        got = restorer.restore([replace(a, events=events)], (0.5,))
        assert got.flags == (RANDOM_FLAG,)
        assert got.figures["events"] == count
        restorer.reset()
