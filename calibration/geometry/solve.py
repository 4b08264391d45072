"""From views to the map between both cameras: rejection, fit, and the error on views that were held out.

A fit always looks good on the points that it was made from. What counts is how well it foretells points of
views that it has never seen, so every figure that is stated comes from k-fold cross-validation over whole views
(points of one view share its errors; holding out single points would hide them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.geometry.fit import LensChoice, Pairs, Setting, Shape, fit, residuals, rough
from calibration.geometry.judge import judge
from calibration.geometry.result import GeometryResult, ResidualMap, ViewResult
from calibration.geometry.views import Coverage, View
from sync.lens import PixelMap, common_field
from sync.rig import Lens, Rig

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

MIN_VIEWS = 3
"""Fewest views of a target: one to check what the two others say."""
FOLDS = 5
MIN_SHARE = 0.6
"""Least share of the pairs that one homography must explain; below it the cameras do not look at one thing."""
_BAD_VIEW = 3.5  # times the median view's RMS: such a view is left out
_BAD_VIEW_PX = 0.35  # but never one that is better than this
_LENS_GAIN = 0.85  # a lens must bring the held-out error below this share of what it was
_STRONG_PX = 1.0  # one homography is off by this much: only then a fisheye lens is tried, too
_WIDE_GAIN = 0.97
CELLS = (6, 8)
"""Rows and columns of the residual map."""


def solve(
    views: Sequence[View],
    image_size: tuple[int, int],
    event_size: tuple[int, int],
    *,
    lens: LensChoice | Literal["auto"] = "none",
    event_lens: Lens | None = None,
    image_lens: Lens | None = None,
    shape: Shape = "homography",
    folds: int = FOLDS,
) -> GeometryResult:
    """The map event pixel → image pixel from views, with its held-out error, what is missing, and a verdict.

    Never raises on bad views: what is wrong is in `problems`, and the verdict is "fail".

    Args:
        views: any mixture of sources.
        image_size, event_size: (width, height) of either camera.
        lens: distortion to estimate: "none"; "brown" or "fisheye": the difference between both lenses, written
            as the event camera's; "auto": Brown where it lowers the held-out error by more than 15 %, or
            fisheye where that is better still.
        event_lens, image_lens: lenses that are known beforehand.
        shape: a stiffer map than a homography, for points that do not cover the field.
        folds: parts that the views are divided into; each is foretold by the others.
    """
    kind: LensChoice = "none" if lens == "auto" else lens
    setting = Setting(event_size, image_size, kind, event_lens, image_lens, shape)
    plain = _solve(views, setting, folds)
    if plain.image_from_event is None or (
        lens == "none" and plain.pixel_map is not None and plain.pixel_map.plain
    ):
        return judge(plain)
    if lens == "auto":
        bent = _solve(views, replace(setting, lens="brown"), folds)
        better = bent.pixel_map is not None and bent.rms_px < _LENS_GAIN * plain.rms_px
        if better and plain.rms_px > _STRONG_PX:
            wide = _solve(views, replace(setting, lens="fisheye"), folds)
            if wide.pixel_map is not None and wide.rms_px < _WIDE_GAIN * bent.rms_px:
                bent = wide
        return judge(replace(bent, plain_rms_px=plain.rms_px) if better else plain)
    without = _solve(views, Setting(event_size, image_size), folds)
    return judge(replace(plain, plain_rms_px=without.rms_px))


def check(views: Sequence[View], rig: Rig) -> GeometryResult:
    """How well a rig that exists fits views that it was not made from: all of them are held out."""
    event_size, image_size = (rig.events.width, rig.events.height), (rig.image.width, rig.image.height)
    m = PixelMap.of(rig)
    table: list[ViewResult] = []
    parts: list[tuple[F64, F64]] = []
    for k, v in enumerate(views):
        why = v.trouble()
        r = residuals(m, _pairs([v])) if not why else np.zeros((0, 2))
        if not why:
            parts.append((v.event_points, r))
        table.append(_row(v, k, _rms(r), _rms(r), why))
    return judge(_assembled(views, m, Setting(event_size, image_size), table, parts, np.nan, []), trained=False)


def _solve(views: Sequence[View], setting: Setting, folds: int) -> GeometryResult:
    why = [v.trouble() for v in views]
    used = np.array([not w for w in why], np.bool_)
    problems: list[str] = []
    pixel_map: PixelMap | None = None
    if used.any():
        first = rough(_pairs([v for v, u in zip(views, used, strict=True) if u]), setting)
        share = 0.0 if first is None else float(first[1].mean())
        if first is None or share < MIN_SHARE:
            problems.append(
                f"only {100 * share:.0f} % of the pairs fit one homography: the cameras look at "
                "different things, or "
                "moved against each other while the views were taken"
            )
        else:
            pixel_map = _reject(views, used, why, setting, first[0])
            if pixel_map is None:
                problems.append("no map fits: the points contradict each other; take the views again")
    if pixel_map is None:
        table = [
            _row(v, k, np.nan, np.nan, w or "no map fits")
            for k, (v, w) in enumerate(zip(views, why, strict=True))
        ]
        return _assembled(views, None, setting, table, [], np.nan, problems)
    kept = [v for v, u in zip(views, used, strict=True) if u]
    held, field_error, corner_error = _held_out(kept, setting, pixel_map, folds)
    table, parts, training = [], [], []
    held_of = {id(v): h for v, h in zip(kept, held, strict=True)}
    for k, v in enumerate(views):
        r = residuals(pixel_map, _pairs([v])) if not v.trouble() else np.zeros((0, 2))
        h = held_of.get(id(v)) if used[k] else None
        table.append(_row(v, k, _rms(r), np.nan if h is None else _rms(h), why[k]))
        if used[k]:
            training.append(r)
            if h is not None:
                parts.append((v.event_points, h))
    out = _assembled(views, pixel_map, setting, table, parts, _rms(np.concatenate(training)), problems)
    return replace(out, field_error_px=field_error, corner_error_px=corner_error)


def _reject(views: Sequence[View], used: Bool, why: list[str], setting: Setting, start: F64) -> PixelMap | None:
    """Fit, leave out the view that fits worst by far, fit again; `used` and `why` say which and why."""
    while True:
        kept = np.flatnonzero(used).tolist()
        pixel_map = fit(_pairs([views[k] for k in kept]), setting, start)
        if pixel_map is None or len(kept) <= MIN_VIEWS:
            return pixel_map
        rms = np.array(
            [_rms(residuals(pixel_map, _pairs([views[k]]))) / max(views[k].sigma_px / 0.1, 1.0) for k in kept]
        )
        limit = max(_BAD_VIEW * float(np.median(rms)), _BAD_VIEW_PX)
        worst = int(np.argmax(np.where(np.isfinite(rms), rms, np.inf)))
        # Never more than a third: then it is not the views that are wrong.
        if rms[worst] <= limit or int((~used).sum()) * 3 >= len(used):
            return pixel_map
        used[kept[worst]] = False
        why[kept[worst]] = (
            f"off by {rms[worst]:.2f} px where the others fit to {np.median(rms):.2f} px; left out: "
            "something moved, "
            "or its corners are wrong"
        )


def _held_out(
    kept: Sequence[View], setting: Setting, whole: PixelMap, folds: int
) -> tuple[list[F64 | None], float, float]:
    """Residuals of each view under the map made without its fold; expected error of the map, field and
    corner."""
    n = len(kept)
    held: list[F64 | None] = [None] * n
    k = min(folds, n)
    if k < 2:
        return held, np.nan, np.nan
    # Neighbours in time look alike: dealt out in turn they would foretell each other. So: whole stretches for
    # long series, single views for short ones.
    part = np.arange(n) * k // n
    lattice, _ = common_field(whole, setting.event_size, setting.image_size, steps=13)
    start = np.asarray(np.linalg.inv(whole.homography), np.float64)
    moved: list[F64] = []
    for f in range(k):
        m = fit(_pairs([v for v, p in zip(kept, part, strict=True) if p != f]), setting, start)
        if m is None:
            continue
        for j in np.flatnonzero(part == f).tolist():
            held[j] = residuals(m, _pairs([kept[j]]))
        if len(lattice):
            moved.append(whole.to_event(m.to_image(lattice)) - lattice)
    if k < MIN_VIEWS or len(moved) < k or not len(lattice):
        return held, np.nan, np.nan
    deviation = np.stack(moved)
    # Jackknife over groups: variance of the whole = (k - 1) / k · Σ (without one - mean)².
    spread = np.sqrt((k - 1) / k * np.sum((deviation - deviation.mean(axis=0)) ** 2, axis=(0, 2)))
    return held, float(np.sqrt(np.mean(spread**2))), float(spread.max())


def _assembled(
    views: Sequence[View], pixel_map: PixelMap | None, setting: Setting, table: list[ViewResult],
    parts: list[tuple[F64, F64]], training: float, problems: list[str],
) -> GeometryResult:  # fmt: skip
    points = np.concatenate([p for p, _ in parts]) if parts else np.zeros((0, 2))
    rest = np.concatenate([r for _, r in parts]) if parts else np.zeros((0, 2))
    far = np.linalg.norm(rest, axis=1)
    seen = [v.event_points for v, row in zip(views, table, strict=True) if row.used]
    matrix = None
    flip, scale = False, float("nan")
    if pixel_map is not None:
        matrix = pixel_map.nearest_homography(setting.event_size, setting.image_size)
        flip = bool(np.linalg.det(matrix[:2, :2]) < 0)
        scale = _scale(matrix, setting.event_size)
    return GeometryResult(
        setting.event_size, setting.image_size, matrix, pixel_map, flip, scale,
        rms_px=_rms(rest), p95_px=float(np.percentile(far, 95)) if len(far) else float("nan"),
        training_rms_px=training, plain_rms_px=_rms(rest), field_error_px=float("nan"),
        corner_error_px=float("nan"),
        per_view=tuple(table), residual_map=_residual_map(points, rest, setting.event_size),
        coverage=_coverage(np.concatenate(seen) if seen else np.zeros((0, 2)), pixel_map, setting),
        problems=problems,
    )  # fmt: skip


def _pairs(views: Sequence[View]) -> Pairs:
    return Pairs(
        np.concatenate([v.image_points for v in views]),
        np.concatenate([v.event_points for v in views]),
        np.concatenate([np.full(len(v), v.sigma_px) for v in views]),
    )


def _row(view: View, k: int, rms: float, held: float, why: str) -> ViewResult:
    return ViewResult(
        view.name or f"view {k + 1}", view.source, len(view), rms, held, not why, why, view.blur_px, view.seen
    )  # fmt: skip


def _rms(r: F64) -> float:
    return float(np.sqrt(np.mean(np.sum(r * r, axis=1)))) if len(r) else float("nan")


def _scale(m: F64, event_size: tuple[int, int]) -> float:
    v = np.array([(event_size[0] - 1) / 2, (event_size[1] - 1) / 2, 1.0])
    q = m @ v
    j = (m[:2, :2] - np.outer(q[:2] / q[2], m[2, :2])) / q[2]
    return float(np.sqrt(abs(np.linalg.det(j))))


def _residual_map(points: F64, r: F64, size: tuple[int, int]) -> ResidualMap:
    rows, columns = CELLS
    cell = (size[0] / columns, size[1] / rows)
    c = np.clip(np.floor((points[:, 0] + 0.5) / cell[0]), 0, columns - 1).astype(np.int64)
    w = np.clip(np.floor((points[:, 1] + 0.5) / cell[1]), 0, rows - 1).astype(np.int64)
    index = w * columns + c
    n = np.bincount(index, minlength=rows * columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.stack([np.bincount(index, r[:, a], rows * columns) / n for a in (0, 1)], axis=1)
        rms = np.sqrt(np.bincount(index, np.sum(r * r, axis=1), rows * columns) / n)
    return ResidualMap(n.reshape(CELLS), mean.reshape(rows, columns, 2), rms.reshape(CELLS), cell)


def _coverage(points: F64, pixel_map: PixelMap | None, setting: Setting) -> Coverage:
    counts = _thirds(points, setting.event_size)
    expected = np.ones((3, 3), np.bool_)
    if pixel_map is not None:
        w, h = setting.event_size
        y, x = np.mgrid[0 : h : max(1, h // 48), 0 : w : max(1, w // 64)]
        e = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
        i = pixel_map.to_image(e)
        with np.errstate(invalid="ignore"):
            inside = (i >= 0).all(axis=1) & (i <= np.array(setting.image_size) - 1).all(axis=1)
        expected = _thirds(e[inside], setting.event_size) > 0.5 * _thirds(e, setting.event_size)
    return Coverage(counts, expected)


def _thirds(points: F64, size: tuple[int, int]) -> NDArray[np.int64]:
    at = np.clip(np.floor(3 * (points + 0.5) / np.array(size)), 0, 2).astype(np.int64)
    return np.bincount(at[:, 1] * 3 + at[:, 0], minlength=9).reshape(3, 3)
