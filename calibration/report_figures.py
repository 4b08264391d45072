"""The report's drawings as inline SVG: nothing is loaded from anywhere."""

from __future__ import annotations

import itertools
import math
from html import escape

import numpy as np
from numpy.typing import NDArray

from calibration.field import FieldShift
from calibration.geometry.result import ResidualMap
from calibration.geometry.views import Coverage
from calibration.time.result import TimeResult

F64 = NDArray[np.float64]

INK, FAINT, ACCENT, BLUE, GOOD, BAD = "#22262b", "#b9bec5", "#d98200", "#2f74c0", "#3f8a55", "#c93a3f"


def svg(width: float, height: float, body: str, title: str) -> str:
    """A drawing with a name for whoever cannot see it."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" aria-label="{escape(title)}" '
        f'font-family="system-ui,sans-serif" font-size="11" fill="{INK}">{body}</svg>'
    )


def text(x: float, y: float, what: str, *, anchor: str = "middle", colour: str = INK) -> str:
    """A word at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(what)}</text>'


def rect(x: float, y: float, w: float, h: float, fill: str) -> str:
    """A cell of a lattice."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}" stroke="#fff"/>'


def heat(value: float, limit: float) -> str:
    """White (0) over amber to red (limit and beyond)."""
    s = min(1.0, max(0.0, value / limit))
    stops = [(0.0, (244, 247, 244)), (0.5, (250, 206, 120)), (1.0, (214, 78, 68))]
    for (a, p), (b, q) in itertools.pairwise(stops):
        if s <= b:
            t = (s - a) / (b - a)
            return "#" + "".join(f"{round(u + t * (v - u)):02x}" for u, v in zip(p, q, strict=True))
    return "#d64e44"


def arrow(x: float, y: float, dx: float, dy: float) -> str:
    """A line with a head, from a place by so much."""
    length = math.hypot(dx, dy)
    if length < 0.5:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.5" fill="{INK}"/>'
    ux, uy = dx / length, dy / length
    tip = x + dx, y + dy
    a = tip[0] - 5 * ux + 3 * uy, tip[1] - 5 * uy - 3 * ux
    b = tip[0] - 5 * ux - 3 * uy, tip[1] - 5 * uy + 3 * ux
    return (
        f'<path d="M{x:.1f} {y:.1f}L{tip[0]:.1f} {tip[1]:.1f}M{a[0]:.1f} {a[1]:.1f}L{tip[0]:.1f} {tip[1]:.1f}'
        f'L{b[0]:.1f} {b[1]:.1f}" stroke="{INK}" fill="none"/>'
    )


def cells(mean: F64, size: F64, *, limit: float, magnify: float, title: str, ratio: float) -> str:
    """A lattice: colour and number tell the size of the residual, the arrow its direction.

    Args:
        mean: (R, C, 2) residual, nan where empty.
        size: (R, C) what the colour tells.
        limit: value that is red.
        magnify: drawing units for one pixel of residual.
        title: for those who cannot see it.
        ratio: height of the field over its width.
    """
    rows, columns = size.shape
    width = 460.0
    height = width * ratio
    w, h = width / columns, height / rows
    body = []
    for i in range(rows):
        for j in range(columns):
            v = float(size[i, j])
            empty = not math.isfinite(v)
            fill = "#eceef0" if empty else heat(v, limit)
            body.append(rect(j * w, i * h, w, h, fill))
            if empty:
                body.append(text((j + 0.5) * w, (i + 0.5) * h + 4, "–", colour="#8a9098"))
                continue
            body.append(text((j + 0.5) * w, (i + 1) * h - 5, f"{v:.2f}"))
            if np.isfinite(mean[i, j]).all():
                dx, dy = (float(c) * magnify for c in mean[i, j])
                reach = 0.4 * min(w, h) / max(math.hypot(dx, dy), 1e-9)
                k = min(1.0, reach)
                body.append(arrow((j + 0.5) * w, (i + 0.45) * h, dx * k, dy * k))
    return svg(width, height, "".join(body), title)


def residual_map(r: ResidualMap, ratio: float) -> str:
    """Held-out residuals by place."""
    return cells(r.mean, r.rms, limit=1.0, magnify=60.0, title="held-out residual by place, event pixels",
                 ratio=ratio)  # fmt: skip


def field_map(f: FieldShift, ratio: float) -> str:
    """Shift between event edges and image edges by place."""
    size = np.hypot(f.cells[..., 0], f.cells[..., 1])
    return cells(f.cells, size, limit=1.5, magnify=25.0, title="shift of edges by place, event pixels",
                 ratio=ratio)  # fmt: skip


def coverage(c: Coverage, ratio: float) -> str:
    """Where the target was seen, in thirds of the field."""
    width = 220.0
    height = width * ratio
    w, h = width / 3, height / 3
    body = []
    for i in range(3):
        for j in range(3):
            n, wanted = int(c.counts[i, j]), bool(c.expected[i, j])
            fill = "#eceef0" if not wanted else "#cfe6d5" if n >= c.wanted else "#f6d3d0"
            body.append(rect(j * w, i * h, w, h, fill))
            body.append(text((j + 0.5) * w, (i + 0.5) * h + 4, str(n) if n or wanted else "not shared"))
    return svg(width, height, "".join(body), "points of the target by place")


def clock_plot(t: TimeResult) -> str:
    """Residuals of the clock over time."""
    width, height, left, bottom = 640.0, 190.0, 52.0, 24.0
    if not len(t.at_us):
        return ""
    x0, x1 = float(t.at_us.min()), float(t.at_us.max())
    top = max(4.0 * t.residual_us, float(np.percentile(np.abs(t.residuals_us), 99)) * 1.1, 1.0)

    def px(v: float) -> float:
        return left + (width - left - 8) * (v - x0) / max(x1 - x0, 1.0)

    def py(v: float) -> float:
        half = (height - bottom) / 2
        return half - half * 0.95 * max(-1.0, min(1.0, v / top))

    body = []
    step = _round(top / 2)
    for v in (-2 * step, -step, 0.0, step, 2 * step):
        if abs(v) <= top:
            body.append(
                f'<line x1="{left}" x2="{width - 8}" y1="{py(v):.1f}" y2="{py(v):.1f}" '
                f'stroke="{FAINT if v else INK}" stroke-width="{0.6 if v else 0.9}"/>'
            )
            body.append(text(left - 6, py(v) + 4, f"{v:+.3g}" if v else "0", anchor="end"))
    body.append(text(10, 12, "µs", anchor="start"))
    every = max(1, len(t.at_us) // 1500)
    for a, r in zip(t.at_us[::every], t.residuals_us[::every], strict=True):
        beyond = abs(float(r)) > top
        colour = BAD if beyond else BLUE
        body.append(
            f'<circle cx="{px(float(a)):.1f}" cy="{py(float(r)):.1f}" r="2" fill="{colour}" opacity=".65"/>'
        )
    span = (x1 - x0) / 1e6
    tick = _round(span / 5) if span > 0 else 1.0
    k = 0.0
    while k <= span + 1e-9:
        body.append(text(px(x0 + k * 1e6), height - 6, f"{k:g} s"))
        k += tick
    return svg(width, height, "".join(body), "residuals of the clock over time")


def _round(v: float) -> float:
    """The next lower 1, 2 or 5 times a power of ten."""
    if v <= 0:
        return 1.0
    p = 10.0 ** math.floor(math.log10(v))
    return next(m * p for m in (5.0, 2.0, 1.0) if m * p <= v * 1.0000001)
