"""CDVD-TSP as a restorer: lag, reuse, gaps, any size, gray, through the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from capture.errors import UsageError
from capture.packets import Events
from inference.engine import Engine
from inference.restorers.base import Restored
from inference.restorers.cdvd_tsp import CdvdTspRestorer, without_holes
from inference.restorers.neural import RANDOM_FLAG
from inference.restorers.padding import pad_to_multiple
from inference.restorers.picture import picture_of
from sync.exposure import AlignedExposure
from tests.inference.moving_scene import rig_for
from tests.inference.restorers.streams import OneThread, exposures

RIG = rig_for((38, 30))  # no multiple of 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with OneThread():
        yield


@pytest.fixture(scope="module")
def made() -> CdvdTspRestorer:
    """Loading takes longer than most tests."""
    with OneThread():
        restorer = CdvdTspRestorer(RIG, {"random_weights": True}, "cpu")
        restorer.prepare(38, 30)
        # Random weights give values about 0, most of which would be clipped; make it a picture.
        restorer._net.recons_net.outBlock[3].bias.fill_(0.5)  # type: ignore[union-attr, index]
    return restorer


@pytest.fixture
def restorer(made: CdvdTspRestorer) -> CdvdTspRestorer:
    made.set({"reach": 1, "tile": None, "padding": "reflect"})
    made.reset()
    return made


def stream(ordinals: Sequence[int], **kind: object) -> list[AlignedExposure]:
    return exposures(ordinals, rig=RIG, **kind)  # type: ignore[arg-type]


def by_the_network(restorer: CdvdTspRestorer, window: Sequence[AlignedExposure]) -> np.ndarray:
    """What the network itself makes of five exposures, in 8 bits."""
    frames = [pad_to_multiple(restorer.tensors([picture_of(e.frame)]), 4) for e in window]
    with torch.inference_mode():
        out = restorer._net(torch.stack(frames, 1))[3][..., :30, :38]  # type: ignore[misc]
    return np.rint(out[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).astype(np.uint8)


def work_of(restorer: CdvdTspRestorer) -> int:
    return 0 if restorer._stream is None else restorer._stream.restored


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_exposure_once_as_the_whole_network_gives_it(restorer: CdvdTspRestorer, count: int) -> None:
    given = stream(range(count))
    engine = Engine(restorer)
    engine.prepare(38, 30)
    got: list[Restored] = []
    for n, a in enumerate(given):
        got += engine.push(a, [0.1, 0.9])
        assert len(got) == max(0, n - 1)  # two frames late
    got += engine.flush()
    assert [r.ordinal for r in got] == list(range(count))
    for n, r in enumerate(got):
        # Beyond the ends of the stretch stands the outermost exposure.
        window = [given[min(max(k, 0), count - 1)] for k in range(n - 2, n + 3)]
        assert r.latents == (0.5,)
        assert r.times_us == (given[n].exposure.time_at(0.5),)
        assert RANDOM_FLAG in r.flags
        np.testing.assert_array_equal(r.images[0], by_the_network(restorer, window))


def test_each_new_frame_costs_two_triples(restorer: CdvdTspRestorer) -> None:
    given = stream(range(8))
    work = []
    for n in range(4):
        before = work_of(restorer)
        restorer.restore(given[n : n + 5], (0.5,))
        work.append(work_of(restorer) - before)
    assert work == [4, 2, 2, 2]


def test_held_exposures_restored_again_leave_the_stream_as_it_was(restorer: CdvdTspRestorer) -> None:
    given = stream(range(8))
    first = restorer.restore(given[0:5], (0.5,))
    restorer.restore(given[1:6], (0.5,))
    again = restorer.restore(given[0:5], (0.5,))
    np.testing.assert_array_equal(again.images, first.images)
    before = work_of(restorer)
    restorer.restore(given[2:7], (0.5,))
    assert work_of(restorer) - before == 2


def test_reset_and_a_new_epoch_drop_what_is_known(restorer: CdvdTspRestorer) -> None:
    given = stream(range(6))
    restorer.restore(given[0:5], (0.5,))
    restorer.reset()
    before = work_of(restorer)
    restorer.restore(given[1:6], (0.5,))
    assert work_of(restorer) - before == 4
    elsewhere = stream(range(5), epoch=1)
    before = work_of(restorer)
    restorer.restore(elsewhere, (0.5,))  # lower ordinals, and yet the stream's next step
    assert work_of(restorer) - before == 4
    assert restorer._newest == (1, 2)


def test_a_jump_of_ordinals_repeats_the_nearer_frames_and_says_so(restorer: CdvdTspRestorer) -> None:
    given = stream([0, 1, 2, 9, 10])
    got = restorer.restore(given, (0.5,))
    assert "2 of 4 neighbours missing, nearer frames repeated" in got.flags
    assert got.images.std() > 10
    same = [given[0], given[1], given[2], given[2], given[2]]
    np.testing.assert_array_equal(got.images[0], by_the_network(restorer, same))
    restorer.set({"reach": 7})
    far = restorer.restore(given, (0.5,))
    assert "neighbours up to 7 frames apart" in far.flags
    assert not any("missing" in f for f in far.flags)
    np.testing.assert_array_equal(far.images[0], by_the_network(restorer, given))


def test_a_jump_between_steps_drops_what_is_known(restorer: CdvdTspRestorer) -> None:
    given = stream([0, 1, 2, 3, 4, 9, 10, 11])
    restorer.restore(given[0:5], (0.5,))
    assert restorer._stream is not None
    restorer.restore(given[3:8], (0.5,))
    assert set(restorer._stream._frames) == {e.frame for e in given[5:8]}


def test_without_holes() -> None:
    def ordinals(given: Sequence[int], reach: int = 1) -> list[int]:
        return [e.ordinal for e in without_holes(stream(given), 2, reach)]

    assert ordinals([0, 1, 2, 3, 4]) == [0, 1, 2, 3, 4]
    assert ordinals([0, 2, 3, 4, 6]) == [2, 2, 3, 4, 4]
    assert ordinals([0, 1, 5, 9, 10]) == [5, 5, 5, 5, 5]
    assert ordinals([0, 2, 4, 6, 8], 2) == [0, 2, 4, 6, 8]
    assert ordinals([0, 0, 0, 1, 2]) == [0, 0, 0, 1, 2]
    mixed = [*stream([1, 2], epoch=0), *stream([3, 4, 5], epoch=1)]
    assert [e.frame.epoch for e in without_holes(mixed, 2, 1)] == [1] * 5


def test_gray_cameras_and_no_events(restorer: CdvdTspRestorer) -> None:
    given = stream(range(5), gray=True)
    silent = [replace(a, events=Events.empty(38, 30)) for a in given]
    got = restorer.restore(silent, (0.5,))
    assert got.images.shape == (1, 30, 38)
    assert got.flags == (RANDOM_FLAG,)  # it takes no events: nothing is missing
    assert got.figures == {}


def test_options_that_change_the_picture_drop_what_is_known(restorer: CdvdTspRestorer) -> None:
    given = stream(range(6))
    restorer.restore(given[0:5], (0.5,))
    restorer.set({"padding": "replicate"})
    restorer.restore(given[1:6], (0.5,))
    assert work_of(restorer) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reach": 0}, "cdvd-tsp: reach 0: give a whole number from 1 to 100"),
        ({"tile": 100}, "cdvd-tsp: tile 100: give a side of at least 256 pixels"),
        ({"compile": "graphs"}, "cdvd-tsp: compile graphs: a stream runs parts of the network"),
        ({"grid": "event"}, "cdvd-tsp: unknown option 'grid'"),
        ({"dtype": "float64"}, "cdvd-tsp: dtype 'float64': give one of"),
    ],
)
def test_options_are_refused_by_name(
    restorer: CdvdTspRestorer, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        restorer.set(options)


def test_wrong_windows_and_instants(restorer: CdvdTspRestorer) -> None:
    given = stream(range(5))
    with pytest.raises(ValueError, match="takes 5 exposures at a time, got 4"):
        restorer.restore(given[:4], (0.5,))
    with pytest.raises(ValueError, match="restores the instants"):
        restorer.restore(given, (0.25,))
    with pytest.raises(ValueError, match="outside 0…1"):
        restorer.restore(given, (1.5,))


def test_without_weights_it_says_how_to_add_them(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path))
    with pytest.raises(UsageError, match="halfmirror models add cdvd-tsp FILE"):
        CdvdTspRestorer(RIG, {}, "cpu")
