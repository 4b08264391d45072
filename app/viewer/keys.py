"""Every key of the window, in one table: menus, shortcuts and the help page are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from app.viewer.modes import View


@dataclass(frozen=True, slots=True)
class Key:
    """One action.

    Attributes:
        name: what the code calls it.
        text: what the menu and the help page call it.
        keys: shortcuts, the first is shown in the menu.
        group: heading on the help page.
        recordings: only with a recording.
        live: only with a rig.
        tip: what it does in more words, for the menu.
    """

    name: str
    text: str
    keys: tuple[str, ...]
    group: str
    recordings: bool = False
    live: bool = False
    tip: str = ""


_VIEWS = (
    (View.WIPE, "Blurred left of a handle, sharp right of it"),
    (View.SIDE_BY_SIDE, "Blurred and sharp whole, one beside the other"),
    (View.SHARP, "The sharp picture alone"),
    (View.DIFFERENCE, "Sharp minus blurred, grey where nothing changed"),
    (View.EVENTS, "The events of the exposure: amber brighter, blue darker"),
)
RESIDUAL_TIP = "Blurs the sharp pictures again and shows where they differ from the frame that came in"

KEYS: tuple[Key, ...] = (
    *(
        Key(f"view {v.value}", v.value.capitalize(), (str(i),), "View", tip=t)
        for i, (v, t) in enumerate(_VIEWS, 1)
    ),
    Key("events", "Events: off, inset, overlay", ("E",), "View"),
    Key("residual", "Re-blur residual", ("B",), "View", tip=RESIDUAL_TIP),
    Key("fit", "Fit the picture", ("F",), "View", tip="Shows the whole picture again, as a double click does"),
    Key("full", "Full screen", ("F11",), "View", tip="The window without a frame; Esc leaves it"),
    Key("earlier", "Earlier instant", ("Left",), "Exposure"),
    Key("later", "Later instant", ("Right",), "Exposure"),
    Key("slow", "Slow motion", ("S",), "Exposure"),
    Key("live", "Back to live", ("Esc",), "Exposure"),
    Key("play", "Play or pause; hold when live", ("Space",), "Playback"),
    Key("back", "One frame back", (",",), "Playback", recordings=True),
    Key("forward", "One frame on", (".",), "Playback", recordings=True),
    Key("slower", "Slower", ("[",), "Playback", recordings=True),
    Key("faster", "Faster", ("]",), "Playback", recordings=True),
    Key("loop", "Loop", ("L",), "Playback", recordings=True),
    Key("mark_in", "Mark the beginning", ("I",), "Playback", recordings=True, tip="Again: takes it away"),
    Key("mark_out", "Mark the end", ("O",), "Playback", recordings=True, tip="Again: takes it away"),
    Key("record", "Record, or end the recording", ("R",), "Program", live=True),
    Key("open", "Open recording…", ("Ctrl+O",), "Program"),
    Key("networks", "Networks", ("N",), "Program"),
    # A key each: the calibration also opens on a recording of a rig, of which there is no rig page.
    Key("rig", "Rig: cameras, settings, wire", ("C",), "Program", tip="Both cameras live, to set the rig up"),
    Key("calibrate", "Calibrate…", ("G",), "Program", tip="Geometry and clock of the rig, step by step"),
    Key("snapshot", "Save snapshot", ("P", "Ctrl+S"), "Program", tip="Writes what is on screen as PNG files"),
    Key("help", "Keys", ("F1", "?"), "Program"),
    Key("quit", "Quit", ("Ctrl+Q",), "Program"),
)

MOUSE: tuple[tuple[str, str], ...] = (
    ("drag", "Move the wipe handle"),
    ("wheel", "Zoom about the pointer"),
    ("middle button", "Pan"),
    ("double click", "Fit the picture"),
)

_SHOWN = {"Left": "←", "Right": "→", ",": "comma", ".": "period"}


def shown(key: str) -> str:
    """A key as people read it."""
    return _SHOWN.get(key, key)
