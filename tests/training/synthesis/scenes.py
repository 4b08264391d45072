"""Photos and settings for the tests of the synthesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.synthesis.config import SynthesisConfig

SMALL: dict[str, Any] = {"size": 48, "subframes": (8, 24)}
# Both sensors without a flaw, one grid, sRGB or linear.
CLEAN: dict[str, Any] = {
    **SMALL, "scale_share": 0.0, "shift_share": 0.0, "threshold": (0.1, 0.1), "asymmetry": (1.0, 1.0),
    "threshold_sigma": (0.0, 0.0), "refractory_us": (0.001, 0.001), "leak_hz": (0.0, 0.0),
    "shot_hz": (0.0, 0.0), "dark_hz": (0.0, 0.0), "hot_share": (0.0, 0.0),
    "cutoff_hz": (1e6, 1e6), "cutoff_dark_hz": (1e6, 1e6),
    "dark_light": (1e-3, 1e-3), "lost_share": 0.0, "noise_8bit": (1e-3, 1e-3), "column_8bit": (0.0, 0.0),
    "highlight_share": 0.0, "light": (0.6, 0.9), "still_share": 0.0, "exposure_ms": (20.0, 20.0),
    "layers": (0, 0), "srgb_share": 0.0, "linear_share": 1.0, "blur_px": (6.0, 10.0), "drawn_share": 0.0,
}  # fmt: skip


def photos(count: int = 3, side: int = 160) -> list[NDArray[np.uint8]]:
    """Pictures with edges at all scales, no two alike."""
    out = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        image = np.full((side, side, 3), 90.0)
        for _ in range(60):
            y, x = rng.integers(0, side, 2)
            h, w = rng.integers(4, side // 3, 2)
            image[y : y + h, x : x + w] = rng.uniform(10, 250, 3)
        out.append(image.astype(np.uint8))
    return out


def config(**changes: Any) -> SynthesisConfig:
    return SynthesisConfig.model_validate({**SMALL, **changes})


def clean(**changes: Any) -> SynthesisConfig:
    return SynthesisConfig.model_validate({**CLEAN, **changes})
