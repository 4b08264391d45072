"""A restorer's whole work recorded once and replayed for other exposures, without a GPU and on one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from capture.packets import Events
from inference import models
from inference.representations.double_integral import Contrast
from inference.restorers import neural, recording
from inference.restorers.neural import OVERFLOW_FLAG, NeuralRestorer
from inference.restorers.recorded import RecordedRestorer
from inference.restorers.recording import Asked, Recorder, cells_of, events_of, packed
from sync.exposure import AlignedExposure
from sync.rig import Rig
from tests.inference.moving_scene import exposure_of
from tests.inference.restorers.rigs import noise_exposure, one_grid, splitter
from tests.pretended_gpu import PretendedGpu, pretended_gpu

NETWORKS = [
    ("efnet", {"grid": "image"}),
    ("efnet", {"grid": "image", "mask": False, "mode": "corrected"}),
    ("efnet", {"grid": "image", "representation": "voxel", "channel_order": "rgb"}),
    ("gem", {}),
    ("s-sdm-ldn", {"contrast": 0.25}),
    ("s-sdm-ldn", {}),
    ("glint", {"contrast": 0.25}),
    ("glint", {"tone": "coded", "self_ensemble": 2}),
    ("glint-large", {"contrast_on": 0.2, "contrast_off": 0.3}),
]
RIGS = {"one grid": one_grid(48, 36), "splitter": splitter((32, 24)), "turned": splitter((32, 24), turn_deg=3)}
CASES = [
    pytest.param(network, options, rig, gray, id=f"{network}-{name}-{'gray' if gray else 'colour'}")
    for network, options in NETWORKS
    for name, rig in RIGS.items()
    for gray in (False, True)
    # The rest differs in nothing that matters here, and a pretended GPU takes its time.
    if gray == (name == "turned") and (name == "turned" or network not in ("gem", "glint-large"))
]
SIZES = (900, 70_000, 3, 1500)


def exposures(rig: Rig, gray: bool) -> list[AlignedExposure]:
    return [noise_exposure(rig, gray=gray, n=n, ordinal=k) for k, n in enumerate(SIZES)]


def no_second_look(*_: Any) -> Any:
    raise AssertionError("what was recorded was not taken")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGpu]:
    """A pretended one that refuses, while it records, what a real one refuses."""
    monkeypatch.setattr(neural, "choose_device", lambda _name="auto": pretended_gpu())
    with PretendedGpu() as mode:
        monkeypatch.setattr(RecordedRestorer, "_new_recorder", lambda s: Recorder(s.device, mode.capture))
        yield mode


def made(network: str, options: dict[str, Any], rig: Rig, recorded: bool, monkeypatch: Any) -> RecordedRestorer:
    monkeypatch.setattr(RecordedRestorer, "_records", lambda _self: recorded)
    out = models.create(network, rig, {**options, "random_weights": True}, "auto")
    assert isinstance(out, RecordedRestorer)
    return out


def instants(restorer: RecordedRestorer) -> tuple[float, ...]:
    return restorer.needs.fixed_latents or (0.5, 0.1)


@pytest.mark.parametrize(("network", "options", "rig", "gray"), CASES)
def test_replayed_is_as_done_anew(
    network: str, options: dict[str, Any], rig: Rig, gray: bool, gpu: PretendedGpu, monkeypatch: Any
) -> None:
    """Lists of other lengths, what was left of longer ones behind them, and a second kind of list."""
    stream = exposures(rig, gray)
    plain = made(network, options, rig, False, monkeypatch)
    want = [plain.restore([a], instants(plain)) for a in stream]
    replayed = made(network, options, rig, True, monkeypatch)
    monkeypatch.setattr(NeuralRestorer, "_network_pictures", no_second_look)
    got = [replayed.restore([a], instants(replayed)) for a in stream]
    for a, b in zip(got, want, strict=True):
        assert a.flags == b.flags
        # The same operations on lists of other lengths; sums over pixels are taken in the same order.
        assert np.abs(a.images.astype(int) - b.images).max() <= 1
    assert replayed._recorder is not None
    assert replayed._recorder.able
    assert replayed._recorder.kinds == 2


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(("network", "options"), NETWORKS)
def test_a_live_clock_changes_nothing(
    network: str, options: dict[str, Any], recorded: bool, gpu: PretendedGpu, monkeypatch: Any
) -> None:
    """It counts microseconds from 1970, far beyond 32 bits; what is restored goes by the exposure's start."""
    rig, later = one_grid(48, 36), 1_615_007_563_376_030
    a = noise_exposure(rig)
    e = a.events
    moved = exposure_of(
        a.frame.image, Events(e.t + later, e.x, e.y, e.p, e.width, e.height), rig,
        a.exposure.start_us + later, a.exposure.end_us + later,
    )  # fmt: skip
    restorer = made(network, options, rig, recorded, monkeypatch)
    early, late = (restorer.restore([x], instants(restorer)) for x in (a, moved))
    assert early.flags == late.flags
    assert np.array_equal(early.images, late.images)


def test_what_changes_the_work_is_recorded_anew(gpu: PretendedGpu, monkeypatch: Any) -> None:
    rig, other = one_grid(48, 36), splitter((32, 24))
    restorer = made("glint", {"contrast": 0.25}, rig, True, monkeypatch)
    plain = made("glint", {"contrast": 0.25}, rig, True, monkeypatch)
    monkeypatch.setattr(plain, "_records", lambda: False)

    def same(rig: Rig) -> None:
        a = noise_exposure(rig)
        assert (
            np.abs(restorer.restore([a], (0.5,)).images.astype(int) - plain.restore([a], (0.5,)).images).max()
            <= 1
        )

    same(rig)
    for change in ({"contrast": 0.4}, {"self_ensemble": 2}, {"camera_tone": "linear"}):
        restorer.set(change)
        plain.set(change)
        same(rig)
    same(other)
    same(rig)


def test_the_contrast_may_change_without_a_new_recording(gpu: PretendedGpu, monkeypatch: Any) -> None:
    rig = one_grid(48, 36)
    restorer = made("glint", {}, rig, True, monkeypatch)
    a, pictures = noise_exposure(rig, n=2000), []
    for c in (0.1, 0.3):
        restorer._learner.fix(Contrast(c, 1.2 * c))
        pictures.append(restorer.restore([a], (0.5,)).images)
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 1
    assert restorer._recorder is not None
    assert restorer._recorder.kinds == 1


def test_what_is_not_finite_is_looked_at_again(gpu: PretendedGpu, monkeypatch: Any) -> None:
    rig = one_grid(48, 36)
    restorer = made("efnet", {"grid": "image"}, rig, True, monkeypatch)
    a = noise_exposure(rig)
    good = restorer.restore([a], (0.5,))
    assert restorer._net is not None
    restorer._net.last.weight.data[:] = torch.nan
    bad = restorer.restore([a], (0.5,))
    assert "NaN replaced" in bad.flags
    assert "NaN replaced" not in good.flags
    assert np.array_equal(bad.images[0], a.frame.image)


def test_no_graph_where_none_can_be(gpu: PretendedGpu, monkeypatch: Any, caplog: Any) -> None:
    """Told once; the picture comes all the same."""

    def refuses(run: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    rig = one_grid(48, 36)
    restorer = made("glint", {"contrast": 0.25}, rig, True, monkeypatch)
    monkeypatch.setattr(RecordedRestorer, "_new_recorder", lambda s: Recorder(s.device, refuses))
    monkeypatch.setattr(RecordedRestorer, "_records", lambda s: s._recorder is None or s._recorder.able)
    a = noise_exposure(rig)
    assert restorer._records()
    with caplog.at_level("WARNING", "inference.restorers.recording"):
        first = restorer.restore([a], (0.5,))
    assert "operation not permitted" in caplog.text
    assert "more" not in caplog.text
    assert not restorer._records()
    assert np.array_equal(restorer.restore([a], (0.5,)).images, first.images)


def test_what_is_recorded_beforehand_is_not_recorded_again(gpu: PretendedGpu, monkeypatch: Any) -> None:
    rig = one_grid(48, 36)
    restorer = made("efnet", {"grid": "image"}, rig, True, monkeypatch)
    restorer.prepare(48, 36)
    assert restorer._recorder is not None
    assert restorer._recorder.kinds == 4  # in colour and gray, with few events and with many
    monkeypatch.setattr(Recorder, "_record", no_second_look)
    for gray in (False, True):
        for n in (900, 70_000):
            restorer.restore([noise_exposure(rig, gray=gray, n=n)], (0.5,))


def test_what_a_recording_reads_lives_as_long(gpu: PretendedGpu) -> None:
    """Tables that somebody else keeps, until he does not; nothing that is made on the way."""
    there = pretended_gpu()
    table, other = torch.arange(9, device=there), torch.arange(3, device=there)
    made = []

    def work(given: Any) -> Any:
        made.append(given["n"] + 1)
        return packed(table[made[-1]] + other.view(3, 1)[0], table.any())

    recorder = Recorder(there, gpu.capture)
    asked = Asked(events_of(noise_exposure(one_grid(8, 8)).events, 0), {"n": np.array([4])})
    assert recorder(asked, work) is not None
    ((*_, used),) = recorder._known.values()
    assert {id(t) for t in used} >= {id(table), id(other)}
    assert not {id(t) for t in used} & {id(t) for t in made}


def test_an_apple_device_is_sent_no_float64(monkeypatch: Any) -> None:
    """It has none, and refuses it."""
    seen: dict[str, Any] = {}
    monkeypatch.setattr(recording, "to_device", lambda a, _: seen.setdefault(str(len(seen)), a))
    fixed = {"numbers": np.array([40_000, 0.2, 0.3]), "bounds": np.array([0, 9])}
    asked = Asked(events_of(noise_exposure(one_grid(8, 8)).events, 0), fixed)
    recording.sent(asked, torch.device("mps"))
    assert {a.dtype.name for a in seen.values()} == {"int16", "uint8", "int32", "int64", "float32"}
    seen.clear()
    recording.sent(asked, torch.device("cpu"))
    assert "float64" in {a.dtype.name for a in seen.values()}


def test_memory_is_taken_for_few_kinds_only(gpu: PretendedGpu) -> None:
    recorder = Recorder(pretended_gpu(), gpu.capture)
    for n in (1, 10, recording.LEAST_EVENTS, recording.LEAST_EVENTS + 1):
        for about in range(5):
            events = Events(*(np.ones(n, t) for t in (np.int64, np.uint16, np.uint16, np.bool_)), 4, 4)
            asked = Asked(events_of(events, 0), {"n": np.array([n])}, (about,))

            def work(given: Any) -> Any:
                cell = cells_of(given, 4, 4)[: given["x"].shape[0]]
                some = torch.arange(len(cell), device=cell.device) < given["n"]
                return packed((cell * some).sum().view(1) % 251, some.any())

            before = list(recorder._known)
            out = recorder(asked, work)
            if out is None:  # enough are known: what is met for the first time takes no other's place
                assert list(recorder._known) == before
                assert len(before) == recording.KEPT
                out = recorder(asked, work)
            assert out is not None
            assert out.tolist() == [5 * n % 251, 1]
    assert recorder.kinds == recording.KEPT
    assert next(iter(recorder._known)) != before[0]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("rig", RIGS.values(), ids=RIGS)
@pytest.mark.parametrize(("network", "options"), NETWORKS)
def test_on_a_gpu_replayed_is_as_done_anew(
    network: str, options: dict[str, Any], rig: Rig, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded in one thread, replayed in another, as the program does."""
    given = {**options, "random_weights": True, "dtype": dtype}
    plain, graphed = (models.create(network, rig, {**given, "compile": c}, "cuda") for c in (False, "graphs"))
    assert isinstance(graphed, RecordedRestorer)
    graphed.prepare(rig.image.width, rig.image.height)
    for gray in (False, True):
        stream = exposures(rig, gray)
        want = [plain.restore([a], instants(graphed)) for a in stream]
        with monkeypatch.context() as patch, ThreadPoolExecutor(1) as other:
            patch.setattr(NeuralRestorer, "_network_pictures", no_second_look)
            got = [other.submit(graphed.restore, [a], instants(graphed)).result() for a in stream]
        for a, b in zip(got, want, strict=True):
            assert a.flags == b.flags
            assert OVERFLOW_FLAG not in a.flags
            off = np.abs(a.images.astype(int) - b.images)
            assert off.max() <= (1 if dtype == "float32" else 3)
            assert off.mean() < (0.01 if dtype == "float32" else 0.1)
    assert graphed._recorder is not None
    assert graphed._recorder.able
