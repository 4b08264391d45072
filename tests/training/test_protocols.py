"""Evaluation protocols: which frames and pixels count, in which precision, and what does not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from capture.errors import UsageError
from inference import cards, models, networks, store
from inference.representations.coding import Mode
from inference.restorers.base import Needs
from inference.restorers.passthrough import PassThrough
from tests.training.made_sets import FRAMES, SIZE, clip, write_set
from training import metrics
from training.contestants import contestants
from training.data.efnet import EfnetMaker, EfnetOptions
from training.data.sets.find import TEST, find
from training.files import save_weights
from training.metrics import cdvd_tsp, codes, efnet, gem, sc_net
from training.protocols import report
from training.protocols.compared import Compared
from training.protocols.pictures import restored
from training.protocols.run import BLURRED, Wanted, fitting, measure
from training.protocols.table import PROTOCOLS, protocol
from training.synthesis.writers import FORMATS


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    out = {
        f: write_set(root / f, f, train=1, test=2, **({"instants": 3} if f == "msrbd" else {}))
        for f in ("efnet-h5", "efnet-scer", "highrev", "msrbd", "frames")
    }
    out["gopro"] = write_set(root / "gopro", "efnet-h5", train=1, test=1)
    for path in (root / "gopro").rglob("*.h5"):
        with h5py.File(path, "r+") as file:
            for key in file["images"]:
                for name in ("exposure_start", "exposure_end"):
                    del file[f"images/{key}"].attrs[name]
    return out


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs random weights of a network; gives the network."""
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))

    def install(name: str, about: Any = (), **options: Any) -> torch.nn.Module:
        torch.manual_seed(3)
        net = networks.build(name, **options)
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(0.5)
        file = tmp_path / f"{name}.safetensors"
        said = {"options": options, "published": (), "evaluation": (), **dict(about)}
        card = cards.Card.model_validate(cards.card(name).model_dump() | said)
        save_weights(file, net.state_dict(), store.metadata_of(card))
        store.add(name, file, overwrite=True)
        return net.eval()

    return install


def results(name: str, network: str, data: Path, **options: Any) -> list[Compared]:
    facts = fitting(protocol(name), find([data])).sequences[0]
    found = list(restored(protocol(name), network, facts, "cpu", options))
    assert all(isinstance(f, Compared) for f in found), found
    return [f for f in found if isinstance(f, Compared)]


# --- which frames and pixels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "frames"),
    [
        ("efnet-gopro", "gopro", list(range(1, FRAMES - 1))),
        ("efnet-reblur", "efnet-h5", list(range(FRAMES))),
        ("cdvd-tsp", "frames", list(range(2, FRAMES - 2))),
        ("sc-net", "efnet-h5", list(range(FRAMES))),
        ("ours", "frames", list(range(FRAMES))),
        # All three instants of a frame, in both files that hold it.
        ("gem", "msrbd", [0] * 3 + [k for k in range(1, FRAMES - 1) for _ in range(6)] + [FRAMES - 1] * 3),
    ],
)
def test_the_frames_of_a_protocol(name: str, data: str, frames: list[int], sets: dict[str, Path]) -> None:
    network = "edi" if name == "gem" else "none"
    found = results(name, network, sets[data])
    assert [int(f.name.split("-")[0]) for f in found] == frames
    if network == "none":
        for f in found:
            np.testing.assert_array_equal(codes.rounded(f.result), f.blurred)
            np.testing.assert_array_equal(f.truth, clip(50).truth[int(f.name.split("-")[0])])


def test_reblur_counts_the_first_rows_and_normalises_over_all(sets: dict[str, Path], weights: Any) -> None:
    net = weights("efnet", wf=8)
    facts = fitting(protocol("efnet-reblur"), find([sets["efnet-h5"]])).sequences[0]
    how = protocol("efnet-reblur")
    cut = dataclasses.replace(how, rows=16)
    found = [f for f in restored(cut, "efnet", facts, "cpu", {}) if isinstance(f, Compared)]
    assert {f.result.shape for f in found} == {(16, SIZE, 3)}
    maker = EfnetMaker(EfnetOptions(mode=Mode.PUBLISHED))
    whole = maker.whole(facts.reader(), facts, 2)
    given = {k: torch.from_numpy(np.ascontiguousarray(v[:, :16]))[None].float() for k, v in whole.items()}
    with torch.inference_mode():
        out = net(given["image"] / 255, given["events"], given["mask"])[-1][0].numpy()
    np.testing.assert_allclose(found[2].result, out[::-1].transpose(1, 2, 0), atol=1e-5)


def test_every_middle_counts_for_a_network_of_the_middle(tmp_path: Path, weights: Any) -> None:
    weights("efnet", wf=8)
    made = clip(50, instants=3)
    # Of an odd number of microseconds: its middle is no time that a file can say.
    exposures = tuple((a, b - (b - a + k) % 2) for k, (a, b) in enumerate(made.exposures))
    assert {(b - a) % 2 for a, b in exposures} == {0, 1}
    FORMATS["msrbd"](tmp_path / "set/test", "odd", dataclasses.replace(made, exposures=exposures))
    found = results("gem", "efnet", tmp_path / "set")
    assert [f.name for f in found] == [
        f"{k:05d}-0.5000" for k in range(FRAMES) for _ in range(1 if k in (0, FRAMES - 1) else 2)
    ]
    for path in (tmp_path / "set/test").glob("odd_*.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        arrays["sharp_timestamps"] = arrays["sharp_timestamps"] + 100  # no middle any more
        np.savez(path, **arrays)
    facts = fitting(protocol("gem"), find([tmp_path / "set"])).sequences[0]
    told = list(restored(protocol("gem"), "efnet", facts, "cpu", {}))
    assert told == [f"odd frame {k}: no sharp picture of an instant that efnet gives" for k in range(FRAMES)]


def test_a_stream_has_a_gap_where_nobody_knows_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_set(tmp_path / "set", "msrbd", train=0, test=1)
    for k in (1, 3):
        (data / f"test/test0_{k:06d}.npz").unlink()
    (facts,) = find([data]).sequences
    seen: list[str] = []

    class Watched(PassThrough):
        def __init__(self, rig: Any, *_: Any) -> None:
            self.needs = Needs(margin_before_us=5_000, margin_after_us=5_000)

        def reset(self) -> None:
            seen.append("gap")

        def restore(self, window: Any, latents: Any) -> Any:
            (a,) = window
            before, after = a.exposure.start_us - a.window_start_us, a.window_end_us - a.exposure.end_us
            seen.append(f"{a.ordinal}{'<' * (before > 0)}{'>' * (after > 0)}")
            return super().restore(window, latents)

    monkeypatch.setattr(models, "create", lambda _name, *given: Watched(*given))
    assert len(list(restored(protocol("ours"), "watched", facts, "cpu", {}))) == FRAMES
    assert seen == ["gap", "0>", "1<", "gap", "2>", "3<", "gap", "4>", "5<", "gap"]


def test_efnet_is_measured_with_the_published_noise_where_it_is_asked_for(
    sets: dict[str, Path], weights: Any
) -> None:
    weights("efnet", wf=8)
    plain, noisy, again = (
        results("efnet-reblur", "efnet", sets["efnet-h5"], **o) for o in ({}, {"noise": True}, {"noise": True})
    )
    for a, b, c in zip(plain, noisy, again, strict=True):
        assert not np.array_equal(a.result, b.result)
        np.testing.assert_array_equal(b.result, c.result)


def test_efnet_gives_the_same_from_raw_and_from_stored_representations(
    sets: dict[str, Path], weights: Any
) -> None:
    weights("efnet", wf=8)
    raw = results("efnet-reblur", "efnet", sets["efnet-h5"])
    stored = results("efnet-reblur", "efnet", sets["efnet-scer"])
    for a, b in zip(raw, stored, strict=True):
        np.testing.assert_allclose(a.result, b.result, atol=1e-5)


@pytest.mark.parametrize("data", ["efnet-h5", "efnet-scer"])
def test_weights_of_the_first_release_are_fed_seven_channels(
    data: str, sets: dict[str, Path], weights: Any
) -> None:
    net = weights("efnet", wf=8, ev_chn=7)
    seven = results("efnet-reblur", "efnet", sets[data])
    entries = dict(net.state_dict())
    first = entries["conv_ev1.weight"]  # the same network without the channel that is always empty
    entries["conv_ev1.weight"] = torch.cat([first[:, :3], first[:, 4:]], 1)
    plain = networks.build("efnet", wf=8)
    plain.load_state_dict(entries)
    file = store.path_of("efnet").with_name("six.safetensors")
    card = cards.card("efnet").model_copy(update={"options": {"wf": 8}})
    save_weights(file, plain.state_dict(), store.metadata_of(card))
    store.add("efnet", file, overwrite=True)
    for a, b in zip(seven, results("efnet-reblur", "efnet", sets[data]), strict=True):
        np.testing.assert_allclose(a.result, b.result, atol=1e-5)


def test_efnet_under_its_own_protocols_is_fed_what_its_card_says(sets: dict[str, Path], weights: Any) -> None:
    net = weights("efnet", {"channel_order": "rgb", "feed": {"mask": False, "normalise": "percentile"}}, wf=8)
    found = results("efnet-reblur", "efnet", sets["efnet-h5"])
    facts = fitting(protocol("efnet-reblur"), find([sets["efnet-h5"]])).sequences[0]
    options = EfnetOptions(mode=Mode.PUBLISHED, mask=False, normalise="percentile", channel_order="rgb")
    sample = EfnetMaker(options).whole(facts.reader(), facts, 2)
    with torch.inference_mode():
        out = net(torch.from_numpy(sample["image"])[None] / 255, torch.from_numpy(sample["events"])[None])[-1]
    np.testing.assert_allclose(found[2].result, out[0].numpy().transpose(1, 2, 0), atol=1e-5)
    np.testing.assert_array_equal(found[2].truth, facts.reader().truth(2))
    other = results("efnet-reblur", "efnet", sets["efnet-h5"], normalise="maximum")
    assert not np.array_equal(other[2].result, found[2].result)
    weights("efnet", {"representation": "voxel", "channel_order": "rgb"}, wf=8)
    assert len(results("efnet-reblur", "efnet", sets["efnet-h5"])) == FRAMES
    with pytest.raises(UsageError, match=r"take the representation voxel; .*has no events of each exposure"):
        results("efnet-reblur", "efnet", sets["efnet-scer"])


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_weights_of_a_file_stand_beside_those_installed(
    sets: dict[str, Path], weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights("efnet")
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "other"))
    torch.manual_seed(4)
    net = networks.build("efnet")
    save_weights(tmp_path / "run.safetensors", net.state_dict(), store.metadata_of(cards.card("efnet")))
    store.add("efnet", tmp_path / "run.safetensors")
    for name in ("efnet-reblur", "ours"):  # fed as published, and as live
        data = (str(sets["efnet-h5"]),)
        monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
        named = contestants(["efnet", f"efnet={tmp_path / 'run.safetensors'}"], _folder(tmp_path / name))
        own = {label: w for label, w in named.items() if w is not None}
        devices = 2 if name == "ours" else 1
        both = measure(Wanted(tuple(named), name, data, device="cpu", weights=own, devices=devices))
        assert both.methods == [BLURRED, "efnet", "efnet:run"]
        monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "other"))
        after = measure(Wanted(("efnet",), name, data, device="cpu"))
        assert both.mean("efnet:run", "psnr") == after.mean("efnet", "psnr")
        assert both.mean("efnet", "psnr") != after.mean("efnet", "psnr")


def test_a_wrong_option_of_efnet_is_one_line(sets: dict[str, Path], weights: Any) -> None:
    weights("efnet", wf=8)
    wanted = Wanted(("efnet",), "efnet-reblur", (str(sets["efnet-h5"]),), {"efnet": {"mode": "foo"}})
    with pytest.raises(UsageError, match=r"^--option efnet\.mode: ") as caught:
        measure(wanted)
    assert "\n" not in str(caught.value)


def test_sc_net_sees_each_frame_alone_under_its_own_protocol(sets: dict[str, Path], weights: Any) -> None:
    weights("stra", base_channel=8, num_res=1, theta_s=1.0)
    alone, stream = (results(name, "stra", sets["efnet-h5"]) for name in ("sc-net", "ours"))
    np.testing.assert_array_equal(alone[0].result, stream[0].result)
    # Not rounded: a result in floating point.
    assert np.abs(alone[1].result * 255 - np.rint(alone[1].result * 255)).max() > 0.01


def test_results_are_taken_before_they_are_clipped_and_rounded(sets: dict[str, Path], weights: Any) -> None:
    net = weights("cdvd-tsp", n_feat=4, n_resblock=1)
    found = results("cdvd-tsp", "cdvd-tsp", sets["frames"])
    frames = torch.from_numpy(np.stack([clip(50).frames[i] for i in range(5)])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        out = net(frames[None].float() / 255)[3][0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found[0].result, out, atol=2e-5)
    assert out.min() < 0 or out.max() > 1 or np.abs(out * 255 - np.rint(out * 255)).max() > 0.01


# --- measures -------------------------------------------------------------------------------------------------


def test_measures_are_those_of_the_published_evaluations() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 256, (40, 44, 3), np.uint8)
    result = (truth / 255 + rng.normal(0, 0.1, truth.shape)).astype(np.float32)
    sharp = truth.astype(np.float32) / 255
    eight, cut = codes.rounded(result), codes.truncated(result)
    found = {name: PROTOCOLS[name].measure(result, truth) for name in PROTOCOLS}
    assert found["efnet-gopro"] == found["efnet-reblur"]
    assert found["efnet-gopro"]["ssim"] == efnet.ssim(eight, truth)
    assert found["efnet-gopro"]["ssim_channels"] == metrics.ssim(eight, truth)
    assert found["gem"]["psnr"] == gem.psnr(cut, truth) != gem.psnr(eight, truth)
    assert found["cdvd-tsp"]["psnr"] == cdvd_tsp.psnr(eight, truth)
    assert found["sc-net"]["psnr"] == sc_net.psnr(result, sharp)
    assert found["sc-net"]["ssim"] > found["sc-net"]["ssim_range_1"]
    assert found["s-sdm"]["mse"] == pytest.approx(
        4 * float(np.mean((result.clip(0, 1) - sharp) ** 2)), rel=1e-5
    )
    assert found["ours"]["psnr"] == metrics.psnr(eight, truth)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_measure_depends_on_the_order_of_channels(name: str) -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 256, (40, 44, 3), np.uint8)
    result = (truth / 255 + rng.normal(0, 0.1, truth.shape)).astype(np.float32)
    a = PROTOCOLS[name].measure(result, truth)
    b = PROTOCOLS[name].measure(np.ascontiguousarray(result[..., ::-1]), np.ascontiguousarray(truth[..., ::-1]))
    assert a == pytest.approx(b, rel=1e-9)


def test_published_numbers_stand_with_their_protocol() -> None:
    assert [(p.psnr, p.ssim) for p in PROTOCOLS["efnet-gopro"].published] == [(35.46, 0.972)]
    assert [(p.psnr, p.ssim) for p in PROTOCOLS["efnet-reblur"].published] == [(38.12, 0.975)]
    assert (31.672, 0.9279) in [(p.psnr, p.ssim) for p in PROTOCOLS["cdvd-tsp"].published]
    assert (27.85, 0.937) in [(p.psnr, p.ssim) for p in PROTOCOLS["sc-net"].published]
    assert not PROTOCOLS["gem"].published


def test_means_are_over_pictures_and_the_report_says_everything(sets: dict[str, Path], tmp_path: Path) -> None:
    # One sequence with fewer pictures: it weighs less.
    short = write_set(tmp_path / "set", "frames", train=1, test=2)
    for part in ("blur", "gt"):
        for k in (4, 5):
            (short / "test" / part / "test1" / f"{k:05d}.png").unlink()
    (short / "test/gt/test0/readme.txt").write_text("no picture")
    result = measure(Wanted(("none",), "ours", (str(short),), pictures=3))
    counts = [len(s.measures[BLURRED]) for s in result.sequences]
    assert sorted(counts) == [4, 6]
    every = [m["psnr"] for s in result.sequences for m in s.measures["none"]]
    assert result.mean("none", "psnr") == pytest.approx(sum(every) / 10)
    assert result.mean("none", "psnr") == pytest.approx(result.mean(BLURRED, "psnr"))
    text = report.markdown(result, {"command": "x"})
    assert "test0" in text
    assert "10 pictures" in text
    plain = json.loads(report.as_json(result, {}))
    assert plain["methods"]["none"]["pictures"] == 10
    assert len([p for s in result.sequences for p in s.pictures]) >= 3


def test_sequences_of_one_name_are_measured_each(tmp_path: Path) -> None:
    data = []
    for k in (0, 1):
        FORMATS["frames"](tmp_path / f"set{k}/test", "0001", clip(k))
        data.append(str(tmp_path / f"set{k}"))
    result = measure(Wanted(("none",), "ours", tuple(data)))
    assert [len(s.measures["none"]) for s in result.sequences] == [FRAMES, FRAMES]
    assert result.sequences[0].measures != result.sequences[1].measures
    assert len(json.loads(report.as_json(result, {}))["pictures"]) == 2
    assert len({n for s in result.sequences for n in s.pictures}) == 2 * FRAMES


def test_several_processes_give_what_one_gives(sets: dict[str, Path]) -> None:
    wanted = Wanted(("none",), "ours", (str(sets["frames"]),))
    one, two = (measure(dataclasses.replace(wanted, devices=n)) for n in (1, 2))
    assert [s.measures for s in one.sequences] == [s.measures for s in two.sequences]


def test_lpips_stands_beside_where_its_weights_are(
    sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.protocols import run

    wanted = Wanted(("none",), "ours", (str(sets["frames"]),), device="cpu", lpips=True)
    monkeypatch.setattr(run, "weights_file", lambda variant: Path(variant))
    small = measure(wanted)  # too small for its deepest layer
    assert small.measures == ["psnr", "ssim"]
    monkeypatch.setitem(run.SMALLEST, "alex", SIZE)
    monkeypatch.setattr(run, "picture_distance", lambda a, b, device, bgr: 0.25 + 0.5 * bgr)
    result = measure(wanted)
    assert (result.mean(BLURRED, "lpips"), result.mean("none", "lpips")) == (0.25, 0.25)
    assert "| LPIPS | pictures |" in report.markdown(result, {})
    assert not result.notes


# --- what does not fit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("efnet-gopro", "frames", "not the form of EFNet's HDF5 files"),
        ("efnet-gopro", "efnet-h5", "use efnet-reblur"),
        ("efnet-reblur", "gopro", "use efnet-gopro"),
        ("gem", "efnet-h5", "no sharp pictures with times"),
        ("s-sdm", "frames", "no events of each exposure"),
        ("cdvd-tsp", "highrev", "no frames in a row"),
        ("sc-net", "frames", "no one stream of events"),
    ],
)
def test_a_protocol_that_does_not_fit_the_data_is_refused(
    name: str, data: str, text: str, sets: dict[str, Path]
) -> None:
    with pytest.raises(UsageError, match=f"protocol {name} does not fit .*{text}") as caught:
        measure(Wanted(("none",), name, (str(sets[data]),)))
    assert "\n" not in str(caught.value)


def test_a_network_that_the_data_do_not_serve_is_refused(sets: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="edi needs events"):
        measure(Wanted(("edi",), "ours", (str(sets["frames"]),)))
    with pytest.raises(UsageError, match="stored SCER, which only efnet takes"):
        measure(Wanted(("edi",), "efnet-reblur", (str(sets["efnet-scer"]),)))
    with pytest.raises(UsageError, match="--protocol 'best'"):
        measure(Wanted(("none",), "best", (str(sets["frames"]),)))


def test_an_empty_test_split_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "frames", train=1, test=0)
    (tmp_path / "set" / TEST).mkdir()
    with pytest.raises(UsageError, match=r"test split .* is empty or missing"):
        measure(Wanted(("none",), "ours", (str(tmp_path / "set"),)))


def test_a_result_that_is_not_finite_costs_itself_alone(
    sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def some(*given: Any) -> Any:
        for k, one in enumerate(restored(*given)):
            assert isinstance(one, Compared)
            yield dataclasses.replace(one, result=one.result * np.nan) if k == 2 else one

    monkeypatch.setattr("training.protocols.run.restored", some)
    (first, _) = measure(Wanted(("none",), "ours", (str(sets["frames"]),), pictures=0)).sequences
    assert [len(first.measures[m]) for m in (BLURRED, "none")] == [FRAMES - 1] * 2
    (line,) = first.missed
    assert line.startswith(f"{first.name} 00002-0.5000: ")
    assert "not finite" in line


def test_a_damaged_frame_is_named_and_no_other_is_missed(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set", "frames", train=0, test=1)
    (data / "test/blur/test0/00003.png").write_bytes((data / "test/blur/test0/00003.png").read_bytes()[:100])
    result = measure(Wanted(("none",), "ours", (str(data),)))
    (sequence,) = result.sequences
    assert (len(sequence.measures["none"]), len(sequence.missed)) == (FRAMES - 1, 1)
    assert "00003.png" in sequence.missed[0]
    assert "left out: test0 frame 3" in report.markdown(result, {})
