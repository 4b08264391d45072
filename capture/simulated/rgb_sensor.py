"""The frame sensor: light gathered over the exposure, with noise, a tone curve and 8 bits.

The exposure is the mean of many instants in **linear** light, close enough together that nothing moves more
than about one pixel between them; only then come shot noise (electrons), read noise, the tone curve and the
rounding. Blur that is averaged after the tone curve is a common mistake of synthetic data.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from capture.packets import PixelLayout
from capture.shutter import delay_us
from capture.simulated.scene import View
from capture.simulated.textures import srgb_from_linear
from capture.validation import Strict

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

SUBFRAME_PX = 1.25
"""Motion between two sub-frames, in image pixels; about the width of the lens's spot, so that none shows."""

TRUTH_PX = 0.3
"""The same for the truth of a rolling shutter, whose rows are mixed of two instants, and for its frames where a
row is exposed so briefly that it sees few instants."""

LEAST, MOST = 12, 1000
"""Fewest and most sub-frames of an exposure. What moves more than 1250 pixels in one is drawn in steps."""

_TONE_STEPS = 1 << 14

_BAYER: dict[PixelLayout, tuple[int, int, int, int]] = {
    PixelLayout.BAYER_RGGB: (0, 1, 1, 2),
    PixelLayout.BAYER_GRBG: (1, 0, 2, 1),
    PixelLayout.BAYER_GBRG: (1, 2, 0, 1),
    PixelLayout.BAYER_BGGR: (2, 1, 1, 0),
}
"""Channel (R 0, G 1, B 2) at the pixels (0, 0), (0, 1), (1, 0), (1, 1), row first."""


class FrameSensorConfig(Strict):
    """The frame sensor's figures."""

    layout: PixelLayout = Field(default=PixelLayout.RGB, description="rgb, gray or one of the Bayer layouts")
    tone: Literal["linear", "srgb"] = Field(default="srgb", description="how pixel values relate to light")
    gain: float = Field(default=1.0, gt=0.0, le=64.0, description="1 = white paper just saturates")
    full_well_e: float = Field(
        default=12_000.0, ge=10.0, le=1e7, description="electrons at saturation, at gain 1"
    )
    read_noise_e: float = Field(default=6.0, ge=0.0, le=1e4, description="read noise, electrons rms")
    shot_noise: bool = Field(default=True, description="photon noise")

    def ideal(self) -> FrameSensorConfig:
        """The same sensor without noise; tone curve and 8 bits stay."""
        return self.model_copy(update={"shot_noise": False, "read_noise_e": 0.0})


class Developer:
    """Turns light that a frame sensor has gathered into 8 bits.

    Args:
        config: the sensor's figures.
    """

    def __init__(self, config: FrameSensorConfig) -> None:
        self.config = config
        levels = np.arange(_TONE_STEPS, dtype=np.float32) / (_TONE_STEPS - 1)
        tone = srgb_from_linear(levels.astype(np.float32)) if config.tone == "srgb" else levels
        self._tone = np.rint(255.0 * tone).astype(np.uint8)

    def develop(self, light: F32, noise: np.random.Generator | None = None) -> U8:
        """Light → 8 bits: mosaic, noise (none without a generator), gain, saturation, tone curve.

        Args:
            light: (H, W) or (H, W, 3) float32, 1 = white paper.
            noise: the frame's own generator.

        Returns:
            (H, W) or (H, W, 3) uint8, of the configured layout.
        """
        c = self.config
        if c.layout in _BAYER:
            mosaic = np.empty(light.shape[:2], np.float32)
            for k, channel in enumerate(_BAYER[c.layout]):
                mosaic[k // 2 :: 2, k % 2 :: 2] = light[k // 2 :: 2, k % 2 :: 2, channel]
            light = mosaic
        well = np.float32(c.full_well_e)
        value = light * np.float32(c.gain)
        if noise is not None and (c.shot_noise or c.read_noise_e > 0):
            # Electrons: variance = count (shot) + read². The Gaussian stands for Poisson from some ten up.
            variance = np.clip(light, 0.0, None) / well if c.shot_noise else np.zeros_like(light)
            variance += np.float32((c.read_noise_e / c.full_well_e) ** 2)
            value += np.float32(c.gain) * np.sqrt(variance) * noise.standard_normal(light.shape, np.float32)
        index = np.clip(value, 0.0, 1.0) * np.float32(_TONE_STEPS - 1) + np.float32(0.5)
        return np.ascontiguousarray(self._tone[index.astype(np.uint16)])


def _share_until(u: F64) -> F64:
    """Integral up to `u` of an instant's share in what is mixed of neighbours: 1 at 0, none from ±1 on."""
    v = np.clip(u, -1.0, 1.0)
    return np.asarray(0.5 + v - 0.5 * v * np.abs(v), np.float64)


class FrameSensor(Developer):
    """Makes 8-bit frames of a view.

    Args:
        config: its figures.
        view: what it looks at.
        seed: of the noise; noise depends on the frame's number too, so frames can be made in any order.
        rolling_us: how much later the last row is exposed than the first, see `capture.shutter`.
    """

    def __init__(self, config: FrameSensorConfig, view: View, seed: int, rolling_us: float = 0.0) -> None:
        super().__init__(config)
        self.view, self.seed = view, seed
        self._delay_s = 1e-6 * delay_us(np.arange(view.height, dtype=np.float64), view.height, rolling_us)
        self._rolling_s = abs(rolling_us) * 1e-6
        self._times, self._moved = view.path()

    def _motion_px(self, start_s: float, end_s: float) -> float:
        """How far the fastest thing moves, image pixels."""
        loop = self.view.scene.loop_s
        a, b = start_s % loop, start_s % loop + (end_s - start_s)
        at = np.interp([a, min(b, loop), max(0.0, b - loop)], self._times, self._moved)
        return float(at[1] - at[0] + at[2])

    def subframes(self, start_s: float, end_s: float) -> int:
        """How many instants an exposure is made of: one for each `SUBFRAME_PX` of the fastest motion."""
        return int(np.clip(np.ceil(self._motion_px(start_s, end_s) / SUBFRAME_PX), LEAST, MOST))

    def exposed(self, start_s: float, end_s: float) -> F32:
        """Mean linear light over an exposure without noise: (H, W) or (H, W, 3) float32.

        Of a rolling shutter start and end are those of the row that comes first.
        """
        total = np.zeros((self.view.height, self.view.width, 1 if self.view.gray else 4), np.float32)
        if self._rolling_s:
            self._expose_rows(start_s, end_s, total)
        else:
            n = self.subframes(start_s, end_s)
            for k in range(n):
                cv2.accumulate(self.view.draw(start_s + (k + 0.5) * (end_s - start_s) / n), total)
            total *= np.float32(1.0 / n)
        return np.ascontiguousarray(total[..., 0] if self.view.gray else total[..., :3])

    def _expose_rows(self, start_s: float, end_s: float, total: F32) -> None:
        """Each row over its own time, light between two instants being mixed of both."""
        length = end_s - start_s
        span = length + self._rolling_s
        n = self.subframes(start_s, start_s + span)
        if n * length < LEAST * span:
            # A row is open for few of them: more, until mixing two is as good as drawing between them.
            enough = np.ceil(self._motion_px(start_s, start_s + span) / TRUTH_PX)
            n = max(n, int(min(LEAST * span / length, enough, MOST)))
        begin, per = self._delay_s / span * n, length / span * n
        for k in range(n + 1):
            share = ((_share_until(begin + per - k) - _share_until(begin - k)) / per).astype(np.float32)
            rows = np.flatnonzero(share)
            if len(rows):
                drawn = self.view.draw(start_s + k * span / n)
                total[rows] += share[rows, None, None] * drawn[rows]

    def frame(self, number: int, start_s: float, end_s: float, *, noisy: bool = True) -> U8:
        """The picture of one exposure, as the camera gives it."""
        noise = np.random.default_rng([self.seed, 21, number]) if noisy else None
        return self.develop(self.exposed(start_s, end_s), noise)

    def sharp(self, t_s: float) -> U8:
        """The truth: what an endless short, noise-free exposure at `t_s` would show, same tone and size.

        Gray or RGB; a Bayer sensor's truth is RGB. Of a rolling shutter `t_s` is the first row's time.
        """
        light = self.light(t_s) * np.float32(self.config.gain)
        index = np.clip(light, 0.0, 1.0) * np.float32(_TONE_STEPS - 1) + np.float32(0.5)
        return np.ascontiguousarray(self._tone[index.astype(np.uint16)])

    def light(self, t_s: float) -> F32:
        """Linear light at an instant, (H, W) or (H, W, 3) float32; see `sharp`."""
        if not self._rolling_s:
            return self.view.light(t_s)
        # Between two instants so close together that a row may be mixed of both.
        n = int(np.clip(np.ceil(self._motion_px(t_s, t_s + self._rolling_s) / TRUTH_PX), 2, 400))
        place = np.minimum(self._delay_s / self._rolling_s * n, n - 1e-9)
        out = np.zeros((self.view.height, self.view.width, 1 if self.view.gray else 4), np.float32)
        for k in range(n + 1):
            share = np.clip(1.0 - np.abs(place - k), 0.0, None).astype(np.float32)
            rows = np.flatnonzero(share)
            if len(rows):
                drawn = self.view.draw(t_s + self._rolling_s * k / n)
                out[rows] += share[rows, None, None] * drawn[rows]
        return np.ascontiguousarray(out[..., 0] if self.view.gray else out[..., :3])
