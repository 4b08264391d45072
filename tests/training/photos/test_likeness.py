"""A photo is known again when it is scaled, re-encoded, gray or mirrored; another one is another."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.photos.made import encoded, picture
from training.photos.decode import decode
from training.photos.likeness import alike, held_out, likeness

RIG = sorted((Path(__file__).parents[3] / "capture" / "simulated" / "photos").glob("*.jpg"))


def test_different_pictures_are_not_alike() -> None:
    found = [likeness(picture(seed)) for seed in range(20)]
    assert not [(a, b) for a in range(20) for b in range(a) if alike(found[a], found[b])]


@pytest.mark.parametrize("path", RIG, ids=lambda p: p.stem)
def test_the_rigs_photos_are_known_in_every_form(path: Path) -> None:
    image = decode(path.read_bytes())
    expected = f"the simulated rig: {path.stem}"
    for side in (128, 200, 900):
        scale = side / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale * 1.03, interpolation=cv2.INTER_AREA)
        copy = cv2.imdecode(np.frombuffer(encoded(small, ".jpg"), np.uint8), cv2.IMREAD_GRAYSCALE)
        assert held_out("x", likeness(np.asarray(copy, np.uint8))) == expected
        assert held_out("x", likeness(np.ascontiguousarray(copy[:, ::-1], np.uint8))) == expected


def test_every_photo_of_the_rig_is_in_the_list() -> None:
    assert len(RIG) == 8


def test_names() -> None:
    assert held_out("deep/er/KODIM23.png", None) == "kodim23"
    assert held_out("casa-mila.jpg", None) == "casa-mila"
    assert held_out("my-kodim23.png", None) is None
    assert held_out("coffee.jpg", likeness(picture(0))) is None
