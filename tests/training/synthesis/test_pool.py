"""Pools: whole shards or none, the same bytes, growth, other pools refused, and what training reads of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.errors import UsageError
from tests.training.synthesis.scenes import config, photos
from training.synthesis import making, pool
from training.synthesis.making import Order, make_pool
from training.synthesis.preview import write_preview

SETTINGS = config(size=32, subframes=(8, 10))


class Made:
    """What `open_photos` gives, as far as it is used here."""

    skipped: tuple[str, ...] = ()

    def __init__(self, broken: bool = False) -> None:
        self._photos = photos()
        self._broken = broken
        self.fingerprint = "made"

    def __len__(self) -> int:
        return len(self._photos)

    def load(self, index: int) -> Any:
        if self._broken:
            raise UsageError("photo 1 cannot be read any more")
        return self._photos[index]


def order(folder: Path, count: int = 32, **changes: Any) -> Order:
    return Order(folder, count, **{"config": SETTINGS, "seed": 0, "photos": Made(), "workers": 1, **changes})


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_the_same_bytes_whoever_draws_and_growth(tmp_path: Path) -> None:
    assert make_pool(order(tmp_path / "a", 33)) == 64
    assert make_pool(order(tmp_path / "b", 32)) == 32
    steps: list[tuple[int, int]] = []
    assert make_pool(order(tmp_path / "b", 64, workers=2), lambda done, of: steps.append((done, of))) == 32
    assert steps[0] == (32, 64)
    assert steps[-1] == (64, 64)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert make_pool(order(tmp_path / "b", 64)) == 0

    read = pool.Pool(tmp_path / "a")
    assert len(read) == 64
    one = read.read(40, 1)
    assert one["frame"].shape[1:] == one["truth"].shape[1:] == (32, 32)
    assert one["stack"].dtype == np.float16
    assert np.isfinite(one["stack"]).all()
    write_preview(tmp_path / "a", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_what_is_no_pool_or_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pool"):
        pool.Pool(tmp_path)
    pool.write_about(tmp_path, pool.about(SETTINGS, 0, "made"))
    with pytest.raises(UsageError, match="no samples yet"):
        pool.Pool(tmp_path)
    with pytest.raises(UsageError, match="pool of other"):
        make_pool(order(tmp_path, seed=1))
    (tmp_path / "pool.json").write_text('{"version": 99}')
    with pytest.raises(UsageError, match="another version"):
        pool.Pool(tmp_path)


def test_a_pool_of_an_older_drawing_is_read_but_does_not_grow(tmp_path: Path) -> None:
    make_pool(order(tmp_path))
    older = {**pool.about(SETTINGS, 0, "made"), "version": 5}
    (tmp_path / "pool.json").write_text(json.dumps(older))
    assert len(pool.Pool(tmp_path)) == 32
    assert make_pool(order(tmp_path)) == 0
    with pytest.raises(UsageError, match="drawn by an older version: it can be read, not added to"):
        make_pool(order(tmp_path, 64))
    (tmp_path / "pool.json").write_text(json.dumps({**older, "seed": 1}))
    with pytest.raises(UsageError, match="pool of other"):
        make_pool(order(tmp_path, 64))


@pytest.mark.parametrize("text", ["", "[]", "[" * 99_999])
def test_a_pool_whose_description_is_damaged_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "pool.json").write_text(text)
    with pytest.raises(UsageError, match="no pool"):
        pool.Pool(tmp_path)
    with pytest.raises(UsageError, match=r"pool\.json is damaged"):
        make_pool(order(tmp_path))
    assert (tmp_path / "pool.json").read_text() == text


def test_a_damaged_file_of_samples_is_named(tmp_path: Path) -> None:
    what = pool.about(SETTINGS, 0, "made")
    pool.write_about(tmp_path, what)
    shard = tmp_path / "shard-000000.safetensors"
    shard.write_bytes(b"\x08")
    with pytest.raises(UsageError, match=r"shard-000000\.safetensors is damaged .*remove it"):
        pool.Pool(tmp_path).read_all(0)
    (tmp_path / "pool.json").write_text(json.dumps({**what, "version": 5}))  # nothing is added to that
    with pytest.raises(UsageError, match=r"is damaged .*make another pool: halfmirror synthesise -o DIR"):
        pool.Pool(tmp_path).read_all(0)
    (tmp_path / "pool.json").write_text(f'{{"version": {what["version"]}}}')
    with pytest.raises(UsageError, match=r"pool\.json is damaged"):
        pool.Pool(tmp_path)


def test_a_photo_that_fails_leaves_no_part(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read any more"):
        make_pool(order(tmp_path / "p", photos=Made(broken=True)))
    assert [p.name for p in (tmp_path / "p").iterdir()] == ["pool.json"]
    with pytest.raises(UsageError, match="cannot write"):
        make_pool(order(tmp_path / "p" / "pool.json" / "below"))


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    make_pool(order(tmp_path / "pool"))
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "pool").iterdir()}
    plain = tmp_path / "plain"
    plain.touch()
    assert set(modes.values()) == {plain.stat().st_mode & 0o777}, modes


def test_photos_that_validation_is_made_of_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[int]] = []

    class Cache:
        def __init__(self, photos: Any, which: Any) -> None:
            given.append(list(which))

    class Many(Made):
        def __len__(self) -> int:
            return 30

    monkeypatch.setattr("training.synthesis.photo_cache.PhotoCache", Cache)
    for name in ("signal.signal", "torch.set_num_threads", "cv2.setNumThreads"):
        monkeypatch.setattr(name, lambda *_: None)
    making._begin(order(tmp_path, photos=Many()))
    assert given == [[i for i in range(30) if i not in (12, 25)]]
