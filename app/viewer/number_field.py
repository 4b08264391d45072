"""A field for a number, typed with a point or a comma whatever the computer's language."""

from __future__ import annotations

import re

from PySide6.QtCore import QLocale
from PySide6.QtGui import QValidator
from PySide6.QtWidgets import QDoubleSpinBox, QWidget

_GROUPED = re.compile(r"(\s*-?\d{1,3}(?:,\d{3})+)(\D.*)?")


class NumberField(QDoubleSpinBox):
    """Shows numbers with a decimal point, without zeros that say nothing.

    Qt passes over a comma where the point is what separates decimals, and the other way round: 1,5 would be 15.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setLocale(QLocale.c())

    def textFromValue(self, value: float) -> str:
        """Without zeros at the end."""
        text = super().textFromValue(value)
        return text.rstrip("0").rstrip(".") if "." in text else text

    def validate(self, text: str, pos: int) -> tuple[QValidator.State, str, int]:
        """What is typed stays as it is."""
        plain = with_point(text)
        found = super().validate(plain, pos)
        if not self.decimals() and "." in plain:
            # Refused key by key, 10,5 would become 105: the field takes its number back instead.
            return QValidator.State.Intermediate, text, pos
        return found[0], text, pos

    def fixup(self, text: str) -> str:
        """Nothing: Qt would take the commas away."""
        return text

    def valueFromText(self, text: str) -> float:
        """The number that is meant."""
        return super().valueFromText(with_point(text))


def with_point(text: str, comma: bool | None = None) -> str:
    """A typed number with a point before its decimals, if any.

    Args:
        text: it may end in a unit.
        comma: people here write decimals behind a comma, so that it groups no thousands (1,234); None: as
            this computer's language has it.
    """
    if "," not in text:
        return text
    if comma is None:
        comma = QLocale.system().decimalPoint() == ","
    if "." in text or (not comma and _GROUPED.fullmatch(text)):
        return text.replace(",", "")
    return text.replace(",", ".", 1)
