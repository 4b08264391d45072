"""glint's way in and out on the CPU: two passes over the picture in place of a dozen.

What goes in: the codes of the frame and of EDI's picture, and the EDI stack, sampled at each image pixel
through the rig, brought to the body's resolution with a pixel's 2×2 neighbours in its channels, channels last,
padded by reflection. What comes out: `Glint`'s composition (log ratios followed, residual added), rounded to
codes. Both do what `Glint.forward`, `placement.sample`, `padding` and `pictures.to_pictures` do together; a
test holds them to it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from inference.bands import in_bands
from inference.networks.glint import INPUTS, LOG_LIMIT
from inference.representations.edi_stack import CHANNELS, MULTIPLES
from inference.restorers.padding import pad_index, round_up
from inference.restorers.pictures import LUMINANCE
from sync.border import REACH

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

CELL = 2
AREA = CELL * CELL
_CODES = (np.arange(256, dtype=np.float64) / 255).astype(np.float32)
_MIX = np.array(LUMINANCE, np.float32)
_N = len(MULTIPLES)


@njit(nogil=True, error_model="numpy")
def _row_at(m: NDArray[np.float64], v: int, w: int, h: int, at: I64, part: F32) -> None:
    """For each pixel of image row v: the event pixel up left of it (−1: unseen), and the fractions."""
    reach, zero = np.float32(REACH), np.float32(0.0)
    right, bottom = np.float32(w - 1), np.float32(h - 1)
    dx, dy, dz = np.float32(m[0, 0]), np.float32(m[1, 0]), np.float32(m[2, 0])
    ax, ay = np.float32(m[0, 1] * v + m[0, 2]), np.float32(m[1, 1] * v + m[1, 2])
    az = np.float32(m[2, 1] * v + m[2, 2])
    for u in range(len(at)):
        uf = np.float32(u)
        d = dz * uf + az
        z = np.float32(1.0) / d
        x, y = (dx * uf + ax) * z, (dy * uf + ay) * z
        if not (d > zero and x >= -reach and y >= -reach and x <= right + reach and y <= bottom + reach):
            at[u] = -1
            continue
        x, y = min(max(x, zero), right), min(max(y, zero), bottom)
        # The last column and row are reached with a fraction of one, so that the neighbour always exists.
        xi, yi = min(int(x), max(w - 2, 0)), min(int(y), max(h - 2, 0))
        at[u] = yi * w + xi
        part[0, u], part[1, u] = x - np.float32(xi), y - np.float32(yi)


@njit(nogil=True, error_model="numpy")
def _pack(
    image: U8, edi: U8, stack: F32, w: int, m: NDArray[np.float64], same: bool, codes: F32,
    rows: I64, columns: I64, begin: int, end: int, out: F32,
) -> None:  # fmt: skip
    """Rows `begin` … `end` of `image`, `edi` (H, W, C) and `stack` (channels, h·w) into `out` (H', W', …·4)."""
    width, colours = image.shape[1:]
    channels = stack.shape[0]
    h = stack.shape[1] // w
    at, part = np.empty(width, np.int64), np.empty((2, width), np.float32)
    line = np.empty(width, np.float32)
    step_x, step_y = np.int64(1 if w > 1 else 0), np.int64(w if h > 1 else 0)
    for r in range(begin, end):
        v = rows[r]
        below, dy = r // 2, (r % 2) * 2
        for c in range(3):
            k = min(c, colours - 1)
            first, second = c * 4 + dy, (3 + c) * 4 + dy
            for q in range(len(columns)):
                out[below, q // 2, first + q % 2] = codes[image[v, columns[q], k]]
                out[below, q // 2, second + q % 2] = codes[edi[v, columns[q], k]]
        if not same:
            _row_at(m, v, w, h, at, part)
        for c in range(channels):
            plane = stack[c]
            if same:
                line[:] = plane[v * w : v * w + width]
            else:
                for u in range(width):
                    i = at[u]
                    if i < 0:
                        line[u] = 0.0
                        continue
                    fx = part[0, u]
                    a = plane[i] + fx * (plane[i + step_x] - plane[i])
                    b = plane[i + step_y] + fx * (plane[i + step_y + step_x] - plane[i + step_y])
                    line[u] = a + part[1, u] * (b - a)
            first = (6 + c) * 4 + dy
            for q in range(len(columns)):
                out[below, q // 2, first + q % 2] = line[columns[q]]


@njit(nogil=True, error_model="numpy")
def _compose(
    image: U8, edi: U8, packed: F32, y: F32, limit: float, ratios: int, codes: F32, mix: F32, first: int,
    last: int, out: U8,
) -> int:  # fmt: skip
    """`y` (H', W', (ratios + 4)·4) → codes of rows `first` … `last`; gives the pixels that were not finite and
    keep the frame's."""
    width, colours = image.shape[1:]
    low, high = np.float32(-limit), np.float32(limit)
    zero, one, top, half = np.float32(0.0), np.float32(1.0), np.float32(255.0), np.float32(0.5)
    bad = 0
    for v in range(first, last):
        for u in range(width):
            o, p = y[v // 2, u // 2], packed[v // 2, u // 2]
            s = (v % 2) * 2 + u % 2
            log = o[ratios * 4 + s]
            for q in range(ratios):
                log += o[q * 4 + s] * p[(6 + q) * 4 + s]
            gain = np.float32(math.exp(min(max(log, low), high)))
            if colours == 1:
                begin = codes[edi[v, u, 0]]
                total = zero
                for c in range(3):
                    value = begin * gain + o[(ratios + 1 + c) * 4 + s]
                    total += mix[c] * min(max(value, zero), one)
                if not (math.isfinite(log) and math.isfinite(total)):
                    bad += 1
                    out[v, u, 0] = image[v, u, 0]
                else:
                    out[v, u, 0] = np.uint8(total * top + half)
                continue
            finite = math.isfinite(log)
            for c in range(3):
                finite = finite and math.isfinite(o[(ratios + 1 + c) * 4 + s])
            bad += not finite
            for c in range(3):
                if finite:
                    value = codes[edi[v, u, c]] * gain + o[(ratios + 1 + c) * 4 + s]
                    out[v, u, c] = np.uint8(min(max(value, zero), one) * top + half)
                else:
                    out[v, u, c] = image[v, u, c]
    return bad


def pack(
    picture: U8, edi: U8, stack: F32, event_from_image: NDArray[np.float64] | None, multiple: int,
    padding: str = "reflect",
) -> F32:  # fmt: skip
    """One instant as the body takes it.

    Args:
        picture: (H, W, 3) or (H, W) uint8.
        edi: as `picture`, EDI's.
        stack: (CHANNELS, h, w) float32 on the event pixels.
        event_from_image: (3, 3), image pixel → event pixel; None: one grid.
        multiple: of which the padded sides are.
        padding: see `padding.pad_index`.

    Returns:
        (H' / 2, W' / 2, `INPUTS` · 4) float32, C-contiguous.
    """
    height, width = picture.shape[:2]
    rows = pad_index(height, round_up(height, multiple), "replicate" if padding == "replicate" else "reflect")
    columns = pad_index(width, round_up(width, multiple), "replicate" if padding == "replicate" else "reflect")
    out = np.empty((len(rows) // CELL, len(columns) // CELL, INPUTS * AREA), np.float32)
    m = np.eye(3) if event_from_image is None else np.ascontiguousarray(event_from_image, dtype=np.float64)
    image, begun, flat = _with_channels(picture), _with_channels(edi), stack.reshape(CHANNELS, -1)

    def band(first: int, last: int) -> None:
        _pack(
            image, begun, flat, stack.shape[2], m, event_from_image is None, _CODES, rows, columns, first, last,
            out,
        )  # fmt: skip

    in_bands(len(rows), band, CELL)
    return out


def compose(picture: U8, edi: U8, packed: F32, y: F32) -> tuple[U8, int]:
    """The sharp picture, and how many of its pixels were not finite (they keep the frame's).

    Args:
        picture, edi: as at `pack`.
        packed: what `pack` gave.
        y: (H' / 2, W' / 2, outputs · 4) float32, C-contiguous: what the body gave.
    """
    image, begun = _with_channels(picture), _with_channels(edi)
    out = np.empty_like(image)

    def band(first: int, last: int) -> int:
        return int(_compose(image, begun, packed, y, LOG_LIMIT, _N, _CODES, _MIX, first, last, out))

    return out.reshape(picture.shape), sum(in_bands(len(image), band))


def _with_channels(picture: U8) -> U8:
    return np.ascontiguousarray(picture[..., None] if picture.ndim == 2 else picture)
