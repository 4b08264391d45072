"""The list of networks: what each takes, its weights, its time, or why it cannot be used."""

from __future__ import annotations

from PySide6.QtCore import (
    QAbstractItemModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QPainter, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import (
    QFrame,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from app.session import NetworkChoice
from app.viewer import theme
from inference.restorers.base import RANDOM_FLAG

CHOICE = Qt.ItemDataRole.UserRole + 1
CURRENT = Qt.ItemDataRole.UserRole + 2
WIDTH = 520
PAD = 12
DOT = 6
INDENT = PAD + DOT + 10

Index = QModelIndex | QPersistentModelIndex


class _Row(QStyledItemDelegate):
    """Two or three lines: name, instants, time; what it takes and its weights; the reason when it is grey."""

    def paint(self, p: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """One row."""
        choice: NetworkChoice = index.data(CHOICE)
        box: QRect = option.rect
        state: QStyle.StateFlag = option.state
        p.save()
        quiet = theme.QUIET
        if choice.usable and state & (QStyle.StateFlag.State_Selected | QStyle.StateFlag.State_MouseOver):
            p.fillRect(box, theme.LINE)
            quiet = theme.TEXT  # the quiet grey is too near to this background to be read
        line = p.fontMetrics().height() + 2
        inner = box.adjusted(INDENT, 8, -PAD, -8)
        current = bool(index.data(CURRENT))
        if current:
            p.setRenderHint(QPainter.RenderHint.Antialiasing)
            p.setBrush(theme.ACCENT)
            p.setPen(Qt.PenStyle.NoPen)
            p.drawEllipse(box.x() + PAD, inner.y() + (line - DOT) // 2, DOT, DOT)
        p.setPen(theme.ACCENT if current else theme.TEXT if choice.usable else theme.QUIET)
        first = QRect(inner.x(), inner.y(), inner.width(), line)
        p.drawText(first, int(Qt.AlignmentFlag.AlignLeft), choice.name)
        p.setPen(quiet)  # the reason why one cannot be used is there to be read
        timed = f"{choice.last_ms:.1f} ms a frame" if choice.last_ms is not None else ""
        timed = timed or ("not timed yet" if choice.usable else "")
        aside = " · ".join(t for t in ("" if choice.any_latent else ONE, timed) if t)
        p.drawText(first, int(Qt.AlignmentFlag.AlignRight), aside)
        second = first.translated(0, line)
        weights = choice.weights
        if weights == RANDOM_FLAG:  # first, where it is never cut off
            p.save()
            p.setPen(theme.ACCENT)
            p.drawText(second, int(Qt.AlignmentFlag.AlignLeft), RANDOM_FLAG)
            p.restore()
            second.setLeft(second.left() + p.fontMetrics().horizontalAdvance(RANDOM_FLAG + " "))
            weights = ""
        about = " · ".join(t for t in (choice.takes, weights) if t)
        about = f"· {about}" if choice.weights == RANDOM_FLAG else about
        about = p.fontMetrics().elidedText(about, Qt.TextElideMode.ElideRight, second.width())
        p.drawText(second, int(Qt.AlignmentFlag.AlignLeft), about)
        if not choice.usable:
            p.setPen(theme.QUIET)
            rest = QRect(inner.x(), inner.y() + 2 * line, inner.width(), inner.height() - 2 * line)
            p.drawText(rest, int(Qt.TextFlag.TextWordWrap), choice.reason or "cannot be used here")
        p.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """As high as the reason needs."""
        choice: NetworkChoice = index.data(CHOICE)
        metrics = option.fontMetrics
        line = metrics.height() + 2
        height = 2 * line + 16
        if not choice.usable:
            room = QRect(0, 0, WIDTH - INDENT - PAD, 1000)
            words = choice.reason or "cannot be used here"
            height += metrics.boundingRect(room, int(Qt.TextFlag.TextWordWrap), words).height() + 2
        return QSize(WIDTH, height)


ONE = "one instant only"


class NetworkChooser(QFrame):
    """A popup list. Rows that cannot be used are grey and cannot be chosen.

    Signals:
        chosen: name of a usable network.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("popup")
        self.setStyleSheet(
            f"#popup {{ background: {theme.SURFACE.name()}; border: 1px solid {theme.LINE.name()}; }}"
        )
        self.list = QListView()
        self.list.setMouseTracking(True)
        self.list.setItemDelegate(_Row(self.list))
        self.list.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.model_ = QStandardItemModel(self)
        self.list.setModel(self.model_)
        box = QVBoxLayout(self)
        box.setContentsMargins(1, 5, 1, 5)
        box.addWidget(self.list)
        self.list.clicked.connect(self._choose)
        self.list.activated.connect(self._choose)

    def set_networks(self, choices: list[NetworkChoice], current: str) -> None:
        """Fill the list; `current` gets the mark."""
        self.model_.clear()
        for c in choices:
            item = QStandardItem(c.name)
            item.setData(c, CHOICE)
            item.setData(c.name == current, CURRENT)
            item.setEditable(False)
            if not c.usable:
                item.setFlags(Qt.ItemFlag.NoItemFlags)
                item.setToolTip(c.reason)
            self.model_.appendRow(item)
            if c.name == current and c.usable:
                self.list.setCurrentIndex(item.index())

    def open_below(self, corner: QPoint, room: int) -> None:
        """Show at a global point, at most `room` pixels high."""
        model: QAbstractItemModel = self.model_
        height = sum(self.list.sizeHintForRow(i) for i in range(model.rowCount())) + 14
        self.resize(WIDTH + 2, min(max(60, height), max(120, room)))
        self.move(corner)
        self.show()
        self.list.setFocus()

    def _choose(self, index: QModelIndex) -> None:
        choice: NetworkChoice = index.data(CHOICE)
        if choice.usable and self.isVisible():
            self.close()
            self.chosen.emit(choice.name)
