from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.cli.program import execute
from capture.errors import UsageError
from inference import models, store
from inference.quality import psnr
from inference.residual import measure
from inference.restorers.base import LatentTimes, Needs, Restored
from inference.restorers.passthrough import PassThrough
from inference.restorers.picture import picture_of
from sync.exposure import AlignedExposure
from tests.inference.moving_scene import scene
from tests.training.made_suite import item, made_suite
from training import report
from training.contestants import contestants, meant
from training.evaluation import BEST_CONTRAST, BLURRED, CONTRASTS, Choice, Figures, evaluate
from training.files import save_weights
from training.suite import ListedSuite, SuiteItem, load_item, open_suite, save_suite


def listed(*items: SuiteItem) -> ListedSuite:
    return ListedSuite("made", [lambda i=i: i for i in items])  # type: ignore[misc]


def test_edi_and_its_best_threshold_on_a_made_suite() -> None:
    drawn: list[tuple[str, float, list[str]]] = []
    # As published: half-way the best one is flatter, and higher up.
    published = {"edi": {"halfway": False}}
    result = evaluate(
        made_suite(), Choice(("edi",), published, best_contrast=True),
        lambda item, f, shown: drawn.append((item.name, f, list(shown))),
    )  # fmt: skip
    methods = [BLURRED, "edi", BEST_CONTRAST]
    assert result.methods == methods
    assert drawn == [(n, f, [*methods, "truth"]) for n, f in (("a0", 0.25), ("a0", 0.5), ("b0", 0.5))]
    first = next(iter(made_suite()))
    frame = picture_of(first.exposure.frame)
    assert result.sequences["a"][BLURRED].values["psnr"] == [psnr(frame, t) for t in first.truth]
    # Near the sensors' own, and never worse than any threshold of the grid, the true one among them or beside.
    assert result.sequences["a"][BEST_CONTRAST].contrast == pytest.approx(0.15, rel=0.2)
    assert result.sequences["b"][BEST_CONTRAST].contrast == pytest.approx(0.30, rel=0.2)
    for sequence in ("a", "b"):
        best = result.sequences[sequence][BEST_CONTRAST].of("psnr")
        assert best is not None
        for c in (CONTRASTS[0], 0.1499, CONTRASTS[-1]):
            near = min(CONTRASTS, key=lambda k: abs(k - c))
            options = {"edi": {**published["edi"], "contrast_on": near, "contrast_off": near}}
            fixed = evaluate(made_suite(), Choice(("edi",), options, reblur=0))
            assert best >= (fixed.sequences[sequence]["edi"].of("psnr") or math.inf)
    assert (result.mean("edi", "psnr") or 0) > (result.mean(BLURRED, "psnr") or 0) + 5
    assert (result.mean("edi", "ssim") or 0) > (result.mean(BLURRED, "ssim") or 0)
    assert result.mean(BLURRED, "reblur") is None
    assert 0 < (result.mean("edi", "reblur") or 0) < 10
    assert (result.mean("edi", "ms") or 0) > 0
    assert result.mean("edi", "lpips") is None
    assert result.notes == []


def test_means_are_over_sequences() -> None:
    result = evaluate(made_suite(), Choice(("none",), reblur=0, lpips=lambda a, b: float(len(a))))
    a, b = (result.sequences[s]["none"] for s in ("a", "b"))
    assert len(a.values["psnr"]) == 2
    assert result.mean("none", "psnr") == pytest.approx((np.mean(a.values["psnr"]) + b.values["psnr"][0]) / 2)
    assert result.mean("none", "lpips") == 72
    assert result.mean("none", "reblur") is None


def test_small_pictures_go_without_the_measures_that_are_not_defined_for_them() -> None:
    def cropped(sequence: str, side: int) -> SuiteItem:
        whole = item(sequence, sequence, scene(seed=2), (0.5,))
        e = whole.exposure
        rig = e.rig.model_copy(update={"image": e.rig.image.model_copy(update={"height": side, "width": side})})
        frame = replace(e.frame, image=np.ascontiguousarray(e.frame.image[:side, :side]))
        return replace(
            whole, exposure=replace(e, rig=rig, frame=frame), truth=whole.truth[:, :side, :side].copy()
        )

    def looks(a: Any, b: Any) -> float:
        assert min(a.shape[:2]) >= 63
        return 0.5

    suite = listed(cropped("s", 10), cropped("m", 40))
    result = evaluate(suite, Choice(("none",), reblur=0, lpips=looks))
    assert set(result.sequences["s"]["none"].values) == {"psnr", "ms"}
    assert set(result.sequences["m"]["none"].values) == {"psnr", "ssim", "ms"}
    assert result.notes == [
        "SSIM was not taken of items with a side below 11 pixels: 1",
        "LPIPS was not taken of items with a side below 63 pixels: 2",
    ]
    assert "* SSIM was not taken" in report.markdown(result, {})


class Late:
    """Gives the frame after the one asked for, at the middle only; remembers what it was given."""

    def __init__(self) -> None:
        self.name = "late"
        self.needs = Needs(frames_after=1, latent=LatentTimes.FIXED, fixed_latents=(0.5,), stateful=True)
        self.windows: list[list[int]] = []

    def prepare(self, width: int, height: int) -> None: ...
    def reset(self) -> None: ...
    def set(self, options: dict[str, Any]) -> None: ...

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        assert tuple(latents) == (0.5,)
        self.windows.append([a.ordinal for a in window])
        image = picture_of(window[1].frame)
        return Restored(window[0].ordinal, (0.5,), (0,), image[None], self.name, 0.004, ("late 1.5 %",))


def test_neighbours_lag_and_fixed_instants(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Late] = []

    def create(*_: Any) -> Late:
        made.append(Late())
        return made[-1]

    monkeypatch.setattr(models, "create", create)
    monkeypatch.setattr(models, "check", lambda *_: None)
    scenes = [scene(seed=k, ordinal=k, start_us=1_000_000 + 50_000 * k) for k in range(3)]
    rig = scenes[0].exposure.rig
    for s in scenes:
        s.exposure = replace(s.exposure, rig=rig)
    items = [
        item("a", "a0", scenes[0], ()), item("a", "a1", scenes[1], (0.5, 0.9)), item("a", "a2", scenes[2]),
        item("b", "b0", scenes[0], (0.25,)),
    ]  # fmt: skip
    result = evaluate(listed(*items), Choice(("late",)))
    assert [m.windows for m in made] == [[[0, 1], [1, 2], [2, 2]], [[0, 0]]]
    wanted = [psnr(picture_of(scenes[2].exposure.frame), scenes[k].truth(0.5)) for k in (1, 2)]
    assert result.sequences["a"]["late"].values["psnr"] == wanted
    assert result.sequences["a"]["late"].flags == {"late … %": 3}
    assert len(result.sequences["a"]["late"].values["ms"]) == 3
    assert "reblur" not in result.sequences["a"]["late"].values
    assert result.sequences["b"]["late"].of("psnr") is None
    assert result.notes == ["late gives no instant of which the truth is known: 1 items"]
    text = report.markdown(result, {})
    assert "| b | 2" in text
    assert "| – / – |" in text
    assert "* late: late … % (4×)" in text


def test_a_failure_is_told_and_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = PassThrough.restore

    def fails(self: PassThrough, window: Any, latents: Any) -> Restored:
        if len(latents) == 2 or everywhere:
            raise RuntimeError("out of\nmemory")
        return restore(self, window, latents)

    everywhere = False
    monkeypatch.setattr(PassThrough, "restore", fails)
    result = evaluate(made_suite(), Choice(("none",), reblur=3))
    assert result.notes == ["none failed on a a0: out of memory"]
    assert result.sequences["a"]["none"].values == {}
    assert result.mean("none", "psnr") == result.sequences["b"][BLURRED].of("psnr")
    everywhere = True
    with pytest.raises(UsageError, match="none failed on every item, first on a a0: out of memory"):
        evaluate(made_suite(), Choice(("none",)))


def test_refusals() -> None:
    with pytest.raises(UsageError, match="unknown network 'what'"):
        evaluate(made_suite(), Choice(("what",)))
    with pytest.raises(UsageError, match="holds nothing to compare with"):
        evaluate(listed(item("a", "a0", scene(), ())), Choice(("none",)))
    colour = item("a", "a0", scene())
    colour = SuiteItem("a", "a0", colour.exposure, (0.5,), np.repeat(colour.truth[..., None], 3, 3))
    with pytest.raises(UsageError, match=r"suite item a0: its truth .* is not like its frame"):
        evaluate(listed(colour), Choice(("none",)))
    two = listed(item("a", "a0", scene()), item("a", "a1", scene(known=True)))
    with pytest.raises(UsageError, match="a1: its rig is not the one of its sequence"):
        evaluate(two, Choice(("none",)))


@pytest.mark.parametrize("tone", ["srgb", "linear"])
def test_pictures_are_blurred_again_in_the_light_that_the_network_was_told(tone: str) -> None:
    options = {"camera_tone": tone, "contrast": 0.15}
    found = evaluate(made_suite(), Choice(("glint",), {"glint": options}, "cpu", reblur=5))
    exposure = next(iter(made_suite())).exposure
    wanted = measure(models.create("glint", exposure.rig, options, "cpu"), [exposure], instants=5)
    assert wanted is not None
    assert found.sequences["a"]["glint"].values["reblur"] == [wanted.rms]


def test_figures_that_are_no_numbers() -> None:
    result = evaluate(made_suite(), Choice(("none",), reblur=0))
    result.sequences["a"]["none"] = Figures({"psnr": [math.inf], "ssim": [1.0]})
    assert "| none | ∞ |" in report.markdown(result, {"command": "x"})
    found = json.loads(report.as_json(result, {"command": "x"}))
    assert found["methods"]["none"]["mean"]["psnr"] is None
    assert found["methods"]["none"]["sequences"]["a"]["ssim"] == 1.0


# --- suites on disk -----------------------------------------------------------------------------------------


def test_a_saved_suite_is_the_same_suite(tmp_path: Path) -> None:
    assert save_suite(made_suite(), tmp_path / "suite") == 2
    opened = open_suite(str(tmp_path / "suite"))
    assert (opened.name, len(opened)) == ("suite", 2)
    for a, b in zip(made_suite(), opened, strict=True):
        assert (a.sequence, a.name, a.latents) == (b.sequence, b.name, b.latents)
        assert np.array_equal(a.truth, b.truth)
        assert np.array_equal(a.exposure.frame.image, b.exposure.frame.image)
        for name in ("t", "x", "y", "p"):
            assert np.array_equal(getattr(a.exposure.events, name), getattr(b.exposure.events, name))
        assert a.exposure.rig == b.exposure.rig
        assert a.exposure.exposure == b.exposure.exposure
        for name in ("window_start_us", "window_end_us", "ordinal", "complete"):
            assert getattr(a.exposure, name) == getattr(b.exposure, name)
    assert evaluate(opened, Choice(("edi",))).mean("edi", "psnr") == evaluate(
        made_suite(), Choice(("edi",))
    ).mean("edi", "psnr")


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "cut off":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "archive":  # needs a version of zip that does not exist
        path.write_bytes(re.sub(rb"(?s)(PK\x01\x02..).", lambda m: m[1] + b"\xbc", data))
    else:
        with np.load(path) as file:
            arrays = dict(file)
        about = json.loads(arrays["about"].tobytes())
        if how == "version":
            about["version"] = 99
        elif how == "key":
            del about["start_us"]
        elif how == "events":
            arrays["events_x"] = arrays["events_x"] + np.uint16(500)
        elif how == "truth":
            arrays["truth"] = arrays["truth"][:, :5]
        elif how == "sequence":
            about["sequence"] = ["a"]
        elif how == "rig":
            about["rig"]["clock"]["relation"] = "none"
        elif how == "times":
            arrays["events_t"] = np.full(len(arrays["events_t"]), np.nan)
        elif how == "objects":
            arrays["image"] = np.array([{"a": 1}], dtype=object)
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("cut off", "cannot be read"), ("empty", "cannot be read"), ("version", "version 99"),
        ("key", "start_us"), ("events", "outside the 96×72 sensor"), ("truth", "truth of 96×5"),
        ("objects", "allow_pickle"), ("archive", "zip"), ("sequence", "not both text"),
        ("rig", "its rig: key 'clock.relation'"), ("times", "events_t are no whole numbers"),
    ],
)  # fmt: skip
def test_a_damaged_item_is_named_left_out_and_counted(how: str, wanted: str, tmp_path: Path) -> None:
    save_suite(made_suite(), tmp_path)
    bad, good = sorted(tmp_path.iterdir())
    damage(bad, how)
    with pytest.raises(UsageError, match=wanted) as e:
        load_item(bad)
    assert "\n" not in str(e.value)
    opened = open_suite(str(tmp_path))
    result = evaluate(opened, Choice(("none",), reblur=0))
    assert list(result.sequences) == ["b"]
    assert result.notes == [f"skipped: {e.value}"]
    damage(good, "empty")
    with pytest.raises(UsageError, match=r"nothing to compare with: suite item .*00001\.npz cannot be read"):
        evaluate(open_suite(str(tmp_path)), Choice(("none",), reblur=0))


def test_a_sequence_that_is_torn_apart_is_refused() -> None:
    a, b = made_suite()
    torn = listed(a, b, replace(a, name="a1"))
    with pytest.raises(UsageError, match=r"suite item a1: its sequence a goes on after another one"):
        evaluate(torn, Choice(("none",), reblur=0))


# --- the command line ---------------------------------------------------------------------------------------


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    save_suite(made_suite(), tmp_path / "suite")
    return tmp_path / "suite"


def test_tables_and_pictures(suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["evaluate", "none", "edi", "--suite", str(suite), "-o", str(out), "--no-lpips", "--device", "cpu"]
    assert execute([*words, "--option", "edi.contrast=rig"]) == 2
    assert "threshold" in capsys.readouterr().err
    assert not out.exists()
    fixed = ["--option", "edi.contrast_on=0.2", "--option", "edi.contrast_off=0.2"]
    assert execute([*words, *fixed]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# Evaluation on suite\n")
    assert "| blurred | " in said
    assert "| edi | " in said
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "pictures/a-a0-0.2500.png", "pictures/a-a0-0.5000.png", "pictures/b-b0-0.5000.png", "report.json",
        "report.md",
    ]  # fmt: skip
    found = json.loads((out / "report.json").read_text())
    direct = evaluate(made_suite(), Choice(("edi",), {"edi": {"contrast_on": 0.2, "contrast_off": 0.2}}))
    assert found["methods"]["edi"]["mean"]["psnr"] == direct.mean("edi", "psnr")
    assert set(found["methods"]) == {"blurred", "none", "edi"}
    assert found["methods"]["none"]["mean"]["psnr"] == found["methods"]["blurred"]["mean"]["psnr"]
    assert execute(words) == 2
    assert "exists already" in capsys.readouterr().err
    assert execute([*words, "--overwrite", "--pictures", "1"]) == 0
    assert len(list((out / "pictures").iterdir())) == 2  # both instants of one item
    (out / "mine.txt").write_text("x")
    assert execute([*words, "--overwrite"]) == 2


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["what", "--suite", "{suite}"], "unknown network 'what'"),
        (["none", "--suite", "/no/where"], "neither 'synthetic' nor a folder"),
        (["none", "--suite", "{suite}", "--set", "count=3"], "takes no options (count)"),
        (
            ["none", "--set", "counts=3"],
            "no such setting; did you mean 'count'? its settings: count, size",
        ),
        (["none", "--set", "count=many"], "count: Input should be a valid integer"),
        (["none", "--set", "size=33"], "size 33: give a multiple of 8"),
        (["none", "--suite", "{suite}", "--option", "contrast=1"], "give NETWORK.KEY=VALUE with one of none"),
        (["none", "--suite", "{suite}", "--option", "edi.contrast=rig"], "--option edi.contrast=rig: give"),
        (["none", "--suite", "{tmp}"], "holds no items"),
    ],
)
def test_a_wrong_request_leaves_nothing(
    words: list[str], wanted: str, suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [w.format(suite=suite, tmp=tmp_path) for w in words]
    assert execute(["evaluate", *filled, "-o", str(tmp_path / "out"), "--no-lpips"]) == 2
    said = capsys.readouterr().err
    assert wanted in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_synthetic_suite_is_made_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def make(**options: Any) -> ListedSuite:
        asked.append(options)
        return made_suite()

    monkeypatch.setattr("tests.training.made_suite.make_suite", make, raising=False)
    monkeypatch.setattr("training.suite.SYNTHETIC", "tests.training.made_suite:make_suite")
    monkeypatch.setattr("training.lpips.weights_file", lambda _: None)
    out = tmp_path / "out"
    assert (
        execute(["evaluate", "none", "--set", "count=3", "--set", "seed=1", "-o", str(out), "--reblur", "0"])
        == 0
    )
    assert asked == [{"count": 3, "seed": 1}]
    assert "LPIPS was not taken" in (out / "report.md").read_text()
    capsys.readouterr()


# --- weights of files ---------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a run `mine` that give other pictures than the shipped ones; nothing is installed."""
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
    card = store.installed("glint")
    assert card is not None
    entries, _ = store.load("glint", representation=card.representation, channel_order=card.channel_order)
    file = tmp_path / "runs/mine/weights.safetensors"
    file.parent.mkdir(parents=True)
    save_weights(file, {k: v * 0.5 for k, v in entries.items()}, store.metadata_of(card))
    return file


def test_two_weights_of_one_network_in_one_table(
    trained: Path, suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def means(name: str, *networks: str) -> dict[str, Any]:
        out = tmp_path / name
        words = ["--suite", str(suite), "-o", str(out), "--no-lpips", "--device", "cpu"]
        fixed = [w for n in ("glint", "glint:mine") if n in names for w in ("--option", f"{n}.contrast=0.2")]
        assert execute(["evaluate", *networks, *words, *fixed]) == 0, capsys.readouterr().err
        found = json.loads((out / "report.json").read_text())
        return {"about": found["about"], **{n: m["mean"]["psnr"] for n, m in found["methods"].items()}}

    names = ["glint", "glint:mine"]
    both = means("both", "glint", f"glint={trained}", "edi")
    assert list(both) == ["about", "blurred", "glint", "glint:mine", "edi"]
    assert both["about"]["glint:mine"] == f"weights of {trained}"
    assert both["glint"] != both["glint:mine"]
    assert not (tmp_path / "store").exists()
    store.add("glint", trained)
    names = ["glint"]
    assert means("after", "glint")["glint"] == both["glint:mine"]
    names = []
    assert list(means("other", f"glint={trained}"))[1:] == ["blurred", "glint:mine"]


@pytest.mark.parametrize(
    ("network", "wanted", "code"),
    [
        ("edi={file}", "network 'edi' has no weights, so none can be given", 2),
        ("glnt={file}", "unknown network 'glnt'; did you mean 'glint'?", 2),
        ("glint-large={file}", "its card says glint: glint=FILE", 1),
        ("glint=/no/where", "/no/where", 2),
        ("glint=", "glint=: give a file of weights", 2),
    ],
)
def test_a_file_that_is_none_of_the_network(
    network: str, wanted: str, code: int, trained: Path, suite: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    words = ["evaluate", network.format(file=trained), "--suite", str(suite), "-o", str(out), "--no-lpips"]
    assert execute(words) == code
    said = capsys.readouterr().err
    assert wanted in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_labels_tell_files_apart(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "runs 1.5/mine/weights.safetensors"
    other.parent.mkdir(parents=True)
    other.write_bytes(trained.read_bytes())
    step = other.with_name("step.2000.safetensors")
    step.write_bytes(trained.read_bytes())
    made = tmp_path / "made"
    made.mkdir()
    texts = [f"glint={trained}", "glint", f"glint={other}", f"glint={step}", f"glint={trained}"]
    named = contestants(texts, made)
    assert list(named) == ["glint:mine", "glint", "glint:mine-2", "glint:step-2000"]
    assert named["glint"] is None
    assert [meant(n, {k: w for k, w in named.items() if w})[0] for n in named] == ["glint"] * 4
