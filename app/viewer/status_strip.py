"""The line at the foot of the window: speed and age, losses, where the exposure comes from, workers."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from app.session import DriftStatus, Picture, SessionStatus
from app.viewer import theme
from app.viewer.figure_label import FigureLabel
from app.viewer.showing import STALE_MS
from app.viewer.words import grouped, rate
from app.viewer.worker_dots import WorkerDots
from capture.camera import limited_s
from capture.rate import per_second
from inference.restorers.base import RESIDUAL_FIGURE
from sync.exposure import doubtful, in_words

NAMES_FROM = 1160  # width of the window from which the workers' names fit
RIG_FROM = 1240  # and how the calibration stands
FIGURES_FROM = 1000  # and the re-blur residual and the contrast threshold


class StatusStrip(QWidget):
    """Shows figures. Quiet grey until something wants a look.

    Signals:
        restart: name of a worker to start again.
    """

    restart = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.speed = FigureLabel("000.0 fps")
        self.latency = FigureLabel("000 ms")
        self.age = FigureLabel("age 000 ms")
        self.losses = ElidedLabel()
        self.exposure = FigureLabel()
        self.reblur = FigureLabel()
        self.contrast = FigureLabel()
        self.rig = FigureLabel()
        self.workers = WorkerDots()
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 2, 12, 6)
        row.setSpacing(10)
        for w in (self.speed, self.latency, self.age):
            row.addWidget(w)
        row.addWidget(_rule())
        row.addWidget(self.losses, 1)
        row.addWidget(_rule())
        for w in (self.exposure, self.reblur, self.contrast, self.rig):
            row.addWidget(w)
        row.addSpacing(4)
        row.addWidget(self.workers)
        self.latency.setToolTip("From the end of the exposure to the screen")
        self.contrast.setToolTip("Contrast threshold c: change of log intensity that one event stands for")
        self._has_reblur = self._has_contrast = False
        self._warned = False
        self.rig.hide()
        self._residual: float | None = None
        self._no_residual = ""
        self._exposure_tip = self._unmatched = ""
        self._arrange()
        self.workers.restart.connect(self.restart)

    def set_status(self, s: SessionStatus, paint_hz: float = 0.0) -> None:
        """The session's figures; `paint_hz` is how often the picture was painted a second."""
        self.speed.set(f"{per_second(s.fps)} fps")
        stages = [f"{name}: {per_second(hz)} a second" for name, hz in s.stage_fps.items()]
        stages.append(f"events: {rate(s.event_rate_hz)}")
        stages.append(f"painted: {paint_hz:.1f} a second")
        self.speed.setToolTip("Sharp pictures a second\n" + "\n".join(stages))
        known = s.latency_p50_ms > 0
        self.latency.set(f"{s.latency_p50_ms:.0f} ms" if known else "– ms")
        measured = f"\nmedian {s.latency_p50_ms:.1f} ms, 95 % within {s.latency_p95_ms:.1f} ms" if known else ""
        measured += "".join(f"\n{part}: {ms:.1f} ms" for part, ms in s.latency_parts_ms.items())
        self.latency.setToolTip(f"From the end of the exposure to the screen{measured}")
        text, lost = losses_text(s)
        self.losses.set(text, lost, losses_tip(s))
        self.workers.set_workers(s.workers)
        self._set_drift(s.drift)
        self._unmatched = unmatched_text(s)
        self._tell_exposure(self._exposure_tip)

    def _set_drift(self, d: DriftStatus | None) -> None:
        """How far events and picture lie apart; amber, and in a narrow window too, when that is too far."""
        self._warned = d is not None and bool(d.warning)
        text, tip = drift_text(d)
        self.rig.set(text, theme.ACCENT if self._warned else theme.QUIET)
        self.rig.setToolTip(tip)
        self._arrange()

    def set_age(self, age_ms: float | None, *, still: str = "") -> None:
        """How old the picture on screen is; `still` is the word for it when it stands by the user's wish."""
        if still:
            self.age.set(still)
            self.age.setToolTip("The picture stands still because you asked for it")
            return
        self.age.setToolTip(
            f"Age of the picture on screen, the oldest of the last moments; amber beyond {STALE_MS:.0f} ms"
        )
        if age_ms is None:
            self.age.set("age –")
            return
        text = f"age {age_ms:.0f} ms" if age_ms < 1000 else f"age {age_ms / 1000:.1f} s"
        self.age.set(text, theme.ACCENT if age_ms > STALE_MS else theme.QUIET)

    def set_residual(self, rms: float | None, why_not: str = "") -> None:
        """The re-blur residual measured of the exposure that `set_picture` will show, or why there is none."""
        self._residual, self._no_residual = rms, why_not

    def set_picture(self, p: Picture) -> None:
        """What the picture on screen says of itself."""
        residual = p.figures.get(RESIDUAL_FIGURE) if self._residual is None else self._residual
        reblur = "" if residual is None else f"re-blur {residual:.1f}"
        contrast = contrast_text(p.figures)
        self._has_reblur = self._has_reblur or bool(reblur or self._no_residual)
        self._has_contrast = self._has_contrast or bool(contrast)
        self.reblur.set(reblur or "re-blur –")
        self.reblur.setToolTip("\n".join(t for t in (REBLUR, self._no_residual) if t))
        self.contrast.set(contrast or "c –")
        if p.source:
            colour = theme.ACCENT if doubtful(p.flags) else theme.QUIET
            self.exposure.set(f"exposure: {p.source} ±{in_words(p.uncertainty_us)}", colour)
            lines = (SOURCES.get(p.source, ""), reblur, contrast)
            self._tell_exposure("\n".join(t for t in lines if t))
        else:
            known = p.exposure_start_us is not None
            self.exposure.set("not restored" if known else "exposure: unknown", theme.ACCENT)
            self._tell_exposure(p.refusal or f"{p.network} restores the frame without it")
        self._arrange()

    def _tell_exposure(self, tip: str) -> None:
        """What the picture says of its exposure, and under it how the trigger edges stand."""
        self._exposure_tip = tip
        self.exposure.setToolTip("\n".join(t for t in (tip, self._unmatched) if t))

    def _arrange(self) -> None:
        """A figure that a picture has had keeps its place; in a narrow window it is in the tooltip."""
        roomy = self.width() >= FIGURES_FROM
        self.reblur.setVisible(roomy and self._has_reblur)
        self.contrast.setVisible(roomy and self._has_contrast)
        self.rig.setVisible(bool(self.rig.text()) and (self._warned or self.width() >= RIG_FROM))

    def clear(self) -> None:
        """Nothing is open, or nothing has come yet."""
        for label, text in (
            (self.speed, "– fps"), (self.latency, "– ms"), (self.age, "age –"), (self.exposure, ""),
        ):  # fmt: skip
            label.set(text)
        self._unmatched = ""
        self._tell_exposure("")
        self.losses.set("", False, "")
        self._has_reblur = self._has_contrast = False
        self._set_drift(None)
        self.set_residual(None)
        self._arrange()
        self.workers.set_workers(())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Names of workers only where there is room."""
        self.workers.set_compact(self.width() < NAMES_FROM)
        self._arrange()
        super().resizeEvent(event)


REBLUR = "Re-blur residual: the sharp pictures, blurred again, against the frame (grey levels, RMS). B: its map"

SOURCES = {
    "trigger": "From the camera's exposure signal on the event camera's trigger input",
    "chunk": "From the frame camera's own stamps of start and end",
    "estimated": "Estimated from arrival times: connect the exposure signal for certainty",
}


def unmatched_text(s: SessionStatus) -> str:
    """How many frames are without the trigger edges that should have come, and why; "" for none."""
    if not s.unmatched:
        return ""
    why = f": {s.unmatched_why}" if s.unmatched_why else ""
    return f"{grouped(s.unmatched)} frames without their trigger edges{why}"


def drift_text(d: DriftStatus | None) -> tuple[str, str]:
    """How the calibration stands, and the same in more words; both "" where nothing is watched or known yet."""
    if d is None or not (d.samples or d.warning):
        return "", ""
    lines = [
        f"Events and picture lie {d.dx:+.2f}, {d.dy:+.2f} event pixels apart "
        f"(median of {d.samples} looks, one a second at most)",
    ]
    if d.residual_us > 0:
        lines.append(f"Trigger edges scatter by {d.residual_us:.1f} µs")
    lines.append("Watched only: the calibration itself stays as it is")
    if d.warning:
        lines.insert(0, d.warning[0].upper() + d.warning[1:] + ".")
    shift = (d.dx**2 + d.dy**2) ** 0.5
    return f"rig {shift:.1f} px" + (" !" if d.warning else ""), "\n".join(lines)


def contrast_text(figures: dict[str, float]) -> str:
    """The contrast threshold(s) of a picture's figures, "" when there are none."""
    on, off = figures.get("contrast_on"), figures.get("contrast_off")
    if on is None:
        on = figures.get("contrast")
    if on is None:
        return ""
    if off is None or abs(on - off) < 0.005:
        return f"c {on:.2f}"
    return f"c {on:.2f} / {off:.2f}"


def short_place(place: str) -> str:
    """A place of loss in the strip's words: "superseded (viewer)" is "viewer", a refusal just that."""
    if place.startswith("refused"):
        return "refused"
    if place.endswith(")") and "(" in place:
        return place[place.rindex("(") + 1 : -1]
    return place


def losses_text(s: SessionStatus) -> tuple[str, bool]:
    """ "in 812 = out 810 + dropped 2 (viewer)" and whether anything was lost.

    "in" counts exposures that have come out or been dropped; those under way are in the tooltip, so that
    the sum on screen is true at every moment.
    """
    done = s.items_in - s.waiting
    dropped = done - s.items_out
    places: dict[str, int] = {}
    for place, n in s.losses.items():
        if n:
            places[short_place(place)] = places.get(short_place(place), 0) + n
    text = f"in {grouped(done)} = out {grouped(s.items_out)} + dropped {grouped(dropped)}"
    alone = len(places) == 1 and dropped in places.values()
    words = [name if alone else f"{name} {grouped(n)}" for name, n in places.items()]
    limited = limited_s(s.cameras)  # nobody knows how many events that were
    words += [f"limited {limited:.1f} s"] if limited else []
    if words:
        text += " (" + ", ".join(words) + ")"
    return text, bool(dropped or words)


def losses_tip(s: SessionStatus) -> str:
    """All places with their counts, and what the cameras' drivers count."""
    lines = [f"{grouped(s.items_in)} exposures came in, {grouped(s.waiting)} of them under way"]
    lines += [f"{place}: {grouped(n)}" for place, n in s.losses.items()]
    counted = [(role, name, n) for role, counts in s.cameras.items() for name, n in counts.items() if n]
    lines += [f"camera of {role}, {name.replace('_', ' ')}: {grouped(n)}" for role, name, n in counted]
    return "\n".join(lines)


class ElidedLabel(QLabel):
    """Gives way when the strip is narrow: first the places go, then all but the loss.

    The whole text is in the tooltip.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._whole = ""
        self._lost: bool | None = None
        self.setMinimumWidth(40)

    @property
    def whole(self) -> str:
        """The text before it was shortened."""
        return self._whole

    def set(self, text: str, lost: bool, tip: str) -> None:
        """Write; amber when something was lost."""
        self._whole = text
        self.setToolTip(f"{text}\n{tip}")
        self._fit()
        if lost != self._lost:
            self._lost = lost
            self.setStyleSheet(f"color: {(theme.ACCENT if lost else theme.QUIET).name()};")

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Shorten to the new width."""
        self._fit()
        super().resizeEvent(event)

    def _fit(self) -> None:
        metrics, width = self.fontMetrics(), self.width()
        forms = (self._whole, self._whole.split(" (")[0], self._whole.split(" + ")[-1].split(" (")[0])
        text = next((t for t in forms if metrics.horizontalAdvance(t) <= width), forms[-1])
        text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, width)
        if text != self.text():
            self.setText(text)


def _rule() -> QWidget:
    line = QWidget()
    line.setFixedSize(1, 14)
    line.setStyleSheet(f"background: {theme.LINE.name()};")
    return line
