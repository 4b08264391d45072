"""Structural similarity (Z. Wang et al., IEEE TIP 2004) with every choice in the open; differentiable.

    l = (2 μa μb + C1) / (μa² + μb² + C1)        C1 = (0.01 · peak)²
    s = (2 σab + C2) / (σa² + σb² + C2)          C2 = (0.03 · peak)²
    SSIM = mean of l · s over all windows

The published evaluations differ in the window (Gaussian or uniform, its size), in what becomes of windows that
leave the picture, in the divisor of the variances and in the range, and each of these moves the value in the
second or third digit. Two numbers compare only if all of them agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

K1, K2 = 0.01, 0.03


@dataclass(frozen=True, slots=True)
class Window:
    """Over which pixels, with which weights, a local mean is taken.

    Attributes:
        size: odd number of pixels along each axis.
        sigma: of a Gaussian, in pixels; None: all pixels weigh the same.
        edge: "valid": only windows that lie wholly inside; "replicate": one window for each pixel, the
            picture's edge repeated outwards.
        channels: the channels are an axis of the window too (a volume), with their edges repeated.
    """

    size: int
    sigma: float | None = None
    edge: Literal["valid", "replicate"] = "valid"
    channels: bool = False

    def taps(self) -> list[float]:
        """The weights along one axis; their sum is 1."""
        if self.sigma is None:
            return [1 / self.size] * self.size
        at = torch.arange(self.size, dtype=torch.float64) - self.size // 2
        weights = torch.exp(-0.5 * (at / self.sigma) ** 2)
        found: list[float] = (weights / weights.sum()).tolist()
        return found


GAUSSIAN_11 = Window(11, 1.5)  # the paper's own; what most others mean
UNIFORM_7, UNIFORM_11 = Window(7), Window(11)  # what two libraries take by default


def similarity(
    a: Tensor, b: Tensor, *, peak: float = 1.0, window: Window = GAUSSIAN_11, sample: bool = False
) -> Tensor:
    """The similarity at every window; its mean is SSIM.

    Args:
        a, b: (N, C, H, W) floating point, values in a range of length `peak`. Gradients flow to both. Take
            float64 where the value is to be reported: variances are differences of large numbers.
        peak: length of the range.
        window: see `Window`.
        sample: divide variances by n − 1 instead of n, n being the window's number of pixels.

    Returns:
        (N, C, H', W'), smaller by `size − 1` pixels per axis for "valid" windows.

    Raises:
        ValueError: different shapes, or a picture smaller than the window.
    """
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(
            f"SSIM of {tuple(a.shape)} and {tuple(b.shape)}: expected two (N, C, H, W) of one size"
        )
    height, width = a.shape[-2:]
    if window.edge == "valid" and min(height, width) < window.size:
        raise ValueError(
            f"SSIM needs pictures of at least {window.size}×{window.size} pixels, got {width}×{height}"
        )
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    ma, mb, aa, bb, ab = local_mean(torch.stack([a, b, a * a, b * b, a * b]), window)
    n = window.size ** (3 if window.channels else 2)
    unbiased = n / (n - 1) if sample else 1.0
    va, vb, cov = (unbiased * (x - y) for x, y in ((aa, ma * ma), (bb, mb * mb), (ab, ma * mb)))
    out: Tensor = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    return out


def local_mean(x: Tensor, window: Window) -> Tensor:
    """The weighted mean in every window of (…, C, H, W)."""
    taps = window.taps()
    for axis in (-3, -2, -1) if window.channels else (-2, -1):
        if window.edge == "replicate" or axis == -3:
            x = _widened(x, axis, window.size // 2)
        x = _slide(x, axis, taps)
    return x


def _widened(x: Tensor, axis: int, by: int) -> Tensor:
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
    times = [1] * x.ndim
    times[axis] = by
    return torch.cat([first.repeat(times), x, last.repeat(times)], dim=axis)


def _slide(x: Tensor, axis: int, taps: list[float]) -> Tensor:
    # One pass a tap, into one array: seven times as fast as PyTorch's convolution of float64 on a CPU, which
    # unfolds the picture to as many copies as there are taps.
    length = x.shape[axis] - len(taps) + 1
    out = taps[0] * x.narrow(axis, 0, length)
    for k, weight in enumerate(taps[1:], start=1):
        out.add_(x.narrow(axis, k, length), alpha=weight)
    return out
