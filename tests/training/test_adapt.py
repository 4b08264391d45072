"""Adapting without truth: the camera out of its recordings, the network after it, and what is refused."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from app.cli.program import execute
from capture.packets import Frame, FrameClock, PixelLayout
from inference import networks, store
from inference.cards import Card, Feed
from inference.cards import card as card_of
from inference.networks.glint import Glint
from inference.representations.double_integral import Contrast
from inference.representations.double_integral_numba import DoubleIntegral
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import EventEntry, ImageEntry, Rig
from tests.inference.representations.scenes import random_events
from tests.inference.restorers.rigs import splitter
from tests.training.made_sets import SIZE, clip
from training.adapt import camera, tune
from training.adapt.camera import NothingToLearn
from training.adapt.pairs import Collector, Sample, Side, kind_of, restorer_for
from training.adapt.ratios import CONTRASTS, HIGHEST, LOWEST, follow
from training.adapt.run import Start
from training.tasks.supervised import decibels

FRAMES, FIRST = 25, 5
RIG = Rig(
    events=EventEntry(camera="simulated", width=SIZE, height=SIZE),
    image=ImageEntry(camera="simulated", width=SIZE, height=SIZE, tone="srgb"),
)


@cache
def exposures() -> tuple[AlignedExposure, ...]:
    made, out = clip(3, frames=FRAMES), []
    for k, (start, end) in enumerate(made.exposures):
        frame = Frame(np.ascontiguousarray(made.frames[k]), PixelLayout.RGB, k, None, None, FrameClock.EVENT)
        exposure = Exposure(start, end, ExposureSource.TRIGGER, 1.0)
        events = made.events.between(start, end)
        out.append(AlignedExposure(frame, exposure, events, start, end, RIG, k))
    return tuple(out)


def collected(network: str, options: dict[str, Any], side: int = SIZE, pairs: int = FRAMES) -> Collector:
    samples = Collector(restorer_for(network, RIG, options), kind_of(network), side)
    for k, (a, b) in enumerate(zip(exposures()[:pairs], exposures()[1:], strict=False)):
        events = clip(3, frames=FRAMES).events.between(a.exposure.start_us, b.exposure.end_us)
        samples.add(a, b, events, k)
    return samples


def planted(contrast: float, power: float, on: float, off: float, size: int = 72) -> Sample:
    """Two frames that differ exactly as the model says, but for a tenth of their pixels."""
    rng = np.random.default_rng(4)
    first, second = (rng.normal(0, 0.3, (4, size, size)).cumsum(0) for _ in range(2))
    counts = rng.poisson(0.7, (2, size, size))
    value = rng.uniform(0.3, 0.6, (size, size))
    change = power * np.tensordot(follow(contrast), first - second, 1) + on * counts[0] - off * counts[1]
    change = np.where(rng.random((size, size)) < 0.1, rng.normal(0, 1, (size, size)), change)
    frames = [np.broadcast_to(v, (3, size, size)) for v in (value, value * np.exp(change))]
    sides = [
        Side((), torch.from_numpy(f.astype(np.float32)), torch.from_numpy(r.astype(np.float32)))
        for f, r in zip(frames, (first, second), strict=True)
    ]  # fmt: skip
    return Sample(sides[0], sides[1], torch.from_numpy(counts.astype(np.float32)))


def test_thresholds_and_tone_are_learnt_from_two_frames() -> None:
    found = camera.learn([planted(0.3, 0.6, 0.2, 0.14)])
    assert found.contrast == 0.3
    assert (found.power, found.on, found.off) == pytest.approx((0.6, 0.2, 0.14), rel=0.03)
    assert 0.5 < found.explained < 1


@pytest.mark.parametrize("contrast", [0.05, 0.1, 0.14, 0.25, 0.33, 0.4, 0.44])
@pytest.mark.parametrize("power", [1.0, 0.45])
def test_other_contrasts_are_followed_between_the_kept_ones(contrast: float, power: float) -> None:
    rng = np.random.default_rng(0)
    # A pixel's sums as real ones are: up to some ten thresholds away, not a random walk without end.
    begin, end = 1_000_000, 1_040_000
    events = random_events(4, 6_000, (begin, end), width=30, height=20)
    at = [begin + int(rng.integers(40_000))]

    def log_ratio(c: float) -> np.ndarray[Any, Any]:
        return np.log(DoubleIntegral().ratios(events, begin, end, at, Contrast(c, c))[0])

    followed = np.tensordot(follow(contrast, power), np.stack([log_ratio(c) for c in CONTRASTS]), 1)
    assert np.abs(followed - power * log_ratio(contrast)).max() < 0.02
    assert np.abs(power * log_ratio(contrast)).max() > 0.1


def test_contrasts_out_of_reach_are_taken_as_the_nearest() -> None:
    np.testing.assert_array_equal(follow(2.0), follow(HIGHEST))
    np.testing.assert_array_equal(follow(1e-6), follow(LOWEST))
    np.testing.assert_allclose(follow(0.2), [0, 1, 0, 0], atol=1e-6)


def test_what_shows_too_little_or_does_not_follow_its_events_is_refused() -> None:
    with pytest.raises(NothingToLearn, match="do not follow their events"):
        camera.learn([planted(0.3, 0.6, -0.2, -0.14)])
    with pytest.raises(NothingToLearn, match="too few to learn from"):
        camera.learn([planted(0.3, 0.6, 0.2, 0.14, size=16)])
    with pytest.raises(NothingToLearn, match="only 0 pixels"):
        camera.learn([])


@pytest.mark.parametrize("network", ["glint", "glint-large", "efnet", "gem"])
def test_the_network_is_fed_as_in_use(network: str) -> None:
    options = {"wf": 8} if network == "efnet" else {}
    a = exposures()[FIRST]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = networks.build(network, **options).eval()
    restorer = restorer_for(network, RIG, {"contrast": 0.2} if network.startswith("glint") else {})
    fed = restorer.fed([a], 0.5)
    restorer._net = net
    with torch.inference_mode():
        picture = kind_of(network).picture(net(*fed.inputs))
    shown = restorer.restore([a], [0.5]).images[0]
    picture = picture.flip(1) if restorer.order == "bgr" else picture
    codes = (picture[0].permute(1, 2, 0).clamp(0, 1) * 255).numpy()
    assert np.abs(codes - shown).max() < 1.01
    assert not np.array_equal(shown, a.frame.image)


def test_no_exposure_is_both_learnt_from_and_judged_by() -> None:
    seen: dict[str, set[int]] = {"train": set(), "held": set()}
    samples = Collector(restorer_for("glint", RIG, {}), kind_of("glint"), SIZE)
    for k in range(FRAMES - 1):
        before = len(samples.train), len(samples.held)
        a, b = exposures()[k], exposures()[k + 1]
        events = clip(3, frames=FRAMES).events.between(a.exposure.start_us, b.exposure.end_us)
        samples.add(a, b, events, k)
        for name, count in zip(seen, before, strict=True):
            if len(getattr(samples, name)) > count:
                seen[name] |= {k, k + 1}
    assert seen["train"]
    assert seen["held"]
    assert not seen["train"] & seen["held"]
    assert min(seen["train"] | seen["held"]) >= FIRST  # the first ones teach the contrast, as live


def test_every_recording_has_its_share_of_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Collector, "_places", lambda *a: [(0, 0)] * min(4, a[-1]))
    samples = Collector(restorer_for("glint", RIG, {}), kind_of("glint"), SIZE)
    monkeypatch.setattr("training.adapt.pairs.MOST_TRAIN", 20)
    monkeypatch.setattr("training.adapt.pairs.MOST_HELD", 7)

    def recorded(left: int, ordinals: int) -> tuple[int, int]:
        before = len(samples.train), len(samples.held)
        samples.begin(left)
        for k in range(ordinals):
            a, b = exposures()[k], exposures()[k + 1]
            samples.add(a, b, a.exposure_events(), k)
        return len(samples.train) - before[0], len(samples.held) - before[1]

    assert recorded(3, 20) == (7, 3)
    assert recorded(2, FIRST) == (0, 0)  # too short to give any
    assert recorded(1, 20) == (13, 4)
    assert samples.count == 27
    samples.begin(100)
    assert samples._limits == (20, 7)


def loaded() -> tuple[dict[str, torch.Tensor], Card]:
    """The shipped weights."""
    about = store.verify("glint")
    return store.load("glint", representation=about.representation, channel_order="rgb")


@pytest.mark.parametrize("representation", ["edi-stack", "edi-stack-halfway"])
def test_a_network_is_fed_what_its_weights_know(representation: str) -> None:
    about = card_of("glint").model_copy(update={"representation": representation})
    options = Start("glint", torch.nn.Identity(), about).options
    assert restorer_for("glint", RIG, options).representation == representation


def test_weights_of_the_first_release_are_fed_seven_channels() -> None:
    about = card_of("efnet").model_copy(update={"options": {"ev_chn": 7}})
    options = Start("efnet", torch.nn.Identity(), about).options
    fed = restorer_for("efnet", RIG, options, about).fed([exposures()[FIRST]], 0.5)
    assert fed.inputs[1].shape[1] == 7


def test_efnet_is_fed_what_its_card_says() -> None:
    update = {"channel_order": "rgb", "feed": Feed(mask=False)}
    about = card_of("efnet").model_copy(update=update)
    options = Start("efnet", torch.nn.Identity(), about).options
    restorer = restorer_for("efnet", RIG, options, about)
    assert restorer.order == "rgb"
    assert len(restorer.fed([exposures()[FIRST]], 0.5).inputs) == 2
    assert len(restorer_for("efnet", RIG, {"mask": True}, about).fed([exposures()[FIRST]], 0.5).inputs) == 3


@pytest.mark.parametrize("network", ["efnet", "glint", "gem"])
def test_a_network_is_fed_on_the_grid_of_its_device(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = splitter((16, 16))
    on_cpu = restorer_for(network, rig, {}, None, "cpu").on_event_grid()
    assert on_cpu == (network == "efnet")
    monkeypatch.setattr("training.adapt.pairs.choose_device", lambda _: torch.device("cuda"))
    assert not restorer_for(network, rig, {}, None, "cuda").on_event_grid()
    if network == "efnet":
        assert restorer_for(network, rig, {"grid": "event"}, None, "cuda").on_event_grid()


@cache
def glint() -> Glint:
    entries, card = loaded()
    net = networks.build("glint", **card.options)
    net.load_state_dict(entries)
    assert isinstance(net, Glint)
    return net.eval()


def middles(net: torch.nn.Module, options: dict[str, Any]) -> float:
    """PSNR of the middles against the truth, which no part of adapting sees."""
    restorer, out = restorer_for("glint", RIG, options), []
    for k in range(FIRST, FRAMES, 4):
        fed = restorer.fed([exposures()[k]], 0.5)
        truth = torch.from_numpy(clip(3, frames=FRAMES).truth[k]).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            out.append(float(decibels(net(*fed.inputs), truth)))
    return float(np.mean(out))


def test_glint_gains_where_the_camera_was_mistaken_for_another() -> None:
    mistaken = {"contrast": 0.05}
    samples = collected("glint", mistaken)
    found = camera.learn(samples.train)
    settings = tune.Settings(steps=10, every=5)
    out = tune.tune(glint(), samples.kind, samples.train, samples.held, found, settings)
    assert out.adapted
    assert out.after < (1 - tune.GAIN) * out.before
    adapted = networks.build("glint", **loaded()[1].options)
    adapted.load_state_dict(out.entries)
    assert middles(adapted.eval(), mistaken) > middles(glint(), mistaken) + 0.5


def test_a_network_that_gains_nothing_stays_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = collected("glint", {"contrast": 0.2})
    found = camera.learn(samples.train)
    monkeypatch.setattr(tune, "GAIN", 0.9)
    settings = tune.Settings(steps=2, every=1)
    out = tune.tune(glint(), samples.kind, samples.train, samples.held, found, settings)
    assert not out.adapted
    assert out.before == out.after
    assert all(torch.equal(v, glint().state_dict()[k]) for k, v in out.entries.items())


def test_only_a_gain_beyond_chance_counts() -> None:
    before = np.full(8, 0.1)
    assert tune.clearly_better(before, before - 0.012)
    assert not tune.clearly_better(before, before - 0.0005)  # next to nothing
    assert not tune.clearly_better(before, 0.949 * before)  # so much came with worse pictures once
    uneven = before - np.array([0.09, -0.05, 0.08, -0.06, 0.07, -0.04, 0.06, -0.05])
    assert uneven.mean() < 0.99 * before.mean()
    assert not tune.clearly_better(before, uneven)
    assert not tune.clearly_better(before[:1], before[:1] / 2)


@pytest.mark.parametrize(("network", "options"), [("efnet", {"wf": 8}), ("gem", {})])
def test_the_last_layers_of_the_others_are_learnt(
    network: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "clearly_better", lambda before, after: after.mean() < before.mean())
    samples = collected(network, {}, side=16, pairs=9)
    samples.train = samples.held = samples.train[:2]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = networks.build(network, **options)
    found = camera.Camera(0.2, 0.5, 0.1, 0.1, 1, 0.5)
    settings = tune.Settings(steps=4, every=2, batch=2, rate=1e-3)
    out = tune.tune(net, samples.kind, samples.train, samples.held, found, settings)
    changed = {n for n, v in out.entries.items() if not torch.equal(v, net.state_dict()[n])}
    assert changed
    assert all(n.startswith(samples.kind.layers) for n in changed)
    assert out.after < out.before


SMALL = (
    "simulated:davis?image_width=64&image_height=48&event_width=64&event_height=48&fine=2&loop_s=0.6"
    "&cache=false"
)


def test_the_command_writes_weights_that_the_live_program_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    command = ["train", "adapt", "--network", "glint", "--data", SMALL, "-o", str(out), "--device", "cpu"]
    settings = ["--set", "seconds=1.2", "--set", "steps=4", "--set", "every=2", "--set", "side=48"]
    assert execute([*command, *settings]) == 0
    assert capsys.readouterr().out.strip().endswith("weights.safetensors")
    record = json.loads((out / "adapt.json").read_text())
    assert record["samples"]["learnt_from"] > record["samples"]["judged_by"] > 0
    assert record["samples_of"] == [record["samples"]["learnt_from"] + record["samples"]["judged_by"]]
    assert record["disagreement"]["after"] <= record["disagreement"]["before"]
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
    card, _ = store.add("glint", out / "weights.safetensors")
    assert ("adapted to simulated" in card.trained_on) == record["changed"]
    capsys.readouterr()
    assert execute([*command, *settings]) == 2  # the folder is there already
    assert capsys.readouterr().err.endswith("is not empty; give another name with -o\n")


def run(tmp_path: Path, *words: str) -> int:
    return execute(["train", "adapt", *words, "-o", str(tmp_path / "out"), "--device", "cpu"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--data", SMALL), "takes a network and recordings"),
        (("--network", "glint"), "takes a network and recordings"),
        (("--network", "s-sdm", "--data", SMALL), "cannot be adapted .*: glint, glint-large, efnet, gem"),
        (("--network", "gem", "--data", SMALL), "gem: no weights"),
        (("--network", "glint", "--data", "/nowhere/at/all"), "does not exist"),
        (("--network", "glint", "--data", SMALL, "--set", "step=3"), "--set step"),
        (("--network", "glint", "--data", SMALL, "--set", "side=20"), "--set side: give 32 or more"),
        (("--network", "glint", "--data", SMALL, "--set", "side=96.5"), "--set side=96.5: give a whole number"),
        (("--network", "glint", "--data", SMALL, "--set", "seconds=abc"), "--set seconds=abc: give a number"),
        (("--network", "glint", "--data", SMALL, "--resume"), "none of --photos, --resume"),
        (("--network", "glint", "--data", SMALL, "--set", "seconds=0.3"),
         r"are too few.*; or let more be read: .* only the first 0.3 s were \(--set seconds=…\)"),
        (
            ("--network", "glint", "--data", SMALL, "--data", SMALL.replace("=64", "=80")),
            "are not of one rig",
        ),
        (
            ("--network", "glint", "--data", SMALL.replace("&loop", "&triggers=false&exposure_us=30000&loop")
             .replace("davis", "handheld"), "--set", "seconds=0.5"),
            "exposures can be used|too few",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_line(
    words: tuple[str, ...], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
    assert run(tmp_path, *words) != 0
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(text, said), said
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "stra.safetensors"
    entries = networks.build("stra", base_channel=8, num_res=1).state_dict()
    save_file({k: v.contiguous() for k, v in entries.items()}, file)
    assert run(tmp_path, "--network", "glint", "--data", SMALL, "--init", str(file)) != 0
    assert "is refused" in capsys.readouterr().err
    assert execute(["train", "efnet", "--network", "glint"]) == 2
    assert "--network belongs to train adapt" in capsys.readouterr().err
