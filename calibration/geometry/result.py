"""What a geometric calibration found, how wrong it is, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calibration.geometry.views import Coverage, Source
from sync.lens import PixelMap
from sync.rig import Geometry, Rig, Validity

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class ViewResult:
    """One row of the table of views.

    Attributes:
        name: the view's.
        source: what its points were found on.
        points: pairs of points.
        rms_px: error under the map from **all** views used, event pixels; nan when there is no map.
        held_out_px: error under the map made without this view's fold; nan for a view that was not used.
        used: it took part.
        why: why it did not, one line; "" for a view that did.
        blur_px: smear in event pixels; None when unknown.
        seen: share of the target's points that were found.
    """

    name: str
    source: Source
    points: int
    rms_px: float
    held_out_px: float
    used: bool
    why: str = ""
    blur_px: float | None = None
    seen: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class ResidualMap:
    """Held-out residuals by place, on a lattice of cells over the event sensor.

    Attributes:
        counts: (R, C) int64 points in each cell.
        mean: (R, C, 2) float64, mean residual (x, y) in event pixels: what is systematic; nan where empty.
        rms: (R, C) float64, event pixels; nan where empty.
        cell: (width, height) of a cell in event pixels.
    """

    counts: I64
    mean: F64
    rms: F64
    cell: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class GeometryResult:
    """The map between both cameras and its errors. All errors are in **event pixels**.

    Attributes:
        image_from_event: (3, 3) float64, event pixel → image pixel between raw pixels, pixel centres at
            integers. Where a lens was estimated, the one homography nearest to the exact map. None when there
            is no map.
        pixel_map: the exact map, lenses included; None when there is no map.
        flip: one camera sees the other's mirror image.
        scale: image pixels per event pixel in the middle of the field.
        rms_px, p95_px: error of the exact map on held-out views (k-fold over views): root of the mean square
            and 95th percentile of the distance; nan when there is nothing to hold out.
        training_rms_px: the same on the views that the map was made from.
        plain_rms_px: held-out error of one homography without any lens; `rms_px` itself when no lens was
            fitted.
        field_error_px: expected error of the map itself (not of single points), RMS over the common field, from
            how it changes when views are left out (jackknife); nan with fewer than three views.
        corner_error_px: the same in the worst corner of the common field.
        per_view: a row for each view handed in, in order.
        residual_map: held-out residuals by place.
        coverage: where points were seen.
        problems: one line each, the worst first: what is wrong or missing, and what to do.
        verdict: "pass"; "warn": usable, see `problems`; "fail": do not use.
    """

    event_size: tuple[int, int]
    image_size: tuple[int, int]
    image_from_event: F64 | None
    pixel_map: PixelMap | None
    flip: bool
    scale: float
    rms_px: float
    p95_px: float
    training_rms_px: float
    plain_rms_px: float
    field_error_px: float
    corner_error_px: float
    per_view: tuple[ViewResult, ...]
    residual_map: ResidualMap
    coverage: Coverage
    problems: list[str] = field(default_factory=list)
    verdict: Verdict = "fail"
    validity: Validity = field(default_factory=Validity)

    @property
    def views_used(self) -> int:
        """Views that took part."""
        return sum(v.used for v in self.per_view)

    def geometry(self, measured: str) -> Geometry:
        """As the rig file has it.

        Args:
            measured: how and when, in words.

        Raises:
            ValueError: there is no map.
        """
        if self.image_from_event is None or self.pixel_map is None:
            raise ValueError("no map was found: " + "; ".join(self.problems[:1]))
        exact = None if self.pixel_map.plain else _rows(self.pixel_map.homography)
        error = self.rms_px if np.isfinite(self.rms_px) else None
        p95 = self.p95_px if np.isfinite(self.p95_px) else None
        return Geometry(
            image_from_event=_rows(self.image_from_event), mirrored=self.flip,
            undistorted_image_from_event=exact, residual_px=error, residual_p95_px=p95,
            validity=self.validity, measured=measured,
        )  # fmt: skip

    def applied(self, rig: Rig, measured: str, report: str = "") -> Rig:
        """A rig with this geometry (and lenses) in place of its own."""
        g = self.geometry(measured)
        assert self.pixel_map is not None
        return rig.model_copy(
            update={
                "geometry": g,
                "events": rig.events.model_copy(update={"lens": self.pixel_map.event_lens}),
                "image": rig.image.model_copy(update={"lens": self.pixel_map.image_lens}),
                "report": report or rig.report,
            }
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a number that is not known is None."""
        m = self.pixel_map
        return {
            "verdict": self.verdict, "problems": list(self.problems),
            "image_from_event": None if self.image_from_event is None else self.image_from_event.tolist(),
            "undistorted_image_from_event": None if m is None or m.plain else m.homography.tolist(),
            "event_lens": None if m is None or m.event_lens is None else m.event_lens.model_dump(mode="json"),
            "image_lens": None if m is None or m.image_lens is None else m.image_lens.model_dump(mode="json"),
            "mirrored": self.flip, "scale": _number(self.scale),
            "held_out_rms_px": _number(self.rms_px), "held_out_p95_px": _number(self.p95_px),
            "training_rms_px": _number(self.training_rms_px), "plain_rms_px": _number(self.plain_rms_px),
            "field_error_px": _number(self.field_error_px), "corner_error_px": _number(self.corner_error_px),
            "validity": self.validity.model_dump(mode="json"),
            "views": [
                {
                    "name": v.name, "source": v.source.value, "points": v.points, "rms_px": _number(v.rms_px),
                    "held_out_px": _number(v.held_out_px), "used": v.used, "why": v.why,
                    "blur_px": None if v.blur_px is None else _number(v.blur_px), "seen": v.seen,
                }
                for v in self.per_view
            ],
            "coverage": {
                "counts": self.coverage.counts.tolist(), "expected": self.coverage.expected.tolist(),
                "share": self.coverage.share, "missing": self.coverage.missing(),
            },
            "residual_map": {
                "counts": self.residual_map.counts.tolist(), "cell": list(self.residual_map.cell),
                "mean": [[[_number(v) for v in c] for c in row] for row in self.residual_map.mean],
                "rms": [[_number(v) for v in row] for row in self.residual_map.rms],
            },
        }  # fmt: skip


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _rows(m: F64) -> Any:
    return tuple(tuple(float(v) for v in row) for row in m / m[2, 2])
