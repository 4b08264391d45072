"""A whole calibration of a simulated rig, against the truth, and its report."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from calibration.check import check, other_cameras
from calibration.geometry.targets import Board
from calibration.nominal import nominal
from calibration.report import pictures, report_html, report_json
from calibration.run import CannotCalibrate, Options, calibrate
from calibration.take import Take
from calibration.target_views import views_of
from calibration.time.result import Verdict
from capture.packets import EventPacket, Events, Frame, TriggerEdges
from sync.geometry import project
from sync.rig import Rig
from tests.calibration.small import calibration, material

# The first test of either file draws and calibrates a whole rig: half a minute of one core.
pytestmark = pytest.mark.timeout(600)


def corner_error_px(rig: Rig, truth: Rig) -> float:
    """Event pixels, at the corners and the middle of the event sensor."""
    w, h = truth.events.width, truth.events.height
    p = np.array([[20, 20], [w - 20, 20], [20, h - 20], [w - 20, h - 20], [w / 2, h / 2]])
    off = project(p, rig.image_from_event) - project(p, truth.image_from_event)
    return float(np.linalg.norm(off, axis=1).max() / truth.scale)


def moved(rig: Rig, dx: float) -> Rig:
    m = rig.image_from_event @ np.array([[1, 0, dx], [0, 1, 0], [0, 0, 1.0]])
    rows = tuple(tuple(float(v) for v in r) for r in m / m[2, 2])
    return rig.model_copy(
        update={"geometry": rig.geometry.model_copy(update={"image_from_event": rows})}
    )  # fmt: skip


def test_the_rig_is_that_of_the_truth() -> None:
    c, m = calibration(), material()
    assert m.truth is not None
    assert corner_error_px(m.rig, m.truth) > 3, "nothing of the truth may be in what it begins with"
    assert c.verdict is Verdict.PASS, c.problems()
    assert corner_error_px(c.rig, m.truth) < 0.15
    assert c.geometry is not None
    assert c.geometry.rms_px < 0.15
    assert c.time.clock is not None
    assert c.rig.clock.drift_ppm == pytest.approx(-60, abs=3)
    assert c.rig.clock.residual_us == pytest.approx(5, abs=3)
    assert c.rig.report == c.report
    assert c.rig.events.serial == "handheld-0"
    assert c.check is not None
    assert c.check.shift is not None
    assert c.check.shift.rms_px < 0.6


def test_the_rig_file_is_read_back(tmp_path) -> None:
    c = calibration()
    c.rig.save(tmp_path / "rig.toml")
    assert Rig.load(tmp_path / "rig.toml") == c.rig


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in {"meta", "img", "br", "link", "rect", "circle", "path", "line"}:
            self.open.append(tag)
        self.found += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"rect", "circle", "path", "line"}:
            assert self.open.pop() == tag


def test_the_report_loads_nothing_and_is_whole() -> None:
    c = calibration()
    html = report_html(c)
    page = Links()
    page.feed(html)
    assert not page.open
    assert all(link.startswith("data:image/png;base64,") for link in page.found)
    assert "script" not in page.tags
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?://", html)
    assert html.count("data:image/png") == 2
    assert html.count("<svg") >= 4  # residuals, coverage, clock, shift of edges
    facts = (c.report, "handheld-0", "288×192", "held out", "image_from_event", "Pass")
    for fact in (*facts, f"{c.time.drift_ppm:+.2f}"):
        assert fact in html, fact
    assert "&lt;&amp;&gt;" in html  # the command, escaped
    assert "nan" not in re.sub(r"base64,[^\"]*", "", html).lower().replace("nanosec", "")


def test_the_json_says_the_same() -> None:
    c = calibration()
    said = json.loads(report_json(c))
    assert said["report"] == c.report
    assert said["verdict"] == "pass"
    assert said["geometry"]["held_out_rms_px"] == pytest.approx(c.geometry.rms_px)  # type: ignore[union-attr]
    assert said["time"]["frames_matched"] == c.time.frames_matched
    assert said["check"]["residual_px"]["rms"] < 0.6
    assert said["command"].endswith("<&>")


def test_the_pictures_show_the_difference() -> None:
    import cv2

    shown = pictures(calibration())
    assert shown is not None
    before, after = (cv2.imdecode(np.frombuffer(b, np.uint8), 1) for b in (shown.before, shown.after))
    assert before.shape == after.shape
    assert not np.array_equal(before, after)
    amber = (after[..., 2].astype(int) - after[..., 0]) > 100
    assert 0.002 < amber.mean() < 0.3


def test_a_check_measures_a_rig_that_was_pushed() -> None:
    c, m = calibration(), material()
    scene = m.takes[-1]
    off = check(scene.items, moved(c.rig, 2.0), time=c.time)
    assert off.verdict is Verdict.FAIL
    assert off.shift is not None
    assert off.shift.dx == pytest.approx(-2.0, abs=0.4)
    assert "calibrate the rig again" in off.troubles[0].text


def test_the_clock_alone() -> None:
    c, m = calibration(), material()
    again = calibrate(c.rig, m.takes[-1:], Options(keep_geometry=True))
    assert again.geometry is None
    assert again.rig.geometry == c.rig.geometry
    assert again.verdict is Verdict.PASS
    assert "Not measured" in report_html(again)


def test_without_a_target_the_scene_tells() -> None:
    m = material()
    assert m.truth is not None
    told: list[float] = []

    def tell(step: str, what: str, share: float, **more: object) -> None:
        told.extend([share] * (step == "geometry"))

    c = calibrate(m.rig, m.takes[-1:], tell=tell)
    assert told == sorted(told)
    assert max(np.diff(told)) < 0.6
    assert told[-1] <= 1
    assert sum(share > 0.5 for share in told) > 50, "the search in the scene is followed"
    assert c.geometry is not None, c.geometry_by
    assert "no target" in c.rig.geometry.measured
    assert c.missed == []
    assert corner_error_px(c.rig, m.truth) < 1.5
    assert c.verdict is not Verdict.FAIL, c.problems()


def test_a_scene_that_does_not_suffice_is_told_once() -> None:
    """Frames that come, and hardly an event with them."""
    m = material()
    take = m.takes[-1]

    def still():
        for i in take.items():
            if isinstance(i, EventPacket):
                e = i.events
                one = Events(e.t[:1], e.x[:1], e.y[:1], e.p[:1], e.width, e.height)
                yield replace(i, events=one)
            else:
                yield i

    c = calibrate(nominal(m.rig), [Take("still", still)])
    assert c.geometry is None
    assert c.geometry_by.count("the scene does not suffice") == 1, c.geometry_by


def test_a_missed_view_is_placed_in_its_take_whatever_the_clock_counts_from() -> None:
    m = material()
    take = m.takes[-1]

    def later():
        return [delayed(i, 1_795_766_000_000_000) for i in take.items()]

    _, missed = views_of(Take("scene", later), m.rig, Board())
    assert missed
    assert all(0 <= x.into_s < 60 for x in missed)


def delayed(item: EventPacket | Frame, by_us: int) -> EventPacket | Frame:
    if not isinstance(item, EventPacket):
        return item
    e, g = item.events, item.triggers
    return replace(
        item, events=Events(e.t + by_us, e.x, e.y, e.p, e.width, e.height),
        triggers=TriggerEdges(g.t + by_us, g.rising), complete_until_us=item.complete_until_us + by_us,
    )  # fmt: skip


def test_without_a_target_the_geometry_is_not_invented() -> None:
    m = material()
    c = calibrate(nominal(m.rig), [Take("nothing", empty(m.rig))], Options(board=Board()))
    assert c.verdict is Verdict.FAIL
    assert c.time.clock is None
    assert {s for s, _, v in c.problems() if v is Verdict.FAIL} >= {"time"}
    assert report_html(c)
    json.loads(report_json(c))


def empty(rig: Rig):
    events = Events.empty(rig.events.width, rig.events.height)

    def items():
        return [EventPacket(events, TriggerEdges.empty(), 5_000 * (k + 1)) for k in range(20)]

    return items


def test_nothing_to_calibrate_from() -> None:
    with pytest.raises(CannotCalibrate):
        calibrate(material().rig, [])


def test_other_cameras_are_named() -> None:
    c = calibration()
    assert other_cameras(c.rig, {"events": "handheld-0", "image": "handheld-0"}) == []
    assert other_cameras(c.rig, {}) == []
    (found,) = other_cameras(c.rig, {"events": "handheld-7"})
    assert found.verdict is Verdict.WARN
    assert "handheld-0" in found.text
    assert "handheld-7" in found.text
    r = check(material().takes[-1].items, c.rig, serials={"image": "other"}, time=replace(c.time, troubles=[]))
    assert r.verdict is Verdict.WARN


def shifted(rig: Rig, before: np.ndarray, *, mirrored: bool | None = None) -> Rig:
    m = np.asarray(before, float) @ rig.image_from_event
    rows = tuple(tuple(float(v) for v in r) for r in m / m[2, 2])
    hand = rig.geometry.mirrored if mirrored is None else mirrored
    g = rig.geometry.model_copy(update={"image_from_event": rows, "mirrored": hand})
    return rig.model_copy(update={"geometry": g})


def test_a_check_tells_a_rig_that_lies_far_off_from_a_scene_without_motion() -> None:
    c, m = calibration(), material()
    far = shifted(c.rig, [[1, 0, 20 * c.rig.scale], [0, 1, -9 * c.rig.scale], [0, 0, 1]])
    r = check(m.takes[-1].items, far, time=c.time)
    assert r.verdict is Verdict.FAIL
    assert "22 event pixels apart (+20, +9)" in r.troubles[0].text
    other = shifted(c.rig, [[-1, 0, c.rig.image.width - 1], [0, 1, 0], [0, 0, 1]], mirrored=False)
    r = check(m.takes[-1].items, other, time=c.time)
    assert r.verdict is Verdict.FAIL
    assert "only when one of them is mirrored" in r.troubles[0].text


def test_a_check_does_not_condemn_a_right_rig_for_what_runs_along_its_own_edges() -> None:
    """Traffic before a rig that stands still: long edges along the way, few that cross it."""
    from app.calibrating import checked_take

    rig = Rig.from_facts("t", traffic_facts())
    take = checked_take("simulated:traffic", rig)
    r = check(take.items, rig, serials=take.serials)
    assert r.verdict is Verdict.WARN, [t.text for t in r.troubles]
    assert {t.name for t in r.troubles} == {"no edges"}


def traffic_facts():
    from capture.simulated.presets import configure
    from capture.simulated.rig import facts_of

    return facts_of(configure("traffic"))


def test_a_check_names_the_polarity_that_the_rig_file_has_wrong() -> None:
    c, m = calibration(), material()
    wrong = c.rig.model_copy(update={"clock": c.rig.clock.model_copy(update={"active_high": False})})
    r = check(m.takes[-1].items, wrong)
    assert r.verdict is Verdict.WARN
    (found,) = [t for t in r.troubles if t.name == "polarity"]
    assert "set active_high = true" in found.text
