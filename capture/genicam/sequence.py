"""Frame ids of a camera, which wrap and sometimes jump, as a sequence that only rises."""

from __future__ import annotations

GIGE_IDS = 65535
"""GigE Vision counts 1 … 65535 and then 1 again; 0 is not used."""

_SLACK = 2
"""Frames by which ids and clocks may differ before that is called a jump."""

_START = 1000
"""The largest first id that is taken for losses at the start, and not for a camera that counts on."""


class FrameCounter:
    """Turns frame ids into sequence numbers; what is missing between two is a loss.

    An id that jumps further than the time between the frames allows, or runs back, does not tell how many
    frames were lost: it is counted in `jumps`, and the sequence goes on by as many frames as the time says. Two
    clocks tell the time, the camera's and the host's, so that one that is set does not mislead. Ids that follow
    each other are believed; where more time has passed than they say, the camera has left exposures out (or the
    library has dropped frames whose ids had run back): that is counted in `skipped`.

    Args:
        wrap: ids 1 … wrap, 0 for ids that do not wrap.

    Attributes:
        jumps: ids that jumped or ran back.
        skipped: frame periods in which no frame was numbered.
        clock_resets: stamps that ran back.
        missing: frames before the first and between those that were taken, by the ids.
    """

    def __init__(self, wrap: int = GIGE_IDS) -> None:
        self._wrap = wrap
        self._id: int | None = None
        self._stamp_ns = self._host_ns = 0
        self._sequence = -1
        self.jumps = self.skipped = self.clock_resets = self.missing = 0

    def restart(self) -> None:
        """A new acquisition: its ids begin anew, the sequence goes on."""
        self._id = None

    def take(self, frame_id: int, stamp_ns: int, host_ns: int, period_ns: float | None) -> int:
        """The sequence number of a frame.

        Args:
            frame_id: as the camera counts.
            stamp_ns: its clock.
            host_ns: arrival.
            period_ns: from frame to frame, None when frames come irregularly (trigger).
        """
        if self._id is None:
            step = self._at_start(frame_id)
        else:
            passed = stamp_ns - self._stamp_ns
            if passed < 0:
                self.clock_resets += 1
            step = frame_id - self._id
            if self._wrap:
                step %= self._wrap
                if step > self._wrap // 2:
                    step -= self._wrap
            least, most = self._due(passed, host_ns - self._host_ns, period_ns)
            if not 1 <= step <= 1.1 * most + _SLACK:
                self.jumps += 1
                step = max(1, least)
            elif step < 0.9 * least - _SLACK:
                self.skipped += least - step
        self.missing += step - 1
        self._id, self._stamp_ns, self._host_ns = frame_id, stamp_ns, host_ns
        self._sequence += step
        return self._sequence

    def _at_start(self, frame_id: int) -> int:
        """Ids of an acquisition begin with 1 (USB3 Vision: 0); those before the first that came are missing."""
        step = frame_id if self._wrap else frame_id + 1
        return step if 1 <= step <= _START else 1

    @staticmethod
    def _due(device_ns: int, host_ns: int, period_ns: float | None) -> tuple[int, float]:
        """Least and most frames that the two clocks allow between two frames."""
        if period_ns is None:
            return 0, float("inf")
        host = round(host_ns / period_ns)
        device = round(device_ns / period_ns) if device_ns > 0 else host
        return min(device, host), max(device, host)
