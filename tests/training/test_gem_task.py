"""GEM's two stages, at toy size: whole runs in this process, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.cli.program import execute
from capture.errors import UsageError
from inference import networks, store
from inference.restorers.gem import GemRestorer
from inference.restorers.rehearsal import rehearsal
from inference.weights_limits import WeightsError
from sync.rig import EventEntry, ImageEntry, Rig
from tests.training.made_sets import SIZE, clip, write_set
from tests.training.runs import learned, same
from training import recipe as recipes
from training import tasks
from training.data.gem_maker import GemMaker, GemOptions, scale_of
from training.data.sets.find import find
from training.engine import Outcome, Request, train
from training.recipe import Recipe
from training.synthesis.writers import FORMATS
from training.tasks.gem import TEACHER
from training.weights import initialise

pytestmark = pytest.mark.timeout(400)  # the network has one size only, and machines are busy


def small(name: str, *data: Path, **more: Any) -> Recipe:
    changes = {
        "data.recordings": [str(d) for d in data], "data.workers": 0, "data.validation": 0, "run.batch": 1,
        "run.steps": 2, "run.validate_every": 2, "run.log_every": 1, "run.previews": 1,
        "data.options.crop": 16,
    }  # fmt: skip
    return recipes.load(name, {**changes, **more})


VALIDATED = {"data.validation": 1}


def run(recipe: Recipe, folder: Path, **more: Any) -> Outcome:
    return train(Request(recipe, folder, device="cpu", **more))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("sets") / "msrbd", "msrbd", train=1, frames=4)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages run through, the second with the first one's weights."""
    root = tmp_path_factory.mktemp("runs")
    run(small("gem", data, **VALIDATED), root / "gem")
    run(small("gem-stage2", data), root / "gem-stage2", init=root / "gem/weights.safetensors")
    return root


@pytest.mark.parametrize("name", ["gem", "gem-stage2"])
def test_a_stopped_run_goes_on_bit_identically(
    name: str, data: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(name, data, **(VALIDATED if name == "gem" else {}))
    kind = type(tasks.create(recipe))
    loss = kind.loss

    def stopped(self: Any, *args: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return loss(self, *args)

    monkeypatch.setattr(kind, "loss", stopped)
    first = shutil.copy(runs / "gem/weights.safetensors", tmp_path) if name == "gem-stage2" else None
    out = run(recipe, tmp_path / "run", init=Path(first) if first else None)
    assert (out.step, out.signal) == (1, signal.SIGINT)
    monkeypatch.setattr(kind, "loss", loss)
    if first:
        Path(first).unlink()  # the run has what it needs
    out = run(recipe, tmp_path / "run", resume=True)
    assert (out.step, out.complete) == (2, True)
    assert same(learned(tmp_path / "run"), learned(runs / name))


def test_the_second_stage_holds_on_to_its_teacher(data: Path, runs: Path, tmp_path: Path) -> None:
    first = [json.loads(line) for line in (runs / "gem-stage2/metrics.jsonl").read_text().splitlines()]
    parts = {"brightness", "structure", "temporal", "spatial"}
    assert parts <= set(first[0])
    assert first[0]["loss"] == pytest.approx(
        sum(first[0][p] * (1 if p == "structure" else 50) for p in parts), rel=1e-5
    )
    teacher, student = networks.build("gem"), networks.build("gem")
    entry = small("gem-stage2", data).network
    initialise(teacher, runs / "gem-stage2" / TEACHER, entry)
    initialise(student, runs / "gem/weights.safetensors", entry)
    assert all(torch.equal(v, student.state_dict()[k]) for k, v in teacher.state_dict().items())
    with pytest.raises(UsageError, match="begins with the weights of the first one: give --init"):
        run(small("gem-stage2", data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_was_trained_is_taken_by_the_live_program(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "val/psnr" in (runs / "gem/metrics.jsonl").read_text()
    assert list((runs / "gem/previews").iterdir())
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
    store.add("gem", runs / "gem-stage2/weights.safetensors")
    card = store.installed("gem")
    assert card is not None
    assert card.cautions[-1] == "Trained at scale 1."
    rig = Rig(
        events=EventEntry(camera="simulated", width=32, height=32),
        image=ImageEntry(camera="simulated", width=32, height=32, tone="srgb"),
    )
    restored = GemRestorer(rig, device="cpu").restore([rehearsal(rig, None, gray=False)], (0.5,))
    assert not restored.flags
    assert restored.images.shape == (1, 32, 32, 3)


def test_a_published_checkpoint_begins_a_fine_tuning(data: Path, tmp_path: Path) -> None:
    net, other = networks.build("gem"), networks.build("gem")
    entries = {f"model.{k}": v for k, v in net.state_dict().items()}
    entries |= {f"teacher_model.{k}": v for k, v in other.state_dict().items()}
    file = tmp_path / "best-stage=2-cycle=15-epoch=029-loss=1.00.ckpt"
    torch.save({"epoch": 29, "pytorch-lightning_version": "1.6.0", "state_dict": entries}, file)
    begun = networks.build("gem")
    initialise(begun, file, small("gem-stage2", data).network)
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in begun.state_dict().items())


def test_weights_of_another_network_are_refused(data: Path, tmp_path: Path) -> None:
    torch.save(networks.build("stra", base_channel=8, num_res=1).state_dict(), tmp_path / "stra.pth")
    with pytest.raises(WeightsError, match="missing"):
        run(small("gem", data), tmp_path / "run", init=tmp_path / "stra.pth")
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_with_another_recipe_is_refused(data: Path, runs: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.options\.difference 'l1' → 'l2'|difference .* → 'l2'"):
        run(small("gem", data, **{"data.options.difference": "l2"}), runs / "gem", resume=True)


def test_what_record_and_export_made_of_the_simulated_rig_is_trained_on(tmp_path: Path) -> None:
    sizes = "image_width=64&image_height=48&event_width=64&event_height=48"
    out = tmp_path / "rig"
    source = f"simulated:davis?{sizes}&fine=2&loop_s=0.6&cache=false"
    assert execute(["export", source, "--to", "msrbd", "-o", str(out), "--frames", "4", "--name", "rig"]) == 0
    assert run(small("gem", out, **{"run.steps": 1}), tmp_path / "run").complete
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["data"]["items"] == 3


def test_disjoint_files_are_pairs_of_their_own(data: Path, tmp_path: Path) -> None:
    (facts,) = [s for s in find([data]).sequences if s.split == "train"]
    assert scale_of(facts) == 1
    assert facts.pair_starts == [0, 1, 2]
    every_second = tmp_path / "half"
    every_second.mkdir()
    for file in facts.files[::2]:
        shutil.copy(file, every_second)
    (half,) = find([every_second]).sequences
    assert half.pair_starts == [0, 2]  # nobody knows the events between frames 1 and 2
    maker = GemMaker(GemOptions(crop=16))
    a = maker.make(facts.reader(), facts, 2, np.random.default_rng(3))
    b = maker.make(half.reader(), half, 2, np.random.default_rng(3))
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert a["sharp_from_large"].sum() > a["sharp_from_frame"].sum() > 0


def test_frames_without_a_partner_are_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "odd"
    FORMATS["msrbd"](odd, "odd", clip(0, frames=3))
    task = tasks.create(small("gem", odd, **{"data.options.pairs": "disjoint"}))
    training, _ = task.datasets(small("gem", odd, **{"data.options.pairs": "disjoint"}))
    assert "odd: 1 of 3 frames have no partner" in capsys.readouterr().err
    assert training.items == [(0, 0)]  # type: ignore[attr-defined]


def without_exposures(folder: Path) -> Path:
    import h5py

    FORMATS["efnet-h5"](folder, "gopro", clip(0))
    with h5py.File(folder / "gopro.h5", "r+") as file:
        for image in file["images"].values():
            del image.attrs["exposure_start"], image.attrs["exposure_end"]
    return folder


def one_frame(folder: Path) -> Path:
    import h5py

    FORMATS["efnet-h5"](folder, "one", clip(0))
    with h5py.File(folder / "one.h5", "r+") as file:
        for group in ("images", "sharp_images"):
            for name in list(file[group])[1:]:
                del file[f"{group}/{name}"]
    return folder


def other_scale(folder: Path) -> Path:
    FORMATS["msrbd"](folder, "fine", clip(0, scale=2, frames=3))
    FORMATS["msrbd"](folder, "plain", clip(0, frames=3))
    return folder


def highrev(folder: Path) -> Path:
    FORMATS["highrev"](folder, "a", clip(0, frames=3))
    return folder


def no_test(folder: Path) -> Path:
    FORMATS["msrbd"](folder / "train", "a", clip(0, frames=3))
    (folder / "test").mkdir()
    return folder


@pytest.mark.parametrize(
    ("make", "changes", "text"),
    [
        (without_exposures, {}, "gem needs exposure times"),
        (highrev, {}, "gem needs .*one stream of events over all frames"),
        (one_frame, {}, "gem needs sequences that are long enough"),
        (other_scale, {}, "trained at one scale, and plain has scale 1 and fine has scale 2"),
        (no_test, {"data.validation": 1}, "the test split of .* is empty or missing"),
        (highrev, {"data.recordings": []}, "gem is trained on frames in a row .*record --also-msrbd"),
        (highrev, {"data.options.crop": 24}, "data.options.crop"),
        (highrev, {"loss.name": "third-stage"}, "trained with first-stage"),
        (highrev, {"loss.weights.temporal": 1.0}, "loss.weights.temporal: unknown"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    make: Any, changes: dict[str, Any], text: str, tmp_path: Path
) -> None:
    folder = make(tmp_path / "set")
    with pytest.raises(UsageError, match=text) as caught:
        run(small("gem", folder, **changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_crop_that_does_not_fit_names_the_sequence(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"crop of 64 event pixels does not fit \w+ \({SIZE}×{SIZE}\)"):
        run(small("gem", data, **{"data.options.crop": 64}), tmp_path / "run")


def test_a_damaged_file_in_the_middle_is_named(data: Path, tmp_path: Path) -> None:
    (facts,) = [s for s in find([data]).sequences if s.split == "train"]
    for file in facts.files:
        shutil.copy(file, tmp_path)
    middle = tmp_path / Path(facts.files[1]).name
    middle.write_bytes(middle.read_bytes()[:200])
    found = find([tmp_path])
    (left,) = found.sequences
    assert left.pair_starts == [0, 2]
    assert len(found.skipped) == 1
    assert middle.name in found.skipped[0]


def test_other_channels_of_events_than_are_fed_are_refused(data: Path) -> None:
    with pytest.raises(UsageError, match=r"network\.options\.ev_in_channel 48: GEM is fed 96"):
        tasks.create(small("gem", data, **{"network.options": {"ev_in_channel": 48}}))
