"""How good a picture is: against truth, against itself, against the frame it came from.

All measures take uint8 pictures, (H, W) gray or (H, W, 3) RGB, and compute in float64 on codes 0…255.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from inference.tone import BINS, Tone, encode_tables, to_linear

Image = NDArray[np.uint8]


def _pair(a: Image, b: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if a.shape != b.shape or a.ndim not in (2, 3) or a.size == 0:
        raise ValueError(f"pictures of shapes {a.shape} and {b.shape} cannot be compared")
    if a.dtype != np.uint8 or b.dtype != np.uint8:
        raise ValueError(f"pictures must be uint8, got {a.dtype} and {b.dtype}")
    return a.astype(np.float64), b.astype(np.float64)


def psnr(image: Image, truth: Image) -> float:
    """Peak signal-to-noise ratio in dB, 10·log10(255² / mean squared error over all pixels and channels).

    Infinite for identical pictures.

    Raises:
        ValueError: different shapes, or not uint8.
    """
    a, b = _pair(image, truth)
    mse = float(np.mean((a - b) ** 2))
    return float("inf") if mse == 0 else float(10 * np.log10(255.0**2 / mse))


def ssim(image: Image, truth: Image) -> float:
    """Structural similarity, mean over pixels and channels (Wang et al., IEEE TIP 2004).

    The authors' settings: Gaussian window 11×11 with σ 1.5, K1 = 0.01, K2 = 0.03, range 255, and only windows
    that lie wholly inside the picture. RGB: the mean of the three channels' values.

    Raises:
        ValueError: different shapes, not uint8, or smaller than the window.
    """
    a, b = _pair(image, truth)
    if min(a.shape[:2]) < 11:
        raise ValueError(f"SSIM needs pictures of at least 11×11 pixels, got {a.shape[1]}×{a.shape[0]}")
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def blur(v: NDArray[np.float64]) -> NDArray[np.float64]:
        out: Any = cv2.GaussianBlur(v, (11, 11), 1.5)
        return np.asarray(out[5:-5, 5:-5], dtype=np.float64)

    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    value = ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    return float(value.mean())


MAP_STEP = 0.125
"""Codes for one step of `ReblurResidual.coded`; its largest value, 255, stands for 31.9 codes and more."""


@dataclass(frozen=True, slots=True, eq=False)
class ReblurResidual:
    """How far the sharp pictures, blurred again, are from the blurred frame; see `inference.residual`.

    Attributes:
        rms: root mean square over pixels and channels, in codes (0…255).
        map: (H, W) float32, root mean square over the channels at each pixel, in codes.
    """

    rms: float
    map: NDArray[np.float32]

    def coded(self) -> NDArray[np.uint8]:
        """The map in steps of `MAP_STEP` codes, (H, W) uint8."""
        return np.asarray(cv2.convertScaleAbs(self.map, alpha=1 / MAP_STEP), np.uint8)


ONE = 1 << 23
"""Full light in the sums of `Reblur`: fixed point, exact to 1.2e-7, room for 511 pictures in 32 bits."""
MOST_PICTURES = 0xFFFFFFFF // ONE


class Reblur:
    """Sums up the sharp pictures of one exposure in linear light, one after the other.

    Args:
        tone: of the pictures and of the blurred frame.
    """

    def __init__(self, tone: Tone) -> None:
        self._tone: Tone = tone
        self._light = np.round(to_linear(tone).astype(np.float64) * ONE).astype(np.uint32)
        self._sum: NDArray[np.uint32] | None = None
        self.count = 0

    def add(self, image: Image) -> None:
        """One more picture, (H, W[, 3]) uint8, all of one shape; up to 511 of them.

        Raises:
            ValueError: of another shape or type than the ones before, or one too many.
        """
        if image.dtype != np.uint8 or (self._sum is not None and image.shape != self._sum.shape):
            raise ValueError(f"a picture {image.shape} of {image.dtype} does not fit the ones before")
        if self.count >= MOST_PICTURES:
            raise ValueError(f"{self.count} pictures are summed up, more do not fit")
        codes = np.ascontiguousarray(image)
        if self._sum is None:
            self._sum = self._light[codes]
        else:
            _add_light(self._sum.reshape(-1), codes.reshape(-1), self._light)
        self.count += 1

    def against(self, blurred: Image) -> ReblurResidual:
        """The mean of the pictures so far, coded like a frame, against the frame.

        Raises:
            ValueError: no pictures, or of another shape than the frame.
        """
        if self._sum is None or self._sum.shape != blurred.shape:
            shape = None if self._sum is None else self._sum.shape
            raise ValueError(f"latents {shape} do not fit the blurred picture {blurred.shape}")
        channels = 1 if blurred.ndim == 2 else blurred.shape[2]
        out = np.empty(blurred.shape[:2], np.float32)
        square = _compare(
            self._sum.reshape(-1, channels), self.count * ONE,
            np.ascontiguousarray(blurred).reshape(-1, channels), *encode_tables(self._tone), out.reshape(-1),
        )  # fmt: skip
        return ReblurResidual(float(np.sqrt(square / blurred.size)), out)


@njit(nogil=True)
def _add_light(total: NDArray[np.uint32], codes: NDArray[np.uint8], light: NDArray[np.uint32]) -> None:
    for i in range(len(codes)):
        total[i] += light[codes[i]]


@njit(nogil=True)
def _compare(
    total: NDArray[np.uint32], full: int, blurred: NDArray[np.uint8], coarse: NDArray[np.uint8],
    thresholds: NDArray[np.float32], out: NDArray[np.float32],
) -> int:  # fmt: skip
    """Root mean square over the channels of each pixel, in codes; the sum of all squares is given back.

    The code of a light is found as in `tone.encode`.
    """
    scale, all_squares = 1.0 / full, 0
    channels = total.shape[1]
    for i in range(len(out)):
        squares = 0
        for k in range(channels):
            v = np.float32(total[i, k] * scale)
            c = int(coarse[int(v * np.float32(BINS))])
            c += v >= thresholds[c + 1]
            apart = c - int(blurred[i, k])
            squares += apart * apart
        out[i] = np.sqrt(squares / channels)
        all_squares += squares
    return all_squares


def reblur_residual(latents: NDArray[np.uint8], blurred: Image, tone: Tone) -> ReblurResidual:
    """Mean of the sharp pictures of one exposure, in linear light, against the blurred frame.

    The instants should be equally spaced over the whole exposure, in the middle of equal parts ((k + ½) / L);
    with few of them the mean is a coarse sum and the residual shows that, so take some 15 or more.

    Args:
        latents: (L, H, W[, 3]) uint8 in the frame's own tone.
        blurred: (H, W[, 3]) uint8.
        tone: of both.

    Raises:
        ValueError: shapes that do not fit.
    """
    if latents.ndim != blurred.ndim + 1:
        raise ValueError(f"latents {latents.shape} do not fit the blurred picture {blurred.shape}")
    reblur = Reblur(tone)
    for image in latents:
        reblur.add(image)
    return reblur.against(blurred)


def sharpness(image: Image) -> float:
    """Gradient energy: mean of the squared central differences in x and y, in codes² (Tenengrad-like).

    Grows with sharpness and with noise alike; compare only pictures of one view and one noise level. RGB: of
    the mean of the channels.
    """
    a, _ = _pair(image, image)
    g = a.mean(axis=2) if a.ndim == 3 else a
    if min(g.shape) < 3:
        raise ValueError(f"sharpness needs at least 3×3 pixels, got {g.shape[1]}×{g.shape[0]}")
    gx = 0.5 * (g[1:-1, 2:] - g[1:-1, :-2])
    gy = 0.5 * (g[2:, 1:-1] - g[:-2, 1:-1])
    return float(np.mean(gx * gx + gy * gy))
