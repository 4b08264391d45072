"""A whole calibration: geometry, then time with that geometry, then a check by the edges of the scene."""

from __future__ import annotations

import re
import time as clocks
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from calibration.check import CheckResult, check
from calibration.from_scene import FromScene, from_scene
from calibration.geometry.collect import Missed
from calibration.geometry.result import GeometryResult
from calibration.geometry.room import validity
from calibration.geometry.scene_search import part
from calibration.geometry.solve import MIN_VIEWS, solve
from calibration.geometry.targets import Board
from calibration.geometry.views import Source, View
from calibration.take import Take
from calibration.target_views import views_of
from calibration.time.result import AffineClock, TimeResult, Verdict
from calibration.time.solve import calibrate_time, calibrated_clock, calibrated_image, with_delay
from capture.errors import HalfmirrorError
from sync.rig import Rig

STEPS = ("geometry", "time", "check", "report")
ELSEWHERE_US = 2_000.0
_TARGET = 0.5
"""Share of the geometry's progress for the target; where none is seen, the scene takes as long again."""
_BY_SCENE, _ONE_SENSOR = "no target: the scene itself", "one sensor gives both streams"
_ONE_GRID = "events and pictures lie on one pixel grid"

Tell = Callable[..., None]
"""Takes a step, what is being done in it, the share of it that is done; by name what else is known
(`coverage`)."""


class CannotCalibrate(HalfmirrorError):
    """Nothing could be calibrated; the message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose.

    Attributes:
        board: the target.
        lens: see `calibration.geometry.solve.solve`.
        keep_geometry: the rig's geometry stays; only time is measured.
    """

    board: Board = field(default_factory=Board)
    lens: str = "auto"
    keep_geometry: bool = False


@dataclass(slots=True)
class Calibration:
    """Everything that was measured.

    Attributes:
        report: id of the report, also in the rig file.
        started: UTC, ISO 8601.
        command: what was typed.
        before, rig: the rig as it was and as it is now.
        geometry: None where it was not measured.
        geometry_by: one line: from what.
        missed: views that did not come about.
        time: the clock.
        check: on the last take, by edges of the scene.
        check_before: the same edges under the rig as it was before, for comparison.
        takes: their names.
        seconds: by step.
        unmeasured: how bad it is that geometry was not measured; None where it was, or was not asked for.
    """

    report: str
    started: str
    command: str
    before: Rig
    rig: Rig
    geometry: GeometryResult | None
    geometry_by: str
    missed: list[Missed]
    time: TimeResult
    check: CheckResult | None
    takes: list[str]
    seconds: dict[str, float] = field(default_factory=dict)
    program: str = ""
    unmeasured: Verdict | None = None

    def problems(self) -> list[tuple[str, str, Verdict]]:
        """(step, sentence, how bad), the worst first."""
        out: list[tuple[str, str, Verdict]] = []
        if self.geometry is not None:
            out += [("geometry", p, Verdict(self.geometry.verdict)) for p in self.geometry.problems]
        if self.unmeasured is not None:
            out.append(("geometry", self.geometry_by, self.unmeasured))
        out += [("time", t.text, t.verdict) for t in self.time.troubles]
        if self.check is not None:
            known = {t.text for t in self.time.troubles}
            out += [("check", t.text, t.verdict) for t in self.check.troubles if t.text not in known]
        order = [Verdict.FAIL, Verdict.WARN, Verdict.PASS]
        return sorted(out, key=lambda p: order.index(p[2]))

    @property
    def by_scene(self) -> bool:
        """The geometry was made from the scene that the check looks at."""
        return self.geometry is not None and self.geometry_by.startswith(_BY_SCENE)

    @property
    def verdict(self) -> Verdict:
        """The worst of the steps."""
        found = [self.time.verdict, self.unmeasured or Verdict.PASS]
        if self.geometry is not None:
            found.append(Verdict(self.geometry.verdict))
        if self.check is not None:
            found += [t.verdict for t in self.check.troubles if t.name in ("geometry", "other camera")]
        return Verdict.worst(found)

    def to_json(self) -> dict[str, Any]:
        """For report.json."""
        return {
            "report": self.report, "started": self.started, "program": self.program, "command": self.command,
            "verdict": str(self.verdict), "takes": list(self.takes),
            "problems": [{"step": s, "text": t, "verdict": str(v)} for s, t, v in self.problems()],
            "geometry_by": self.geometry_by,
            "geometry": None if self.geometry is None else self.geometry.as_dict(),
            "missed_views": [{"when_us": m.when_us, "camera": m.camera, "why": m.why} for m in self.missed],
            "time": self.time.to_json(), "check": None if self.check is None else self.check.to_json(),
            "seconds": {k: round(v, 2) for k, v in self.seconds.items()},
            "rig": self.rig.model_dump(mode="json", exclude_none=True),
        }  # fmt: skip


def calibrate(
    rig: Rig, takes: Sequence[Take], options: Options | None = None, *, command: str = "", program: str = "",
    tell: Tell = lambda step, what, share, **more: None,
) -> Calibration:  # fmt: skip
    """Measure a rig.

    Args:
        rig: as it is known: sizes, tone, thresholds; its geometry is the starting point.
        takes: at least one; the last one with motion gives the clock and the check.
        options: see there.
        command, program: for the report.
        tell: progress.

    Raises:
        CannotCalibrate: there is nothing to calibrate from.
    """
    o = options or Options()
    if not takes:
        raise CannotCalibrate("there is no recording to calibrate from")
    report = uuid.uuid4().hex[:12]
    started = datetime.now(UTC).isoformat(timespec="seconds")
    seconds: dict[str, float] = {}
    mark = clocks.perf_counter()
    geometry, by = None, "kept as it was"
    missed: list[Missed] = []
    scene_by: FromScene | None = None
    new = rig
    one_grid = rig.clock.relation == "same" and rig.identity
    if one_grid:
        by = f"{_ONE_GRID if takes[-1].by_driver else _ONE_SENSOR}: the map is the identity"
    elif not o.keep_geometry:
        geometry, by, missed, scene_by = _geometry(rig, takes, o, tell)
        if geometry is not None and geometry.image_from_event is not None:
            new = geometry.applied(rig, f"{by}, {started}", report)
    scene = takes[-1]
    others = rig.other_cameras(scene.serials)
    if new is not rig or not others or one_grid:
        new = with_serials(new, scene.serials)
    unmeasured = None
    if geometry is None and not o.keep_geometry and not one_grid:
        # A geometry that was measured some time ago is worth something; one that was assumed is not, and
        # neither is that of other cameras.
        unmeasured = Verdict.FAIL if others or rig.geometry.residual_px is None else Verdict.WARN
    seconds["geometry"], mark = clocks.perf_counter() - mark, clocks.perf_counter()

    def timed(with_: Rig) -> TimeResult:
        return calibrate_time(
            scene.items, with_, lambda what, share: tell("time", what, share), by_driver=scene.by_driver
        )

    time = timed(new)
    if scene_by is not None and _other_times(time, new, scene_by.clock):
        # The scene was looked at with frames at the wrong time; now it is known better.
        better = from_scene(
            scene, _timed(new, time), o.lens, _clock_of(time, new),
            lambda share: tell("time", "looking at the scene again, with the clock that was found", share),
        )  # fmt: skip
        if better is not None and better.result.geometry.verdict != "fail":
            geometry = better.result.geometry
            new = geometry.applied(_timed(new, time), f"{by}, {started}", report)
            first, time = time, timed(new)
            if time.rolling_us is None and first.rolling_us is not None:
                time.rolling_us, time.rolling_uncertainty_us = first.rolling_us, first.rolling_uncertainty_us
    measured_with = new.clock.delay_us
    new = _timed(new, time)
    clock = new.clock.model_copy(update={"measured": f"{time.summary()}, {started}"})
    new = new.model_copy(
        update={"clock": clock, "report": report, "version": type(new).model_fields["version"].default}
    )
    seconds["time"], mark = clocks.perf_counter() - mark, clocks.perf_counter()
    checked = None
    # The pixels of one sensor lie on themselves.
    if time.clock is not None and not (time.relation == "same" and new.identity):
        checked = check(
            scene.items,
            new,
            serials=scene.serials,
            time=with_delay(time, new.clock.delay_us - measured_with),
            progress=lambda what, share: tell("check", what, share),
        )
    seconds["check"] = clocks.perf_counter() - mark
    return Calibration(
        report, started, command, rig, new, geometry, by, missed, time, checked, [t.name for t in takes],
        seconds, program, unmeasured,
    )  # fmt: skip


def with_serials(rig: Rig, serials: Mapping[str, str]) -> Rig:
    """The rig with the serial numbers of the cameras ("events", "image") that it was measured with."""
    return rig.model_copy(
        update={
            "events": rig.events.model_copy(update={"serial": serials.get("events", rig.events.serial)}),
            "image": rig.image.model_copy(update={"serial": serials.get("image", rig.image.serial)}),
        }
    )


def _timed(rig: Rig, time: TimeResult) -> Rig:
    """The rig with the clock and the shutter that were measured."""
    return rig.model_copy(update={"clock": calibrated_clock(time, rig), "image": calibrated_image(time, rig)})


def _clock_of(time: TimeResult, rig: Rig) -> AffineClock | None:
    """Where frames lie by what was measured with a rig, its new delay included; None without a clock."""
    now = calibrated_clock(time, rig)
    if time.relation == "same":
        return AffineClock(0, now.stamp_delay_us, 0.0)
    return with_delay(time, now.delay_us - rig.clock.delay_us).clock


def _other_times(time: TimeResult, rig: Rig, taken: AffineClock) -> bool:
    """Frames, or their rows, lie elsewhere in time than they were taken to."""
    clock, image = _clock_of(time, rig), calibrated_image(time, rig)
    apart = 0.0 if clock is None else abs(clock.event_us(clock.ref_ns) - taken.event_us(clock.ref_ns))
    return max(apart, abs(image.rolling_us - rig.image.rolling_us)) > ELSEWHERE_US


def _geometry(
    rig: Rig, takes: Sequence[Take], o: Options, tell: Tell
) -> tuple[GeometryResult | None, str, list[Missed], FromScene | None]:
    """From targets where they are seen, else from the scene (then it is told by the last one)."""
    views: list[View] = []
    missed: list[Missed] = []
    for n, take in enumerate(takes):
        tell("geometry", f"looking for the target in {take.name}", _TARGET * n / len(takes))

        def told(some: list[View], share: float, n: int = n, before: tuple[View, ...] = tuple(views)) -> None:
            shown = [*before, *some]
            done = _TARGET * (n + share) / len(takes)
            tell("geometry", f"{len(shown)} views of the target", done, **_feedback(shown, rig))

        found, lost = views_of(take, rig, o.board, told)
        views += found
        # Where no board was shown at all, nothing was missed, unless it is shown nowhere.
        missed += lost if found or n == 0 or _blinked(lost) else []
    size = (rig.image.width, rig.image.height), (rig.events.width, rig.events.height)
    tell("geometry", f"solving with {len(views)} views", _TARGET)
    if len(views) >= MIN_VIEWS:
        result = solve(views, *size, lens=o.lens)  # type: ignore[arg-type]
        good = [v for v, row in zip(views, result.per_view, strict=True) if row.used]
        result = replace(result, validity=validity(good, *size))
        return result, f"{shown_by(views)}, {result.views_used} views", missed, None
    doing = "no target was seen: looking at the scene"
    by_scene = part(lambda share: tell("geometry", doing, share), _TARGET, 1.0)
    by_scene(0.0)
    scene = from_scene(takes[-1], rig, o.lens, told=by_scene)
    if scene is not None and scene.result.geometry.verdict != "fail":
        # Where nothing blinked, no board was shown.
        missed = missed if views else _blinked(missed)
        by = f"{_BY_SCENE}, {scene.result.pairs} pairs of frames{commonest(missed)}"
        return scene.result.geometry, by, missed, scene
    problems = [] if scene is None else scene.result.geometry.problems[:1]
    why = commonest(missed) + "".join(f"; {problem}" for problem in problems)
    return None, f"kept as it was: {len(views)} views of a target, {MIN_VIEWS} are needed{why}", missed, None


def shown_by(views: Sequence[View]) -> str:
    """What the views are of, in words."""
    swung = {v.source is Source.RECONSTRUCTED for v in views}
    return " and ".join(["blinking board"] * (False in swung) + ["board swung by hand"] * (True in swung))


def _blinked(missed: Sequence[Missed]) -> list[Missed]:
    return [m for m in missed if m.swaps > 1]


def commonest(missed: Sequence[Missed]) -> str:
    """Why most views did not come about, to go on a sentence; "" where none was missed."""
    if not missed:
        return ""
    # Figures differ from view to view; what was wrong does not.
    groups: dict[str, list[Missed]] = {}
    for m in missed:
        groups.setdefault(m.camera + re.sub(r"[\d.]+", "", m.why), []).append(m)
    most = max(groups.values(), key=len)
    whose = {"events": "event camera", "image": "frame camera"}.get(most[0].camera, "both cameras")
    return f"; {len(most)} of {len(missed)} that did not become views: {most[0].why} ({whose})"


def _feedback(views: list[View], rig: Rig) -> dict[str, Any]:
    """What a person wants to see while the board is shown: where it was, and how sharp."""
    if not views:
        return {}
    size = np.array([rig.events.width, rig.events.height])
    points = np.concatenate([v.event_points for v in views])
    at = np.clip(np.floor(3 * (points + 0.5) / size), 0, 2).astype(int)
    coverage = np.bincount(at[:, 1] * 3 + at[:, 0], minlength=9).reshape(3, 3)
    blurs = [v.blur_px for v in views if v.blur_px is not None]
    return {"coverage": coverage.tolist(), "views": len(views), "blur_px": blurs[-1] if blurs else None}
