"""A whole calibration: geometry, then time with that geometry, then a check on data that neither was made
from."""

from __future__ import annotations

import time as clocks
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from calibration.check import CheckResult, check
from calibration.field import Items
from calibration.geometry.blinking import find_swaps, still_stretches
from calibration.geometry.charuco import as_gray
from calibration.geometry.collect import Missed, TimedFrame, blinking_views
from calibration.geometry.result import GeometryResult
from calibration.geometry.room import validity
from calibration.geometry.scene import SceneResult, solve_scene
from calibration.geometry.solve import MIN_VIEWS, solve
from calibration.geometry.targets import Board
from calibration.geometry.views import View
from calibration.time.arrival import by_arrival
from calibration.time.result import AffineClock, TimeResult, Verdict
from calibration.time.solve import calibrate_time, calibrated_clock, calibrated_image, with_delay
from calibration.time.streams import Streams
from calibration.time.trigger import by_triggers
from capture.errors import HalfmirrorError
from capture.packets import EventPacket, Events, Frame, FrameClock
from inference.restorers.picture import picture_of
from sync.rig import Rig
from sync.rolling import moved

STEPS = ("geometry", "time", "check", "report")
MOST_EVENTS = 80_000_000
AROUND_US = 50_000
SCENE_FRAMES = 60
ELSEWHERE_US = 2_000.0
_BY_SCENE = "no target: the scene itself"

Tell = Callable[..., None]
"""Takes a step, what is being done in it, the share of it that is done; by name what else is known
(`coverage`)."""


class CannotCalibrate(HalfmirrorError):
    """Nothing could be calibrated; the message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Take:
    """Both streams of one stretch of time.

    Attributes:
        name: for the report.
        items: gives them from the beginning, each time it is called.
        serials: of the cameras by role ("events", "image"), as far as known.
    """

    name: str
    items: Items
    serials: dict[str, str] = field(default_factory=dict)


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
        check: on the last take, by edges of the scene, which the geometry was not made from.
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
    new = rig
    if rig.clock.relation == "same" and rig.identity:
        by = "one sensor gives both streams: the map is the identity"
    elif not o.keep_geometry:
        geometry, by, missed = _geometry(rig, takes, o, tell)
        if geometry is not None and geometry.image_from_event is not None:
            new = geometry.applied(rig, f"{by}, {started}", report)
    unmeasured = None
    if geometry is None and not o.keep_geometry and not by.startswith("one sensor"):
        # A geometry that was measured some time ago is worth something; one that was assumed is not.
        unmeasured = Verdict.WARN if rig.geometry.residual_px is not None else Verdict.FAIL
    seconds["geometry"], mark = clocks.perf_counter() - mark, clocks.perf_counter()
    scene = takes[-1]
    time = calibrate_time(scene.items, new, lambda what, share: tell("time", what, share))
    if geometry is not None and by.startswith(_BY_SCENE) and _other_times(time, new):
        # The scene was looked at with frames at the wrong time; now it is known better.
        better = _from_scene(scene, _timed(new, time), o.lens)
        if better is not None and better.geometry.verdict != "fail":
            geometry = better.geometry
            new = geometry.applied(_timed(new, time), f"{by}, {started}", report)
            first, time = time, calibrate_time(scene.items, new, lambda what, share: tell("time", what, share))
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


def _timed(rig: Rig, time: TimeResult) -> Rig:
    """The rig with the clock and the shutter that were measured."""
    return rig.model_copy(update={"clock": calibrated_clock(time, rig), "image": calibrated_image(time, rig)})


def _other_times(time: TimeResult, rig: Rig) -> bool:
    """Frames, or their rows, lie elsewhere in time than they were taken to."""
    now = _timed(rig, time)
    stamps = abs(now.clock.stamp_delay_us - rig.clock.stamp_delay_us)
    return stamps > ELSEWHERE_US or abs(now.image.rolling_us - rig.image.rolling_us) > ELSEWHERE_US


def _geometry(
    rig: Rig, takes: Sequence[Take], o: Options, tell: Tell
) -> tuple[GeometryResult | None, str, list[Missed]]:
    """From targets where they are seen."""
    views: list[View] = []
    missed: list[Missed] = []
    for n, take in enumerate(takes):
        tell("geometry", f"looking for the target in {take.name}", n / len(takes))

        def told(some: list[View], share: float, n: int = n, before: tuple[View, ...] = tuple(views)) -> None:
            shown = [*before, *some]
            done = (n + share) / len(takes)
            tell("geometry", f"{len(shown)} views of the target", done, **_feedback(shown, rig))

        found, lost = views_of(take, rig, o.board, told)
        views += found
        # Where no board was shown at all, nothing was missed, unless it is shown nowhere.
        missed += lost if found or n == 0 else []
    size = (rig.image.width, rig.image.height), (rig.events.width, rig.events.height)
    tell("geometry", f"solving with {len(views)} views", 0.95)
    if len(views) >= MIN_VIEWS:
        result = solve(views, *size, lens=o.lens)  # type: ignore[arg-type]
        good = [v for v, row in zip(views, result.per_view, strict=True) if row.used]
        result = replace(result, validity=validity(good, *size))
        return result, f"blinking board, {result.views_used} views", missed
    tell("geometry", "no target was seen: looking at the scene", 0.96)
    scene = _from_scene(takes[-1], rig, o.lens)
    if scene is not None and scene.geometry.verdict != "fail":
        by = f"{_BY_SCENE}, {scene.pairs} pairs of frames"
        return scene.geometry, by, missed if views else []  # where no board was seen, none was shown
    why = "".join(f"; {problem}" for problem in (scene.geometry.problems[:1] if scene is not None else ()))
    return None, f"kept as it was: {len(views)} views of a target, {MIN_VIEWS} are needed{why}", missed


def _from_scene(take: Take, rig: Rig, lens: str) -> SceneResult | None:
    """Geometry from a moving scene, the last resort; None without a clock or without frames."""
    clock = rough_clock(Streams.of(take.items()), rig)
    if clock is None:
        return None
    frames: list[TimedFrame] = []
    parts: list[Events] = []
    place = -1
    for item in moved(take.items(), rig):
        if isinstance(item, EventPacket):
            parts.append(item.events)
            if len(frames) >= SCENE_FRAMES or sum(map(len, parts)) > MOST_EVENTS:
                break
            continue
        place += 1
        if clock.holds(place) and item.device_start_ns is not None and item.device_end_ns is not None:
            a, b = _exposure(item, clock)
            frames.append(TimedFrame(a, b, picture_of(item)))
    full = [q for q in parts if len(q)]
    if len(frames) < 2 or not full:
        return None
    return solve_scene(
        frames, Events.concatenate(full), (rig.image.width, rig.image.height),
        (rig.events.width, rig.events.height), tone=rig.image.tone,
        start=rig.image_from_event if rig.geometry.residual_px is not None else None,
        lens=lens,  # type: ignore[arg-type]
    )  # fmt: skip


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


def views_of(
    take: Take, rig: Rig, board: Board, told: Callable[[list[View], float], None] = lambda views, share: None
) -> tuple[list[View], list[Missed]]:
    """Views of the blinking board in a take; `told` takes those so far and the share of the take."""
    streams = Streams.of(take.items())
    clock = rough_clock(streams, rig)
    if clock is None or streams.events > MOST_EVENTS:
        return [], []
    parts = [i.events for i in take.items() if isinstance(i, EventPacket) and len(i.events)]
    if not parts:
        return [], []
    events = Events.concatenate(parts)
    del parts
    begun_us = int(events.t[0])
    stills = still_stretches(find_swaps(events))
    if not stills:
        _, lost = blinking_views([], events, board)
        return [], [replace(m, begun_us=begun_us) for m in lost]
    spans = [(s.start_us, s.end_us) for s in stills]
    frames = _frames_inside(take.items(), spans, clock)
    views: list[View] = []
    missed: list[Missed] = []
    # Stretch by stretch, so that a person sees how it goes.
    for k, (a, b) in enumerate(spans):
        near = [f for f in frames if f.start_us < b + AROUND_US and f.end_us > a - AROUND_US]
        some, lost = blinking_views(near, events.between(a - AROUND_US, b + AROUND_US), board)
        views += [replace(v, name=f"view {len(views) + n + 1}") for n, v in enumerate(some)]
        missed += [replace(m, begun_us=begun_us) for m in lost]
        told(views, (k + 1) / len(spans))
    return views, missed


def _frames_inside(
    items: Iterable[EventPacket | Frame], spans: list[tuple[int, int]], clock: AffineClock
) -> list[TimedFrame]:
    """Gray pictures of the frames in and around each span."""
    out: list[TimedFrame] = []
    for place, item in enumerate(i for i in items if isinstance(i, Frame)):
        if not clock.holds(place) or item.device_start_ns is None or item.device_end_ns is None:
            continue
        a, b = _exposure(item, clock)
        if any(s - AROUND_US < b and a < e + AROUND_US for s, e in spans):
            out.append(TimedFrame(a, b, as_gray(picture_of(item))))
    return out


def _exposure(frame: Frame, clock: AffineClock) -> tuple[int, int]:
    """(start, end) µs on the event clock; both stamps must be there."""
    assert frame.device_start_ns is not None
    assert frame.device_end_ns is not None
    return round(clock.event_us(frame.device_start_ns)), round(clock.event_us(frame.device_end_ns))


def rough_clock(streams: Streams, rig: Rig) -> AffineClock | None:
    """Good to some ms: enough for a board that stands still."""
    if any(f.clock is FrameClock.EVENT for f in streams.frames()):
        return AffineClock(0, rig.clock.stamp_delay_us, 0.0)
    found = by_triggers(streams, rig).clock if streams.edges else None
    if found is not None:
        return found
    arrival = by_arrival(streams, rig.clock)
    return None if arrival is None else arrival.clock
