from __future__ import annotations

from pathlib import Path

import pytest

from capture.errors import UsageError
from tests.training.tiny_task import RECIPE, tiny, write
from training import recipe as recipes


def refusal(text: str, tmp_path: Path) -> str:
    with pytest.raises(UsageError) as e:
        recipes.load(write(tmp_path, text))
    assert "\n" not in str(e.value)
    return str(e.value)


def test_defaults_are_filled_in_and_survive_the_file(tmp_path: Path) -> None:
    first = recipes.load(write(tmp_path))
    assert (first.name, first.task_name, first.run.batch) == ("tiny", "tiny", 4)
    (tmp_path / "recipe.toml").write_text(first.dumps())
    again = recipes.load(tmp_path)
    assert again == first
    assert "save_minutes = 5.0" in first.dumps()


def test_true_stays_where_it_has_a_meaning(tmp_path: Path) -> None:
    text = RECIPE.replace('name = "tiny"', 'name = "tiny", options = { deep = true, sides = [true, 1] }')
    found = recipes.load(write(tmp_path, text.replace("batch = 4", "batch = 4, unused_parameters = true")))
    assert found.network.options == {"deep": True, "sides": [True, 1]}
    assert found.run.unused_parameters is True


def test_an_option_that_is_not_finite_is_kept(tmp_path: Path) -> None:
    text = RECIPE.replace('name = "tiny"', 'name = "tiny", options = { slope = nan }')
    assert "slope = nan" in recipes.load(write(tmp_path, text)).dumps()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (RECIPE + "\n[schedule2]\n", "unknown key 'schedule2'; did you mean 'schedule'?"),
        (
            RECIPE.replace("lr = 0.01", "learning = 0.01"),
            "unknown key 'optimiser.learning'; known here: name, lr",
        ),
        (RECIPE.replace("batch = 4", "batches = 4"), "unknown key 'run.batches'; did you mean 'batch'?"),
        (
            RECIPE.replace("lr = 0.01", 'lr = 0.01, groups = [{ prefix = "a", lr = 1, weight = 0 }]'),
            "unknown key 'optimiser.groups.0.weight'; did you mean 'weight_decay'?",
        ),
        (
            RECIPE.replace("batch = 4", "batch = 0"),
            "key 'run.batch': Input should be greater than or equal to 1",
        ),
        (RECIPE.replace("steps = 30, ", ""), "nothing ends the run; set steps or max_minutes"),
        (RECIPE.replace('network = { name = "tiny" }', ""), "key 'network' is missing"),
        (RECIPE.replace("0.01", "nan"), "key 'optimiser.lr': Input should be"),
        (RECIPE.replace("0.01", "true"), "key 'optimiser.lr': true and false have no meaning here"),
        (
            RECIPE.replace("jitter = 0.5", "jitter = true"),
            "key 'loss.weights': true and false have no meaning here",
        ),
        (
            RECIPE.replace("lr = 0.01", "lr = 0.01, betas = [true, 0.9]"),
            "key 'optimiser.betas': true and false have no meaning here",
        ),
        (
            RECIPE.replace("lr = 0.01", 'lr = 0.01, groups = [{ prefix = "a", lr = true }]'),
            "key 'optimiser.groups.0.lr': true and false have no meaning here",
        ),
        (RECIPE.replace("0.01", "1e300"), "key 'optimiser.lr': Input should be"),
        (RECIPE.replace("jitter = 0.5", "jitter = nan"), "key 'loss.weights.jitter': Input should be"),
        (
            RECIPE.replace('"cosine"', '"steps", milestones = [0.75, 0.5]'),
            "key 'schedule': milestones are fractions of the run, the earlier first",
        ),
        (RECIPE.replace("cosine", "steps"), "key 'schedule': the schedule steps needs milestones"),
        (
            RECIPE.replace("validation = 6", "validation = 99999999999999999999"),
            "key 'data.validation': Input should be",
        ),
        ("seed =", "is not valid TOML"),
        (f"seed = {'[' * 9999}", "is not valid TOML: its brackets are nested too deep"),
    ],
)
def test_each_fault_is_one_line_with_the_key(text: str, wanted: str, tmp_path: Path) -> None:
    assert wanted in refusal(text, tmp_path)


def test_what_cannot_be_found() -> None:
    for source, wanted in (("no-such", "no recipe is called"), ("no/such.toml", "does not exist")):
        with pytest.raises(UsageError, match=wanted):
            recipes.load(source)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"folder without recipe\.toml"):
        recipes.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("run.batch=2", 2),
        ("data.photos=package:some", "package:some"),
        ("optimiser.betas=[0.9, 0.99]", [0.9, 0.99]),
        ('network.options.kind="wide"', "wide"),
        ("network.options.deep.er=true", True),
    ],
)
def test_overrides(text: str, value: object) -> None:
    key, found = recipes.override(text)
    assert (key, found) == (text.partition("=")[0], value)


def test_an_override_reaches_its_key_and_no_other(tmp_path: Path) -> None:
    path = write(tmp_path)
    got = recipes.load(path, {"run.batch": 2, "network.options.width": 8})
    assert recipes.differences(recipes.load(path), got) == [
        "network.options.width (unset) → 8",
        "run.batch 4 → 2",
    ]
    for key, wanted in (("run.batch.x", "batch is a value"), ("run.bath", "did you mean 'batch'")):
        with pytest.raises(UsageError, match=wanted):
            recipes.load(path, {key: 1})
    for text in ("run.batch", "=3"):
        with pytest.raises(UsageError, match=r"no table\.key=value"):
            recipes.override(text)


def test_what_does_not_change_results_is_no_difference() -> None:
    assert recipes.differences(tiny(), tiny(data__workers=3, data__prefetch=9)) == []
    assert recipes.differences(tiny(), tiny(optimiser__lr=0.02)) == ["optimiser.lr 0.01 → 0.02"]


@pytest.mark.parametrize(
    "name", recipes.built_in() or [pytest.param("none", marks=pytest.mark.skip("none yet"))]
)
def test_built_in_recipes_are_valid(name: str) -> None:
    assert recipes.load(name).name == name
