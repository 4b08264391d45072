"""The local store and its cards: what is added is what is loaded, and only for what it was trained for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from capture.errors import UsageError
from inference import networks, store
from inference.cards import NAMES, card
from inference.weights_limits import WeightsError
from tests.inference import checkpoints as made

LDN = "s-sdm-ldn"
LARGE_BLOCKS = ((1, 3, 6, 3, 2), (1, 2, 3, 2, 2))
"""Of glint-large, now and before."""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "models"


@pytest.fixture
def published_ldn() -> Path:
    """The file that S-SDM's authors publish; never part of this repository."""
    root = Path(os.environ.get("HALFMIRROR_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    path = root / "weights" / "s-sdm-ldn-gopro.pth"
    if not path.is_file():
        pytest.skip(f"no published weights at {path}; set HALFMIRROR_SHARED to the folder that holds weights/")
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mine.pth"
    torch.save({"params": made.entries()}, path)
    return path


def test_the_published_ldn(published_ldn: Path) -> None:
    assert not store.status(LDN).usable
    found, notes = store.add(LDN, published_ldn)
    assert notes == ()
    assert found.origin is not None
    assert found.origin.recognised == "checksum"
    assert found.origin.sha256 == card(LDN).published[0].sha256
    assert found.evaluation[0].psnr == 27.928
    assert store.status(LDN) == (True, "")
    entries, loaded = store.load(LDN, representation="spikes", channel_order="bgr")
    assert loaded == found
    net = networks.build(LDN, **loaded.options)
    net.load_state_dict(entries, strict=True)
    theirs = torch.load(published_ldn, weights_only=True)
    assert list(entries) == list(theirs)
    assert all(torch.equal(entries[k], theirs[k]) for k in theirs)
    assert store.verify(LDN) == found


def test_cards_are_whole() -> None:
    assert set(NAMES) == set(networks.names())
    for name in NAMES:
        about = card(name)
        assert about.network == name
        assert about.origin is None
        assert bool(about.published) == about.published_at.startswith("https://")
        networks.build(name, **about.options)
    with pytest.raises(UsageError, match=r"'squint'.*efnet"):
        card("squint")


def test_without_weights_the_command_and_the_address_are_named() -> None:
    for name in NAMES:
        usable, reason = store.status(name)
        assert not usable
        assert f"halfmirror models add {name} FILE" in reason
        assert card(name).published_at in reason
        with pytest.raises(UsageError, match=f"halfmirror models add {name}"):
            store.load(name, representation="scer", channel_order="rgb")


@pytest.mark.parametrize(
    ("representation", "order", "words"),
    [("scer", "bgr", "take the representation spikes, and scer is to be fed"),
     ("spikes", "rgb", "take the channel order bgr, and rgb is to be fed")],
)  # fmt: skip
def test_a_wrong_use_is_refused_by_name(checkpoint: Path, representation: str, order: str, words: str) -> None:
    store.add(LDN, checkpoint)
    with pytest.raises(UsageError, match=f"{LDN}: these weights {words}"):
        store.load(LDN, representation=representation, channel_order=order)


def test_the_caller_may_state_how_weights_were_trained(checkpoint: Path) -> None:
    found, _ = store.add(LDN, checkpoint, representation="voxel", channel_order="rgb", trained_on="my rig")
    assert (found.representation, found.channel_order, found.trained_on) == ("voxel", "rgb", "my rig")
    assert store.load(LDN, representation="voxel", channel_order="rgb")[1] == found
    with pytest.raises(UsageError, match=r"called 'voxels'; did you mean 'voxel'\? known: scer"):
        store.add(LDN, checkpoint, representation="voxels", overwrite=True)
    with pytest.raises(UsageError, match="no channel order is called 'rbg'"):
        store.add(LDN, checkpoint, channel_order="rbg", overwrite=True)


def test_unknown_weights_inherit_no_results(checkpoint: Path) -> None:
    found, _ = store.add(LDN, checkpoint)
    assert found.origin is not None
    assert (found.trained_on, found.evaluation, found.origin.recognised) == ("not stated", (), "")
    # Called like the published file, but with another checksum than the known one.
    found, _ = store.add(LDN, checkpoint.rename(checkpoint.with_name("DeblurNet_100.pth")), overwrite=True)
    assert found.origin is not None
    assert (found.trained_on, found.origin.recognised) == ("not stated", "")


def test_a_name_is_recognised_where_no_checksum_is_known(tmp_path: Path) -> None:
    path = tmp_path / "best-stage=2-cycle=15-epoch=029-loss=1.50.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in made.entries("gem").items()},
                "pytorch-lightning_version": "1.6.0"}, path)  # fmt: skip
    found, _ = store.add("gem", path, trained_on="MS-RBD")
    assert found.origin is not None
    assert (found.origin.recognised, found.trained_on) == ("name", "MS-RBD")


def test_options_travel_with_the_weights(tmp_path: Path) -> None:
    save_file(dict(networks.build("efnet", ev_chn=7).state_dict()), tmp_path / "seven.safetensors")
    found, _ = store.add("efnet", tmp_path / "seven.safetensors")
    assert found.options == {"ev_chn": 7}
    entries, again = store.load("efnet", representation="scer", channel_order="bgr")
    networks.build("efnet", **again.options).load_state_dict(entries, strict=True)


def test_heads_of_the_attention_travel_with_the_weights(tmp_path: Path) -> None:
    options = {"wf": 8, "num_heads": [1, 1, 2]}
    entries = {k: v.contiguous() for k, v in networks.build("efnet", **options).state_dict().items()}
    about = card("efnet").model_copy(update={"options": options})
    save_file(entries, tmp_path / "a.safetensors", {"halfmirror.card": about.model_dump_json()})
    found, _ = store.add("efnet", tmp_path / "a.safetensors")
    assert found.options == options
    store.load("efnet", representation="scer", channel_order="bgr")
    entries.pop("last.bias")
    save_file(entries, tmp_path / "a.safetensors", {"halfmirror.card": about.model_dump_json()})
    with pytest.raises(WeightsError, match="no weights of efnet: 1 entry missing"):
        store.add("efnet", tmp_path / "a.safetensors", overwrite=True)


@pytest.mark.parametrize(
    ("network", "options", "text"),
    [
        (LDN, {"spike_dim": 20}, "take 20 spike frames; an odd number of at most 41"),
        (LDN, {"spike_dim": 61}, "take 61 spike frames"),
        ("efnet", {"ev_chn": 12}, "take 12 channels of events; 6 or 7 can be fed"),
    ],
)
def test_weights_that_nothing_can_feed_are_refused(
    network: str, options: dict[str, int], text: str, tmp_path: Path
) -> None:
    save_file(dict(networks.build(network, **options).state_dict()), tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=text) as caught:
        store.add(network, tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)
    assert not store.path_of(network).exists()


def test_seven_event_channels_are_scer(tmp_path: Path) -> None:
    save_file(dict(networks.build("efnet", ev_chn=7).state_dict()), tmp_path / "a.safetensors")
    text = r"a\.safetensors is refused: these weights of efnet take 7 channels of events; voxel has 6"
    with pytest.raises(WeightsError, match=text):
        store.add("efnet", tmp_path / "a.safetensors", representation="voxel")
    assert not store.path_of("efnet").exists()


def test_an_installed_file_brings_its_card_elsewhere(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = store.add(LDN, checkpoint, channel_order="rgb", trained_on="my rig")
    file = store.path_of(LDN)
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "elsewhere"))
    second, _ = store.add(LDN, file)
    assert (second.channel_order, second.trained_on) == ("rgb", "my rig")
    assert second.origin is not None
    assert first.origin is not None
    assert second.origin.content_sha256 == first.origin.content_sha256
    with pytest.raises(WeightsError, match=f"its card says {LDN}"):
        store.add("s-sdm-bsn", file)


@pytest.mark.parametrize(
    "options",
    [{"spike_dim": 10**9}, {"colour": 1}, {"spike_dim": [1]}, {"widths": [8, 10**9, 8]}, {"blocks": [1]}],
)
def test_a_card_with_wild_options_builds_nothing(options: dict[str, object], tmp_path: Path) -> None:
    bad = card(LDN).model_copy(update={"options": options})
    save_file(made.entries(), tmp_path / "a.safetensors", {"halfmirror.card": bad.model_dump_json()})
    with pytest.raises((WeightsError, UsageError), match=r"out of range|no option"):
        store.add(LDN, tmp_path / "a.safetensors")


def test_weights_are_not_replaced_unasked(checkpoint: Path) -> None:
    store.add(LDN, checkpoint)
    before = store.path_of(LDN).read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        store.add(LDN, checkpoint)
    with pytest.raises(WeightsError, match="is refused"):  # what is refused replaces nothing
        store.add(LDN, Path(__file__), overwrite=True)
    assert store.path_of(LDN).read_bytes() == before
    store.add(LDN, checkpoint, overwrite=True)


def test_a_failed_write_leaves_nothing(checkpoint: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(WeightsError, match=r"cannot write .*No space left on device.*HALFMIRROR_MODELS"):
        store.add(LDN, checkpoint)
    assert list(models.iterdir()) == []


def test_damage_is_found(checkpoint: Path) -> None:
    store.add(LDN, checkpoint)
    path = store.path_of(LDN)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\x00\x00\x80\x3f")  # one value
    assert store.status(LDN).usable
    with pytest.raises(WeightsError, match="has changed since it was added"):
        store.verify(LDN)
    path.write_bytes(whole[:-4])
    usable, reason = store.status(LDN)
    assert not usable
    assert "is damaged" in reason
    assert "--overwrite" in reason
    path.write_bytes(b"")
    assert not store.status(LDN).usable
    save_file(made.entries(), path)
    assert "has no card" in store.status(LDN).reason


def test_a_foreign_card_is_one_line(checkpoint: Path) -> None:
    save_file(made.entries(), checkpoint.with_suffix(".safetensors"), {"halfmirror.card": '{"network": 3}'})
    with pytest.raises(WeightsError, match="card cannot be read") as caught:
        store.add(LDN, checkpoint.with_suffix(".safetensors"))
    assert "\n" not in str(caught.value)


def test_the_file_is_plain_safetensors(checkpoint: Path) -> None:
    store.add(LDN, checkpoint)
    with safe_open(store.path_of(LDN), "pt") as file:
        assert set(file.keys()) == set(made.entries())
        assert json.loads(file.metadata()["halfmirror.card"])["network"] == LDN


def test_others_may_read_what_the_umask_lets_them(checkpoint: Path, tmp_path: Path) -> None:
    """Of a store that several people share, say."""
    store.add(LDN, checkpoint)
    plain = tmp_path / "plain"
    plain.touch()
    assert store.path_of(LDN).stat().st_mode == plain.stat().st_mode


def test_status_does_not_load_torch(checkpoint: Path) -> None:
    store.add(LDN, checkpoint)
    code = (
        "import sys; from inference import models, store\n"
        f"assert store.status({LDN!r}).usable; models.choices(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_users_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(store.VARIABLE)
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_a, **_k: "/home/me/data")
    assert store.folder() == Path("/home/me/data/models")


def test_shipped_weights_are_used_until_there_are_own_ones(
    checkpoint: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(LDN, checkpoint)
    monkeypatch.setattr(store, "SHIPPED", models)
    monkeypatch.setenv(store.VARIABLE, str(models.parent / "own"))
    assert store.is_shipped(LDN)
    assert store.status(LDN) == (True, "")
    assert store.verify(LDN).origin is not None
    # Own ones need no --overwrite: the shipped file is not touched.
    before = store.path_of(LDN).read_bytes()
    found, _ = store.add(LDN, checkpoint, trained_on="my rig")
    assert not store.is_shipped(LDN)
    assert store.installed(LDN) == found
    assert (models / f"{LDN}.safetensors").read_bytes() == before
    store.own_path(LDN).unlink()
    assert store.is_shipped(LDN)


def test_a_damaged_file_before_shipped_weights_says_how_they_come_back(
    checkpoint: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(LDN, checkpoint)
    monkeypatch.setattr(store, "SHIPPED", models)
    monkeypatch.setenv(store.VARIABLE, str(models.parent / "own"))
    store.own_path(LDN).parent.mkdir()
    store.own_path(LDN).write_bytes(b"x")
    assert "or remove it: the shipped weights come back" in store.status(LDN).reason
    store.own_path(LDN).unlink()
    assert store.status(LDN).usable


def test_a_folder_that_cannot_be_looked_into_is_said(
    checkpoint: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a folder of another person; the system has the same kind of words for a name that is too long."""
    store.add(LDN, checkpoint)
    monkeypatch.setattr(store, "SHIPPED", models)
    monkeypatch.setenv(store.VARIABLE, str(models / ("x" * 300)))
    usable, reason = store.status(LDN)
    assert not usable
    assert "cannot be read: File name too long" in reason
    assert not store.is_shipped(LDN)
    assert store.has_file(LDN)
    with pytest.raises(WeightsError, match="cannot be written: File name too long"):
        store.add(LDN, checkpoint)


def test_what_the_program_ships_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv(store.VARIABLE, "/nowhere")
    files = sorted(p.stem for p in store.SHIPPED.glob("*.safetensors"))
    assert files == ["glint", "glint-large"]
    assert sum(p.stat().st_size for p in store.SHIPPED.iterdir()) <= 20e6
    for name in files:
        found = store.verify(name)
        assert found.trained_on
        assert "Apache-2.0" in found.licence
        assert store.is_shipped(name)


@pytest.mark.parametrize("named", [True, False])
def test_glint_of_another_size_is_known_by_its_shapes(named: bool, tmp_path: Path) -> None:
    sizes = {"widths": (16, 24, 8), "blocks": (0, 2, 1, 0, 1)}
    entries = networks.build("glint", **sizes).state_dict()
    stated = {"halfmirror.card": card("glint").model_copy(update={"options": sizes}).model_dump_json()}
    save_file(entries, tmp_path / "a.safetensors", stated if named else None)
    store.add("glint", tmp_path / "a.safetensors")
    loaded, found = store.load("glint", representation="edi-stack-halfway", channel_order="rgb")
    assert {name: tuple(value) for name, value in found.options.items()} == sizes
    networks.build("glint", **found.options).load_state_dict(loaded, strict=True)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("name", "other"), [("glint", "glint-large"), ("glint-large", "glint")])
def test_the_sizes_of_glint_are_not_taken_for_one_another(
    name: str, other: str, named: bool, tmp_path: Path, models: Path
) -> None:
    entries = networks.build(other).state_dict()
    file = tmp_path / "a.safetensors"
    save_file(entries, file, store.metadata_of(card(other)) if named else None)
    says = "its card says" if named else f"no weights of {name}[,:] .*looks like"
    with pytest.raises(WeightsError, match=f"{says} {other}: halfmirror models add {other} FILE"):
        store.add(name, file)
    assert not models.exists()
    assert store.add(other, file)[0].network == other


@pytest.mark.parametrize(
    ("name", "other"), [("glint", {"blocks": [0, 1, 2, 1, 1]}), ("glint-large", {"blocks": [1, 3, 5, 3, 2]})]
)
def test_usual_sizes_that_a_run_states_are_none_of_the_card(
    name: str, other: dict[str, Any], tmp_path: Path, models: Path
) -> None:
    file, usual = tmp_path / "a.safetensors", networks.usual(name)
    sizes = {"widths": list(usual["widths"]), "blocks": list(usual["blocks"])}
    more = {"output": "residual"}
    for stated, kept in ((sizes, {}), (sizes | more, more), (sizes | other, other)):
        about = card(name).model_copy(update={"options": stated})
        save_file(networks.build(name, **stated).state_dict(), file, store.metadata_of(about))
        found, _ = store.add(name, file, overwrite=True)
        assert {n: list(v) if isinstance(v, tuple) else v for n, v in found.options.items()} == kept


@pytest.mark.parametrize("sizes", [{"widths": (64, 128, 192), "blocks": b} for b in LARGE_BLOCKS])
def test_a_glint_that_was_trained_in_the_large_size_is_glint_large(
    sizes: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    """With `train glint --set network.options…`; its card says glint, and what to do is said once."""
    about = card("glint").model_copy(update={"options": sizes, "trained_on": "my photos"})
    file = tmp_path / "a.safetensors"
    save_file(networks.build("glint", **sizes).state_dict(), file, store.metadata_of(about))
    with pytest.raises(WeightsError, match="looks like glint-large: halfmirror models add glint-large FILE"):
        store.add("glint", file)
    found, _ = store.add("glint-large", file)
    assert (found.network, found.trained_on) == ("glint-large", "my photos")
    assert found.options == ({} if sizes["blocks"] == LARGE_BLOCKS[0] else {"blocks": LARGE_BLOCKS[1]})
    assert found.title == card("glint-large").title
    loaded, found = store.load("glint-large", representation="edi-stack-halfway", channel_order="rgb")
    networks.build("glint-large", **found.options).load_state_dict(loaded, strict=True)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("glint", {"widths": (32, 64, 96), "blocks": (0, 1, 1, 1, 1)}),
        ("glint-large", {"widths": (64, 128, 192), "blocks": LARGE_BLOCKS[1]}),
    ],
)
def test_weights_of_a_former_size_stay_usable(
    name: str, sizes: dict[str, tuple[int, ...]], tmp_path: Path, models: Path
) -> None:
    """Their cards say nothing of the size: it was the usual one when they were added."""
    entries = networks.build(name, **sizes).state_dict()
    file = tmp_path / "a.safetensors"
    save_file(entries, file, store.metadata_of(card(name)))
    store.add(name, file)
    store.write(store.own_path(name), entries, store.installed(name).model_copy(update={"options": {}}))
    store.verify(name)
    loaded, found = store.load(name, representation="edi-stack-halfway", channel_order="rgb")
    networks.build(name, **found.options).load_state_dict(loaded, strict=True)
