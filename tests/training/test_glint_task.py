"""Training of glint: samples by index alone, turned right, and a short run that learns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional

from capture.errors import UsageError
from inference import networks, store
from inference.representations.edi_stack import CHANNELS
from inference.restorers.refine import refine
from tests.inference.restorers.rigs import splitter
from tests.training.synthesis.scenes import photos
from tests.training.synthesis.test_pool import order
from training.callbacks.states import States
from training.data import glint_pool
from training.data.glint_pool import Pooled
from training.engine import Request, train
from training.errors import TrainingError
from training.recipe import Recipe, parse
from training.recipe import load as load_recipe
from training.synthesis.making import make_pool
from training.synthesis.pool import VERSION, write_about
from training.tasks.glint import Drawn, GlintTask, inputs

SYNTHESIS = {"size": 32, "subframes": [8, 10]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos on disk."""
    path = tmp_path_factory.mktemp("photos")
    for k, image in enumerate(photos(14)):
        cv2.imwrite(str(path / f"{k:02d}.png"), image)
    return path


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pool")
    make_pool(order(path, 32))
    return path


def recipe(**data: object) -> Recipe:
    return parse({
        "network": {"name": "glint", "options": {"widths": [8, 8, 8]}},
        "data": {"validation": 2, "workers": 0, "synthesis": SYNTHESIS, **data},
        "optimiser": {"lr": 3e-3}, "loss": {"name": "charbonnier", "weights": {"edges": 0.5}},
        "run": {"batch": 8, "steps": 60, "validate_every": 60, "log_every": 20, "previews": 1, "ema": 0.9},
    })  # fmt: skip


@pytest.mark.parametrize("name", ["glint", "glint-large"])
def test_the_built_in_recipe_is_valid(name: str) -> None:
    found = load_recipe(name)
    assert (found.task_name, found.network.name) == ("glint", name)
    built = GlintTask(found).build_network(found.network.options).state_dict()
    assert {n: t.shape for n, t in built.items()} == {
        n: t.shape for n, t in networks.build(name).state_dict().items()
    }


def test_weights_of_a_large_run_are_for_glint_large(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {
        "data.options.pool": str(pool), "data.photos": "", "data.validation": 0, "data.workers": 0,
        "run.batch": 1, "run.steps": 1, "run.previews": 0,
    }  # fmt: skip
    out = train(Request(load_recipe("glint-large", changes), tmp_path / "run", device="cpu"))
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "store"))
    found, _ = store.add("glint-large", out.folder / "weights.safetensors")
    assert "recipe glint-large, 1 steps" in found.trained_on


def plain(pool: Path, **more: object) -> Recipe:
    return load_recipe("glint", {
        "data.options.pool": str(pool), "data.photos": "", "data.validation": 0, "data.workers": 0,
        "run.batch": 1, "run.steps": 2, "run.previews": 0, **more,
    })  # fmt: skip


def former(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program that builds glint smaller, and that did not yet state its size in a run's recipe."""
    monkeypatch.setitem(networks._SIZES, "glint", {"widths": (8, 8, 8), "blocks": (0, 1, 1, 1, 0)})
    monkeypatch.delattr(GlintTask, "sizes")


def test_a_run_goes_on_from_any_folder_with_data_that_were_moved(
    pool: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, path in (("pool", pool), ("photos", folder)):
        shutil.copytree(path, tmp_path / name)
    wish = {"data.photos": "photos", "data.options.pool": "pool", "run.steps": 3, "run.save_minutes": 1e-9}
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr("training.callbacks.states.States._save", once_then_fail())
        with pytest.raises(TrainingError):
            train(Request(plain(pool, **wish), Path("run"), device="cpu"))
    kept = (tmp_path / "run/recipe.toml").read_text()
    assert f'photos = "{tmp_path}/photos"' in kept
    assert f'pool = "{tmp_path}/pool"' in kept
    with safe_open(tmp_path / "run/weights.safetensors", "pt") as file:
        assert str(tmp_path) not in file.metadata()["halfmirror.recipe"]
        assert 'pool = "pool"' in file.metadata()["halfmirror.recipe"]
    (tmp_path / "new").mkdir()
    (tmp_path / "pool").rename(tmp_path / "new/samples")
    (tmp_path / "photos").rename(tmp_path / "new/photos")
    there = {"data.options.pool": str(tmp_path / "new/samples"), "data.photos": str(tmp_path / "new/photos")}
    other = load_recipe(tmp_path / "run", {**there, "data.photos": str(folder)})
    with pytest.raises(UsageError, match=r"another recipe: data\.photos .*/photos' → .*"):
        train(Request(other, tmp_path / "run", resume=True, device="cpu"))
    out = train(Request(load_recipe(tmp_path / "run", there), tmp_path / "run", resume=True, device="cpu"))
    assert (out.step, out.complete) == (3, True)
    assert f'pool = "{tmp_path}/new/samples"' in (tmp_path / "run/recipe.toml").read_text()


def test_a_run_that_was_begun_with_relative_paths_goes_on(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pool, tmp_path / "pool")
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr("training.paths.absolute", lambda recipe, _: recipe)  # as it was once
        patch.setattr("training.callbacks.states.States._save", once_then_fail())
        with pytest.raises(TrainingError):
            train(Request(plain(Path("pool"), **{"run.save_minutes": 1e-9}), Path("run"), device="cpu"))
    assert 'pool = "pool"' in (tmp_path / "run/recipe.toml").read_text()
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    found = load_recipe(tmp_path / "run", {"data.options.pool": str(tmp_path / "pool")})
    assert train(Request(found, tmp_path / "run", resume=True, device="cpu")).complete
    monkeypatch.chdir(tmp_path)
    assert train(Request(load_recipe("again"), Path("again"), resume=True, device="cpu")).complete


def test_a_run_states_the_size_of_its_network(pool: Path, tmp_path: Path) -> None:
    train(Request(plain(pool, **{"run.steps": 1}), tmp_path / "run", device="cpu"))
    usual = {"widths": [40, 80, 128], "blocks": [0, 1, 3, 1, 1]}
    assert load_recipe(tmp_path / "run").network.options == usual
    with safe_open(tmp_path / "run/weights.safetensors", "pt") as file:
        assert json.loads(file.metadata()["halfmirror.options"]) == usual


@pytest.mark.parametrize("again", [{}, {"network.options.widths": [8, 8, 8]}])
def test_a_run_of_a_former_size_goes_on(
    again: dict[str, object], pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        former(patch)
        patch.setattr("training.callbacks.states.States._save", once_then_fail())
        with pytest.raises(TrainingError):
            train(Request(plain(pool, **{"run.save_minutes": 1e-9}), tmp_path / "run", device="cpu"))
    assert load_recipe(tmp_path / "run").network.options == {}
    resumed = load_recipe(tmp_path / "run", again)
    with pytest.raises(UsageError, match=r"network\.options\.widths \[8, 8, 8\] → \[16, 8, 8\]"):
        train(Request(load_recipe(tmp_path / "run", {"network.options.widths": [16, 8, 8]}), tmp_path / "run",
                      resume=True, device="cpu"))  # fmt: skip
    out = train(Request(resumed, tmp_path / "run", resume=True, device="cpu"))
    assert (out.step, out.complete) == (2, True)
    assert load_recipe(tmp_path / "run").network.options == {"widths": [8, 8, 8], "blocks": [0, 1, 1, 1, 0]}


def once_then_fail() -> Callable[..., None]:
    """`States._save` of a disk that is full the second time."""
    save, saved = States._save, 0

    def saves(*asked: Any) -> None:
        nonlocal saved
        saved += 1
        if saved > 1:
            raise TrainingError("disk full")
        save(*asked)

    return saves


def test_drawn_samples_depend_on_the_index_alone(folder: Path) -> None:
    one = recipe(photos=str(folder))
    data, validation = GlintTask(one).datasets(one)
    again, _ = GlintTask(one).datasets(one)
    assert isinstance(data, Drawn)
    for i in (5, 0, 5):
        a, b = data[i], again[i]
        assert all(torch.equal(a[k], b[k]) for k in ("frame", "edi", "stack", "truth"))
        assert a["frame"].shape == a["truth"].shape == (3, 32, 32)
        assert a["stack"].shape == (CHANNELS, 32, 32)
    assert data.fingerprint() == again.fingerprint()
    assert len(validation) == 2
    # No photo serves both.
    held = {i % 13 == 12 for i in validation._data._photos._which}  # type: ignore[attr-defined]
    assert held == {True}
    assert not any(i % 13 == 12 for i in data._photos._which)


def test_a_sample_is_turned_as_a_whole(pool: Path) -> None:
    """All eight ways bring everything along together: turned back, it is the pool's."""
    data = Pooled(pool, 3)
    ways, kinds = set(), set()
    for index in range(64):
        place, instant, turn = (int(x[0]) for x in data.chosen([index]))
        stored = data.pool.read(place, instant)
        ways.add(turn)
        one = data[index]
        for name in ("frame", "truth", "edi", "stack"):
            x = one[name].float()
            x = x.transpose(-1, -2) if turn & 4 else x
            x = x.flip(-2) if turn & 2 else x
            x = x.flip(-1) if turn & 1 else x
            expected = torch.from_numpy(stored[name].astype(np.float32))
            if name == "stack" and expected.shape[-1] != 32:
                # As the restorer does: refined first where the events are clearly coarser.
                coarse = expected.shape[-1] * 1.5 < 32
                maps = refine(expected.numpy(), splitter(expected.shape[:0:-1])) if coarse else expected.numpy()
                kinds.add(coarse)
                sampled = functional.interpolate(torch.from_numpy(maps)[None], (32, 32), mode="bilinear")
                # Half a unit in the last place of half precision, and what two libraries differ by.
                torch.testing.assert_close(x, sampled[0], atol=1e-5, rtol=2.0**-10)
                continue
            assert torch.equal(x, expected.expand_as(x))
    assert ways == set(range(8))
    assert True in kinds


@pytest.mark.parametrize("together", [512, 12])
def test_a_pool_kept_on_a_device_gives_the_same_samples(
    pool: Path, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glint_pool, "_TOGETHER", together)
    data = Pooled(pool, 3)
    kept = data.resident(torch.device("cpu"))
    assert kept is not None
    assert kept.fingerprint() == data.fingerprint()
    indices = list(range(20, 60))
    expected = torch.utils.data.default_collate([data[i] for i in indices])
    batch = kept.__getitems__(indices)
    assert {n: x.dtype for n, x in batch.items()} == {n: x.dtype for n, x in expected.items()}
    for name, x in batch.items():
        torch.testing.assert_close(x, expected[name], rtol=0, atol=0)
    torch.testing.assert_close(kept[33], {n: x[13] for n, x in batch.items()}, rtol=0, atol=0)


def test_a_short_run_learns(pool: Path, folder: Path, tmp_path: Path) -> None:
    out = train(
        Request(recipe(photos=str(folder), options={"pool": str(pool)}), tmp_path / "run", device="cpu")
    )
    assert out.complete
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0]
    last = [line for line in lines if "val/psnr" in line][-1]
    assert {"val/blurred", "val/edi"} <= last.keys()
    assert list((tmp_path / "run" / "previews").glob("*.png"))


def test_the_loss_is_zero_for_the_truth_and_has_its_parts(pool: Path) -> None:
    batch = torch.utils.data.default_collate([Pooled(pool, 0)[i] for i in range(2)])
    task = GlintTask(recipe())

    class Knows(torch.nn.Module):
        def forward(self, frame: torch.Tensor, edi: torch.Tensor, stack: torch.Tensor) -> torch.Tensor:
            return inputs(batch)[3]

    parts = task.loss(Knows(), batch)
    assert float(parts["loss"]) == pytest.approx(2e-3, rel=1e-3)  # the Charbonnier's ε
    assert float(parts["loss"]) == pytest.approx(float(parts["colour"] + 0.5 * parts["edges"]))
    assert task.validate(Knows(), batch)["psnr"] == pytest.approx(60)


def test_the_relative_loss_counts_every_sample_alike(pool: Path) -> None:
    """A tenth less error in one sample is worth the same, however far off it is; a nearly right one is left."""
    base = recipe().model_dump(mode="json", exclude_none=True)
    task = GlintTask(parse({**base, "loss": {"name": "relative", "weights": {"edges": 0.5}}}))
    batch = torch.utils.data.default_collate([Pooled(pool, 0)[i] for i in range(2)])
    truth = inputs(batch)[3]
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))

    def loss(*sizes: float) -> float:
        off = noise * torch.tensor(sizes).view(-1, 1, 1, 1)
        return float(task.loss(lambda *_: truth + off, batch)["loss"])  # type: ignore[arg-type]

    assert loss(0.9 * 0.05, 0.2) == pytest.approx(loss(0.05, 0.9 * 0.2), abs=0.01)
    assert loss(0.9 * 0.05, 0.2) < loss(0.05, 0.2) - 0.08
    # Below a third of a grey level nothing is to be won.
    assert loss(0.0, 0.2) == pytest.approx(loss(0.0001, 0.2), abs=0.3)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"data": {"photos": ""}}, "no photos"),
        ({"data": {"kind": "recorded"}}, "data.kind"),
        ({"data": {"synthesis": {"sise": 1}}}, "unknown key 'data.synthesis.sise'; did you mean 'size'"),
        ({"data": {"options": {"pond": "x"}}}, "unknown key 'data.options.pond'; known here: pool, cached_"),
        ({"data": {"options": {"cached_photos": 0}}}, "key 'data.options.cached_photos': Input should be"),
        ({"loss": {"name": "l2"}}, "loss.name"),
        ({"network": {"name": "efnet"}}, "network.name 'efnet': the task glint trains glint or glint-large"),
        ({"loss": {"weights": {"corners": 1.0}}}, "corners"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(changes: dict[str, dict[str, object]], what: str) -> None:
    base = recipe().model_dump(mode="json", exclude_none=True)
    for table, values in changes.items():
        base[table] = {**base[table], **values}
    with pytest.raises(UsageError, match=what):
        one = parse(base)
        GlintTask(one).datasets(one)


def test_too_few_photos_to_hold_one_out(tmp_path: Path) -> None:
    for k, image in enumerate(photos(2)):
        cv2.imwrite(str(tmp_path / f"{k}.png"), image)
    one = recipe(photos=str(tmp_path))
    with pytest.raises(UsageError, match="13 are the least"):
        GlintTask(one).datasets(one)


def test_an_empty_pool_is_refused(tmp_path: Path) -> None:
    write_about(tmp_path, {"version": VERSION})
    one = recipe(options={"pool": str(tmp_path)}, validation=0)
    with pytest.raises(UsageError, match="no samples yet"):
        GlintTask(one).datasets(one)
