"""One picture file: right pixels, upright, or a clause that says what is wrong with it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.training.photos.made import encoded, picture, with_orientation
from training.photos import decode as d
from training.photos.decode import NotAPhoto, decode, header

KINDS = (".jpg", ".png", ".webp")


def test_pixels_are_rgb_as_in_the_file() -> None:
    image = picture(0)
    assert np.array_equal(decode(encoded(image)), image)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_kinds_come_close(suffix: str) -> None:
    image = picture(0)
    difference = decode(encoded(image, suffix)).astype(float) - image
    assert np.sqrt(np.mean(difference**2)) < 6


def test_gray_gives_three_equal_channels_and_16_bits_their_upper_half() -> None:
    gray = picture(0)[..., 0]
    assert np.array_equal(decode(encoded(gray)), np.repeat(gray[..., None], 3, axis=2))
    assert np.array_equal(decode(encoded(picture(0).astype(np.uint16) * 256 + 17)), picture(0))


@pytest.mark.parametrize("suffix", KINDS)
def test_header_knows_the_size_without_decoding(suffix: str) -> None:
    assert header(encoded(picture(0, 151, 203), suffix))[:2] == (203, 151)


def test_exif_orientation_is_applied() -> None:
    """Orientation 6: the stored picture has to be turned clockwise to stand upright."""
    image = picture(0)
    upright = decode(with_orientation(encoded(image, ".jpg"), 6))
    assert np.array_equal(upright, np.rot90(decode(encoded(image, ".jpg")), -1))


def test_large_photos_are_scaled_to_the_longest_side() -> None:
    assert decode(encoded(picture(0, 150, 400)), 200).shape == (75, 200, 3)
    assert decode(encoded(picture(0, 150, 200)), 200).shape == (150, 200, 3)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated(suffix: str, share: float) -> None:
    data = encoded(picture(0), suffix)
    with pytest.raises(NotAPhoto, match=r"truncated|damaged"):
        decode(data[: int(len(data) * share)])


def test_truncated_although_the_preview_in_its_exif_data_ends_well() -> None:
    data = encoded(picture(0), ".jpg")
    preview = b"\xff\xe1" + struct.pack(">H", 6) + b"x\xff\xd9y"
    with pytest.raises(NotAPhoto, match="truncated"):
        decode((data[:2] + preview + data[2:])[:-200])


def test_damaged_inside() -> None:
    data = bytearray(encoded(picture(0)))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(NotAPhoto, match="damaged"):
        decode(bytes(data))


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "empty"), (b"GIF89a", "not a JPEG"), (b"\xff\xd8\xff", "truncated"), (b"\xff\xd8zzzz", "damaged")],
)
def test_no_picture(data: bytes, said: str) -> None:
    with pytest.raises(NotAPhoto, match=said):
        decode(data)


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PNG whose header promises 100,000 × 100,000 pixels."""
    data = bytearray(encoded(picture(0)))
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    monkeypatch.setattr(d, "_pixels", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(NotAPhoto, match="megapixels"):
        decode(bytes(data))


def test_too_small() -> None:
    with pytest.raises(NotAPhoto, match=r"too small \(200×127"):
        decode(encoded(picture(0, 127, 200)))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_cut_outs_are_no_photos_but_a_solid_alpha_is_nothing(suffix: str) -> None:
    alpha = np.full((150, 200, 1), 255, np.uint8)
    decode(encoded(np.dstack([picture(0), alpha]), suffix))
    alpha[:40, :40] = 0
    with pytest.raises(NotAPhoto, match="transparent"):
        decode(encoded(np.dstack([picture(0), alpha]), suffix))


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAPhoto, match="not there"):
        d.read(tmp_path / "none.jpg")
    with pytest.raises(NotAPhoto, match="not a file"):
        d.read(tmp_path)
    large = tmp_path / "large.jpg"
    large.write_bytes(b"x" * 100)
    monkeypatch.setattr(d, "MAX_BYTES", 99)
    with pytest.raises(NotAPhoto, match="MB"):
        d.read(large)
