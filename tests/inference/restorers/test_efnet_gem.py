"""EFNet and GEM as restorers, with random weights at small sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from capture.packets import Events
from inference.engine import Engine
from inference.representations import eger_numba, scer_numba
from inference.representations.coding import Mode
from inference.representations.eger import Spans
from inference.representations.mask_numba import event_mask
from inference.representations.normalise import by_maximum
from inference.restorers.efnet import EfnetRestorer
from inference.restorers.gem import GemRestorer
from inference.restorers.neural import NeuralRestorer
from inference.restorers.pictures import to_network, to_pictures
from sync.geometry import project
from sync.rig import Rig
from tests.inference.moving_scene import exposure_of, rig_for
from tests.inference.restorers.rigs import END, SMALL, START, noise_exposure, one_grid, picture, splitter

CPU = torch.device("cpu")
BOTH = [EfnetRestorer, GemRestorer]


pytestmark = pytest.mark.usefixtures("one_thread")


def make(kind: type[NeuralRestorer], rig: Rig, **options: Any) -> NeuralRestorer:
    return kind(rig, {**SMALL, **options}, "cpu")


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("rig", "gray"),
    [(one_grid(33, 21), False), (one_grid(16, 50), True), (splitter((17, 13)), False),
     (rig_for((20, 18), (61, 50), image_from_event=np.diag([3.1, 2.8, 1.0])), True)],
)  # fmt: skip
def test_any_size_through_the_engine(kind: type[NeuralRestorer], rig: Rig, gray: bool) -> None:
    engine = Engine(make(kind, rig))
    a = noise_exposure(rig, gray=gray)
    (r,) = engine.push(a, [0.5])
    assert r.images.shape == (1, *a.frame.image.shape)
    assert r.network == kind.name
    assert "random weights: not a result" in r.flags
    assert (r.images[0] != a.frame.image).any()


@pytest.mark.parametrize("kind", BOTH)
def test_odd_streams_of_events_give_pictures(kind: type[NeuralRestorer]) -> None:
    rig = one_grid(32, 32)
    restorer = make(kind, rig)
    for t in ([START], [START] * 40, [END - 1] * 40, [START - 50, END + 50]):
        n = len(t)
        xy = np.arange(n, dtype=np.uint16) % 32
        events = Events(np.array(t, np.int64), xy, xy, np.ones(n, np.bool_), 32, 32)
        r = restorer.restore([exposure_of(picture(32, 32), events, rig, START, END)], [0.5])
        assert not any("NaN" in f for f in r.flags)
        outside = t[0] < START
        assert ("no events: frame passed through" in r.flags) == outside


def test_efnet_is_its_module_on_the_published_input() -> None:
    """At a size that needs no padding, so that padding cannot have leaked."""
    rig = one_grid(32, 24)
    a = noise_exposure(rig)
    restorer = make(EfnetRestorer, rig)
    counts = scer_numba.scer(a.events, START, END, mode=Mode.RELATIVE)
    image = to_network([a.frame.image], CPU, "bgr", "srgb")
    event = torch.from_numpy(by_maximum(counts))[None]
    mask = torch.from_numpy((event_mask(counts) > 0).astype(np.float32))[None]
    with torch.inference_mode():
        want = to_pictures(restorer.net(image, event, mask)[1], "bgr", "srgb", gray=False)
        bare = to_pictures(restorer.net(image, event)[1], "bgr", "srgb", gray=False)
    assert np.abs(restorer.restore([a], [0.5]).images.astype(int) - want).max() <= 1
    restorer.set({"mask": False})
    assert np.abs(restorer.restore([a], [0.5]).images.astype(int) - bare).max() <= 1
    assert (want != bare).any()


def test_efnet_shows_the_middle_only() -> None:
    rig = one_grid(32, 24)
    restorer = make(EfnetRestorer, rig)
    with pytest.raises(ValueError, match="efnet restores the instants"):
        restorer.restore([noise_exposure(rig)], [0.3])
    (r,) = Engine(restorer).push(noise_exposure(rig), [0.1, 0.9])
    assert r.latents == (0.5,)
    assert r.times_us == ((START + END) // 2,)


def test_efnet_chooses_the_grid() -> None:
    rig = splitter((16, 16))
    assert make(EfnetRestorer, rig).on_event_grid()
    assert not make(EfnetRestorer, rig, grid="image").on_event_grid()
    assert not make(EfnetRestorer, one_grid(64, 64)).on_event_grid()
    a = noise_exposure(rig)
    on_events = make(EfnetRestorer, rig).restore([a], [0.5])
    on_image = make(EfnetRestorer, rig, grid="image").restore([a], [0.5])
    assert on_events.images.shape == on_image.images.shape
    assert (on_events.images != on_image.images).any()


def test_efnet_voxel_weights_take_other_channels() -> None:
    rig = one_grid(32, 24)
    a = noise_exposure(rig)
    scer = make(EfnetRestorer, rig).restore([a], [0.5]).images
    restorer = make(EfnetRestorer, rig, representation="voxel", channel_order="rgb")
    assert (restorer.representation, restorer.order) == ("voxel", "rgb")
    assert (restorer.restore([a], [0.5]).images != scer).any()


class Spy(GemRestorer):
    """Keeps what the network was given."""

    seen: list[tuple[Tensor, Tensor]]

    @property
    def net(self) -> Any:
        inner = super().net

        def call(events: Tensor, image: Tensor) -> Any:
            self.seen.append((events.clone(), image.clone()))
            return inner(events, image)

        return call


def spy(rig: Rig, **options: Any) -> Spy:
    made = Spy(rig, {**SMALL, **options}, "cpu")
    made.seen = []
    return made


@pytest.mark.parametrize("turn", [0.0, 2.0])
def test_gem_sees_a_moving_dot_where_the_image_has_it(turn: float) -> None:
    rig = splitter((32, 24), turn_deg=turn)
    n = 16
    t = (START + (np.arange(n) + 0.5) * (END - START) / n).astype(np.int64)
    x, y = (4 + np.arange(n)).astype(np.uint16), np.full(n, 9, np.uint16)
    events = Events(t, x, y, np.ones(n, np.bool_), 32, 24)
    restorer = spy(rig)
    restorer.restore([exposure_of(picture(128, 96), events, rig, START, END)], [0.5])
    given, image = restorer.seen[0]
    assert image.shape == (1, 3, 128, 128)
    assert given.shape == (1, 96, 32, 32)
    bins = given[0, :, :24].view(16, 3, 2, 24, 32)
    where = project(np.stack([x, y], axis=1), rig.image_from_event)
    for k in range(n):
        group = 0 if t[k] < (START + END) // 2 else 2
        cell_x, cell_y = (int(np.floor((v + 0.5) / 4)) for v in where[k])
        assert bins[k, group, 1, cell_y, cell_x] == 1
        assert bins[k].sum() == 1


def test_gem_on_one_grid_gets_the_published_counts() -> None:
    rig = one_grid(32, 48)
    a = noise_exposure(rig)
    restorer = spy(rig)
    restorer.restore([a], [0.25, 1.0])
    given, image = restorer.seen[0]
    assert torch.equal(image, to_network([a.frame.image], CPU, "bgr", "srgb"))
    for k, f in enumerate((0.25, 1.0)):
        at = a.exposure.time_at(f)
        assert torch.equal(given[k], torch.from_numpy(eger_numba.eger(a.events, Spans((START, END), (at, at)))))


def test_gem_instants_together_equal_instants_alone() -> None:
    rig = splitter((16, 16))
    a = noise_exposure(rig)
    at = [0.0, 0.3, 0.5, 0.9, 1.0]
    restorer = spy(rig, batch=2)
    together = restorer.restore([a], at)
    assert [len(e) for e, _ in restorer.seen] == [2, 2, 1]
    assert together.latents == tuple(at)
    for k, f in enumerate(at):
        alone = restorer.restore([a], [f]).images[0]
        # A batch may be summed in another order: the last bit, and so one code where it rounds.
        assert np.abs(together.images[k].astype(int) - alone).max() <= 1
        assert (together.images[k] != alone).mean() < 0.01
    assert (together.images[0] != together.images[-1]).any()


@pytest.mark.parametrize("device_way", [False, True])
def test_weights_of_the_first_release_take_seven_channels(
    device_way: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one between the halves of SCER."""
    monkeypatch.setattr(EfnetRestorer, "_build_options", lambda _: {"ev_chn": 7})
    rig = one_grid(32, 24)
    one = make(EfnetRestorer, rig)
    if device_way:
        monkeypatch.setattr(EfnetRestorer, "uses_numba", False)
    seen: list[Tensor] = []
    through = one._through
    monkeypatch.setattr(one, "_through", lambda exact, counts: (seen.append(counts), through(exact, counts))[1])
    one.restore([noise_exposure(rig)], [0.5])
    (counts,) = seen
    assert counts.shape == (7, 24, 32)
    assert not counts[3].any()
    assert all(bool(counts[k].any()) for k in (0, 1, 2, 4, 5, 6))


def test_what_training_is_fed_is_found_without_loading_the_network() -> None:
    rig = one_grid(32, 24)
    fed = make(EfnetRestorer, rig).fed([noise_exposure(rig)], 0.5)
    assert fed.inputs[1].shape == (1, 6, 24, 32)
