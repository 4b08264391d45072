"""What the AEDAT4 server is doing when it is never heard of again."""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    """Marked in the child before each native call that may not return, read by the parent."""

    OPEN = 0
    SPAN = 1
    EDGES = 2
    EVENTS = 3
    TRIGGERS = 4
    IMU = 5
    FRAMES = 6
    INDEX = 7


STREAMS: dict[int, str] = {
    Stage.EVENTS: "events",
    Stage.TRIGGERS: "triggers",
    Stage.IMU: "imu",
    Stage.FRAMES: "frames",
}
