"""Time in Prophesee's encodings, for what reads files; the camera driver shares it (`capture.evt_time`)."""

from capture.evt_time import (
    BACKWARDS,
    BAD_TIME,
    BASE,
    EDGES,
    FAR,
    HIGH,
    I64,
    IGNORED,
    LOW,
    POLARITY,
    ROW,
    STATE_SIZE,
    UNKNOWN,
    UNTIMED,
    VERSION,
    new_state,
    next_high,
    scan,
    scan_dat,
    settle,
)

__all__ = [
    "BACKWARDS", "BAD_TIME", "BASE", "EDGES", "FAR", "HIGH", "I64", "IGNORED", "LOW", "POLARITY", "ROW",
    "STATE_SIZE", "UNKNOWN", "UNTIMED", "VERSION", "new_state", "next_high", "scan", "scan_dat", "settle",
]  # fmt: skip
