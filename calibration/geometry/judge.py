"""The verdict on a geometric calibration: limits, and the sentences that say what to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibration.geometry.result import GeometryResult, Verdict, ViewResult
from calibration.geometry.views import Source

MIN_VIEWS = 3
PASS_RMS_PX, FAIL_RMS_PX = 0.35, 1.0
"""Held-out error of single points, event pixels: up to the first it passes, beyond the second it fails."""
PASS_P95_PX = 0.8
PASS_FIELD_PX, FAIL_FIELD_PX = 0.3, 1.0
"""Expected error of the map over the common field."""
SCENE_FACTOR = 3.0
"""Patches of a scene are found several times less precisely than corners of a target; many make up for it."""
BENT = 2.5
"""Held-out error over training error beyond which the map is bent to the places that it was made from."""
BENT_PX = 0.3


def judge(r: GeometryResult, *, trained: bool = True) -> GeometryResult:
    """The result with its verdict, and with a sentence for everything that keeps it from passing.

    Args:
        r: without a verdict.
        trained: the map was made from these views; False: a rig that exists is checked on them.
    """
    fail = list(r.problems)
    warn: list[str] = []
    used = [v for v in r.per_view if v.used]
    scene_only = bool(used) and all(v.source is Source.SCENE for v in used)
    looser = SCENE_FACTOR if scene_only else 1.0
    if trained and len(used) < MIN_VIEWS:
        fail.append(
            f"{len(used)} usable view{'' if len(used) == 1 else 's'} of {len(r.per_view)}; at least "
            f"{MIN_VIEWS} are "
            "needed, better 10: show the board in more places"
        )
    elif not used:
        fail.append("no usable view: nothing can be checked")
    if r.image_from_event is not None:
        _judge_errors(r, trained, looser, fail, warn)
        _judge_coverage(r, fail if trained else warn, warn)
    left_out = [v for v in r.per_view if not v.used]
    # One reason stands for its like: a person acts on the kind, the table has them all.
    for why in dict.fromkeys(v.why.partition(":")[0].partition(";")[0] for v in left_out if v.why):
        same = [v for v in left_out if v.why.startswith(why)]
        names = ", ".join(v.name for v in same[:3]) + (" …" if len(same) > 3 else "")
        warn.append(f"left out {names}: {same[0].why}")
    verdict: Verdict = "fail" if fail else "warn" if warn and not _only_spare(r, warn, left_out) else "pass"
    return replace(r, problems=[*fail, *warn], verdict=verdict)


def _only_spare(r: GeometryResult, warn: list[str], left_out: list[ViewResult]) -> bool:
    """Nothing is amiss but a few views that were left out, of many."""
    return all(w.startswith("left out ") for w in warn) and 4 * len(left_out) <= len(r.per_view)


def _judge_errors(r: GeometryResult, trained: bool, looser: float, fail: list[str], warn: list[str]) -> None:
    if not np.isfinite(r.rms_px):
        if trained:
            fail.append("no view could be held out, so the error is unknown; add views")
        return
    if trained and r.rms_px > max(BENT * r.training_rms_px, BENT_PX * looser):
        fail.append(
            f"fits the views that it was made from ({r.training_rms_px:.2f} px) but not those that it "
            "has not seen "
            f"({r.rms_px:.2f} px): it is bent to few places; add views, above all at the rim of the field"
        )
    elif r.rms_px > FAIL_RMS_PX * looser:
        fail.append(
            f"held-out error {r.rms_px:.2f} px is above {FAIL_RMS_PX * looser:g} px: "
            + ("take sharper views with the rig at rest" if trained else "the rig has moved; calibrate it anew")
        )
    elif r.rms_px > PASS_RMS_PX * looser or r.p95_px > PASS_P95_PX * looser:
        warn.append(
            f"held-out error {r.rms_px:.2f} px RMS, {r.p95_px:.2f} px at the 95th percentile (good: "
            f"{PASS_RMS_PX * looser:g} and {PASS_P95_PX * looser:g}): " + _advice(r)
        )
    if trained and r.field_error_px > FAIL_FIELD_PX:
        fail.append(f"the map itself is only known to {r.field_error_px:.2f} px over the field; add views")
    elif trained and r.field_error_px > PASS_FIELD_PX:
        warn.append(f"the map itself is known to {r.field_error_px:.2f} px over the field; add views")


def _advice(r: GeometryResult) -> str:
    systematic = r.residual_map.mean[r.residual_map.counts >= 3]
    bent = float(np.sqrt(np.mean(np.sum(systematic**2, axis=1)))) if len(systematic) else 0.0
    if bent > 0.6 * r.rms_px and r.pixel_map is not None and r.pixel_map.plain:
        return (
            "most of it is the same wherever one looks twice: a lens bends lines; estimate it with --lens brown"
        )
    return "take sharper views with the rig at rest"


def _judge_coverage(r: GeometryResult, fail: list[str], warn: list[str]) -> None:
    missing = r.coverage.missing()
    if not missing:
        return
    where = missing[0] if len(missing) == 1 else ", ".join(missing[:-1]) + " and " + missing[-1]
    third = "third" if len(missing) == 1 else "thirds"
    line = f"no views in the {where} {third} of the field: move the board there"
    grid = r.coverage.expected & (r.coverage.counts >= r.coverage.wanted)
    # A whole side without a point: there the map is a guess, whatever the rest says.
    needed = r.coverage.expected
    side = any(
        needed[s].any() and not grid[s].any()
        for s in (np.s_[:, 0], np.s_[:, 2], np.s_[0, :], np.s_[2, :])
    )  # fmt: skip
    (fail if side else warn).append(line)
