"""S-SDM's three recipes: losses, teacher, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.cli.program import execute
from capture.errors import UsageError
from inference import cards, networks, store
from inference.representations.spikes import CENTRE, LATENTS
from inference.representations.spikes_torch import ldn_windows, tfp
from inference.weights_limits import WeightsError
from tests.training.made_sets import write_set, write_spikes
from tests.training.runs import run
from tests.training.test_recipes import small
from training import lpips, tasks
from training.data.s_sdm import SdmMaker, SdmOptions
from training.data.sets.find import find
from training.files import save_weights
from training.losses import s_sdm
from training.protocols import report
from training.protocols.run import BLURRED, Wanted, measure
from training.task import Batch
from training.tasks.s_sdm import gray, nearest, quarter
from training.tasks.s_sdm_ldn import LdnTask
from training.tasks.s_sdm_teacher import Teacher, files_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_spikes(tmp_path_factory.mktemp("spikes") / "set")
    torch.manual_seed(0)
    for part in ("bsn", "edsr"):
        torch.save(networks.build(f"s-sdm-{part}").state_dict(), folder / f"{part}.pth")
    return folder


@pytest.fixture
def batch(data: Path) -> Batch:
    """Both exposures of the test video, whole."""
    (facts,) = (s for s in find([data]).sequences if s.split == "test")
    maker = SdmMaker(SdmOptions(), pictured=True)
    maker.judged = True
    samples = [maker.whole(facts.reader(), facts, k) for k in facts.items]
    stacked = {k: torch.from_numpy(np.stack([s[k] for s in samples])) for k in samples[0]}
    return {**stacked, "replaced": torch.zeros(2), "turn": torch.tensor([1, 1])}


class Scaled(nn.Module):
    """Stands for BSN or EDSR: values times a factor, enlarged or not."""

    def __init__(self, factor: float, large: bool) -> None:
        super().__init__()
        self.factor, self.large = factor, large

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * (nearest(x) if self.large else x)


# --- losses and measures --------------------------------------------------------------------------------------


def test_the_long_average_is_not_denoised_and_every_step_is_clipped(batch: Batch) -> None:
    blurred, spikes = batch["image"] / 255, batch["spikes"].float()
    out = Teacher(Scaled(2.0, False), Scaled(0.75, True))(blurred, spikes, (44, CENTRE))
    for picture, at in zip(out, (44, CENTRE), strict=True):
        long = 0.75 * nearest(tfp(spikes, CENTRE, 97))
        short = 0.75 * nearest((2 * tfp(spikes, at, 9)).clamp(0, 1))
        wanted = torch.where(long == 0, 0, blurred / long.clamp(min=1e-9) * short).clamp(0, 1)
        torch.testing.assert_close(picture, wanted)


def test_bsn_learns_from_the_instant_whose_turn_it_is(batch: Batch, data: Path) -> None:
    task = tasks.create(small("s-sdm-bsn", data))
    noisy = tfp(batch["spikes"], LATENTS[1], 9)
    found = task.loss(Scaled(0.5, False), batch)["loss"]
    torch.testing.assert_close(found, (0.25 * noisy**2).mean())
    judged = task.validate(nn.Identity(), batch)
    assert judged["psnr"] == judged["blurred"]
    assert judged["loss"] == 0
    del batch["truth"]
    assert set(task.validate(nn.Identity(), batch)) == {"loss"}
    assert len(task.preview(nn.Identity(), batch)) == 2


def test_edsr_learns_what_the_blurred_picture_is(batch: Batch, data: Path) -> None:
    task = tasks.create(small("s-sdm-edsr", data))
    target = gray(batch["image"] / 255)
    found = task.loss(Scaled(1.0, True), batch)["loss"]
    torch.testing.assert_close(found, (nearest(tfp(batch["spikes"], CENTRE, 97)) - target).square().mean())
    judged = task.validate(Scaled(1.0, True), batch)
    assert (judged["psnr"], judged["sharp"]) == (judged["blurred"], judged["sharp_nearest"])
    assert judged["psnr"] > judged["sharp"]


def test_gray_and_quarter_are_those_of_the_spikes(batch: Batch) -> None:
    from inference.representations import spikes

    bgr = batch["image"][0].permute(1, 2, 0).numpy().astype(np.float32) / 255
    wanted = spikes.gray(spikes.quarter(bgr))
    np.testing.assert_allclose(quarter(gray(batch["image"] / 255))[0, 0].numpy(), wanted, atol=1e-6)


class Looks(nn.Module):
    """Stands for LPIPS; keeps what it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.seen.append(a)
        return (a - b).abs().mean((1, 2, 3))


@pytest.mark.parametrize("mode", ["published", "corrected"])
def test_ldn_imitates_and_blurs_again(
    mode: str, batch: Batch, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks()
    monkeypatch.setattr(lpips, "weights_file", lambda variant: Path(variant))
    monkeypatch.setattr(lpips, "load", lambda variant: looks)
    recipe = small("s-sdm-ldn", data, **{"loss.name": "lpips-reblur", "data.options.mode": mode})
    task = tasks.create(recipe)
    assert isinstance(task, LdnTask)
    task._teacher = Teacher()
    torch.manual_seed(1)
    network = task.build_network({})
    found = task.loss(network, batch)
    blurred, spikes = batch["image"] / 255, batch["spikes"].float()
    pictures = [network(blurred, ldn_windows(spikes, (i,))) for i in LATENTS]
    teachers = Teacher()(blurred, spikes, LATENTS)
    scale = 2 if mode == "corrected" else 1
    teaching = torch.stack(
        [scale * (t - p.clamp(0, 1)).abs().mean() for t, p in zip(teachers, pictures, strict=True)]
    ).mean()
    reblur = s_sdm.reblur(blurred, pictures)
    torch.testing.assert_close(found["teacher"], teaching)
    torch.testing.assert_close(found["loss"], teaching + 100 * reblur)
    handed = looks.seen[0]
    torch.testing.assert_close(handed, teachers[0] if mode == "published" else 2 * teachers[0].flip(1) - 1)
    with torch.no_grad():
        judged = task.validate(network, batch)
    assert set(judged) == {"psnr", "blurred", "teacher", "reblur"}


def test_ldn_without_the_weights_of_lpips(batch: Batch, data: Path) -> None:
    task = tasks.create(small("s-sdm-ldn", data, **{"loss.weights": {"reblur": 50.0}}))
    assert isinstance(task, LdnTask)
    task._teacher = Teacher()
    network = task.build_network({})
    found = task.loss(network, batch)
    torch.testing.assert_close(found["loss"], found["teacher"] + 50 * found["reblur"])


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"loss.name": "lpips-reblur"}, "needs the weights of LPIPS .*--set loss.name=ssim-reblur"),
        ({"loss.name": "l1"}, "trained with lpips-reblur or ssim-reblur"),
        ({"loss.weights": {"edges": 1.0}}, r"loss\.weights\.edges"),
        ({"network.options": {"spike_dim": 20}}, "an odd number of at most 41"),
        ({"network.options": {"spike_dim": 43}}, "an odd number of at most 41"),
        ({"data.options.bsn": "/nowhere/bsn.pth"}, "does not exist: train it .halfmirror train s-sdm-bsn"),
        ({"data.options.edsr": ""}, "no weights of s-sdm-edsr are installed: train it"),
        ({"data.options.crop": 64}, "a crop of 64 does not fit train0"),
        ({"data.kind": "synthetic"}, "--format spikes -o DIR"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    changes: dict[str, Any], text: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
    monkeypatch.setenv(lpips.VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match=text) as caught:
        run(small("s-sdm-ldn", data, **changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_data_without_spikes_and_an_empty_test_split_are_refused(data: Path, tmp_path: Path) -> None:
    events = write_set(tmp_path / "events", "frames", train=1, test=1)
    with pytest.raises(UsageError, match=r"s-sdm-bsn needs a spike camera's spikes; .* \(frames\) has none"):
        run(small("s-sdm-bsn", events), tmp_path / "run")
    alone = write_spikes(tmp_path / "alone", test=0)
    (alone / "test").mkdir()
    with pytest.raises(UsageError, match=r"the test split of .* is empty"):
        run(small("s-sdm-edsr", alone), tmp_path / "run")


def test_a_teacher_that_may_not_be_looked_at_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    long = f"/{'x' * 300}"  # no call takes it
    with pytest.raises(UsageError, match=r"x cannot be read: File name too long; .*--set data\.options\.edsr="):
        files_of(__file__, long)
    monkeypatch.setenv(store.VARIABLE, long)
    with pytest.raises(UsageError, match=r"s-sdm-bsn\.safetensors cannot be read: .*data\.options\.bsn="):
        files_of("", "")


def test_weights_of_another_network_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"edsr\.pth is refused: of its entries are"):
        run(small("s-sdm-ldn", data, **{"data.options.bsn": str(data / "edsr.pth")}), tmp_path / "run")
    with pytest.raises(WeightsError, match=r"bsn\.pth is refused: of its entries are"):
        run(small("s-sdm-ldn", data), tmp_path / "run", init=data / "bsn.pth")
    assert not (tmp_path / "run").exists()


def test_a_published_checkpoint_begins_and_neither_recipe_nor_teacher_change_on_the_way(tmp_path: Path) -> None:
    data = write_spikes(tmp_path / "set", train=1)
    for part in ("bsn", "edsr"):
        torch.save(networks.build(f"s-sdm-{part}").state_dict(), data / f"{part}.pth")
    net = networks.build("s-sdm-ldn")
    torch.save(net.state_dict(), published := tmp_path / "DeblurNet_100.pth")
    recipe = small("s-sdm-ldn", data, **{"run.steps": 1, "optimiser.lr": 1e-12})
    run(recipe, tmp_path / "run", init=published)
    found = torch.load(tmp_path / "run/state.pt", weights_only=True)["state_dict"]
    for entry, value in net.state_dict().items():
        torch.testing.assert_close(found[f"network.{entry}"], value, atol=1e-6, rtol=1e-6)
    other = small(
        "s-sdm-ldn", data, **{"run.steps": 1, "optimiser.lr": 1e-12, "loss.weights": {"reblur": 10.0}}
    )
    with pytest.raises(UsageError, match=r"loss\.weights\.reblur"):
        run(other, tmp_path / "run", resume=True)
    torch.save(networks.build("s-sdm-bsn").state_dict(), data / "bsn.pth")
    with pytest.raises(UsageError, match="begun with other data"):
        run(recipe, tmp_path / "run", resume=True)


# --- the protocol ---------------------------------------------------------------------------------------------


def test_own_spikes_become_pictures_without_any_truth(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
    card = cards.card("s-sdm-ldn").model_copy(update={"published": ()})
    file = tmp_path / "ldn/weights.safetensors"
    file.parent.mkdir()
    save_weights(file, networks.build("s-sdm-ldn").state_dict(), store.metadata_of(card))
    own = tmp_path / "own"
    shutil.copytree(data / "test", own)
    asked = ["--data", str(own), "--device", "cpu", "--protocol"]
    assert (
        execute(
            ["evaluate", f"s-sdm-ldn={file}", *asked, "s-sdm", "-o", str(tmp_path / "a"), "--pictures", "9"]
        )
        == 0
    )
    shutil.rmtree(own / "sharp_data")
    out = tmp_path / "b"
    assert execute(["evaluate", f"s-sdm-ldn={file}", "none", *asked, "pictures", "-o", str(out)]) == 0
    assert "| s-sdm-ldn:ldn | 2 |" in capsys.readouterr().out
    (video,) = (p.name for p in (own / "blur_data").iterdir())
    names = sorted(p.name for p in (out / "pictures").iterdir())
    assert [n for n in names if "ldn" in n] == [f"{video}-s-sdm-ldn-ldn-{k:05d}.png" for k in (0, 1)]
    assert len(names) == 4
    for k in (0, 1):
        alone = cv2.imread(str(out / "pictures" / f"{video}-s-sdm-ldn-ldn-{k:05d}.png"))
        beside = cv2.imread(str(tmp_path / "a/pictures" / f"{video}-{k:05d}.png"))  # blurred | restored | sharp
        width = alone.shape[1]
        gap = (beside.shape[1] - 3 * width) // 2
        np.testing.assert_array_equal(alone, beside[:, width + gap : 2 * width + gap])


def test_ldn_is_measured_on_the_spikes_themselves(
    data: Path, batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
    monkeypatch.setenv(lpips.VARIABLE, str(tmp_path))
    net = networks.build("s-sdm-ldn").eval()
    card = cards.card("s-sdm-ldn").model_copy(update={"published": ()})
    save_weights(tmp_path / "ldn.safetensors", net.state_dict(), store.metadata_of(card))
    store.add("s-sdm-ldn", tmp_path / "ldn.safetensors")
    result = measure(Wanted(("s-sdm-ldn", "none"), "s-sdm", (str(data),), lpips=True, device="cpu"))
    with torch.inference_mode():
        out = net(batch["image"] / 255, ldn_windows(batch["spikes"].float(), (CENTRE,)))
    error = (out.clamp(0, 1) - batch["truth"] / 255).square().mean((1, 2, 3))
    assert result.mean("s-sdm-ldn", "psnr") == pytest.approx(float((-10 * error.log10()).mean()), abs=1e-3)
    assert result.mean("none", "psnr") == result.mean(BLURRED, "psnr")
    assert result.count("s-sdm-ldn") == 2
    text = report.markdown(result, {})
    assert "* LPIPS was not taken, its weights are not here (pip install" in text
    assert "| DeblurNet_100.pth | spike GoPro test, centre instant | 27.928 |" in text
    with pytest.raises(UsageError, match=r"--option s-sdm-ldn\.tile"):
        measure(Wanted(("s-sdm-ldn",), "s-sdm", (str(data),), {"s-sdm-ldn": {"tile": 128}}, device="cpu"))
