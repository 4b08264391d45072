"""One dot per worker process; a click on it tells what it does or what ails it."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.session import WorkerStatus
from app.viewer import theme
from app.viewer.tabbed import PRESS, tabbed
from capture.camera import CameraState
from capture.rate import per_second

LAGGING = 3  # items that wait before a worker counts as lagging
DOT = 9
RING = 2.5
GAP = 5
STEP = 14


def colour_of(worker: WorkerStatus) -> QColor:
    """Green works, amber starts, lags or is silent, red is faulted, grey is stopped."""
    if worker.state is CameraState.FAULTED:
        return theme.FAULT
    if worker.state is CameraState.STOPPED:
        return theme.FAINT
    if worker.state is not CameraState.RUNNING or worker.backlog >= LAGGING or worker.silent_s:
        return theme.ACCENT
    return theme.GOOD


def describe(worker: WorkerStatus) -> str:
    """A line for the tooltip and the head of the popup."""
    parts = [f"{worker.name}: {worker.state.value}"]
    if worker.state is CameraState.RUNNING and worker.backlog >= LAGGING:
        parts = [f"{worker.name}: lagging, {worker.backlog} waiting"]
    if worker.silent_s:
        parts = [f"{worker.name}: no sign of life for {worker.silent_s} s"]
    if worker.fps > 0 and worker.state is CameraState.RUNNING and not worker.silent_s:
        parts.append(f"{per_second(worker.fps)} a second")
    if worker.restarts:
        parts.append(f"{worker.restarts} restart{'s' if worker.restarts > 1 else ''}")
    if worker.pid is not None:
        parts.append(f"process {worker.pid}")
    return " · ".join(parts)


class WorkerDots(QWidget):
    """The dots, with their names where there is room; a faulted worker's name is always there.

    Signals:
        restart: name of a worker to start again.
    """

    restart = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workers: tuple[WorkerStatus, ...] = ()
        self._compact = False
        self.popup: WorkerPopup | None = None
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        tabbed(self)

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        """What is shown."""
        return self._workers

    def set_workers(self, workers: tuple[WorkerStatus, ...]) -> None:
        """Show these."""
        if workers == self._workers:
            return
        before = self.sizeHint()
        self._workers = workers
        self.setToolTip("\n".join(describe(w) for w in workers))
        if self.sizeHint() != before:
            self.updateGeometry()
        self.update()

    def set_compact(self, compact: bool) -> None:
        """Leave the names of healthy workers out."""
        if compact != self._compact:
            self._compact = compact
            self.updateGeometry()
            self.update()

    def _named(self, worker: WorkerStatus) -> bool:
        return not self._compact or worker.state is CameraState.FAULTED

    def places(self) -> list[tuple[int, int]]:
        """(x, width) of each worker's dot with its name."""
        out, x = [], 4
        for w in self._workers:
            width = DOT + (GAP + self.fontMetrics().horizontalAdvance(w.name) if self._named(w) else 0)
            out.append((x, width))
            x += width + STEP
        return out

    def sizeHint(self) -> QSize:
        """As wide as the dots and names."""
        places = self.places()
        return QSize(places[-1][0] + places[-1][1] + 4 if places else 0, 22)

    def minimumSizeHint(self) -> QSize:
        """Never squeezed: a dot that is cut off hides a fault."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Dots and names."""
        p = QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.hasFocus():
            p.setPen(theme.ACCENT)
            p.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 4, 4)
        for worker, (x, width) in zip(self._workers, self.places(), strict=True):
            colour = colour_of(worker)
            at = QRectF(x, (self.height() - DOT) // 2, DOT, DOT)
            if colour == theme.ACCENT:  # a ring: amber and green are one to many eyes
                p.setPen(QPen(colour, RING))
                p.setBrush(Qt.BrushStyle.NoBrush)
                at.adjust(RING / 2, RING / 2, -RING / 2, -RING / 2)
            else:
                p.setPen(Qt.PenStyle.NoPen)
                p.setBrush(colour)
            p.drawEllipse(at)
            if self._named(worker):
                p.setPen(colour if worker.state is CameraState.FAULTED else theme.QUIET)
                p.drawText(
                    x + DOT + GAP, 0, width, self.height(), int(Qt.AlignmentFlag.AlignVCenter), worker.name
                )

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Open the popup of the worker under the pointer."""
        for worker, (x, width) in zip(self._workers, self.places(), strict=True):
            if x - STEP / 2 <= event.position().x() <= x + width + STEP / 2:
                self.open(worker)
                return

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Space and Enter open the popup of a faulted worker, else of the first."""
        faulted = [w for w in self._workers if w.state is CameraState.FAULTED]
        if event.key() in PRESS and self._workers:
            self.open((faulted or list(self._workers))[0])
        else:
            super().keyPressEvent(event)

    def open(self, worker: WorkerStatus) -> None:
        """Show what this worker says."""
        if self.popup is not None:
            self.popup.deleteLater()
        self.popup = WorkerPopup(worker, self)
        self.popup.restart.connect(self.restart)
        self.popup.adjustSize()
        corner = self.mapToGlobal(QPoint(self.width() - self.popup.width(), -self.popup.height() - 6))
        self.popup.move(corner)
        self.popup.show()
        self.popup.copy_button.setFocus()  # the one that does no harm; Tab leads to the other one


class WorkerPopup(QFrame):
    """A worker's state and error text, with buttons to restart it and to copy the text.

    Signals:
        restart: name of the worker.
    """

    restart = Signal(str)

    def __init__(self, worker: WorkerStatus, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("popup")
        self.setStyleSheet(
            f"#popup {{ background: {theme.SURFACE.name()}; border: 1px solid {theme.LINE.name()}; }}"
        )
        self._worker = worker
        head = QLabel(describe(worker))
        self.text = QLabel(worker.detail or "It says nothing more.")
        self.text.setTextFormat(Qt.TextFormat.PlainText)  # it may hold anything
        self.text.setWordWrap(True)
        self.text.setMinimumWidth(380)
        self.text.setMaximumWidth(560)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        if worker.state is CameraState.FAULTED:
            head.setStyleSheet(f"color: {theme.FAULT.name()};")
        self.restart_button = tabbed(QPushButton(f"Restart {worker.name}"))
        self.copy_button = tabbed(QPushButton("Copy text"))
        box = QVBoxLayout(self)
        box.setContentsMargins(16, 14, 16, 14)
        box.setSpacing(10)
        box.addWidget(head)
        box.addWidget(self.text)
        row = QHBoxLayout()
        row.addWidget(self.restart_button)
        row.addWidget(self.copy_button)
        row.addStretch(1)
        box.addLayout(row)
        self.restart_button.clicked.connect(self._restart)
        self.copy_button.clicked.connect(self._copy)

    def _restart(self) -> None:
        self.restart.emit(self._worker.name)
        self.close()

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(f"{describe(self._worker)}\n{self._worker.detail}")
        self.copy_button.setText("Copied")
