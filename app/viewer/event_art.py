"""Events as a picture: the newest event of each pixel, fading with its age.

An event's weight is exp(-age / exposure): a time surface with a decay of one exposure (Lagorce et al., "HOTS:
A Hierarchy of Event-Based Time-Surfaces for Pattern Recognition", TPAMI 2017). ON is amber, OFF is blue.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor

from app.session import Picture
from app.viewer import theme
from app.viewer.words import sentence
from capture.packets import Events

U8 = NDArray[np.uint8]


def _palette() -> U8:
    """(256, 4) premultiplied BGRA over the signed weight: 0 is OFF now, 128 nothing, 255 is ON now."""
    weight = np.abs(np.arange(256) - 128) / 127.0
    weight = np.minimum(weight, 1.0)

    def bgra(c: QColor) -> NDArray[np.float64]:
        return np.array([c.blue(), c.green(), c.red(), 255.0])

    colour = np.where((np.arange(256) >= 128)[:, None], bgra(theme.EVENT_ON), bgra(theme.EVENT_OFF))
    return np.round(colour * weight[:, None]).astype(np.uint8)


_PALETTE = _palette()


def draw_events(
    events: Events, now_us: int, decay_us: float, image_from_event: NDArray[np.float64], size: tuple[int, int]
) -> U8:
    """(H, W, 4) premultiplied BGRA of the image's size, transparent where no event is.

    Args:
        events: on event pixels.
        now_us: event clock; later events are left out.
        decay_us: time after which an event has faded to 1/e.
        image_from_event: (3, 3), event pixel → image pixel.
        size: (width, height) of the image.
    """
    if len(events) and events.t[-1] > now_us:
        events = events[: int(np.searchsorted(events.t, now_us, side="right"))]
    surface = np.full(events.height * events.width, 128, np.uint8)
    if len(events):
        age = (now_us - events.t).astype(np.float32)
        weight = np.exp(age / np.float32(-max(decay_us, 1.0)))
        # Sorted by time: of repeated pixels the last assignment, the newest event, stays.
        where = events.y.astype(np.int32) * events.width + events.x
        surface[where] = np.where(events.p, 128.5 + 127 * weight, 128.5 - 128 * weight).astype(np.uint8)
    art = _PALETTE[surface].reshape(events.height, events.width, 4)
    if size == (events.width, events.height) and np.allclose(image_from_event, np.eye(3)):
        return art
    return np.asarray(cv2.warpPerspective(art, image_from_event, size, flags=cv2.INTER_NEAREST), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Commission:
    """What is to be drawn; `key` tells the result apart."""

    key: Hashable
    events: Events
    now_us: int
    decay_us: float
    image_from_event: NDArray[np.float64]
    size: tuple[int, int]


def commission(picture: Picture, latent: float | None) -> Commission:
    """What to draw for a picture that has events: all of its exposure, or those up to an instant of it.

    Held at an instant, the events are those up to it: they move with the sharp picture.
    """
    events = picture.events
    assert events is not None
    start, end = picture.exposure_start_us, picture.exposure_end_us
    if start is None or end is None:
        start, end = (int(events.t[0]), int(events.t[-1]) + 1) if len(events) else (0, 1)
    now = end if latent is None else round(start + latent * (end - start))
    size = (int(picture.blurred.shape[1]), int(picture.blurred.shape[0]))
    key = (picture.ordinal, start, now, size)
    return Commission(key, events, now, float(end - start), picture.image_from_event, size)


class EventArtist:
    """Draws events in a thread of its own: hundreds of thousands of events are no work for the GUI thread.

    Latest wins on both sides: a commission that waits is replaced by a newer one.
    """

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._waiting: Commission | None = None
        self._done: tuple[Hashable, U8] | None = None
        self._asked: Hashable = None
        self._ended = False
        self.fault = ""  # why the last commission could not be drawn
        self._thread: threading.Thread | None = None

    def ask(self, commission: Commission) -> None:
        """Draw this next; the same key again is not drawn twice in a row."""
        with self._wake:
            if self._ended or commission.key == self._asked:
                return
            self._asked, self._waiting = commission.key, commission
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="event artist", daemon=True)
                self._thread.start()
            self._wake.notify()

    def take(self) -> tuple[Hashable, U8] | None:
        """The newest drawing since the last call, or None."""
        with self._wake:
            done, self._done = self._done, None
            return done

    def forget(self) -> None:
        """Drop what waits, so that the same key may be asked for again."""
        with self._wake:
            self._asked = self._waiting = self._done = None
            self.fault = ""

    def stop(self) -> None:
        """End the thread."""
        with self._wake:
            self._ended = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(2.0)

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting is not None or self._ended)
                if self._ended or self._waiting is None:
                    return
                job, self._waiting = self._waiting, None
            try:
                art = draw_events(job.events, job.now_us, job.decay_us, job.image_from_event, job.size)
            except Exception as error:  # one bad packet must not end all drawing
                with self._wake:
                    if self._asked is not None:
                        self.fault = f"events cannot be drawn: {sentence(error)}"
                continue
            with self._wake:
                if self._asked is not None:
                    self._done, self.fault = (job.key, art), ""
