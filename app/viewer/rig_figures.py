"""What the cameras of a rig say, onto the rig page: pictures and meters at every view, words now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.preview import Pick, Preview, View, faulted
from app.rig_discovery import Choice
from app.rig_setup import RigSetup
from app.viewer import theme
from app.viewer.rig_page import RigPage, paint
from app.viewer.words import milliseconds, rate, sentence
from capture.bandwidth import Demand, advice, demand
from capture.camera import CameraRole, CameraState
from capture.histogram import CLIPPED
from capture.rate import per_second
from sync.trigger_monitor import Finding

UNSEEN_S = 1.0
"""A view comes at least five times a second; after so long what is shown is no longer what the cameras see."""
EVENTS, FRAMES = CameraRole.EVENTS, CameraRole.FRAMES


class Figures:
    """For one page.

    Args:
        page: on it.
        clock: seconds, of the window.

    Attributes:
        frame_size: (width, height) of the newest frame, (0, 0) before.
    """

    def __init__(self, page: RigPage, clock: Callable[[], float]) -> None:
        self._page, self._clock = page, clock
        self._seen_at = clock()
        self._last: dict[str, Any] = {}
        self.frame_size = (0, 0)
        self._most_events_hz = 0.0

    def clear(self) -> None:
        """Other cameras."""
        self._last, self.frame_size, self._most_events_hz = {}, (0, 0), 0.0
        self._seen_at = self._clock()

    def show_view(self, v: View) -> None:
        """The newest view."""
        p, self._last, self._seen_at = self._page, v.figures, self._clock()
        e, f = v.figures["events"], v.figures["frames"]
        self.frame_size = (int(f["size"][0]), int(f["size"][1]))
        if p.overlapping:
            p.overlap.show_picture(v.image, v.overlay)
        else:
            p.events.show_picture(v.events)
            p.frames.show_picture(v.image)
        p.rate.set_hz(e["hz"])
        self._most_events_hz = max(self._most_events_hz, e["hz"])
        p.histogram.set_counts(v.counts, white=f["white"] > CLIPPED, black=f["black"] > CLIPPED)
        p.events_focus.set_focus(e["sharpness"], e["share"])
        p.frames_focus.set_focus(f["sharpness"], f["share"])

    def show_states(self, preview: Preview | None, setup: RigSetup) -> None:
        """How each camera stands, and the wire between them."""
        p = self._page
        unseen = self._unseen(preview)
        if unseen and self._last:
            self._last = {}
            p.blank()
        f = self._last
        events = self._state(preview, EVENTS, setup.events) or unseen
        frames = self._state(preview, FRAMES, setup.frames) or unseen
        running = preview is not None and bool(f)
        hz = f["frames"]["hz"] if running else 0.0
        exposure = f["frames"]["exposure_us"] if running else None
        shutter = "" if exposure is None else f" · {milliseconds(exposure)}"
        image = f"{per_second(hz)} fps{shutter}" if hz else ""
        p.events.say(rate(f["events"]["hz"]) if running and f["events"]["hz"] else "", events)
        p.frames.say(image, frames)
        both = setup.events.there and setup.frames.there
        p.overlap.say(
            image, "Both cameras are needed to lay one on the other." if not both else events or frames
        )
        told = f["frames"]["words"] if running else ""
        what = f["frames"]["advice"] if running else ""
        p.histogram.say(" · ".join(x for x in (told, what) if x))
        self._show_wire(f.get("trigger") if running else None, both)

    def _unseen(self, preview: Preview | None) -> str:
        """Why what is shown is not what the cameras see now, "" when it is."""
        if preview is None:
            return ""
        looking = preview.looking()
        if why := faulted(looking):
            return sentence(f"The preview stopped: {why}")
        age_s = self._clock() - self._seen_at
        if age_s < UNSEEN_S:
            return ""
        if looking is not None and looking.state is CameraState.STARTING:
            return sentence(looking.detail or "The preview is starting…")
        return f"Nothing new has been seen for {age_s:.0f} s."

    @staticmethod
    def _state(preview: Preview | None, role: CameraRole, pick: Pick) -> str:
        """Why a camera gives no picture, "" when it does."""
        if not pick.there:
            return "No event camera is chosen." if role is EVENTS else "No image camera is chosen."
        if preview is None:
            return "Start shows what it sees."
        if preview.problem:
            return preview.problem
        status = preview.status(role)
        if why := faulted(status):
            return why
        if status is None or status.state is CameraState.STARTING:
            return f"Starting {pick.camera}…" if status is None or not status.detail else status.detail
        return ""

    def _show_wire(self, t: dict[str, Any] | None, both: bool) -> None:
        p = self._page
        if t is None or not both:
            paint(p.trigger, "")
            paint(p.verdict, "Both cameras are needed to look at the wire." if not both else "–")
            p.polarity.hide()
            return
        finding = Finding(t["finding"])
        known = t["matched"] is not None and finding is not Finding.WAITING
        matched = f" · {t['matched']:.0%} matched" if known else ""
        edges = f"{t['rising_hz']:.1f} rising, {t['falling_hz']:.1f} falling edges/s\n"
        one = finding is Finding.ONE_CLOCK
        paint(p.trigger, "" if one else f"{edges}{t['frames_hz']:.1f} frames/s{matched}")
        good, waiting = finding in (Finding.GOOD, Finding.ONE_CLOCK), finding is Finding.WAITING
        paint(p.verdict, t["words"], theme.GOOD if good else theme.QUIET if waiting else theme.ACCENT)
        p.polarity.setVisible(finding is Finding.POLARITY)

    def show_link(self, setup: RigSetup, choice_of: Callable[[str], Choice | None]) -> None:
        """How much of their links the cameras take, or will take once they are started."""
        found = demands(setup, choice_of, self._last, self._most_events_hz, self.frame_size)
        p = self._page
        paint(p.link, "\n".join(d.words for d in found) or "–")
        what = advice(found)
        paint(p.advice, what[:1].upper() + what[1:], theme.ACCENT)


def demands(
    setup: RigSetup,
    choice_of: Callable[[str], Choice | None],
    figures: dict[str, Any],
    most_events_hz: float = 0.0,
    frame_size: tuple[int, int] = (0, 0),
) -> list[Demand]:
    """What each chosen camera sends: measured where it runs, else as its file, its kind and discovery say."""
    out: list[Demand] = []
    base = setup.base
    picks = {setup.events.camera: setup.events, setup.frames.camera: setup.frames}
    for camera, pick in picks.items():
        if not pick.there:
            continue
        frames, events = camera == setup.frames.camera, camera == setup.events.camera
        choice = choice_of(camera)
        info = setup.infos.get(FRAMES.value, {}) if frames else {}
        size = next(
            (
                s for s in (
                    frame_size, (int(info.get("width") or 0), int(info.get("height") or 0)),
                    (base.image.width, base.image.height) if base else (0, 0),
                    choice.size if choice else (0, 0),
                ) if all(s)
            ),
            (0, 0),
        )  # fmt: skip
        hz = figures["frames"]["hz"] if figures else 0.0
        settings = setup.picks()[0 if events else 1].settings
        rate_hz = hz or float(settings.get("rate_hz") or 0) or float(info.get("rate_hz") or 0)
        out.append(
            demand(
                camera, size=size, rate_hz=rate_hz or (choice.rate_hz if choice else 0.0),
                pixel_format=str(setup.values[FRAMES].get("pixel_format", "")),
                events_hz=most_events_hz or None, frames=frames, events=events,
                usb_speed=choice.usb_speed if choice else "", settings=settings,
            )
        )  # fmt: skip
    return out
