"""The guided calibration, in the place of the picture: five steps, what to do now, how it goes, what came
out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from app.viewer import theme
from app.viewer.calibration_run import RIG
from app.viewer.coverage_view import BlurMeter, CoverageView
from app.viewer.elided import Elided
from app.viewer.tabbed import tabbed

STEPS: tuple[tuple[str, str, str], ...] = (
    ("cameras", "Find the cameras", "Both cameras are opened and looked at."),
    # From here on nothing is recorded any more, so nothing may be asked for.
    ("geometry", "Geometry", "The blinking board is looked for in what both saw; fields fill where it was."),
    ("time", "Time", "Stamps and edges, or what both cameras saw, tell how the clocks run."),
    ("check", "Check", "Edges of the scene, as events and as frames saw them, are laid on each other."),
    ("report", "Report", "A page with every figure, and the rig file."),
)  # fmt: skip
_MARKS = {"waiting": ("○", theme.QUIET), "active": ("●", theme.ACCENT), "done": ("●", theme.GOOD),
          "warned": ("●", theme.ACCENT), "failed": ("●", theme.FAULT),
          "skipped": ("–", theme.QUIET)}  # fmt: skip
_ENDED = {"pass": "done", "warn": "warned", "fail": "failed"}
SKIPPED = "left out: nothing to measure here"
VERDICTS = {
    "pass": ("The rig is calibrated.", theme.GOOD),
    "warn": ("The rig is calibrated, with warnings.", theme.ACCENT),
    "fail": ("This is no calibration.", theme.FAULT),
}


class CalibrationPage(QWidget):
    """Shows what it is told; knows nothing of processes.

    Signals:
        begun: the first button.
        stopped: given up, or closed.
        report_wanted, rig_wanted, target_wanted: what can be done next.
        place_wanted: another place for the rig file.
    """

    begun = Signal()
    stopped = Signal()
    report_wanted = Signal()
    rig_wanted = Signal()
    target_wanted = Signal()
    place_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._states = dict.fromkeys([s[0] for s in STEPS], "waiting")
        self.title = QLabel("Calibrate the rig")
        self.title.setFont(theme.text_font(self.font(), pixels=20))
        self.source, self.place = Elided(), Elided()
        for line in (self.source, self.place):
            line.setStyleSheet(f"color: {theme.QUIET.name()};")
        self.marks: dict[str, QLabel] = {}
        self.whats: dict[str, QLabel] = {}
        steps = QGridLayout()
        steps.setHorizontalSpacing(10)
        steps.setVerticalSpacing(2)
        for row, (name, word, _) in enumerate(STEPS):
            mark, what = QLabel(), _quiet()
            what.setWordWrap(True)
            what.setMinimumHeight(34)
            what.setAlignment(Qt.AlignmentFlag.AlignTop)
            self.marks[name], self.whats[name] = mark, what
            steps.addWidget(mark, 2 * row, 0)
            steps.addWidget(QLabel(word), 2 * row, 1)
            steps.addWidget(what, 2 * row + 1, 1)
        steps.setColumnStretch(1, 1)
        self.advice = QLabel()
        self.advice.setWordWrap(True)
        self.advice.setFont(theme.text_font(self.font(), pixels=15))
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.bar.setStyleSheet(
            f"QProgressBar {{ background: {theme.SURFACE.name()}; border: none; }}"
            f"QProgressBar::chunk {{ background: {theme.ACCENT.name()}; }}"
        )
        self.coverage, self.blur = CoverageView(), BlurMeter()
        self.feedback = QWidget()
        feedback = QVBoxLayout(self.feedback)
        feedback.setContentsMargins(0, 0, 0, 0)
        feedback.addWidget(self.coverage)
        feedback.addWidget(self.blur)
        self.coverage.setFixedSize(270, 180)
        self.blur.setFixedWidth(270)
        self.result = QLabel()
        self.result.setTextFormat(Qt.TextFormat.PlainText)
        self.result.setWordWrap(True)
        self.result.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.start = _button("Start", self.begun, "The cameras are given to the calibration until it ends")
        self.target = _button(
            "Show the target",
            self.target_wanted,
            "The blinking board, on a screen of its own if there is one; Esc closes it",
        )
        self.elsewhere = _button(
            "Rig file…", self.place_wanted, "Where the rig file goes, its report beside it"
        )
        self.report = _button("Open report", self.report_wanted, "Every figure, in the browser")
        self.use = _button("Use this rig", self.rig_wanted, "Opens the rig file that was written")
        self.stop = _button("Close", self.stopped, "Stops what runs, else goes back to the picture (G)")
        self._arrange(steps)
        self.reset("")

    def _arrange(self, steps: QGridLayout) -> None:
        left = QVBoxLayout()
        left.setSpacing(4)
        left.addWidget(self.title)
        left.addWidget(self.source)
        left.addWidget(self.place)
        left.addSpacing(18)
        left.addLayout(steps)
        left.addStretch(1)
        right = QVBoxLayout()
        right.setSpacing(8)
        right.addStretch(1)
        right.addWidget(self.advice)
        right.addSpacing(10)
        right.addWidget(self.bar)
        right.addSpacing(16)
        right.addWidget(self.feedback)
        right.addWidget(self.result)
        right.addSpacing(18)
        row = QHBoxLayout()
        row.setSpacing(10)
        for b in (self.start, self.target, self.elsewhere, self.use, self.report, self.stop):
            row.addWidget(b)
        row.addStretch(1)
        right.addLayout(row)
        right.addStretch(2)
        box = QHBoxLayout(self)
        box.setContentsMargins(40, 30, 40, 24)
        box.setSpacing(48)
        box.addLayout(left, 2)
        box.addLayout(right, 3)

    # what it is told -----------------------------------------------------------------------------------

    def reset(self, source: str) -> None:
        """Before the start."""
        self.source.set_whole(source)
        for name in self._states:
            self._set(name, "waiting", "")
        self.advice.setText(
            "Measures how event pixels lie on image pixels and how the two clocks run, checks both by edges of "
            "the scene, and writes a rig file and a report."
        )
        self.advice.setStyleSheet("")
        self.bar.hide()
        self.feedback.hide()
        self.result.hide()
        self.coverage.set_counts([])
        self.blur.set_blur(None)
        self._buttons(start="Start", target=True)

    def set_place(self, path: Path) -> None:
        """Where the rig file goes."""
        self.place.set_whole(f"→ {path}")

    def refuse(self, why: str) -> None:
        """It was not begun."""
        self.result.setText(why)
        self.result.show()

    def end(self) -> None:
        """It was asked to end; its cameras are not free yet."""
        self.advice.setText("Stopping…")
        self.bar.hide()
        self.feedback.hide()
        self._buttons(stop="")

    def begin(self) -> None:
        """The first message is on its way."""
        for name in self._states:
            self._set(name, "waiting", "")
        self.result.hide()
        self.advice.setStyleSheet("")
        self.bar.setValue(0)
        self.bar.show()
        self._buttons(target=True, stop="Stop")
        self.tell({"step": "cameras", "what": "starting", "share": 0.0})

    def tell(self, m: dict[str, Any]) -> None:
        """A message of the command, see `CalibrationRun`."""
        step = str(m.get("step", ""))
        if step not in self._states:
            return
        names = [s[0] for s in STEPS]
        for earlier in names[: names.index(step)]:
            if self._states[earlier] == "active":
                self._set(earlier, "done", self.whats[earlier].text())
            elif self._states[earlier] == "waiting":  # one sensor has no geometry: green would be a claim
                self._set(earlier, "skipped", SKIPPED)
        cameras = m.get("cameras")
        what = "\n".join(str(c) for c in cameras) if isinstance(cameras, list) else str(m.get("what", ""))
        self._set(step, "active", what)
        self.advice.setText(str(m.get("do", "")) or STEPS[names.index(step)][2])
        self.bar.setValue(round(1000 * (names.index(step) + float(m.get("share", 0.0))) / len(names)))
        self.feedback.setVisible(step == "geometry" or bool(self.coverage.counts))
        if "coverage" in m:
            self.coverage.set_counts(m["coverage"])
            self.blur.set_blur(m.get("blur_px"))

    def finish(self, last: dict[str, Any], code: int, why: str) -> None:
        """The command has ended; `last` is its last message."""
        verdict = str(last.get("verdict", ""))
        self.bar.hide()
        self.feedback.hide()
        if verdict in VERDICTS:
            text, colour = VERDICTS[verdict]
            judged = {"report": verdict, **last.get("steps", {})}
            for name, state in self._states.items():
                if name in judged or state != "skipped":
                    self._set(name, _ENDED[judged.get(name, "pass")], self.whats[name].text())
            made = "no rig file was written" if verdict == "fail" else str(last.get("rig", ""))
            self._set("report", self._states["report"], made)
            lines = [*last.get("summary", []), *(f"! {p}" for p in last.get("problems", []))]
        else:
            text, colour = "The calibration did not come to its end.", theme.FAULT
            active = next((n for n, s in self._states.items() if s == "active"), "cameras")
            self._set(active, "failed", "")
            lines = [why]
        self.advice.setText(text)
        self.advice.setStyleSheet(f"color: {colour.name()};")
        self.result.setText("\n\n".join(x[0].upper() + x[1:] for x in lines if x))
        self.result.show()
        use = code == 0 and verdict in VERDICTS and last.get("opens", RIG) != ""
        self._buttons(start="Again", report=verdict in VERDICTS, use=use)

    def state(self, step: str) -> str:
        """waiting, active, done, warned, failed or skipped."""
        return self._states[step]

    def _set(self, step: str, state: str, what: str) -> None:
        self._states[step] = state
        mark, colour = _MARKS[state]
        self.marks[step].setText(mark)
        self.marks[step].setStyleSheet(f"color: {colour.name()};")
        self.whats[step].setText(what.replace("/", "/\u200b"))  # a path may be broken there, else nowhere
        self.whats[step].setToolTip(what)  # where there is no room for all of it

    def _buttons(
        self,
        *,
        start: str = "",
        target: bool = False,
        report: bool = False,
        use: bool = False,
        stop: str = "Close",
    ) -> None:
        if start:
            self.start.setText(start)
        self.start.setVisible(bool(start))
        self.elsewhere.setVisible(bool(start) and not use)  # five buttons are too many for a small window
        self.target.setVisible(target)
        self.report.setVisible(report)
        self.use.setVisible(use)
        self.stop.setVisible(bool(stop))
        self.stop.setText(stop)


def _quiet() -> QLabel:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setStyleSheet(f"color: {theme.QUIET.name()};")
    return label


def _button(text: str, signal: Any, tip: str) -> QPushButton:
    b = tabbed(QPushButton(text))
    b.setToolTip(tip)
    b.clicked.connect(signal)
    return b
