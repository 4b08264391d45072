"""The line at the head of the window: menus as words, and the actions behind every key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QHBoxLayout, QMenu, QToolButton, QWidget

from app.viewer import icons
from app.viewer.keys import KEYS
from app.viewer.modes import EventsMode, View
from app.viewer.tabbed import tabbed

PRESETS: tuple[tuple[str, str], ...] = (
    ("Simulated rig", "simulated"),
    ("Simulated: hand-held", "simulated:handheld"),
    ("Simulated: traffic", "simulated:traffic"),
    ("Simulated: night", "simulated:night"),
    ("Simulated: DAVIS", "simulated:davis"),
)


LONGEST = 44  # letters of a file's name in a menu; all of them are in the tooltip


class Actions:
    """A QAction for every row of the table of keys, owned by the window."""

    def __init__(self, window: QWidget) -> None:
        self._by_name: dict[str, QAction] = {}
        for key in KEYS:
            action = QAction(key.text, window)
            action.setToolTip(key.tip or key.text)
            action.setShortcuts([QKeySequence(k) for k in key.keys])
            action.setAutoRepeat(key.name in ("earlier", "later", "back", "forward"))
            window.addAction(action)
            self._by_name[key.name] = action
        self.views = QActionGroup(window)
        for view in View:
            action = self._by_name[f"view {view.value}"]
            action.setCheckable(True)
            action.setData(view.value)
            self.views.addAction(action)
        for name in ("slow", "loop", "full", "residual"):
            self._by_name[name].setCheckable(True)

    def __getitem__(self, name: str) -> QAction:
        return self._by_name[name]

    def connect(self, **slots: Callable[[], object]) -> None:
        """Connect actions by name; a slot takes nothing."""
        for name, slot in slots.items():
            self._by_name[name].triggered.connect(lambda _checked=False, call=slot: call())

    def set_recording(self, recording: bool) -> None:
        """Enable what only recordings have, or only rigs."""
        for key in KEYS:
            if key.recordings or key.live:
                self._by_name[key.name].setEnabled(recording is key.recordings)


class TopBar(QWidget):
    """Source, Network, View, Play, Help as words with menus; recording and full screen at the right.

    `later` is the place between the menus and full screen of recording and of the rig.

    Signals:
        source_chosen: name of a source or path of a recording.
        view_chosen, events_chosen: from the menu View.
        folder_wanted, forget_wanted, about_wanted: the rest of the menus.
    """

    source_chosen = Signal(str)
    view_chosen = Signal(object)
    events_chosen = Signal(object)
    folder_wanted = Signal()
    forget_wanted = Signal()
    about_wanted = Signal()

    def __init__(
        self,
        actions: Actions,
        recent: Callable[[], list[str]],
        presets: Sequence[tuple[str, str]] = PRESETS,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._actions = actions
        self._recent = recent
        self._source_name = ""
        self._presets = presets
        self.source_menu = QMenu(self)
        self.source = _word("Source", "Where the pictures come from", self.source_menu)
        self.network = _word("Network", "How the pictures are made sharp (N)")
        self.view_menu = self._build_view_menu()
        self.view = _word("View", "What is shown", self.view_menu)
        self.play_menu = self._menu(
            "earlier later slow live | play back forward slower faster loop | mark_in mark_out | record"
        )
        self.play = _word("Play", "Inside the exposure, and through recordings", self.play_menu)
        self.help_menu = self._menu("help |")
        self.help_menu.addAction("Forget window and choices…", self.forget_wanted.emit)
        self.help_menu.addAction("About Halfmirror", self.about_wanted.emit)
        self.help = _word("Help", "Keys and about", self.help_menu)
        self.later = QHBoxLayout()
        self.record = QToolButton()
        self.record.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        tabbed(self.record)
        self.record.clicked.connect(actions["record"].trigger)
        self.later.addWidget(self.record)
        self.rig = _word("Rig", "Cameras, settings, wire and focus of the rig (C)")
        self.rig.clicked.connect(actions["rig"].trigger)
        self.later.addWidget(self.rig)
        self.set_recording("")
        self.full = QToolButton()
        self.full.setIcon(icons.icon("full"))
        self.full.setToolTip("Full screen (F11)")
        tabbed(self.full)
        self.full.clicked.connect(actions["full"].trigger)
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 4, 6, 4)
        row.setSpacing(2)
        for w in (self.source, self.network, self.view, self.play, self.help):
            row.addWidget(w)
        row.addStretch(1)
        row.addLayout(self.later)
        row.addWidget(self.full)
        self.source_menu.aboutToShow.connect(self._fill_sources)
        self._fill_sources()

    def set_source(self, name: str) -> None:
        """Mark the source that runs, "" for none."""
        self._source_name = name

    def set_network(self, name: str, wanted: str = "") -> None:
        """Name the network that runs and the one that is being made ready."""
        text = f"{name} → {wanted}…" if wanted and wanted != name else name
        self.network.setText(f"Network  {text}" if text else "Network")

    def set_recording(self, why_not: str, *, running: bool = False, note: str = "") -> None:
        """What the button for recording does; `why_not`: why it does nothing, `note`: more to tell."""
        self.record.setEnabled(not why_not)
        self.record.setText("Stop" if running else "REC")
        self.record.setIcon(icons.icon("stop" if running else "record"))
        tip = why_not or ("End the recording (R)" if running else "Record what the cameras say (R)")
        self.record.setToolTip("\n".join(t for t in (tip, note) if t))

    def set_view(self, view: View, events: EventsMode) -> None:
        """Name the view and mark it in the menu."""
        self.view.setText(f"View  {view.value}")
        self._actions[f"view {view.value}"].setChecked(True)
        for action in self._events_group.actions():
            action.setChecked(action.data() == events.value)

    def _menu(self, names: str) -> QMenu:
        menu = QMenu(self)
        for name in names.split():
            if name == "|":
                menu.addSeparator()
            else:
                menu.addAction(self._actions[name])
        return menu

    def _build_view_menu(self) -> QMenu:
        menu = QMenu(self)
        menu.addActions(self._actions.views.actions())
        self._actions.views.triggered.connect(lambda a: self.view_chosen.emit(View(a.data())))
        menu.addSeparator()
        self._events_group = QActionGroup(self)
        events = menu.addMenu("Events	E")
        for mode in EventsMode:
            action = QAction(mode.value.capitalize(), self)
            action.setCheckable(True)
            action.setData(mode.value)
            self._events_group.addAction(action)
            events.addAction(action)
        self._events_group.triggered.connect(lambda a: self.events_chosen.emit(EventsMode(a.data())))
        menu.addActions([self._actions["residual"], self._actions["fit"], self._actions["full"]])
        menu.setToolTipsVisible(True)
        menu.addSeparator()
        menu.addAction(self._actions["snapshot"])
        menu.addAction("Folder of snapshots…", self.folder_wanted.emit)
        return menu

    def _fill_sources(self) -> None:
        menu = self.source_menu
        menu.clear()
        for text, name in self._presets:
            self._source_action(menu, text, name)
        menu.addSeparator()
        menu.addAction(self._actions["open"])
        recent = self._recent()
        sub = menu.addMenu("Recent")
        sub.setEnabled(bool(recent))
        for path in recent:
            action = self._source_action(sub, _short(path), path)
            action.setToolTip(path)
        sub.setToolTipsVisible(True)
        menu.addSeparator()
        menu.addActions([self._actions[name] for name in ("rig", "calibrate", "quit")])

    def _source_action(self, menu: QMenu, text: str, name: str) -> QAction:
        action = QAction(text.replace("&", "&&"), menu)
        action.setCheckable(True)
        action.setChecked(name == self._source_name)
        action.triggered.connect(lambda: self.source_chosen.emit(name))
        menu.addAction(action)
        return action


def _short(path: str) -> str:
    """Name and folder of a recording, for a menu."""
    p = Path(path)
    name, folder = (
        t if len(t) <= LONGEST else f"{t[: LONGEST // 2]}…{t[-LONGEST // 2 :]}"
        for t in (p.name, p.parent.name or str(p.parent))
    )
    return f"{name}  –  {folder}"


def _word(text: str, tip: str, menu: QMenu | None = None) -> QToolButton:
    b = QToolButton()
    b.setText(text)
    b.setToolTip(tip)
    tabbed(b)
    if menu is not None:
        b.setMenu(menu)
        b.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    return b
