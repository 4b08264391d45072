"""The synthetic suite: the same sequences each time, four kinds, physics that restorers understand."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.errors import UsageError
from inference import models
from inference.engine import Engine
from inference.quality import psnr
from inference.restorers.contrast_pairs import follows
from tests.training.synthesis.scenes import photos
from training.suite import load_item, save_item
from training.synthesis.suite import DUTY, KINDS, make_suite


def test_sequences_are_the_same_each_time_and_of_four_kinds(tmp_path: Path) -> None:
    a, b = (list(make_suite(4, 64, exposures=2)) for _ in range(2))
    assert len(make_suite(4, 64, exposures=2)) == 4
    assert [i.sequence.split("-")[0] for i in a] == [k for k in KINDS for _ in range(2)]
    for one, other in zip(a, b, strict=True):
        assert np.array_equal(one.truth, other.truth)
        assert np.array_equal(one.exposure.events.t, other.exposure.events.t)
        assert np.array_equal(one.exposure.frame.image, other.exposure.frame.image)
        assert one.exposure.rig.image.width == 64
    measured = a[1::2]
    assert [i.exposure.rig.identity for i in measured] == [True, False, False, False]
    assert measured[0].exposure.frame.image.ndim == 2
    assert measured[1].exposure.frame.image.ndim == 3
    assert all(i.exposure.rig.scale > 3.4 for i in measured[1:])
    assert not np.array_equal(a[1].truth, list(make_suite(1, 64, seed=1, exposures=2))[1].truth)
    for k in (2, 3):
        save_item(tmp_path / "item.npz", a[k])
        assert np.array_equal(load_item(tmp_path / "item.npz").truth, a[k].truth)


def test_the_last_exposure_is_measured_and_the_others_lead_up_to_it() -> None:
    items = list(make_suite(1, 128, exposures=3))
    assert len({i.sequence for i in items}) == 1
    assert len({i.name for i in items}) == 3
    assert [len(i.latents) for i in items] == [0, 0, 3]
    exposures = [i.exposure for i in items]
    assert [a.ordinal for a in exposures] == [0, 1, 2]
    (length,) = {a.exposure.duration_us for a in exposures}
    for before, after in itertools.pairwise(exposures):
        period = after.exposure.start_us - before.exposure.start_us
        assert DUTY[0] - 0.01 < length / period < DUTY[1] + 0.01
        assert follows(before, after)
        # Events run on through the gap, and agree where two windows overlap.
        gap = after.events.between(before.exposure.end_us, after.exposure.start_us)
        rate = len(after.exposure_events()) / length
        assert len(gap) / (period - length) > rate / 4
        shared = (after.window_start_us, before.window_end_us)
        assert np.array_equal(before.events.between(*shared).t, after.events.between(*shared).t)
    alone = next(iter(make_suite(1, 128, exposures=1)))
    assert np.array_equal(alone.truth, items[-1].truth)
    difference = np.abs(alone.exposure.frame.image.astype(int) - exposures[-1].frame.image)
    assert difference.mean() < 8  # noise alone
    both = len(alone.exposure.exposure_events()), len(exposures[-1].exposure_events())
    assert max(both) < 1.2 * min(both)


def test_the_double_integral_gains_on_it() -> None:
    """Geometry, tone, times and polarity fit together, or it would lose."""
    gains = []
    makers = make_suite(8, 128, exposures=1).makers
    for (item,) in (makers[0](), makers[4]()):  # type: ignore[misc]
        on, off = item.exposure.rig.events.threshold_on, item.exposure.rig.events.threshold_off
        restorer = models.create("edi", item.exposure.rig, {"contrast_on": on, "contrast_off": off}, "cpu")
        (r,) = Engine(restorer).push(item.exposure, item.latents)
        for k, truth in enumerate(item.truth):
            gains.append(psnr(r.images[k], truth) - psnr(item.exposure.frame.image, truth))
    assert np.mean(gains) > 1.0


def test_a_restorer_finds_the_camera_on_the_way() -> None:
    items = list(make_suite(1, 128))
    engine = Engine(models.create("edi", items[0].exposure.rig, {}, "cpu"))
    found = [engine.push(i.exposure, i.latents or (0.5,))[0].figures for i in items]
    assert [f["contrast_samples"] for f in found] == [1, 2, 3, 4]
    # What is found moves with every exposure: each has a say.
    assert len({f["contrast_on"] for f in found}) == 4


def test_photos_of_ones_own_and_values_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder with photos"):
        make_suite(4, 64, photos=str(tmp_path))
    cv2.imwrite(str(tmp_path / "a.png"), photos(1, 200)[0])
    assert len(list(make_suite(2, 64, photos=str(tmp_path), exposures=1))) == 2
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"b\.png"):
        make_suite(4, 64, photos=str(tmp_path))
    for count, size, exposures in ((0, 64, 4), (4, 65, 4), (4, 2048, 4), (4, 64, 0), (4, 64, 33)):
        with pytest.raises(UsageError):
            make_suite(count, size, exposures=exposures)


def test_one_fault_of_a_sensor_is_taken_away_and_all_else_stays() -> None:
    given, quiet = (
        list(make_suite(1, 64, exposures=1, changes=c)) for c in (None, {"noise_8bit": [0.01, 0.02]})
    )
    assert np.array_equal(given[0].truth, quiet[0].truth)
    assert np.array_equal(given[0].exposure.events.t, quiet[0].exposure.events.t)
    assert not np.array_equal(given[0].exposure.frame.image, quiet[0].exposure.frame.image)


def test_changes_that_make_no_sense_are_one_line() -> None:
    with pytest.raises(UsageError, match="setting nois: there is none; known: size"):
        make_suite(1, 64, changes={"nois": 1})
    with pytest.raises(UsageError, match="setting blur_px: a range"):
        make_suite(1, 64, changes={"blur_px": [9, 2]})
    with pytest.raises(UsageError, match="setting noise_8bit: both ends are above 0"):
        make_suite(1, 64, changes={"noise_8bit": [0, 2]})
