"""Reading weights from anybody: honest wrappings come off, hostile files run nothing and are told apart."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from capture.errors import UsageError
from inference import networks, weights
from inference.weights import content_digest, read_weights
from inference.weights_fit import fit, identify
from inference.weights_limits import Limits, WeightsError
from tests.inference import checkpoints as made


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[k], wanted[k]) for k in wanted)


@pytest.mark.parametrize("name", made.HONEST)
def test_wrappings_come_off(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.manual_seed(7)
    made.HONEST[name](path)
    found = read_weights(path)
    if name == "ordered, with metadata":
        assert list(found.entries) == list(made.entries())
    else:
        assert same(found.entries, made.entries())


@pytest.mark.parametrize("name", [n for n in made.HONEST if "ordered" not in n])
def test_our_own_reader_agrees_with_torch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    made.HONEST[name](path)
    monkeypatch.setattr(weights, "_by_torch", lambda file, found: None)
    assert same(read_weights(path).entries, made.entries())


def test_other_types_survive_both_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
             torch.uint8, torch.bool)  # fmt: skip
    wanted = {str(k): (torch.arange(12).reshape(3, 4).T % 3).to(k) for k in kinds}
    wanted |= {"empty": torch.zeros(0, 3), "number": torch.tensor(2.5)}
    torch.save(wanted, tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth").entries, wanted)
    monkeypatch.setattr(weights, "_by_torch", lambda file, found: None)
    found = read_weights(tmp_path / "a.pth").entries
    assert same(found, wanted)
    assert all(found[k].dtype == wanted[k].dtype for k in wanted)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    path = tmp_path / "weights.ckpt"
    made.HONEST["Lightning with objects"](path)
    notes = " | ".join(read_weights(path).notes)
    assert "25 entries outside 'model.' were left out (such as teacher_model." in notes
    assert "tests.inference.checkpoints.Callback" in notes
    made.HONEST["params beside an average"](path)
    assert "also there: params_ema" in " | ".join(read_weights(path).notes)


def test_safetensors(tmp_path: Path) -> None:
    own = {f"module.{k}": v for k, v in made.entries().items()}
    save_file(own, tmp_path / "a.safetensors", {"about": "text"})
    found = read_weights(tmp_path / "a.safetensors")
    assert same(found.entries, made.entries())
    assert found.metadata == {"about": "text"}
    (tmp_path / "a.safetensors").rename(tmp_path / "b.pth")  # the contents say what it is
    assert same(read_weights(tmp_path / "b.pth").entries, made.entries())


# --- hostile ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:Duplicate name")
@pytest.mark.parametrize("name", made.HOSTILE)
def test_hostile_files_run_nothing(name: str, tmp_path: Path) -> None:
    build, words = made.HOSTILE[name]
    mark = tmp_path / "ran"
    build(tmp_path / "weights.pth", mark)
    (path,) = [p for p in tmp_path.iterdir() if p.name.startswith("weights")]
    with pytest.raises(WeightsError, match=words) as caught:
        read_weights(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    assert len(line) < 400
    assert not mark.exists()


def test_the_marks_would_be_seen(tmp_path: Path) -> None:
    """The corpus is only worth something if its files do run where somebody unpickles them."""
    made.HOSTILE["os.system, plain pickle"][0](tmp_path / "weights.pth", tmp_path / "ran")
    code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "weights.pth")], check=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["flat", "old form", "plain pickle of arrays", "Lightning with objects"])
@pytest.mark.parametrize("share", [0.0005, 0.01, 0.3, 0.7, 0.999])
def test_cut_off_anywhere(name: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    made.HONEST[name](path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(WeightsError, match=r"weights\.pth is refused"):
        read_weights(path)


def test_any_flipped_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    """No other exception, no hang, whatever byte of the structure is damaged."""
    path = tmp_path / "weights.pth"
    torch.save({"params": {"a.weight": torch.zeros(2, 3), "b": torch.ones(4)}, "epoch": 3}, path)
    small = path.read_bytes()
    made.legacy(path, {"params": {"a.weight": torch.zeros(2, 3)}})
    for raw in (small, path.read_bytes()):
        for at in range(0, min(len(raw), 1500), 3):
            path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x5A]) + raw[at + 1 :])
            with contextlib.suppress(WeightsError):
                read_weights(path)


def test_limits_hold_before_values_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    torch.save(made.entries(), path)
    monkeypatch.setattr(weights, "_by_torch", lambda *a: pytest.fail("values were read"))
    with pytest.raises(WeightsError, match=r"at most 0\.5 MB"):
        read_weights(path, Limits(total_bytes=500_000))
    with pytest.raises(WeightsError, match="steps"):
        read_weights(path, Limits(steps=50))
    small = tmp_path / "small.pth"
    torch.save({"a": torch.zeros(1).expand(1000), "b": torch.zeros(1).expand(1000)}, small)
    with pytest.raises(WeightsError, match="together"):
        read_weights(small, Limits(total_bytes=5000))


def test_names_in_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    evil = "a\n\x1b[31mred\x9b"
    (tmp_path / "a.pth").write_bytes(b"cmod\x1b[31m\nname\x07\n)R.")
    with pytest.raises(WeightsError, match=r"it names mod\?\[31m.name\?"):
        read_weights(tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="unknown") as caught:
        fit("s-sdm-ldn", {evil: torch.zeros(1)})
    torch.save({"pytorch-lightning_version": "1", "state_dict": {"model.a": torch.zeros(1),
                evil: torch.zeros(1)}}, tmp_path / "b.pth")  # fmt: skip
    for text in (str(caught.value), *read_weights(tmp_path / "b.pth").notes):
        assert text.isprintable()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_weights(tmp_path / "none.pth")
    with pytest.raises(UsageError, match="is a folder"):
        read_weights(tmp_path)


# --- fitting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", networks.names())
def test_every_network_knows_its_own(network: str) -> None:
    own = made.entries(network)
    shapes = {k: tuple(v.shape) for k, v in own.items()}
    assert identify(shapes) == (network, 1.0)
    found, options = fit(network, dict(reversed(own.items())))
    assert options == {}
    assert list(found) == list(own)
    assert same(found, own)


@pytest.mark.parametrize(
    ("network", "options"),
    [("efnet", {"ev_chn": 7}), ("s-sdm-ldn", {"spike_dim": 11}), ("sc-net", {"spiking": "window"}),
     ("stra", {"base_channel": 16, "num_res": 8})],
)  # fmt: skip
def test_shapes_settle_options(network: str, options: dict[str, object]) -> None:
    own = networks.build(network, **options).state_dict()
    assert fit(network, own)[1] == options


def test_spiking_kernels_may_be_missing() -> None:
    own = made.entries("sc-net")
    found, _ = fit("sc-net", {k: v for k, v in own.items() if not k.endswith("Kernel")})
    assert same(found, own)
    with pytest.raises(WeightsError, match=r"1 entry missing \(such as snn.conv1.weight\)"):
        fit("sc-net", {k: v for k, v in own.items() if not k.endswith("Kernel") and k != "snn.conv1.weight"})


def test_weights_of_another_network() -> None:
    with pytest.raises(WeightsError, match=r"no weights of efnet: 183 entries missing .*looks like s-sdm-ldn"):
        fit("efnet", made.entries())
    with pytest.raises(WeightsError, match=r"missing.*looks like stra: halfmirror models add stra FILE"):
        fit("sc-net", made.entries("stra"))


def test_almost_and_part_of_a_network() -> None:
    own = made.entries("cdvd-tsp")
    flow = {k.removeprefix("flow_net.moduleNetwork."): v for k, v in own.items() if k.startswith("flow_net")}
    with pytest.raises(WeightsError, match=r"looks like a part of cdvd-tsp \(flow_net.moduleNetwork\)"):
        fit("cdvd-tsp", flow)
    own = made.entries("s-sdm-edsr")
    first = "head.0.weight"
    with pytest.raises(WeightsError, match=rf"1 entry missing \(such as {first}\).*s-sdm-edsr with 98 % of"):
        fit("s-sdm-edsr", {k: v for k, v in own.items() if k != first})
    with pytest.raises(WeightsError, match=r"1 entry of another shape .*: 5 instead of 64×1×3×3"):
        fit("s-sdm-edsr", own | {first: torch.zeros(5)})
    with pytest.raises(WeightsError, match=r"1 entry unknown .*surprise"):
        fit("s-sdm-edsr", own | {"surprise": torch.zeros(1)})
    with pytest.raises(WeightsError, match="no known network"):
        fit("gem", {"a": torch.zeros(1)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(value: float) -> None:
    own = {k: v.clone() for k, v in made.entries().items()}
    own["pred.bias"][1] = value
    with pytest.raises(WeightsError, match=r"pred.bias holds NaN or infinite"):
        fit("s-sdm-ldn", own)


def test_precision_and_kind() -> None:
    own = made.entries()
    found, _ = fit("s-sdm-ldn", {k: v.half() for k, v in own.items()})
    assert all(v.dtype == torch.float32 for v in found.values())
    with pytest.raises(WeightsError, match=r"too large|NaN or infinite"):
        fit("s-sdm-ldn", own | {"pred.bias": torch.full((3,), 1e300, dtype=torch.float64)})
    with pytest.raises(WeightsError, match=r"pred.bias is torch.int64"):
        fit("s-sdm-ldn", own | {"pred.bias": torch.zeros(3, dtype=torch.int64)})


def test_a_huge_option_is_not_built() -> None:
    entry = torch.zeros(1).expand(100_000, 3, 3, 3)
    with pytest.raises(WeightsError, match="no weights of stra"):
        fit("stra", {"feat_extract.0.main.0.weight": entry})


def test_content_digest_sees_values_names_and_shapes() -> None:
    own = {"a": torch.zeros(4), "b": torch.ones(2)}
    other = [
        own | {"b": torch.ones(2) + 1e-6},
        own | {"a": torch.zeros(2, 2)},
        own | {"b": torch.ones(2).half()},
        {"c": torch.zeros(4), "b": torch.ones(2)},
    ]
    assert content_digest(dict(reversed(own.items()))) == content_digest(own)
    assert len({content_digest(o) for o in [own, *other]}) == 5
