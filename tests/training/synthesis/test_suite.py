"""The synthetic suite: the same items each time, four kinds, physics that the rig's restorers understand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.errors import UsageError
from inference import models
from inference.engine import Engine
from inference.quality import psnr
from tests.training.synthesis.scenes import photos
from training.suite import load_item, save_item
from training.synthesis.suite import KINDS, make_suite


def test_items_are_the_same_each_time_and_of_four_kinds(tmp_path: Path) -> None:
    a, b = (list(make_suite(4, 64)) for _ in range(2))
    assert [i.name.split("-")[0] for i in a] == list(KINDS)
    for one, other in zip(a, b, strict=True):
        assert np.array_equal(one.truth, other.truth)
        assert np.array_equal(one.exposure.events.t, other.exposure.events.t)
        assert np.array_equal(one.exposure.frame.image, other.exposure.frame.image)
        assert one.exposure.rig.image.width == 64
    assert [i.exposure.rig.identity for i in a] == [True, False, False, False]
    assert a[0].exposure.frame.image.ndim == 2
    assert a[1].exposure.frame.image.ndim == 3
    assert all(i.exposure.rig.scale > 3.4 for i in a[1:])
    assert not np.array_equal(a[0].truth, next(iter(make_suite(1, 64, seed=1))).truth)
    save_item(tmp_path / "item.npz", a[1])
    assert np.array_equal(load_item(tmp_path / "item.npz").truth, a[1].truth)


def test_the_double_integral_gains_on_it() -> None:
    """Geometry, tone, times and polarity fit together, or it would lose."""
    gains = []
    makers = make_suite(8, 128).makers
    for item in (makers[0](), makers[4]()):
        on, off = item.exposure.rig.events.threshold_on, item.exposure.rig.events.threshold_off
        restorer = models.create("edi", item.exposure.rig, {"contrast_on": on, "contrast_off": off}, "cpu")
        (r,) = Engine(restorer).push(item.exposure, item.latents)
        for k, truth in enumerate(item.truth):
            gains.append(psnr(r.images[k], truth) - psnr(item.exposure.frame.image, truth))
    assert np.mean(gains) > 1.0


def test_photos_of_ones_own_and_values_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder with photos"):
        make_suite(4, 64, photos=str(tmp_path))
    cv2.imwrite(str(tmp_path / "a.png"), photos(1, 200)[0])
    assert len(list(make_suite(2, 64, photos=str(tmp_path)))) == 2
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"b\.png"):
        make_suite(4, 64, photos=str(tmp_path))
    for count, size in ((0, 64), (4, 65), (4, 2048)):
        with pytest.raises(UsageError):
            make_suite(count, size)
