"""A DAVIS346 as dv-processing itself serves it: four `NetworkWriter`s in a process that only ever dies.

python -m tests.capture.inivation.dv_writer EVENTS_PORT FRAMES_PORT TRIGGERS_PORT IMU_PORT
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np

SIZE = (32, 24)
BEGIN_US = 1_700_000_000_000_000
STEP_US = 5_000
PER_STEP = 50


def events_of(step: int) -> list[tuple[int, int, int, bool]]:
    """(t, x, y, p) of one packet."""
    t = BEGIN_US + step * STEP_US
    return [(t + 100 * k, (step + k) % SIZE[0], k % SIZE[1], k % 3 == 0) for k in range(PER_STEP)]


def picture_of(step: int) -> np.ndarray:
    return np.full(SIZE[::-1], step % 256, np.uint8)


def main(ports: list[int]) -> None:
    import dv_processing as dv

    s = dv.io.Stream
    streams = [
        s.EventStream(0, "events", "DAVIS346_DV1", SIZE), s.FrameStream(0, "frames", "DAVIS346_DV1", SIZE),
        s.TriggerStream(0, "triggers", "DAVIS346_DV1"), s.IMUStream(0, "imu", "DAVIS346_DV1"),
    ]  # fmt: skip
    writers = []
    for port, stream in zip(ports, streams, strict=True):
        stream.setCompression(dv.CompressionType.LZ4)
        writers.append(dv.io.NetworkWriter("127.0.0.1", port, stream))
    # Nothing before everybody listens: what a test misses it could not compare.
    while not all(w.getClientCount() for w in writers):
        time.sleep(0.02)
    time.sleep(0.2)
    kind = dv.TriggerType
    for step in range(40):
        t = BEGIN_US + step * STEP_US
        edges = dv.TriggerPacket.TriggersVector()
        edges.append(dv.Trigger(t + 10, kind.EXTERNAL_SIGNAL_RISING_EDGE))
        edges.append(dv.Trigger(t + 20, kind.EXTERNAL_SIGNAL_FALLING_EDGE))
        edges.append(dv.Trigger(t + 30, kind.APS_EXPOSURE_START))
        writers[2].writeTriggers(edges)
        store = dv.EventStore()
        for e in events_of(step):
            store.push_back(e)
        writers[0].writeEvents(store)
        writers[1].writeFrame(dv.Frame(t, 4000, 0, 0, picture_of(step), dv.FrameSource.SENSOR))
        imu = dv.IMUPacket.ImuVector()
        imu.append(dv.IMU(t, 30.0, 0.1, 0.2, 0.9, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0))
        writers[3].writeImu(imu)
        time.sleep(STEP_US / 1e6)
    time.sleep(60)
    os._exit(0)  # a writer that is deleted after a client has connected hangs


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]])
