"""In and out marks of the recording that is played: set at the picture on screen, kept beside the recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.viewer.words import clock, sentence
from capture.errors import HalfmirrorError
from recordings.marks import Marks, places, save

if TYPE_CHECKING:
    from app.viewer.window import ViewerWindow

ROOM_US = 1000
NONE = Marks()


class Marking:
    """For one window.

    Attributes:
        marks: of the recording that is open, since its start.
    """

    def __init__(self, window: ViewerWindow) -> None:
        self._w = window
        self._recording: Path | None = None
        self.marks = Marks()

    def take(self, recording: Path | None, marks: Marks = NONE) -> None:
        """Another recording with the marks that were read beside it, or none."""
        self._recording = recording
        self.marks = marks
        self.show()

    def show(self) -> None:
        """On the seek bar, once the recording's span is known."""
        timeline = self._w.transport.seek.timeline
        if timeline is None:
            self._w.transport.seek.set_marks(None, None)
            return
        at = [None if v is None else timeline.start_us + v for v in (self.marks.in_us, self.marks.out_us)]
        self._w.transport.seek.set_marks(*at)

    def toggle(self, *, out: bool) -> None:
        """Set the mark at the picture on screen; take it away when it stands there."""
        w, timeline = self._w, self._w.transport.seek.timeline
        picture = w.player.picture if w.player else None
        if self._recording is None or timeline is None or picture is None:
            w.say("Marks can be set once the recording has been read.")
            return
        # In before the exposure on screen, out behind it: the frame that is seen belongs to the part.
        start, end = picture.exposure_start_us, picture.exposure_end_us
        at = picture.time_us
        if start is not None and end is not None:
            # Elsewhere its ends may be found a few µs apart; no neighbour lies wholly within so little.
            room = min(ROOM_US, (end - start) // 4)
            at = end + room if out else start - room
        since = max(0, at - timeline.start_us)
        old = self.marks.out_us if out else self.marks.in_us
        new = None if since == old else since
        try:
            marks = Marks(self.marks.in_us, new) if out else Marks(new, self.marks.out_us)
        except HalfmirrorError:
            # The other one would lie on the wrong side: it goes.
            marks = Marks(None, new) if out else Marks(new, None)
        try:
            place = save(self._recording, marks)
        except HalfmirrorError as error:
            w.say(sentence(error))
            return
        self.marks = marks
        self.show()
        w.say(self._words(out, new, place))

    def _words(self, out: bool, at: int | None, place: Path) -> str:
        which = "End" if out else "Beginning"
        where = "" if self._recording is None or place == places(self._recording)[0] else f", kept in {place}"
        if at is None:
            return f"{which}: mark taken away."
        return f"{which} marked at {clock(at)}; halfmirror export --marked takes the part{where}."
