"""EDI's pictures with torch against those of numba and OpenCV."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.restorers import edi_pictures_torch
from inference.restorers.edi_pictures import EdiPictures
from inference.restorers.glint import toned
from inference.restorers.ratio_filter import fill, hot_pixels
from inference.tone import Tone
from sync.rig import Rig
from tests.inference.restorers.rigs import noise_events, one_grid, picture, splitter

CONTRAST = Contrast(0.22, 0.3)


def some_logs(rig: Rig, count: int = 2) -> np.ndarray:
    """Edges, slopes and noise; some values that no picture can follow."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[0 : rig.events.height, 0 : rig.events.width]
    steps = 0.8 * (x > rig.events.width / 2) - 0.5 * (y > rig.events.height / 3)
    logs = np.stack([steps + 0.1 * rng.normal(size=x.shape), 0.6 * np.sin(x / 5) + 0.3 * np.cos(y / 3)])
    logs[0, 3, 4], logs[1, 7, 2] = 40, -40
    return logs[:count].astype(np.float32)


def with_hot(events: Events, where: list[tuple[int, int]]) -> Events:
    """Pixels (x, y) that fire a hundred times more than the others."""
    x = np.concatenate([events.x, *(np.full(200, u, np.uint16) for u, _ in where)])
    y = np.concatenate([events.y, *(np.full(200, v, np.uint16) for _, v in where)])
    t = np.concatenate([events.t, np.full(200 * len(where), events.t[-1])])
    return Events(t, x, y, np.ones(len(t), np.bool_), events.width, events.height)


def counts_of(events: Events) -> np.ndarray:
    flat = events.y.astype(np.int64) * events.width + events.x
    return np.bincount(flat, minlength=events.width * events.height).reshape(events.height, events.width)


@pytest.mark.parametrize("gray", [True, False])
@pytest.mark.parametrize("tone", ["srgb", "linear"])
@pytest.mark.parametrize("scale", [0, 1, 4])
@pytest.mark.parametrize("hot", [[], [(5, 6), (6, 6), (0, 0)]])
def test_pictures_are_the_cpus(gray: bool, tone: Tone, scale: int, hot: list[tuple[int, int]]) -> None:
    rig = one_grid(40, 32) if scale == 0 else splitter((40, 32), scale, turn_deg=3)
    rig = toned(rig, tone)
    events = with_hot(noise_events(40, 32, 3000), hot)
    image = picture(rig.image.width, rig.image.height, gray=gray)
    image[:4], image[4:8] = 255, 0
    logs = some_logs(rig)
    expected = EdiPictures(rig).pictures(image, np.exp(logs), events, CONTRAST)
    assert edi_pictures_torch.serves(rig)
    found = edi_pictures_torch.pictures(
        torch.from_numpy(image), torch.from_numpy(logs), torch.from_numpy(counts_of(events)), CONTRAST, rig
    ).numpy()
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    off = np.abs(found.astype(int) - expected)
    assert np.mean(off > 1) < 2e-3
    assert np.mean(off > 0) < 0.03
    assert np.mean(expected != image[None]) > 0.3  # the ratios did something


def test_hot_pixels_are_the_same_and_take_the_median() -> None:
    events = with_hot(noise_events(40, 32, 3000), [(5, 6), (6, 6), (39, 31)])
    hot = hot_pixels(events)
    assert hot.sum() == 3
    counts = torch.from_numpy(counts_of(events))
    np.testing.assert_array_equal(edi_pictures_torch.hot_pixels(counts).numpy(), hot)
    ratio = np.exp(some_logs(one_grid(40, 32), 1))
    logs = torch.from_numpy(np.log(ratio))
    fill(ratio[0], hot)
    np.testing.assert_allclose(
        edi_pictures_torch._filled(logs, torch.from_numpy(hot)).exp().numpy(), ratio, rtol=1e-5
    )


def test_a_pixel_among_hot_ones_alone_becomes_one() -> None:
    logs = torch.full((1, 3, 3), 2.0)
    filled = edi_pictures_torch._filled(logs, torch.ones((3, 3), dtype=torch.bool))
    assert torch.equal(filled, torch.zeros((1, 3, 3)))


@pytest.mark.gpu
@pytest.mark.parametrize("scale", [0, 4])
def test_on_a_gpu(scale: int) -> None:
    rig = one_grid(40, 32) if scale == 0 else splitter((40, 32), scale)
    given = [
        torch.from_numpy(picture(rig.image.width, rig.image.height)), torch.from_numpy(some_logs(rig)),
        torch.from_numpy(counts_of(with_hot(noise_events(40, 32, 3000), [(5, 6)]))),
    ]  # fmt: skip
    here = edi_pictures_torch.pictures(*given, CONTRAST, rig)
    there = edi_pictures_torch.pictures(*(x.cuda() for x in given), CONTRAST, rig).cpu()
    off = (here.int() - there.int()).abs()
    assert float((off > 1).float().mean()) < 1e-3
    assert float((off > 0).float().mean()) < 0.01
