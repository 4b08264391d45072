from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from app.viewer.network_chooser import NetworkChooser
from tests.app.viewer.fake_session import NETWORKS


@pytest.fixture
def chooser(qtbot: QtBot) -> NetworkChooser:
    c = NetworkChooser()
    qtbot.addWidget(c)
    c.set_networks(NETWORKS, "edi")
    c.open_below(QPoint(0, 0), 600)
    return c


def row(chooser: NetworkChooser, name: str) -> QPoint:
    k = [c.name for c in NETWORKS].index(name)
    return chooser.list.visualRect(chooser.model_.index(k, 0)).center()


def test_a_click_chooses(chooser: NetworkChooser, qtbot: QtBot) -> None:
    got: list[str] = []
    chooser.chosen.connect(got.append)
    qtbot.mouseClick(chooser.list.viewport(), Qt.MouseButton.LeftButton, pos=row(chooser, "glint"))
    assert got == ["glint"]
    assert not chooser.isVisible()


def test_a_grey_network_cannot_be_chosen_and_says_why(chooser: NetworkChooser, qtbot: QtBot) -> None:
    with qtbot.assertNotEmitted(chooser.chosen):
        qtbot.mouseClick(chooser.list.viewport(), Qt.MouseButton.LeftButton, pos=row(chooser, "efnet"))
    assert chooser.isVisible()
    index = chooser.model_.index(3, 0)
    assert not index.flags() & (Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
    # The reason has its own lines under the name.
    assert (
        chooser.list.visualRect(index).height() > chooser.list.visualRect(chooser.model_.index(0, 0)).height()
    )


def test_the_keyboard_goes_through_usable_rows_only(chooser: NetworkChooser, qtbot: QtBot) -> None:
    got: list[str] = []
    chooser.chosen.connect(got.append)
    for _ in range(9):
        qtbot.keyClick(chooser.list, Qt.Key.Key_Down)
    qtbot.keyClick(chooser.list, Qt.Key.Key_Return)
    assert got == ["glint"]


def test_every_row_is_shown_whole(chooser: NetworkChooser) -> None:
    last = chooser.list.visualRect(chooser.model_.index(len(NETWORKS) - 1, 0))
    assert last.bottom() <= chooser.list.viewport().height()
    assert chooser.list.verticalScrollBar().maximum() == 0
