"""Every restorer against bad input, in one place: what it must refuse by name, what it must survive and flag.

A frame holds 8-bit values, so NaN cannot come in with a picture; it comes out of a network. Spike files whose
size does not divide: `tests/inference/representations/test_spikes.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from capture.errors import UsageError
from capture.packets import Events, Frame, FrameClock, InvalidPacket, PixelLayout
from inference import models, networks, store
from inference.engine import Engine
from inference.restorers.base import Restored, Restorer
from inference.restorers.neural import NAN_FLAG, NeuralRestorer
from inference.weights_limits import WeightsError
from sync.exposure import AlignedExposure
from sync.rig import Rig
from tests.inference.moving_scene import exposure_of, rig_for
from tests.inference.restorers.rigs import END, SMALL, START, noise_events, one_grid, picture

pytestmark = pytest.mark.usefixtures("one_thread")

W, H = 36, 28
NETWORKS = [n for n in models.names() if n not in ("edi", "none")]
PASSED = "no events: frame passed through"


@pytest.fixture(scope="module")
def rig() -> Rig:
    return one_grid(W, H)


@pytest.fixture(scope="module", params=models.names())
def restorer(request: pytest.FixtureRequest, rig: Rig) -> Restorer:
    made = models.create(request.param, rig, SMALL, "cpu")
    if request.param in ("edi", "glint", "glint-large", "s-sdm-ldn"):
        made.set({"contrast": 0.2})  # what is learnt from one exposure would show in the next
    made.prepare(W, H)
    return made


def events(t: Any, n: int | None = None, seed: int = 0) -> Events:
    """Events at these times (or n of them at one), on random pixels."""
    times = np.sort(np.broadcast_to(np.asarray(t, np.int64), n if n is not None else np.shape(t)))
    rng = np.random.default_rng(seed)
    k = len(times)
    return Events(
        times.copy(), rng.integers(0, W, k).astype(np.uint16), rng.integers(0, H, k).astype(np.uint16),
        rng.random(k) < 0.5, W, H,
    )  # fmt: skip


def exposure(rig: Rig, e: Events, **more: Any) -> AlignedExposure:
    return exposure_of(picture(W, H), e, rig, START, END, **more)


def restore(restorer: Restorer, a: AlignedExposure) -> Restored:
    """The exposure alone, as a stream's only one."""
    restorer.reset()
    engine = Engine(restorer)
    out = [*engine.push(a, [0.5]), *engine.flush()]
    assert len(out) == 1
    r = out[0]
    assert r.images.shape == (1, H, W, 3)
    assert r.images.dtype == np.uint8
    assert NAN_FLAG not in r.flags
    assert all(np.isfinite(v) for v in r.figures.values())
    return r


def test_no_events_at_all(restorer: Restorer, rig: Rig) -> None:
    a = exposure(rig, Events.empty(W, H))
    r = restore(restorer, a)
    assert (PASSED in r.flags) == restorer.needs.events
    if restorer.needs.events:
        np.testing.assert_array_equal(r.images[0], a.frame.image)


@pytest.mark.parametrize("where", [START, (START + END) // 2, END - 1])
def test_one_event(restorer: Restorer, rig: Rig, where: int) -> None:
    r = restore(restorer, exposure(rig, events([where])))
    assert PASSED not in r.flags


@pytest.mark.parametrize("where", [START, (START + END) // 2, END - 1])
def test_all_events_at_one_instant(restorer: Restorer, rig: Rig, where: int) -> None:
    restore(restorer, exposure(rig, events(where, 5000)))


def test_events_outside_of_the_window_are_none(restorer: Restorer, rig: Rig) -> None:
    early, late = events([START - 500_000, START - 1000]), events([END, END + 1000, END + 500_000])
    r = restore(restorer, exposure(rig, Events.concatenate([early, late])))
    assert (PASSED in r.flags) == restorer.needs.events


def test_events_outside_of_the_window_change_nothing(restorer: Restorer, rig: Rig) -> None:
    inside = noise_events(W, H, 800)
    early, late = events(START - 500_000, 300), events(END + 500_000, 300, seed=1)
    plain = restore(restorer, exposure(rig, inside))
    more = restore(restorer, exposure(rig, Events.concatenate([early, inside, late]), ordinal=0, epoch=1))
    np.testing.assert_array_equal(plain.images, more.images)


@pytest.mark.parametrize("latents", [[], [-0.01], [1.01], [float("nan")], [0.5, float("inf")]])
def test_a_latent_time_outside(restorer: Restorer, rig: Rig, latents: list[float]) -> None:
    a = exposure(rig, noise_events(W, H))
    window = [a] * (restorer.needs.frames_before + 1 + restorer.needs.frames_after)
    with pytest.raises(ValueError, match="latent time"):
        restorer.restore(window, latents)
    with pytest.raises(ValueError, match="latent time"):
        Engine(restorer).push(a, latents)


def test_a_frame_of_another_size_than_the_rigs(restorer: Restorer, rig: Rig) -> None:
    a = exposure_of(picture(W + 4, H), noise_events(W, H), rig, START, END)
    window = [a] * (restorer.needs.frames_before + 1 + restorer.needs.frames_after)
    if restorer.name == "none":  # passes every frame on as it is
        np.testing.assert_array_equal(restorer.restore(window, [0.5]).images[0], a.frame.image)
        return
    with pytest.raises(UsageError, match=f"{W + 4}×{H}"):
        restorer.restore(window, [0.5])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_size_below_the_minimum(name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} takes pictures of at least \d+×\d+ pixels, got 12×40"):
        models.create(name, rig_for((12, 40)), SMALL, "cpu")


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_not_finite_becomes_the_frame_and_is_flagged(name: str, rig: Rig) -> None:
    made = models.create(name, rig, SMALL, "cpu")
    assert isinstance(made, NeuralRestorer)
    made.prepare(W, H)
    assert made._net is not None
    with torch.inference_mode(False):
        for p in [*made._net.parameters(), *made._net.buffers()]:
            if p.is_floating_point():
                p.data.fill_(float("nan"))
    a = exposure(rig, noise_events(W, H))
    engine = Engine(made)
    (r,) = [*engine.push(a, [0.5]), *engine.flush()]
    assert NAN_FLAG in r.flags
    np.testing.assert_array_equal(r.images[0], a.frame.image)


def test_a_picture_with_nan_is_no_frame() -> None:
    image: Any = np.full((H, W), np.nan, np.float32)
    with pytest.raises((InvalidPacket, ValueError, TypeError)):
        Frame(image, PixelLayout.GRAY, 0, 0, 1000, FrameClock.EVENT)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_of_another_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "gem" if name == "s-sdm-ldn" else "s-sdm-ldn"
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
    torch.save(networks.build(other).state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=f"these are no weights of {name}: .* looks like {other}") as caught:
        store.add(name, tmp_path / "other.pth")
    assert len(str(caught.value).splitlines()) == 1
    assert not list((tmp_path / "store").rglob("*"))
