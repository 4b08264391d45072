"""The row of the exposure: its length, the slider through it, slow motion, the way back to live."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QHBoxLayout, QLabel, QToolButton, QWidget

from app.viewer import icons, theme
from app.viewer.latent_slider import LatentSlider
from app.viewer.words import microseconds, milliseconds

_STATES = {
    "live": "The picture is live",
    "late": "No new picture has come for a while: its age, losses and workers are at the foot of the window",
    "playing": "The recording plays",
    "paused": "The recording stands still: Space plays",
    "ended": "The recording is at its end: Space plays it again",
    "back to live": "Let the held frame go (Esc)",
    "go on": "Let the held frame go (Esc)",
}


class ExposureBar(QWidget):
    """Shows an instant and lets it be chosen; knows nothing of sessions.

    Signals:
        moved: the slider was dragged to this instant.
        slow_motion: the button was switched.
        live: back to the stream.
    """

    moved = Signal(float)
    slow_motion = Signal(bool)
    live = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.length = QLabel("exposure –")
        self.slider = LatentSlider()
        self.slider.setToolTip("The instant inside the exposure: drag, or ← →. The frame on screen is held.")
        self.instant = QLabel("")
        self.slow = _button("slow motion", "Play through this one exposure in a loop (S)", "play")
        self.slow.setCheckable(True)
        self.back = _button("live", "")
        metrics = self.fontMetrics()
        self.length.setMinimumWidth(theme.widest(metrics, "exposure 000.0 ms"))
        self.instant.setMinimumWidth(theme.widest(metrics, "0.00 · 000 000 µs"))
        self.back.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.back.setIcon(icons.icon("dot"))
        self._reserve(self.back, *_STATES)
        self._reserve(self.slow, "slow motion", "restoring…")
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 4, 8, 2)
        row.setSpacing(12)
        for w in (self.length, self.slider, self.instant, self.slow, self.back):
            row.addWidget(w, 1 if w is self.slider else 0)
        self.slider.moved.connect(self.moved)
        self.slow.clicked.connect(self.slow_motion)
        self.back.clicked.connect(self.live)
        self._note = ""
        self.clear()

    @staticmethod
    def _reserve(button: QToolButton, *texts: str) -> None:
        """Make room for the widest of its texts, so that nothing moves when it changes."""
        widths = []
        for text in texts:
            button.setText(text)
            widths.append(button.sizeHint().width())
        button.setMinimumWidth(max(widths))

    def set_exposure(self, length_us: float | None, latent: float) -> None:
        """What is shown: the exposure's length (None unknown) and the instant in it, 0…1."""
        self.length.setText(f"exposure {milliseconds(length_us)}")
        if not self.slider.dragging:
            self.slider.set_value(latent)
        at = self.slider.value
        text = f"{at:.2f}" if length_us is None else f"{at:.2f} · {microseconds(at * length_us)}"
        self.instant.setText(self._note or text)

    def clear(self) -> None:
        """Nothing is open."""
        self.set_fixed(None)
        self.set_exposure(None, 0.5)
        self.set_mode(held=False, slow=False, waiting=False, state="")

    def set_fixed(self, at: float | None, network: str = "") -> None:
        """The one instant that the network gives; None when it gives any."""
        self.slider.set_fixed(at)
        self.slow.setEnabled(at is None)
        self._note = "" if at is None else f"{at:.2f} · one instant only"
        self.slider.setToolTip(
            "The instant inside the exposure: drag, or ← →. The frame on screen is held."
            if at is None
            else f"{network or 'This network'} restores one instant of each exposure only."
        )
        self.slow.setToolTip(
            "Play through this one exposure in a loop (S)"
            if at is None
            else f"{network or 'This network'} restores one instant only: no slow motion."
        )

    def set_mode(
        self, *, held: bool, slow: bool, waiting: bool, recording: bool = False, state: str = "live"
    ) -> None:
        """Whether a frame is held, loops, and is being restored at another instant.

        `state` is the word at the right end while nothing is held: live, late, playing, paused or ended.
        """
        self.slider.set_active(held)
        state = ("go on" if recording else "back to live") if held else state
        if state != self.back.text():
            running = state in ("live", "playing")
            self.back.setText(state)
            self.back.setIcon(icons.icon("dot" if running else "resume") if state else QIcon())
            self.back.setStyleSheet(f"color: {(theme.ACCENT if running or held else theme.QUIET).name()};")
            self.back.setToolTip(_STATES.get(state, ""))
        self.slow.setChecked(slow)
        self.slow.setText("restoring…" if slow and waiting else "slow motion")


def _button(text: str, tip: str, name: str = "") -> QToolButton:
    b = QToolButton()
    b.setText(text)
    b.setToolTip(tip)
    b.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    if name:
        b.setIcon(icons.icon(name))
        b.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    return b
