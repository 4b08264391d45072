"""Settings of cameras as a person reads them: names, order, what a kind of camera is expected to have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.viewer.words import grouped
from capture.camera import CameraRole, Control

WORDS = {
    "exposure_us": "Exposure", "gain_db": "Gain", "rate_hz": "Frame rate", "width": "Width",
    "height": "Height", "offset_x": "Left edge", "offset_y": "Top edge",
    "pixel_format": "Pixel format", "white_red": "White, red", "white_blue": "White, blue",
    "trigger": "Trigger", "strobe_line": "Strobe line", "stamp": "Stamp marks",
    "stamp_offset_us": "Stamp offset",
    "frame_interval_us": "Frame interval", "auto_exposure": "Auto exposure", "edges": "Input edges",
    "events_per_s": "Event limit", "batch_us": "Batch", "early_packet_us": "USB packet",
    "background_filter_us": "Noise filter", "refractory_us": "Dead time", "packet_us": "Packet",
    "readout_us": "Read-out",
}  # fmt: skip
_EXPECTED: dict[CameraRole, tuple[tuple[str, tuple[str, ...]], ...]] = {
    CameraRole.EVENTS: (
        ("Biases", ("bias_",)),
        ("Region", ("width", "roi")),
        ("Event limit", ("events_per_s",)),
        ("Input edges", ("edges", "trigger_channel")),
    ),
    CameraRole.FRAMES: (
        ("Exposure", ("exposure_us",)),
        ("Gain", ("gain_db",)),
        ("Frame rate", ("rate_hz", "frame_interval_us")),
        ("Region", ("width",)),
    ),
}
_ORDER = {name: i for i, name in enumerate(WORDS)}
OF_EVENTS = ("edges", "events_per_s", "background_filter_us", "refractory_us", "batch_us", "early_packet_us")
"""Of a camera that gives both, these are shown with the events, as its biases are."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the panel.

    Attributes:
        label: with the unit.
        control: None for one that the camera does not have: the row is grey.
        tip: more words.
    """

    label: str
    control: Control | None
    tip: str


def word(name: str) -> str:
    """A setting's name as a person reads it."""
    if name in WORDS:
        return WORDS[name]
    text = name.removeprefix("bias_").replace("_", " ")
    return f"Bias {text}" if name.startswith("bias_") else text[:1].upper() + text[1:]


def rows(role: CameraRole, controls: Sequence[Control], camera: str, *, both: bool = False) -> list[Row]:
    """Rows for the controls that a camera has, and grey ones for what it is expected to have.

    Args:
        role: of which of the two cameras.
        controls: as the camera told them.
        camera: its name, for the words of grey rows.
        both: one camera gives both streams; its controls are divided between the two panels.
    """
    mine = [c for c in controls if not both or (_of_events(c.name) == (role is CameraRole.EVENTS))]
    found = []
    for c in sorted(mine, key=lambda c: (_ORDER.get(c.name, len(_ORDER)), c.name)):
        label = f"{word(c.name)}, {c.unit}" if c.unit else word(c.name)
        found.append(Row(label, c, f"{c.name} · {limits(c)}" if limits(c) else c.name))
    lacking = []
    for label, names in _EXPECTED[role]:
        if not any(c.name.startswith(n) for c in mine for n in names):
            lacking.append(Row(label, None, f"{camera or 'No camera'}: cannot be set while it runs"))
    return [*found, *lacking]


def _of_events(name: str) -> bool:
    return name.startswith("bias_") or name in OF_EVENTS


def limits(c: Control) -> str:
    """From where to where, "" where the camera does not say."""
    if c.choices or isinstance(c.value, bool | str) or (c.minimum is None and c.maximum is None):
        return ""
    if c.minimum is None:
        return f"at most {number(c.maximum or 0)}"
    if c.maximum is None:
        return f"at least {number(c.minimum)}"
    return f"{number(c.minimum)} to {number(c.maximum)}"


def number(value: float) -> str:
    """A bound as a person reads it."""
    return grouped(int(value)) if float(value).is_integer() else f"{value:.4g}"


def wrong(c: Control, value: float) -> str:
    """Why a number cannot be set, "" when it can as far as is known."""
    low = c.minimum is not None and value < c.minimum
    high = c.maximum is not None and value > c.maximum
    unit = f" {c.unit}" if c.unit else ""
    if not (low or high):
        return ""
    goes = "goes from " if c.minimum is not None and c.maximum is not None else "is "
    return f"{goes}{limits(c)}{unit}"
