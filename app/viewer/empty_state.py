"""Where the picture would be: one sentence and the one action that helps."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from app.viewer import theme
from app.viewer.tabbed import tabbed


class EmptyState(QWidget):
    """A sentence, a button.

    Signals:
        acted: the button was pressed.
    """

    acted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sentence = QLabel()
        self.sentence.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)  # it may quote anything
        self.sentence.setWordWrap(True)
        self.sentence.setFont(theme.text_font(self.font(), pixels=15))
        self.action = tabbed(QPushButton())
        box = QVBoxLayout(self)
        box.setSpacing(18)
        box.addStretch(1)
        box.addWidget(self.sentence, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addWidget(self.action, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addStretch(1)
        self.action.clicked.connect(self.acted)

    def say(self, sentence: str, action: str = "") -> None:
        """Show this; no button without an action."""
        if sentence != self.sentence.text():
            self.sentence.setText(sentence)
            # A wrapped label in a centred layout takes its narrowest form unless it is told its width.
            width = self.sentence.fontMetrics().horizontalAdvance(sentence) + 8
            self.sentence.setFixedWidth(max(280, min(620, width)))
            self.sentence.setFixedHeight(self.sentence.heightForWidth(self.sentence.width()) + 4)
        self.action.setText(action)
        self.action.setVisible(bool(action))
