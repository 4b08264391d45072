"""A scene of moving layers, drawn at any instants as linear light with torch.

Coordinates are image pixels, centres at integers. A layer is a square of light, wider than the picture by a
margin on each side; what moves beyond it is its mirror image. A layer's own opacity is moved with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from capture.compiled import njit
from training.synthesis.config import SynthesisConfig
from training.synthesis.draws import chance, even, log_even
from training.synthesis.layers import LoadPhoto, outline, smooth_field, texture
from training.synthesis.motion import Motion, homographies, motion

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Rec. 709 weights of linear RGB: what a sensor without colour sees."""
MARGIN = 32
_STEP_PX = 0.8  # motion between two drawn instants; about the width of a lens's spot

_F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """One thing that moves.

    Attributes:
        light: (C, S, S) linear light, and in the last channel the opacity when `opaque` is False.
        opaque: fills the whole picture.
        motion: its motion.
        depth: (S', S') spread of the shift over the picture, 0: as a whole; S' the picture's side.
        wobble: (2, S', S') direction of the local deformation.
    """

    light: NDArray[np.float32]
    opaque: bool
    motion: Motion
    depth: NDArray[np.float32]
    wobble: NDArray[np.float32]


class Scene:
    """Layers from the farthest to the nearest.

    Args:
        rng: all of the scene comes from it.
        config: ranges.
        load: gives photo `i` as (H, W, 3) uint8 sRGB.
        photos: how many there are.
        colour: three channels, else luminance alone.
        longest_px: the longest path that the exposure leaves time for.
    """

    def __init__(
        self, rng: np.random.Generator, config: SynthesisConfig, load: LoadPhoto, photos: int, colour: bool,
        longest_px: float,
    ) -> None:  # fmt: skip
        self.size, self.colour = config.size, colour
        side = config.size + 2 * MARGIN
        still = chance(rng, config.still_share)
        path = 0.0 if still else min(log_even(rng, config.blur_px), longest_px)
        hand = motion(rng, config, path)
        layers = [self._layer(rng, config, texture(rng, config, load, photos, side), None, hand)]
        low, high = config.layers
        for _ in range(int(rng.integers(low, high + 1))):
            own_path = 0.0 if still else min(log_even(rng, config.object_px), longest_px)
            own = motion(rng, config, own_path)
            moves = hand if chance(rng, 0.15) else own
            light = texture(rng, config, load, photos, side)
            layers.append(self._layer(rng, config, light, outline(rng, side, config.size), moves))
        if chance(rng, config.highlight_share):
            lamps = outline(rng, side, config.size * even(rng, (0.15, 0.7)))
            glow = np.float32(log_even(rng, (1.5, 12.0)))
            base = layers[0].light
            layers[0] = Layer(
                base * (1 - lamps) + lamps * glow, True, layers[0].motion, layers[0].depth, layers[0].wobble
            )
        self.layers = layers

    def _layer(
        self, rng: np.random.Generator, config: SynthesisConfig, light: NDArray[np.float32],
        shape: NDArray[np.float32] | None, moves: Motion,
    ) -> Layer:  # fmt: skip
        channels = light if self.colour else light @ np.array(LUMINANCE, np.float32)[:, None]
        bright = float(np.percentile(channels, 97)) + 1e-3
        planes = np.moveaxis(channels, 2, 0) * np.float32(log_even(rng, config.light) / bright)
        if shape is not None:
            planes = np.concatenate([planes, shape[None]])
        size = config.size
        depth = smooth_field(rng, size, int(rng.integers(1, 4))) * np.float32(config.depth * rng.random())
        if chance(rng, 0.5):
            depth *= 0
        cells = int(rng.integers(2, 6))
        wobble = np.stack([smooth_field(rng, size, cells), smooth_field(rng, size, cells)])
        return Layer(np.ascontiguousarray(planes), shape is None, moves, depth, wobble)

    def steps(self, config: SynthesisConfig) -> int:
        """How many steps the exposure is drawn in, so that nothing moves much more than a pixel in one."""
        u = np.linspace(0, 1, 33)
        corners = np.array([[0, 0, 1], [self.size, 0, 1], [0, self.size, 1], [self.size, self.size, 1]], float)
        longest = 0.0
        for layer in self.layers:
            values = layer.motion.at(u)
            at = homographies(values, self.size) @ corners.T
            xy = at[:, :2] / at[:, 2:]
            extra = (
                np.abs(np.diff(values[:, 6])).sum()
                + config.depth * np.abs(np.diff(values[:, :2], axis=0)).sum()
            )
            longest = max(
                longest, float(np.linalg.norm(np.diff(xy, axis=0), axis=1).sum(0).max()) + float(extra)
            )
        low, high = config.subframes
        return int(np.clip(np.ceil(longest / _STEP_PX), low, high))

    def draw(self, u: NDArray[np.float64], device: torch.device) -> Tensor:
        """Light at instants.

        Args:
            u: (T,) fractions of the exposure; beyond 0…1 the motion goes on.
            device: where to draw.

        Returns:
            (T, C, size, size) float32 linear light, 1 = white paper; C is 3 or 1.
        """
        out: Tensor | None = None
        for layer in self.layers:
            planes = torch.from_numpy(layer.light).to(device)
            grid = self._grid(layer, u, planes.shape[-1], device)
            seen = F.grid_sample(
                planes.expand(len(u), -1, -1, -1), grid, mode="bilinear", padding_mode="reflection",
                align_corners=True,
            )  # fmt: skip
            if layer.opaque or out is None:
                out = seen[:, : 3 if self.colour else 1]
                continue
            opacity = seen[:, -1:]
            out = torch.lerp(out, seen[:, :-1], opacity)
        assert out is not None
        return out

    def _grid(self, layer: Layer, u: NDArray[np.float64], side: int, device: torch.device) -> Tensor:
        """(T, size, size, 2): where each image pixel looks, in `grid_sample`'s terms."""
        values = layer.motion.at(u)
        if device.type != "cpu":
            return self._grid_there(layer, values, side, device)
        out = np.empty((len(u), self.size, self.size, 2), np.float32)
        _looks(
            homographies(values, self.size).astype(np.float32), values.astype(np.float32), layer.depth,
            layer.wobble, bool(layer.depth.any()), MARGIN, 2.0 / (side - 1), out,
        )  # fmt: skip
        return torch.from_numpy(out)

    def _grid_there(self, layer: Layer, values: NDArray[np.float64], side: int, device: torch.device) -> Tensor:
        """The same on another device, with `values` of the layer's motion."""
        matrices = torch.from_numpy(homographies(values, self.size)).float().to(device)
        axis = torch.arange(self.size, dtype=torch.float32, device=device)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        # (T, size, size, 2): x' and y' of the homography without building homogeneous points.
        m = matrices.view(-1, 3, 3, 1, 1)
        w = m[:, 2, 0] * x + m[:, 2, 1] * y + m[:, 2, 2]
        px = (m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2]) / w
        py = (m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2]) / w
        v = torch.from_numpy(values).float().to(device).view(len(values), -1, 1, 1)
        if layer.depth.any():
            depth = torch.from_numpy(layer.depth).to(device)
            px = px + v[:, 0] * depth
            py = py + v[:, 1] * depth
        if layer.motion.sizes[6]:
            wobble = torch.from_numpy(layer.wobble).to(device)
            px = px + v[:, 6] * wobble[0]
            py = py + v[:, 6] * wobble[1]
        to_unit = 2.0 / (side - 1)
        return torch.stack([(px + MARGIN) * to_unit - 1, (py + MARGIN) * to_unit - 1], dim=-1)


@njit(nogil=True, error_model="numpy")
def _looks(
    matrices: _F32,
    values: _F32,
    depth: _F32,
    wobble: _F32,
    deep: bool,
    margin: float,
    to_unit: float,
    out: _F32,
) -> None:
    """Where on a layer each image pixel looks, in `grid_sample`'s terms.

    Args:
        matrices: (T, 3, 3) of `motion.homographies`.
        values: (T, 7) of `Motion.at`: shift and wobble are read.
        depth: (size, size) parallax; `deep`: it is not 0 all over.
        wobble: (2, size, size).
        margin: of the layer, px; to_unit: 2 / (its side − 1).
        out: (T, size, size, 2).
    """
    size = out.shape[1]
    edge, unit, one = np.float32(margin), np.float32(to_unit), np.float32(1.0)
    for k in range(len(matrices)):
        m, v = matrices[k], values[k]
        bends = v[6] != 0
        for y in range(size):
            fy = np.float32(y)
            ax, ay, az = m[0, 1] * fy + m[0, 2], m[1, 1] * fy + m[1, 2], m[2, 1] * fy + m[2, 2]
            for x in range(size):
                fx = np.float32(x)
                w = one / (m[2, 0] * fx + az)
                px, py = (m[0, 0] * fx + ax) * w, (m[1, 0] * fx + ay) * w
                if deep:
                    px += v[0] * depth[y, x]
                    py += v[1] * depth[y, x]
                if bends:
                    px += v[6] * wobble[0, y, x]
                    py += v[6] * wobble[1, y, x]
                out[k, y, x, 0] = (px + edge) * unit - one
                out[k, y, x, 1] = (py + edge) * unit - one
