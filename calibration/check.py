"""How well does a calibration fit a recording that it was not made from: in pixels, in µs, with a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calibration.field import CELLS, REACH_PX, Exposed, FieldMeter, FieldShift, Items, chosen, exposed
from calibration.time.result import AffineClock, TimeResult, Trouble, Verdict
from calibration.time.solve import Progress, calibrate_time, delay_of_stamps
from sync.rig import Rig

PASS_PX, WARN_PX = 0.75, 1.5
"""RMS shift over the field, event pixels. The method itself is good for some 0.3."""
UNCHECKED = ("geometry", "no motion", "no edges")
"""Names of the troubles that say why edges were not compared, or lie too far apart for that."""
FEWEST_CELLS = 3
"""Fewer of them do not condemn a rig unless the field as a whole agrees somewhere."""


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """What came out.

    Attributes:
        shift: where events and picture lie apart; None when nothing moved, or no edges were recognised.
        time: the clock as this recording has it.
        troubles: what is wrong, worst first.
        best: the frame in which most moved, for a picture; None without one.
    """

    shift: FieldShift | None
    time: TimeResult
    troubles: list[Trouble] = field(default_factory=list)
    best: Exposed | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst of the troubles."""
        return Verdict.worst([t.verdict for t in self.troubles])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        s = self.shift
        return {
            "verdict": str(self.verdict),
            "residual_px": None if s is None else {
                "rms": round(s.rms_px, 3), "worst": round(s.worst_px, 3), "dx": round(s.dx, 3),
                "dy": round(s.dy, 3), "frames": s.frames,
                "cells": [[None if np.isnan(c[0]) else [round(float(c[0]), 3), round(float(c[1]), 3)]
                           for c in row] for row in s.cells],
            },
            "time": self.time.to_json(),
            "troubles": [{"name": t.name, "text": t.text, "verdict": str(t.verdict)} for t in self.troubles],
        }  # fmt: skip


def check(
    items: Items, rig: Rig, *, serials: dict[str, str] | None = None, time: TimeResult | None = None,
    progress: Progress = lambda s, n: None, by_driver: bool = False,
) -> CheckResult:  # fmt: skip
    """Check a rig against a recording.

    Args:
        items: both streams, from the beginning each time it is called.
        rig: what is checked.
        serials: of the cameras that recorded, by role ("events", "image"), as far as known.
        time: the clock in this recording, when it is known already.
        progress, by_driver: see `calibrate_time`.
    """
    known, time = time is not None, time or calibrate_time(items, rig, progress, by_driver=by_driver)
    troubles = [*other_cameras(rig, serials or {}), *time.troubles]
    if time.relation == "same" and not known:
        troubles += _stamps(time, rig)
    stated = rig.clock.residual_us
    if (
        time.clock is not None
        and time.relation == "trigger"
        and stated
        and time.residual_us > 5 * max(stated, 2.0)
    ):
        troubles.append(
            Trouble(
                "edges scatter", f"edges scatter by {time.residual_us:.1f} µs, {stated:.1f} when calibrated"
            )
        )
    if time.relation == "trigger" and time.active_high != rig.clock.active_high:
        troubles = [t for t in troubles if t.name != "polarity"] + [_polarity(time)]
    if time.rolling_us is not None and time.rolling_us != rig.image.rolling_us:
        troubles.append(_shutter(time, rig))
    shift, best = None, None
    if time.clock is not None:
        frames = time.frames if time.clock.frames is None else len(time.at_us)
        meter, best = measure_field(items, time.clock, rig, frames, progress)
        shift = meter.result()
        troubles += _judge(shift, meter)
    order = [Verdict.FAIL, Verdict.WARN, Verdict.PASS]
    troubles.sort(key=lambda t: order.index(t.verdict))
    return CheckResult(shift, time, troubles, best)


def measure_field(
    items: Items, clock: AffineClock, rig: Rig, frames: int, progress: Progress = lambda s, n: None
) -> tuple[FieldMeter, Exposed | None]:  # fmt: skip
    """Shift over the field, and the frame in which most moved."""
    meter, best = FieldMeter(rig), None
    wanted = chosen(frames if frames else 10**6)
    for n, e in enumerate(exposed(items(), clock, rig)):
        if frames and n not in wanted:
            continue
        if not frames and n % 4:
            continue
        progress("comparing edges", min(1.0, n / max(1, frames)))
        if meter.add(e) and (best is None or len(e.events) > len(best.events)):
            best = e
    return meter, best


def _stamps(time: TimeResult, rig: Rig) -> list[Trouble]:
    if delay_of_stamps(time, rig) == time.assumed_us:
        return []
    return [
        Trouble("stamps", f"by the pictures, exposures lie {time.shift_us:+.0f} ± "
                f"{time.shift_uncertainty_us:.0f} µs from where stamps and delay_us put them: calibrate the "
                "rig again")
    ]  # fmt: skip


def _shutter(time: TimeResult, rig: Rig) -> Trouble:
    said = rig.image.rolling_us
    says = f"{said / 1e3:g} ms" if said else "a global shutter"
    return Trouble(
        "shutter", f"by the pictures {time.shutter()}; the rig file says {says}: set image.rolling_us = "
        f"{time.rolling_us:.0f}, or calibrate the rig again"
    )  # fmt: skip


def _judge(shift: FieldShift | None, meter: FieldMeter) -> list[Trouble]:
    whole = meter.whole()
    if whole is not None and whole.mirrored:
        return [
            Trouble("geometry", "events and picture agree only when one of them is mirrored: the rig file "
                    "has it the wrong way round, calibrate the rig again", Verdict.FAIL)
        ]  # fmt: skip
    if whole is not None and np.hypot(whole.dx, whole.dy) > REACH_PX:
        return [
            Trouble("geometry", f"events and picture lie {np.hypot(whole.dx, whole.dy):.0f} event pixels "
                    f"apart ({whole.dx:+.0f}, {whole.dy:+.0f}): calibrate the rig again", Verdict.FAIL)
        ]  # fmt: skip
    if shift is None and not meter.moved:
        return [Trouble("no motion", "too little moves in this recording to compare edges; geometry unchecked")]
    if shift is None:
        return [
            Trouble("no edges", "edges of events and picture were not recognised in each other anywhere; "
                    "geometry unchecked: record while the rig itself moves, or calibrate it again")
        ]  # fmt: skip
    places = int(np.isfinite(shift.quality).sum())
    few = (
        f", but in {places} of {CELLS[0] * CELLS[1]} places only"
        if places < FEWEST_CELLS and whole is None
        else ""
    )
    apart = f"events and picture lie {shift.rms_px:.2f} event pixels apart (RMS"
    if shift.rms_px > WARN_PX and not few:
        return [
            Trouble("geometry", f"{apart}; {shift.dx:+.2f}, {shift.dy:+.2f} on average): calibrate the rig "
                    "again", Verdict.FAIL)
        ]  # fmt: skip
    if shift.rms_px > PASS_PX:
        return [Trouble("geometry", f"{apart}){few}")]
    return []


def _polarity(time: TimeResult) -> Trouble:
    level, value = ("high", "true") if time.active_high else ("low", "false")
    return Trouble(
        "polarity", f"the shutter is open while the signal is {level}, not as the rig file says: set "
        f"active_high = {value} in it, or calibrate again"
    )  # fmt: skip


def other_cameras(rig: Rig, serials: dict[str, str]) -> list[Trouble]:
    """The rig file is of other cameras than those that are there."""
    return [Trouble("other camera", text) for text in rig.other_cameras(serials)]
