"""Spike streams: what S-SDM takes, where they come from, and the averages and windows cut from them.

K. Chen et al., "SpikeReveal: Unlocking Temporal Sequences from Real Blurry Inputs with Spike Streams",
NeurIPS 2024. A spike camera's pixel integrates light and emits a spike whenever the integral passes a
threshold; the stream is a binary volume on a fixed clock, and its mean over a window estimates absolute
intensity. It has no polarity and no time stamps.

137 frames cover an exposure: 0…19 before it, 20…116 in it (97 frames), 117…136 behind it; its centre is 68.
Height and width are a quarter of the image's.

A stream says where it comes from (`Origin`). Only "camera" was measured; "simulated" comes from known
pictures, and "derived" from a blurry frame and events (`spikes_derived`): an event camera reports changes, not
light, so these are a reconstruction that inherits the blurry frame's faults, and must be shown as such.

Integration and averages have two implementations: `spikes_numba` and `spikes_torch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import InvalidPacket, UsageError
from recordings.formats.spike_bits import unpacked

FRAMES = 137  # of a stream around one exposure
FIRST, LAST, CENTRE = 20, 116, 68  # frames: start, end and middle of the exposure
RADIUS = 10  # LDN sees 2 · RADIUS + 1 frames
LATENTS = (20, 44, 68, 92, 116)  # the instants that the networks are trained on

# Gain of one step at full light, in units where 2 fires: 250 K with the constants of the authors' simulation.
GAIN = 2e-7 * 1.09e-13 / (1.83e-4 * 15e-15)
STEPS = 250.0
THRESHOLD = 2.0

SPIKES_PER_FRAME = GAIN * STEPS / THRESHOLD  # 0.9927, the mean spike rate at full light


class Origin(StrEnum):
    """Where a spike stream comes from."""

    CAMERA = "camera"
    SIMULATED = "simulated"
    DERIVED = "derived"


@dataclass(frozen=True, slots=True, eq=False)
class SpikeStream:
    """A spike stream and its origin.

    Attributes:
        frames: (T, h, w) uint8 0/1; float32 0…1 for a derived stream that was left as expectations.
        origin: measured, simulated or derived. Whoever shows a result of it shows this too.
    """

    frames: NDArray[Any]
    origin: Origin

    def __post_init__(self) -> None:
        f = self.frames
        if f.ndim != 3 or f.dtype not in (np.uint8, np.float32):
            raise InvalidPacket(f"spikes: expected (T, h, w) uint8 or float32, got {f.dtype} {f.shape}")

    def window(self, at: int, radius: int = RADIUS) -> NDArray[Any]:
        """(2 radius + 1, h, w): the frames around frame `at`, in order of time; LDN's spike input.

        Raises:
            UsageError: the window leaves the stream. (The published code wraps round to its end.)
        """
        lo, hi = window(len(self.frames), at, 2 * radius + 1)
        return self.frames[lo:hi]


def window(n_frames: int, at: int, length: int) -> tuple[int, int]:
    """First and behind-the-last frame of `at − length // 2 … at + length // 2`.

    Both ends belong to it, so an even length gives one frame more: a quirk of the published averages that
    changes numbers and is kept. Published averages use odd lengths only, 9 and 97.

    Raises:
        UsageError: the window leaves the stream, or has no frame.
    """
    if length < 1:
        raise UsageError(f"spike window of {length} frames: at least one is needed")
    lo, hi = at - length // 2, at + length // 2 + 1
    if lo < 0 or hi > n_frames:
        raise UsageError(
            f"spike window {lo} … {hi - 1} around frame {at} leaves the stream of {n_frames} frames"
        )
    return lo, hi


def frame_of(position: float) -> int:
    """The spike frame of a latent instant, 0 = start of exposure, 1 = its end.

    Raises:
        UsageError: outside 0…1.
    """
    if not 0 <= position <= 1:
        raise UsageError(f"latent position {position}: must lie between 0 and 1")
    return FIRST + round(position * (LAST - FIRST))


def read_dat(data: bytes, height: int, width: int, *, partial: bool = False) -> NDArray[np.uint8]:
    """A `.dat` spike file's bytes as (T, h, w) uint8 0/1.

    Frames follow one another without a header, bottom row first, eight pixels a byte, lowest bit first.

    Args:
        data: the file.
        height, width: of the sensor; the file does not hold them, and h·w must be a multiple of 8.
        partial: leave out an incomplete last frame, as the published reader does. It usually means that the
            size is wrong, so by default it is refused.

    Raises:
        UsageError: a size that cannot be packed, or that does not divide the file.
    """
    per_frame = _bytes_per_frame(height, width)
    n, rest = divmod(len(data), per_frame)
    if rest and not partial:
        raise UsageError(
            f"spike file of {len(data)} bytes: not whole frames of {width}×{height} ({per_frame} bytes each, "
            f"{rest} over); check the size"
        )
    return unpacked(data[: n * per_frame], height, width)


def to_dat(frames: NDArray[Any]) -> bytes:
    """The bytes of a `.dat` file; see `read_dat`.

    Args:
        frames: (T, h, w), zero or not.

    Raises:
        UsageError: h·w is not a multiple of 8.
    """
    _, height, width = frames.shape
    _bytes_per_frame(height, width)
    flat = (frames[:, ::-1] != 0).reshape(len(frames), height * width)
    return np.packbits(flat, axis=1, bitorder="little").tobytes()


def _bytes_per_frame(height: int, width: int) -> int:
    if height < 1 or width < 1 or height * width % 8:
        raise UsageError(f"spike frames of {width}×{height}: the number of pixels must be a multiple of 8")
    return height * width // 8


def gray(bgr: NDArray[Any]) -> NDArray[np.float32]:
    """The gray of S-SDM: 0.11 B + 0.59 G + 0.3 R of (…, 3) BGR, on values as stored; not OpenCV's weights."""
    b, g, r = (bgr[..., k].astype(np.float32) for k in range(3))
    return np.asarray(np.float32(0.11) * b + np.float32(0.59) * g + np.float32(0.3) * r, np.float32)


def quarter(image: NDArray[Any]) -> NDArray[Any]:
    """A picture at a quarter of its height and width, as the authors' data is reduced.

    Bilinear without antialiasing, which at 1/4 is the mean of the 2×2 pixels at offsets 1 and 2 of each 4×4
    block. uint8 is rounded to uint8 (frames before an exposure go that way in the published data), float32 not.

    Raises:
        UsageError: a side that is not a multiple of 4.
    """
    height, width = image.shape[:2]
    if height % 4 or width % 4:
        raise UsageError(f"image of {width}×{height}: both sides must be multiples of 4")
    a, b = image[1::4], image[2::4]
    total = (
        a[:, 1::4].astype(np.float32) + a[:, 2::4] + b[:, 1::4].astype(np.float32) + b[:, 2::4]
    ) * np.float32(0.25)
    if image.dtype == np.uint8:
        # Halves go up, as OpenCV rounds them.
        return np.asarray(np.floor(total + np.float32(0.5)), np.uint8)
    return np.asarray(total, np.float32)


def blur(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A blurry picture: the mean of uint8 frames (first axis) in their stored values, rounded half to even."""
    return np.asarray(np.rint(frames.mean(axis=0, dtype=np.float64)), np.uint8)


def noise_positions(gaps: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Where false spikes go, from random gaps: cumulative sums below size − 1, truncated.

    The gaps have mean 140 and deviation 50. The sum is in float64: float32 would lose positions in
    large streams.
    """
    at = np.cumsum(gaps, dtype=np.float64)
    return at[at < size - 1].astype(np.int64)


def with_noise(spikes: NDArray[np.uint8], gaps: NDArray[Any]) -> NDArray[np.uint8]:
    """Spikes with false ones added (OR) at `noise_positions` of the volume in order (row, column, time)."""
    n, height, width = spikes.shape
    mask = np.zeros(spikes.size, np.bool_)
    mask[noise_positions(gaps, spikes.size)] = True
    return (spikes.astype(np.bool_) | mask.reshape(height, width, n).transpose(2, 0, 1)).astype(np.uint8)


def draw_gaps(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random gaps that surely reach beyond `size`: normal, mean 140, deviation 50."""
    n = size // 140 + 1
    gaps = rng.normal(140.0, 50.0, n + 10 * int(np.sqrt(n)) + 10)
    return np.asarray(gaps, np.float64)
