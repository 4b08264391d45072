"""What all restorers with a network share, on a stand-in for the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from capture.errors import UsageError
from inference import networks, store
from inference.restorers import precision
from inference.restorers.base import RANDOM_FLAG, Restored
from inference.restorers.event_flags import LOST_FLAG, NO_EVENTS_FLAG
from inference.restorers.neural import NAN_FLAG, OVERFLOW_FLAG, Work
from inference.restorers.precision import choose_autocast
from sync.rig import Geometry
from tests.inference.moving_scene import rig_for
from tests.inference.restorers.rigs import SMALL, Stub, noise_exposure, one_grid, picture, splitter


def restored(size: tuple[int, int] = (37, 22), *, gray: bool = False, **change: Any) -> tuple[Restored, Any]:
    rig = one_grid(*size)
    stub = Stub(rig, SMALL, "cpu")
    for name, value in change.items():
        setattr(stub, name, value)
    a = noise_exposure(rig, gray=gray)
    return stub.restore([a], [0.5]), a


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (40, 24), (65, 33)])
def test_any_size_comes_back_as_it_went_in(size: tuple[int, int], gray: bool) -> None:
    r, a = restored(size, gray=gray)
    assert (r.images[0] == a.frame.image).all()
    assert r.images.shape == (1, *a.frame.image.shape)
    assert r.flags == (RANDOM_FLAG,)
    assert r.figures["events"] == 400


def test_what_the_network_gives_is_rounded_and_clipped() -> None:
    r, a = restored(change=10.4 / 255)
    want = np.clip(a.frame.image.astype(int) + 10, 0, 255)
    assert (r.images[0] == want).all()


def test_values_that_are_not_finite_become_the_blurred_pixel() -> None:
    change = torch.full((22, 37), 0.2)
    change[3, 5] = torch.nan
    change[4, 6] = torch.inf
    r, a = restored(change=change)
    assert NAN_FLAG in r.flags
    assert (r.images[0, 3, 5] == a.frame.image[3, 5]).all()
    assert (r.images[0, 4, 6] == a.frame.image[4, 6]).all()
    assert (r.images[0, 3, 6] == np.clip(a.frame.image[3, 6].astype(int) + 51, 0, 255)).all()


def test_without_events_the_frame_passes() -> None:
    rig = one_grid(24, 24)
    stub = Stub(rig, SMALL, "cpu")
    stub.change = 0.5
    r = stub.restore([noise_exposure(rig, n=0)], [0.1, 0.9])
    assert (r.images == picture(24, 24)).all()
    assert NO_EVENTS_FLAG in r.flags
    assert RANDOM_FLAG not in r.flags


def test_lost_events_and_a_blind_border_are_told() -> None:
    rig = one_grid(24, 24)
    r = Stub(rig, SMALL, "cpu").restore([noise_exposure(rig, complete=False)], [0.5])
    assert LOST_FLAG in r.flags
    m = np.array([[1.0, 0, 12], [0, 1, 0], [0, 0, 1]])
    half = rig_for((24, 24), (48, 24), tone="srgb", image_from_event=m)
    r = Stub(half, SMALL, "cpu").restore([noise_exposure(half)], [0.5])
    assert "events cover 50 % of the picture" in r.flags
    assert "rig not calibrated" not in r.flags
    unknown = half.model_copy(update={"geometry": Geometry.assumed((24, 24), (48, 24))})
    assert "rig not calibrated" in Stub(unknown, SMALL, "cpu").restore([noise_exposure(unknown)], [0.5]).flags


@pytest.mark.parametrize("bad", [[-0.1], [1.01], [float("nan")], []])
def test_instants_outside_are_refused(bad: list[float]) -> None:
    rig = one_grid(24, 24)
    with pytest.raises(ValueError, match="latent"):
        Stub(rig, SMALL, "cpu").restore([noise_exposure(rig)], bad)


def test_windows_and_frames_that_do_not_fit_are_refused() -> None:
    rig = one_grid(24, 24)
    stub = Stub(rig, SMALL, "cpu")
    with pytest.raises(ValueError, match="stub takes 1 exposures at a time, got 2"):
        stub.restore([noise_exposure(rig)] * 2, [0.5])
    other = noise_exposure(one_grid(32, 24))
    wrong = type(other)(other.frame, other.exposure, other.events, 0, 1, rig, 0)
    with pytest.raises(UsageError, match="the frame has 32×24 pixels, the rig states 24×24"):
        stub.restore([wrong], [0.5])


def test_too_small_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="stub takes pictures of at least 16×16 pixels, got 15×40"):
        Stub(one_grid(15, 40), SMALL, "cpu")


def test_the_event_grid_changes_only_what_the_network_changes() -> None:
    rig = splitter(turn_deg=1.0)
    stub = Stub(rig, {**SMALL, "grid": "event"}, "cpu")
    a = noise_exposure(rig)
    r = stub.restore([a], [0.5])
    assert (r.images[0] == a.frame.image).all()
    assert "restored on the event grid 32×24" in r.flags
    # A change at one event pixel comes back, mirrored, where that pixel looks.
    change = torch.zeros(24, 32)
    change[8:12, 4:8] = 0.2
    stub.change = change
    moved = stub.restore([a], [0.5]).images[0].astype(int) - a.frame.image
    y, x = np.nonzero(moved.sum(axis=2) > 30)
    from sync.geometry import project

    want = project(np.array([[5.5, 9.5]]), rig.image_from_event)[0]
    assert abs(x.mean() - want[0]) < 1.5
    assert abs(y.mean() - want[1]) < 1.5
    assert x.min() > 80


def test_a_linear_camera_is_coded_when_asked() -> None:
    rig = rig_for((24, 24))
    seen: list[Tensor] = []

    class Spy(Stub):
        def _infer(self, work: Any) -> Tensor:
            seen.append(self.tensors([work.pictures[0]]))
            return super()._infer(work)

    a = noise_exposure(rig)
    for tone in ("stored", "coded"):
        r = Spy(rig, {**SMALL, "tone": tone}, "cpu").restore([a], [0.5])
        assert (r.images[0] == a.frame.image).all()
    assert seen[0].mean() < seen[1].mean() - 0.1


def test_options_hold_all_or_none() -> None:
    stub = Stub(one_grid(24, 24), SMALL, "cpu")
    with pytest.raises(UsageError, match="stub: unknown option 'depth'; known: dtype, compile, padding"):
        stub.set({"padding": "replicate", "depth": 3})
    assert stub.padding == "reflect"
    for wrong in (
        {"padding": "wrap"}, {"batch": 0}, {"batch": True}, {"grid": "sky"}, {"random_weights": 1},
        {"tone": "warm"}, {"compile": "fast"}, {"dtype": "float64"},
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"stub: {next(iter(wrong))} .*: give"):
            stub.set(wrong)
    with pytest.raises(UsageError, match="dtype float16 costs this network its accuracy; it bears float32"):
        stub.set({"dtype": "float16"})
    stub.prepare(24, 24)
    with pytest.raises(UsageError, match="random_weights is chosen when the network is made"):
        stub.set({"random_weights": False})


def test_number_types_go_by_the_networks_list() -> None:
    gpu, cpu, other = (torch.device(name) for name in ("cuda", "cpu", "mps"))
    assert choose_autocast("n", "auto", ("bfloat16",), gpu) == torch.bfloat16
    assert choose_autocast("n", "auto", ("float32", "bfloat16"), gpu) == torch.float32
    assert choose_autocast("n", "auto", (), gpu) == torch.float32
    assert choose_autocast("n", "auto", ("float16", "bfloat16"), cpu) == torch.float32
    assert choose_autocast("n", "bfloat16", ("bfloat16",), cpu) == torch.bfloat16
    with pytest.raises(UsageError, match="it bears float32, bfloat16"):
        choose_autocast("n", "float16", ("bfloat16",), gpu)
    with pytest.raises(UsageError, match="dtype bfloat16: only CUDA devices and CPUs run it; use float32"):
        choose_autocast("n", "bfloat16", ("bfloat16",), other)


def test_a_cpu_that_multiplies_bfloat16_runs_what_bears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    cpu, other = torch.device("cpu"), torch.device("mps")
    assert choose_autocast("n", "auto", ("float16", "bfloat16"), cpu) == torch.bfloat16
    assert choose_autocast("n", "auto", ("float32", "float16"), cpu) == torch.float32
    assert choose_autocast("n", "auto", (), cpu) == torch.float32
    assert choose_autocast("n", "auto", ("bfloat16",), other) == torch.float32
    assert choose_autocast("n", "float32", ("bfloat16",), cpu) == torch.float32


class Narrow(Stub):
    """Adds a fifth by way of a matrix product, which is what autocast acts on."""

    autocast = ("float16", "bfloat16")
    largest = 1.0
    seen: list[torch.dtype]
    resets = 0

    def reset(self) -> None:
        self.resets += 1

    def _infer(self, work: Work) -> Tensor:
        product = torch.full((1, 1), self.largest) @ torch.full((1, 1), 0.2)
        self.seen.append(product.dtype)
        self.change = (product / self.largest).float()
        return super()._infer(work)


def narrow(**options: Any) -> tuple[Narrow, Any]:
    rig = one_grid(24, 24)
    made = Narrow(rig, {**SMALL, **options}, "cpu")
    made.seen = []
    return made, noise_exposure(rig)


def test_a_cpu_runs_half_precision_when_asked() -> None:
    made, a = narrow()
    plain = made.restore([a], [0.5]).images
    made.set({"dtype": "bfloat16"})
    r = made.restore([a], [0.5])
    assert made.seen == [torch.float32, torch.bfloat16]
    assert OVERFLOW_FLAG not in r.flags
    assert (r.images == plain).all()
    torch.testing.assert_close(made.change, torch.tensor([[0.2]], dtype=torch.bfloat16).float())


def test_what_is_not_finite_in_bfloat16_is_not_run_again() -> None:
    """It has float32's range: float32 would give the same, from then on for twice the time."""
    made, a = narrow(dtype="bfloat16")
    made.largest = float("inf")
    r = made.restore([a], [0.5])
    assert made.seen == [torch.bfloat16]
    assert NAN_FLAG in r.flags
    assert OVERFLOW_FLAG not in r.flags
    assert made.resets == 0


def test_what_overflows_runs_in_float32_from_then_on() -> None:
    made, a = narrow(dtype="float16")
    made.largest = 1e6
    r = made.restore([a], [0.5])
    assert made.seen == [torch.float16, torch.float32]
    assert OVERFLOW_FLAG in r.flags
    assert NAN_FLAG not in r.flags
    assert (r.images[0] == np.clip(a.frame.image.astype(int) + 51, 0, 255)).all()
    assert made.resets == 1
    again = made.restore([a], [0.5])
    assert made.seen[2:] == [torch.float32]
    assert OVERFLOW_FLAG in again.flags
    made.largest = 1.0
    made.set({"dtype": "float16"})  # chosen again: tried again
    assert OVERFLOW_FLAG not in made.restore([a], [0.5]).flags
    assert made.seen[3:] == [torch.float16]


def test_without_weights_it_is_refused_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path))
    with pytest.raises(UsageError, match="stub: no weights; add them: halfmirror models add s-sdm-ldn FILE"):
        Stub(one_grid(24, 24), {}, "cpu")


def test_weights_for_another_input_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path))
    torch.save(networks.build("s-sdm-ldn").state_dict(), tmp_path / "w.pth")
    store.add("s-sdm-ldn", tmp_path / "w.pth", channel_order="rgb")
    stub = Stub(one_grid(24, 24), {}, "cpu")
    with pytest.raises(UsageError, match="these weights take the channel order rgb, and bgr is to be fed"):
        stub.prepare(24, 24)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first, second = (Stub(one_grid(24, 24), SMALL, "cpu") for _ in range(2))
    first.prepare(24, 24)
    torch.rand(3)
    second.prepare(24, 24)
    torch.set_rng_state(state)
    for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b)
    before = torch.rand(1)
    torch.set_rng_state(state)
    Stub(one_grid(24, 24), SMALL, "cpu").prepare(24, 24)
    assert torch.equal(torch.rand(1), before)
