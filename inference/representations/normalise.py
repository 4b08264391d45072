"""From counts to what a network takes: EFNet's and HighREV's normalisations, for numpy and torch alike.

All work on a whole window's representation, before any crop, and give finite values for every input.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from capture.errors import UsageError
from inference.representations.coding import Mode

Grid = TypeVar("Grid", NDArray[np.float32], torch.Tensor)


def by_maximum(grid: Grid) -> Grid:
    """Divide by the largest magnitude of all channels: −1…1 (EFNet on GoPro and REBlur).

    A window without events stays zero; the published code divides 0 by 0 there.
    """
    if grid.size == 0 if isinstance(grid, np.ndarray) else grid.numel() == 0:
        return grid
    # In torch without asking the value back from the device: a zero grid is divided by 1.
    if isinstance(grid, np.ndarray):
        top = np.abs(grid).max()
        return np.asarray(grid / (top if top > 0 else np.float32(1)), np.float32)
    peak = grid.abs().max()
    return grid / torch.where(peak > 0, peak, torch.ones_like(peak))


def _limits(grid: Any, low: float, high: float) -> tuple[Any, Any]:
    if not 0 <= low <= high <= 100:
        raise UsageError(f"percentiles {low} and {high}: must ascend within 0 … 100")
    flat = grid.reshape(-1)
    n = len(flat)
    # Sorted positions, no interpolation; Python's round is half to even, as published.
    at = [min(max(round(0.01 * q * (n - 1)), 0), n - 1) for q in (low, high)]
    if isinstance(flat, np.ndarray):
        part = np.partition(flat, at)
        return part[at[0]], part[at[1]]
    return flat.kthvalue(at[0] + 1).values, flat.kthvalue(at[1] + 1).values


def by_percentile(grid: Grid, low: float = 1.0, high: float = 99.0, *, mode: Mode = Mode.CORRECTED) -> Grid:
    """Clip to two percentiles of all cells, then divide by the largest magnitude: for hot pixels.

    Mode.PUBLISHED: the EFNet author's script for a DAVIS346 (there 35/65). When both percentiles are 0, as is
        usual at 35/65 (most cells are empty), the counts come back unchanged: a quirk that changes the scale.
    Mode.CORRECTED (default): falls back to the maximum then, so the result always lies in −1…1. The divisor is
        otherwise the same (largest magnitude + 1e-6).

    Raises:
        UsageError: percentiles that are out of range or do not ascend.
    """
    if (grid.size if isinstance(grid, np.ndarray) else grid.numel()) == 0:
        return grid
    lo, hi = _limits(grid, low, high)
    if float(lo) == 0 and float(hi) == 0:
        return by_maximum(grid) if mode is Mode.CORRECTED else grid
    if isinstance(grid, np.ndarray):
        clipped = np.clip(grid, lo, hi)
        return np.asarray(clipped / (np.abs(clipped).max() + np.float32(1e-6)), np.float32)
    limited = torch.minimum(torch.maximum(grid, lo), hi)
    return limited / (limited.abs().max() + 1e-6)


def by_percentile_shifted(grid: Grid, low: float, high: float) -> Grid:
    """The variant in EFNet's training code that nothing uses: `(clipped − smallest) / (largest + 1e-6)`.

    It moves zero, and is not bounded by 1. Only for comparisons.
    """
    lo, hi = _limits(grid, low, high)
    if isinstance(grid, np.ndarray):
        clipped = np.clip(grid, lo, hi)
        return np.asarray((clipped - clipped.min()) / (clipped.max() + np.float32(1e-6)), np.float32)
    limited = torch.minimum(torch.maximum(grid, lo), hi)
    return (limited - limited.min()) / (limited.max() + 1e-6)


def by_deviation(grid: Grid) -> Grid:
    """Zero mean and unit deviation over the cells that are not zero; zero cells stay zero (HighREV).

    The deviation is the population's. When all non-zero cells are equal it is 0 and the published code divides
    by it; the grid is handed back unchanged then, so that the events stay visible. Sums are float64 (float32
    on devices that have no float64).
    """
    if isinstance(grid, np.ndarray):
        cells = grid[grid != 0].astype(np.float64)
        if len(cells) == 0 or cells.min() == cells.max():
            return grid
        mean = cells.mean()
        # The published E[v²] − E[v]² can round to nothing; the mean square distance cannot.
        deviation = np.sqrt(np.square(cells - mean).mean())
        return np.where(grid != 0, (grid - mean) / deviation, 0).astype(np.float32)
    wide = grid if grid.device.type == "mps" else grid.double()
    hit = grid != 0
    n = hit.sum().clamp(min=1)
    mean_ = wide.sum() / n
    deviation_ = torch.where(hit, wide - mean_, 0).square().sum().div(n).sqrt()
    top = torch.where(hit, wide, -torch.inf).amax()
    bottom = torch.where(hit, wide, torch.inf).amin()
    normal = torch.where(hit, (wide - mean_) / deviation_, 0).to(grid.dtype)
    return torch.where(top > bottom, normal, grid)
