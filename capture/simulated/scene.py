"""A scene of layers that move independently, and how a sensor looks at it.

Coordinates: a scene is drawn in **fine pixels** (x right, y down, centres at integers). A `View` is one sensor:
a homography from fine pixels of the middle view to its own pixels and the number of fine pixels that one of
its pixels is wide. Values are linear light; 1 is a white sheet of paper in full light, lamps are brighter.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.simulated.motion import CameraMotion, Motion
from capture.simulated.textures import LUMINANCE
from capture.simulated.warp import blend, used_cells

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

# The lens: its spot, as the standard deviation of a Gaussian in units of a sensor pixel. It keeps the pictures
# free of aliasing, as a real lens in front of a real pixel does.
LENS_SPOT = 0.45

PATH_STEP_S = 1e-3
"""Time between two looks at how far things have moved."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One thing in the scene.

    Attributes:
        texture: (h, w, 4) float32, linear RGB premultiplied with alpha; alpha 0 with colour adds light.
        anchor: the layer's pixel that its motion moves about.
        motion: seconds in the loop → pose in scene coordinates.
        depth: parallax factor, 1 = background.
    """

    texture: F32
    anchor: tuple[float, float]
    motion: Motion
    depth: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything that can be seen.

    Attributes:
        background: (H, W, 3) float32 linear RGB. Beyond its edges, which none of the presets sees, it goes on
            mirrored.
        layers: drawn over it, in this order.
        camera: how the rig moves.
        view: (width, height) of the middle view in fine pixels.
        loop_s: period of all motion.
    """

    background: F32
    layers: tuple[Layer, ...]
    camera: CameraMotion
    view: tuple[float, float]
    loop_s: float

    def middle(self) -> tuple[float, float]:
        """Middle of the view in fine pixels of the view."""
        return (self.view[0] - 1) / 2, (self.view[1] - 1) / 2


def _decimated(texture: F32, factor: int) -> F32:
    """Texture as pixels `factor` wide see it through the lens: blurred by the spot, averaged by blocks."""
    soft = np.asarray(cv2.GaussianBlur(texture, (0, 0), LENS_SPOT * factor), np.float32)
    if factor == 1:
        return np.ascontiguousarray(soft)
    h, w = soft.shape[:2]
    pad_h, pad_w = -h % factor, -w % factor
    soft = np.pad(soft, ((0, pad_h), (0, pad_w), (0, 0)), mode="edge")
    small = cv2.resize(soft, (soft.shape[1] // factor, soft.shape[0] // factor), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small, np.float32)


def _fine_from_decimated(factor: int) -> F64:
    o = (factor - 1) / 2
    return np.array([[factor, 0.0, o], [0.0, factor, o], [0.0, 0.0, 1.0]])


class View:
    """One sensor's look at a scene: draws the light on its pixels at any instant.

    Args:
        scene: what to draw.
        width, height: of the sensor.
        sensor_from_fine: (3, 3), fine pixel of the middle view → sensor pixel.
        footprint: fine pixels per sensor pixel, for the size of the area that a pixel averages.
        gray: draw luminance (H, W) instead of RGB (H, W, 3).
    """

    def __init__(
        self, scene: Scene, width: int, height: int, sensor_from_fine: F64, footprint: int, gray: bool
    ) -> None:
        self.scene, self.width, self.height, self.gray = scene, width, height, gray
        self._sensor_from_fine = sensor_from_fine
        self._fine_from_texture = _fine_from_decimated(footprint)
        # Four channels where three would do: OpenCV warps aligned pixels a third faster.
        channels = 1 if gray else 4
        back = _decimated(scene.background, footprint)
        back = back @ LUMINANCE if gray else np.dstack([back, np.ones(back.shape[:2], np.float32)])
        self._background = np.ascontiguousarray(back, np.float32)
        self._textures: list[F32] = []
        for layer in scene.layers:
            # An empty rim, so that blur and bilinear sampling find nothing beyond the edge.
            rim = 2 * footprint
            t = np.pad(layer.texture, ((rim, rim), (rim, rim), (0, 0)))
            t = _decimated(t, footprint)
            if gray:
                t = np.dstack([t[..., :3] @ LUMINANCE, t[..., 3]])
            self._textures.append(np.ascontiguousarray(t, np.float32))
        self._used = [used_cells(t) for t in self._textures]
        self._path: tuple[F64, F64] | None = None
        self._rim = 2.0 * footprint
        self._still: F32 | None = None
        self._still_at: F64 = np.zeros((3, 3))
        self._out = np.zeros((height, width, channels), np.float32)

    def background_matrix(self, t: float) -> F64:
        """(3, 3): scene pixel of the background → sensor pixel."""
        return np.asarray(
            self._sensor_from_fine @ self.scene.camera.matrix(t, 1.0, self.scene.middle()), np.float64
        )

    def layer_matrix(self, i: int, t: float) -> F64 | None:
        """(3, 3): pixel of layer `i`'s own texture → sensor pixel; None while it is out of sight."""
        layer = self.scene.layers[i]
        pose = layer.motion(t)
        if not pose.visible:
            return None
        camera = self.scene.camera.matrix(t, layer.depth, self.scene.middle())
        return np.asarray(self._sensor_from_fine @ camera @ pose.matrix(layer.anchor), np.float64)

    def draw(self, t: float) -> F32:
        """The light at `t` seconds: (H, W, 1) luminance or (H, W, 4) RGB and a constant, float32.

        The array is the view's own and is drawn over by the next call.
        """
        m = self.background_matrix(t) @ self._fine_from_texture
        out = self._out
        if self._still is not None and np.array_equal(m, self._still_at):
            # On a tripod: the background is drawn once.
            np.copyto(out, self._still)
        else:
            self._draw_background(m)
            # Kept only when it came out the same twice: a moving rig must not pay for the copy.
            self._still = out.copy() if np.array_equal(m, self._still_at) else None
            self._still_at = m
        shift = np.eye(3)
        shift[0, 2] = shift[1, 2] = -self._rim
        for i, texture in enumerate(self._textures):
            lm = self.layer_matrix(i, t)
            if lm is not None:
                blend(out, texture, self._used[i], lm @ shift @ self._fine_from_texture)
        return out

    def _draw_background(self, m: F64) -> None:
        out = self._out
        cv2.warpPerspective(
            self._background, np.linalg.inv(m), (self.width, self.height),
            dst=out[..., 0] if self.gray else out,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT,
        )  # fmt: skip

    def light(self, t: float) -> F32:
        """A copy of the light at `t` seconds: (H, W) luminance or (H, W, 3) RGB, float32, >= 0."""
        out = self.draw(t)
        return (out[..., 0] if self.gray else out[..., :3]).copy()

    def _points(self, t: float) -> list[F64 | None]:
        """Where marked points of every layer lie on the sensor at `t`; None while out of sight."""
        found: list[F64 | None] = []
        w, h = self.width - 1.0, self.height - 1.0
        mine = np.array([[0, w, w, 0, w / 2], [0, 0, h, h, h / 2], [1, 1, 1, 1, 1]], np.float64)
        # The background's points are fixed to it, and lie under the view's corners while it is at rest.
        rest = np.linalg.inv(self._sensor_from_fine) @ mine
        cx, cy = self.scene.camera.centre
        mx, my = self.scene.middle()
        q = self.background_matrix(t) @ (rest / rest[2] + np.array([[cx - mx], [cy - my], [0.0]]))
        found.append(q[:2] / q[2])
        for i, layer in enumerate(self.scene.layers):
            m = self.layer_matrix(i, t)
            if m is None:
                found.append(None)
                continue
            th, tw = layer.texture.shape[:2]
            # Half way out from the middle: a turning thing's rim is faster, its marks lie further in.
            px, py = tw * np.array([0.5, 0.75, 0.5, 0.25]), th * np.array([0.25, 0.5, 0.75, 0.5])
            q = m @ np.stack([px, py, np.ones(4)])
            xy = q[:2] / q[2]
            reach = np.abs(xy - xy.mean(1, keepdims=True)).max(1) * 2
            lo, hi = xy.mean(1) - reach, xy.mean(1) + reach
            outside = hi[0] < 0 or hi[1] < 0 or lo[0] > w or lo[1] > h
            found.append(None if outside else xy)
        return found

    def path(self) -> tuple[F64, F64]:
        """Times over one loop, and how far the fastest thing in sight has moved by then.

        Returns:
            (N,) seconds from 0 to the loop's end, (N,) sensor pixels, starting at 0, non-decreasing.
        """
        if self._path is not None:
            return self._path
        n = max(2, round(self.scene.loop_s / PATH_STEP_S) + 1)
        times = np.linspace(0.0, self.scene.loop_s, n)
        moved = np.zeros(n)
        before = self._points(0.0)
        for k in range(1, n):
            now = self._points(float(times[k]))
            far = 0.0
            for a, b in zip(before, now, strict=True):
                if a is not None and b is not None:
                    far = max(far, float(np.sqrt(np.max(np.sum((b - a) ** 2, axis=0)))))
            moved[k] = moved[k - 1] + far
            before = now
        self._path = times, moved
        return self._path
