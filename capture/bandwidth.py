"""How much of its link a camera takes, known before it starts: bytes on the wire against what the wire carries.

A GigE Vision link carries 10⁹ bits a second; what stands around each packet's image bytes is counted
(GigE Vision 2.0: IP, UDP and GVSP headers of 36 bytes in the packet size; IEEE 802.3: preamble, Ethernet
header, check sum and gap, 38 bytes). USB3 at 5 Gbit/s carries 500 MB/s after its 8b/10b code, and some 400 MB/s
of them reach the reader; USB 2 some 40 MB/s.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capture.registry import CameraName

FULL = 0.8
"""Share of a link from which on frames get lost when something else happens on it, or its bus."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a cable carries.

    Attributes:
        name: for a person.
        bytes_per_s: of all that is counted (`FrameStream.on`, `EventStream.on`).
        packet_bytes: largest packet of GigE Vision, 0 where packets cost next to nothing.
    """

    name: str
    bytes_per_s: float
    packet_bytes: int = 0

    @property
    def usb(self) -> bool:
        """Several cameras may share its controller."""
        return self.name.startswith("USB")


GIGE = Link("GigE", 125e6, 1500)
USB3 = Link("USB 3", 400e6)
USB2 = Link("USB 2", 40e6)

_IN_PACKET, _AROUND_PACKET = 36, 38
PIXEL_BYTES = {"Mono8": 1.0, "RGB8": 3.0, "BGR8": 3.0, "Mono16": 2.0, "APS": 4.0}
"""Of pixel formats; `pixel_bytes` knows the others. APS: a DAVIS sends two 16-bit samples a pixel, the reset
level and the exposed one, at most."""


def pixel_bytes(pixel_format: str) -> float:
    """Bytes of a pixel on the wire, by its GenICam name; 1 for what is not known."""
    if pixel_format in PIXEL_BYTES:
        return PIXEL_BYTES[pixel_format]
    if pixel_format.endswith(("12p", "12Packed")):
        return 1.5
    return 2.0 if pixel_format.endswith(("10", "12", "16")) else 1.0


@dataclass(frozen=True, slots=True)
class FrameStream:
    """Pictures: pixels, a second, and how a pixel travels."""

    width: int
    height: int
    rate_hz: float
    pixel_format: str = "BayerRG8"

    def on(self, link: Link) -> float:
        """Bytes a second on this link, headers included."""
        size = self.width * self.height * pixel_bytes(self.pixel_format)
        if link.packet_bytes:
            packets = math.ceil(size / (link.packet_bytes - _IN_PACKET)) + 2  # leader and trailer
            size += packets * (_IN_PACKET + _AROUND_PACKET)
        return size * self.rate_hz


@dataclass(frozen=True, slots=True)
class EventStream:
    """Events a second, and bytes that each takes on the wire."""

    rate_hz: float
    event_bytes: float

    def on(self, link: Link) -> float:
        """Bytes a second on this link."""
        size = self.rate_hz * self.event_bytes
        if link.packet_bytes:
            size *= 1 + (_IN_PACKET + _AROUND_PACKET) / (link.packet_bytes - _IN_PACKET)
        return size


@dataclass(frozen=True, slots=True)
class Habit:
    """What a driver's cameras do.

    Attributes:
        event_bytes: of an event on the wire. EVT3: 4.2 to 5.3 were measured on scenes of the simulated rig, the
            more the fewer events share a row and a time. DAVIS: a row, a column and a time word of 16 bits at
            most. AEDAT4 without compression: 16.
        events_hz: taken before one has come: a busy scene.
        limiter: the setting that bounds the event rate, "" without.
        frame_format: of its frames, "" where the camera tells.
    """

    event_bytes: float = 0.0
    events_hz: float = 0.0
    limiter: str = ""
    frame_format: str = ""


_EVT3 = Habit(5.3, 10e6, "events_per_s")
HABITS: dict[str, Habit] = {
    "evk4": _EVT3,
    "evk3": _EVT3,
    "metavision": _EVT3,
    "davis346": Habit(6.0, 2e6, frame_format="APS"),
    "aedat4-tcp": Habit(16.0, 2e6, frame_format="Mono8"),
}


@dataclass(frozen=True, slots=True)
class Demand:
    """What one camera will send.

    Attributes:
        camera: its name, `driver:what`.
        link: None: it has none, or what it sends is not known (`why`).
        frames, events: its streams.
        why: why nothing is estimated.
    """

    camera: str
    link: Link | None
    frames: FrameStream | None = None
    events: EventStream | None = None
    why: str = ""

    @property
    def bytes_per_s(self) -> float:
        """On the link; 0 without one."""
        if self.link is None:
            return 0.0
        return sum(s.on(self.link) for s in (self.frames, self.events) if s is not None)

    @property
    def share(self) -> float:
        """Of the link."""
        return 0.0 if self.link is None else self.bytes_per_s / self.link.bytes_per_s

    @property
    def words(self) -> str:
        """One line: how much, of what."""
        if self.link is None:
            return f"{self.camera}: {self.why}"
        return f"{self.camera}: {self.bytes_per_s / 1e6:.0f} MB/s, {self.share:.0%} of {self.link.name}"


def demand(
    camera: str,
    *,
    size: tuple[int, int] = (0, 0),
    rate_hz: float = 0.0,
    pixel_format: str = "",
    events_hz: float | None = None,
    frames: bool = False,
    events: bool = False,
    usb_speed: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Demand:
    """What a camera will send, out of what is known.

    Args:
        camera: `driver:what`.
        size, rate_hz, pixel_format: of its frames; 0 or "" where not known yet.
        events_hz: as measured; None: as usual for its kind.
        frames, events: the streams that are wanted of it.
        usb_speed: as the system tells it ("USB 3, 5 Gbit/s"), "" when it is not on USB or not known.
        settings: of the rig file; width, height, rate_hz, pixel_format and packet_size stand for what is not
            given.
    """
    name, given = CameraName.parse(camera), dict(settings or {})
    habit = HABITS.get(name.driver, Habit())
    link, why = _link_of(name, usb_speed, given)
    if link is None:
        return Demand(camera, None, why=why)
    width, height = size if all(size) else (_whole(given.get("width")), _whole(given.get("height")))
    rate = rate_hz or _number(given.get("rate_hz"))
    form = pixel_format or habit.frame_format or str(given.get("pixel_format") or "auto")
    pictures = None
    if frames and not (width and height and rate):
        lacking = [w for w, v in (("size", width and height), ("frame rate", rate)) if not v]
        return Demand(camera, None, why=f"its {' and '.join(lacking)} will be known once it is open")
    if frames:
        pictures = FrameStream(width, height, rate, "BayerRG8" if form == "auto" else form)
    shown = None
    if events and habit.event_bytes:
        shown = EventStream(habit.events_hz if events_hz is None else events_hz, habit.event_bytes)
    return Demand(camera, link, pictures, shown)


def _link_of(name: CameraName, usb_speed: str, settings: Mapping[str, Any]) -> tuple[Link | None, str]:
    d, place = name.driver, name.rest
    if d in ("simulated", "replay", "aedat4-unix"):
        return None, "no cable"
    if d == "webcam" or (d not in HABITS and d not in ("genicam", "flir")):
        return None, "what it sends is not known"
    if usb_speed:
        return (USB2 if "USB 2" in usb_speed or "USB 1" in usb_speed else USB3), ""
    if d in ("genicam", "flir", "aedat4-tcp"):
        host = place.partition("?")[0].rpartition(":")[0] if d == "aedat4-tcp" else place
        if _is_loopback(host):
            return None, "on this machine, no cable"
        packet = settings.get("packet_size")
        size = packet if isinstance(packet, int) and packet > _IN_PACKET else GIGE.packet_bytes
        return Link(GIGE.name, GIGE.bytes_per_s, size), ""
    return USB3, ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _whole(value: Any) -> int:
    return int(_number(value))


def advice(demands: Sequence[Demand]) -> str:
    """One sentence where a link is asked for more than `FULL` of what it carries, else "".

    Cameras on USB may hang at one controller: together they must not ask for more than it carries either.
    """
    worst = max(demands, key=lambda d: d.share, default=None)
    if worst is not None and worst.link is not None and worst.share > FULL:
        if worst.link is USB2 and worst.bytes_per_s < FULL * USB3.bytes_per_s:
            return f"{worst.camera} runs at USB 2 speed: give it a USB 3 port and cable."
        asks = f"{worst.camera} asks for {worst.share:.0%} of {worst.link.name}"
        return f"{asks}: {_remedy(worst, worst.link)}."
    usb = [d for d in demands if d.link is not None and d.link.usb]
    if len(usb) > 1:
        slowest = min((d.link for d in usb if d.link), key=lambda link: link.bytes_per_s)
        share = sum(d.bytes_per_s for d in usb) / slowest.bytes_per_s
        if share > FULL:
            return f"both cameras ask for {share:.0%} of one USB controller: give each a controller of its own."
    return ""


def _remedy(d: Demand, link: Link) -> str:
    """What brings it below `FULL`, for the stream that takes most."""
    room = FULL * link.bytes_per_s
    of_frames = d.frames.on(link) if d.frames else 0.0
    of_events = d.events.on(link) if d.events else 0.0
    if d.events is not None and of_events >= of_frames:
        most = max(0.0, room - of_frames) / (of_events / d.events.rate_hz)
        limiter = HABITS.get(CameraName.parse(d.camera).driver, Habit()).limiter
        how = f"set {limiter} to" if limiter else "raise its thresholds until it gives"
        return f"{how} {_rounded(most)} or less"
    assert d.frames is not None
    f = d.frames
    left = max(0.0, room - of_events)
    lower = f"lower rate_hz to {math.floor(f.rate_hz * left / of_frames)}"
    shrink = math.sqrt(left / of_frames)
    region = f"read out a region of {_even(f.width * shrink)}×{_even(f.height * shrink)}"
    if pixel_bytes(f.pixel_format) > 1:
        return f"take an 8-bit Bayer format instead of {f.pixel_format}, or {lower}"
    return f"{lower}, or {region}"


def _even(pixels: float) -> int:
    return max(2, int(pixels) // 16 * 16)


def _rounded(events_hz: float) -> str:
    """Two figures, rounded down."""
    if events_hz < 1000:
        return "1000"
    unit = 10 ** (math.floor(math.log10(events_hz)) - 1)
    return str(int(events_hz // unit * unit))
