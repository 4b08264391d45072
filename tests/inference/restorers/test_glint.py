"""glint: the module, and the restorer with random weights at small sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from capture.errors import UsageError
from capture.packets import Events
from inference import networks
from inference.bands import LEAST_ROWS
from inference.engine import Engine
from inference.networks.glint import Glint
from inference.representations.edi_stack import CHANNELS
from inference.restorers.edi import EdiRestorer
from inference.restorers.event_flags import LOST_FLAG
from inference.restorers.glint import GlintRestorer, toned
from inference.restorers.glint_cpu import compose, pack
from inference.restorers.refine import refine, refine_tensor, refined
from sync.geometry import event_from_image
from sync.rig import Rig
from tests.inference.moving_scene import exposure_of, rig_for
from tests.inference.restorers.rigs import END, SMALL, START, noise_exposure, one_grid, picture, splitter


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def shaken(net: torch.nn.Module) -> torch.nn.Module:
    """With values in the layers that begin at zero, so that something is computed."""
    torch.manual_seed(1)
    for p in net.parameters():
        p.data += 0.05 * torch.randn_like(p)
    return net.eval()


@pytest.mark.parametrize("body", ["half", "full"])
@pytest.mark.parametrize("output", ["ratio", "residual"])
def test_untrained_it_is_edi(body: str, output: str) -> None:
    net = networks.build("glint", body=body, output=output).eval()
    frame, edi = torch.rand(2, 2, 3, 16, 24)
    stack = torch.randn(2, CHANNELS, 16, 24) * 0.3
    assert torch.equal(net(frame, edi, stack), edi)


def test_sides_and_options_that_do_not_exist_are_refused() -> None:
    net = Glint()
    with pytest.raises(ValueError, match="multiples of 8"):
        net(*torch.rand(2, 1, 3, 12, 16), torch.rand(1, CHANNELS, 12, 16))
    with pytest.raises(UsageError, match="full or half"):
        networks.build("glint", body="quarter")


def test_gradients_reach_every_value() -> None:
    net = shaken(Glint(widths=(8, 8, 8))).train()
    out = net(*torch.rand(2, 1, 3, 16, 16), torch.randn(1, CHANNELS, 16, 16))
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in net.parameters())


def test_extreme_input_stays_finite() -> None:
    net = shaken(Glint())
    out = net(*torch.ones(2, 1, 3, 16, 16), torch.full((1, CHANNELS, 16, 16), 6.0))
    assert out.isfinite().all()


def restorer(rig: Rig, **options: Any) -> GlintRestorer:
    return GlintRestorer(rig, {**SMALL, **options}, "cpu")


@pytest.mark.parametrize(
    ("rig", "gray"),
    [(one_grid(33, 21), False), (one_grid(16, 50), True), (splitter((17, 13)), False), (splitter((17, 13)),
     True), (rig_for((20, 18), (61, 50), image_from_event=np.diag([3.1, 2.8, 1.0])), False)],
)  # fmt: skip
@pytest.mark.parametrize("grid", ["image", "event"])
def test_any_size_colour_and_scale(rig: Rig, gray: bool, grid: str) -> None:
    a = noise_exposure(rig, gray=gray)
    (r,) = Engine(restorer(rig, grid=grid)).push(a, [0.0, 0.3, 1.0])
    assert r.images.shape == (3, *a.frame.image.shape)
    assert r.network == "glint"
    assert (r.images[0] != r.images[2]).any()


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("rig", [one_grid(33, 21), splitter((24, 18), 3, turn_deg=3.0)])
def test_untrained_the_restorer_gives_edis_picture(rig: Rig, gray: bool) -> None:
    one = restorer(rig)
    one._net = Glint(widths=(8, 8, 8)).eval()
    a = noise_exposure(rig, gray=gray, n=3000)
    edi = EdiRestorer(rig).restore([a], [0.2, 1.0]).images
    assert (edi != a.frame.image).mean() > 0.3
    np.testing.assert_allclose(one.restore([a], [0.2, 1.0]).images, edi, atol=1)


def test_several_instants_are_each_alone() -> None:
    rig = one_grid(40, 32)
    a = noise_exposure(rig, n=3000)
    at = [0.1, 0.5, 0.9, 1.0, 0.0]
    together = restorer(rig, batch=2).restore([a], at)
    for k, f in enumerate(at):
        alone = restorer(rig).restore([a], [f]).images[0]
        assert np.abs(alone.astype(int) - together.images[k]).max() <= 1


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("rig", [one_grid(40, 4 * LEAST_ROWS + 7), splitter((24, 40), 4, turn_deg=2.0)])
def test_bands_of_rows_change_nothing(rig: Rig, gray: bool) -> None:
    """In and out; the network itself may sum in another order with more threads, so it has one."""
    a, height = noise_exposure(rig, gray=gray, n=3000), rig.image.height
    rng = np.random.default_rng(0)
    stack = rng.normal(0, 0.3, (CHANNELS, rig.events.height, rig.events.width)).astype(np.float32)
    m, edi, found = None if rig.identity else event_from_image(rig), a.frame.image[::-1].copy(), []
    for threads in (1, 4):
        torch.set_num_threads(threads)
        packed = pack(a.frame.image, edi, stack, m, 8)
        rows = packed[..., : Glint().outputs * 4].copy()
        found.append((packed, *compose(a.frame.image, edi, packed, rows)))
    assert height >= 4 * LEAST_ROWS
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_odd_streams_of_events_give_pictures() -> None:
    rig = one_grid(32, 32)
    one = restorer(rig)
    for t in ([START], [START] * 40, [END - 1] * 40, [START - 50, END + 50]):
        n = len(t)
        xy = np.arange(n, dtype=np.uint16) % 32
        events = Events(np.array(t, np.int64), xy, xy, np.ones(n, np.bool_), 32, 32)
        image = picture(32, 32)
        r = one.restore([exposure_of(image, events, rig, START, END)], [0.5])
        assert not any("NaN" in f for f in r.flags)
        passed = "no events: frame passed through" in r.flags
        assert passed == (t[0] < START)
        assert not passed or np.array_equal(r.images[0], image)


def test_events_outside_the_exposure_change_nothing() -> None:
    rig = one_grid(32, 24)
    image = picture(32, 24)
    inside = noise_exposure(rig).events
    far = Events(
        np.concatenate([[START - 900], inside.t, [END, END + 5]]), np.concatenate([[3], inside.x, [4,
        5]]).astype(np.uint16), np.concatenate([[3], inside.y, [4, 5]]).astype(np.uint16),
    np.concatenate([[True], inside.p, [True, False]]), 32, 24, )  # fmt: skip
    a, b = (exposure_of(image, e, rig, START, END) for e in (inside, far))
    one = restorer(rig)
    np.testing.assert_array_equal(one.restore([a], [0.5]).images, one.restore([b], [0.5]).images)


def test_the_event_grid_is_taken_where_it_is_asked_for() -> None:
    assert not restorer(one_grid(32, 32), grid="event").on_event_grid()
    assert restorer(splitter(), grid="event").on_event_grid()
    assert not restorer(splitter()).on_event_grid()
    assert not restorer(splitter(), grid="auto").on_event_grid()
    with pytest.raises(UsageError, match=r"grid 'moon': give one of auto, image, event$"):
        restorer(splitter(), grid="moon")


@pytest.mark.parametrize("shape", [(2, 1, 1), (3, 7, 9), (1, 2, 31)])
def test_both_refinements_are_one(shape: tuple[int, int, int]) -> None:
    maps = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    got = refine(maps, splitter((max(8, shape[2]), max(8, shape[1]))))
    assert got.shape == (shape[0], 2 * shape[1], 2 * shape[2])
    np.testing.assert_allclose(got, refine_tensor(torch.from_numpy(maps)[None])[0].numpy(), atol=2e-6)


def test_only_what_is_clearly_coarser_is_refined() -> None:
    assert refined(splitter())
    assert not refined(one_grid(32, 32))
    assert not refined(rig_for((40, 36), (48, 43), image_from_event=np.diag([1.2, 1.2, 1.0])))


@pytest.mark.parametrize(
    ("rig", "tone"), [(one_grid(32, 24), "linear"), (splitter((17, 13)), "linear"), (one_grid(32, 24), "srgb")]
)
def test_another_tone_curve_is_that_of_another_rig(rig: Rig, tone: str) -> None:
    a = noise_exposure(rig, n=3000)
    there = toned(rig, tone)
    wanted = restorer(there).restore([replace(a, rig=there)], [0.2, 0.7])
    got = restorer(rig, camera_tone=tone).restore([a], [0.2, 0.7])
    np.testing.assert_array_equal(got.images, wanted.images)
    said = [f for f in got.flags if "frames taken as" in f]
    assert said == (
        [] if tone == rig.image.tone else [f"frames taken as {tone}, the rig says {rig.image.tone}"]
    )


def test_a_tone_curve_can_be_changed_while_running() -> None:
    rig = one_grid(32, 24)
    a, one = noise_exposure(rig, n=3000), restorer(rig)
    before = one.restore([a], [0.3]).images
    one.set({"camera_tone": "linear"})
    assert (one.restore([a], [0.3]).images != before).any()
    one.set({"camera_tone": "auto"})
    np.testing.assert_array_equal(one.restore([a], [0.3]).images, before)
    with pytest.raises(UsageError, match="camera_tone 'log': choose auto, srgb, linear"):
        one.set({"camera_tone": "log"})


def test_an_instant_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="outside 0…1"):
        restorer(one_grid(32, 32)).restore([noise_exposure(one_grid(32, 32))], [1.2])


@pytest.mark.parametrize("padding", ["reflect", "replicate"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(
    "rig",
    [one_grid(33, 21), one_grid(40, 32), splitter((17, 13)), splitter((24, 18), 3, turn_deg=3.0),
     rig_for((20, 18), (61, 50), image_from_event=np.diag([2.1, 2.2, 1.0])), rig_for((9, 8), (40, 17))],
)  # fmt: skip
def test_the_short_way_on_a_cpu_is_the_long_one(
    rig: Rig, gray: bool, padding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`glint_cpu` against tensors, with weights that use every output."""
    net = shaken(Glint(widths=(8, 8, 8)))
    short, long = (restorer(rig, grid="image", padding=padding) for _ in range(2))
    short._net = long._net = net
    monkeypatch.setattr(long, "_plain", lambda _: False)
    a = noise_exposure(rig, gray=gray, n=3000)
    one, other = (r.restore([a], [0.2, 0.7]) for r in (short, long))
    assert one.flags == other.flags
    difference = np.abs(one.images.astype(int) - other.images)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    assert np.abs(one.images.astype(int) - a.frame.image).mean() > 1


def test_every_layer_has_its_channels_last() -> None:
    """A stride of the single picture is enough for the first layers to turn it over, a fifth of the time."""
    one, found = restorer(one_grid(32, 24), grid="image"), {}
    for name, part in one.net.named_modules():
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_hook(lambda _, __, out, name=name: found.update({name: out.stride(1)}))
    one.restore([noise_exposure(one_grid(32, 24))], [0.5])
    assert found
    assert set(found.values()) == {1}


def test_a_loss_before_the_exposure_is_none_of_the_picture() -> None:
    rig = one_grid(32, 24)
    lost = noise_exposure(rig, complete=False)
    assert LOST_FLAG in restorer(rig).restore([lost], [0.5]).flags
    assert LOST_FLAG not in restorer(rig).restore([replace(lost, margins_only=True)], [0.5]).flags


def test_values_that_are_not_finite_keep_the_frame_and_are_flagged() -> None:
    rig = one_grid(32, 24)
    for gray in (False, True):
        one = restorer(rig)
        net = Glint(widths=(8, 8, 8)).eval()
        net.head.bias.data[:] = float("nan")
        one._net = net
        a = noise_exposure(rig, gray=gray)
        r = one.restore([a], [0.5])
        assert "NaN replaced" in r.flags
        np.testing.assert_array_equal(r.images[0], a.frame.image)


@pytest.mark.gpu
@pytest.mark.parametrize("rig", [one_grid(64, 48), splitter((32, 24))])
def test_a_gpu_gives_what_the_cpu_gives(rig: Rig) -> None:
    """With the shipped weights; events, EDI's picture and the network all on the device."""
    exposure = noise_exposure(rig, n=4000)
    options = {"contrast": 0.2, "dtype": "float32"}
    here, there = (
        GlintRestorer(rig, options, device).restore([exposure], (0.0, 0.5)).images.astype(int)
        for device in ("cpu", "cuda")
    )
    assert np.mean(np.abs(here - there) > 2) < 2e-3
    assert np.abs(here - there).mean() < 0.2


@pytest.mark.gpu
def test_half_precision_on_a_gpu_is_near() -> None:
    rig = one_grid(64, 48)
    exposure = noise_exposure(rig, n=4000)
    here, there = (
        GlintRestorer(rig, {"contrast": 0.2, "dtype": kind}, "cuda")
        .restore([exposure], (0.5,))
        .images.astype(int)
        for kind in ("float32", "float16")
    )
    assert np.abs(here - there).mean() < 0.3


def test_no_more_stacks_are_made_at_once_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack takes 40 bytes an event pixel, and slow motion may ask for a thousand instants."""
    rig = one_grid(40, 32)
    one = restorer(rig)
    monkeypatch.setattr("inference.restorers.glint._STACKS_BYTES", 2 * 40 * 40 * 32)
    made, stacks = list[int](), one._stack.stacks

    def noted(*a: Any) -> Any:
        made.append(len(a[3]))
        return stacks(*a)

    monkeypatch.setattr(one._stack, "stacks", noted)
    assert len(one.restore([noise_exposure(rig, n=3000)], [0.1, 0.3, 0.5, 0.7, 0.9]).images) == 5
    assert made == [2, 2, 1]


def test_who_measures_sees_values_before_they_are_rounded() -> None:
    one = restorer(one_grid(40, 32))
    one._net = shaken(Glint(widths=(8, 8, 8)))
    seen: list[Tensor] = []
    one.watch(lambda _ordinal, shown: seen.append(shown))
    one.restore([noise_exposure(one_grid(40, 32), n=3000)], [0.5])
    assert len(seen) == 1
    codes = seen[0] * 255
    assert (codes - codes.round()).abs().max() > 0.1
