"""Writes AEDAT4 with dv-processing: events, frames with their exposures, trigger edges, inertial samples; LZ4.

dv-processing, because it alone writes exposures. It takes events one by one, two to three million a second, and
ends the whole process on a full disk: run it in one of its own (`remote`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, Inertial, TriggerEdges
from capture.scratch import scratch_root
from recordings.export.content import Content
from recordings.formats.aedat4_told import ASSUMED, BY_DRIVER, OTHER_CAMERA

SUFFIX = ".aedat4"
_EVENTS_PER_PACKET = 50_000


class Aedat4Writer:
    """See `Writer`.

    Args:
        path: the file.
        event_size, image_size: (width, height); image_size None: no frames.
        triggers: there may be edges.
        camera: its name in the file.
        two_cameras: frames are another camera's than the events, of whatever size.
        by_driver: see `RecordingInfo`.
        assumed: nothing tells for sure that one sensor gave both, as is taken to be so.
    """

    def __init__(
        self, path: Path, event_size: tuple[int, int], image_size: tuple[int, int] | None, triggers: bool,
        camera: str, two_cameras: bool = False, by_driver: bool = False,
        assumed: bool = False,
    ) -> None:  # fmt: skip
        import dv_processing as dv

        self._dv = dv
        self.content, self.notes = Content(), list[str]()
        config = dv.io.MonoCameraWriter.Config(camera, dv.CompressionType.LZ4)
        config.addEventStream(event_size)
        if image_size is not None:
            config.addFrameStream(image_size)
            for key, said in ((OTHER_CAMERA, two_cameras), (ASSUMED, assumed), (BY_DRIVER, by_driver)):
                if said:
                    config.addStreamMetadata("frames", (key, "true"))
        if triggers:
            config.addTriggerStream()
        config.addImuStream()
        # Under any other ending it refuses to write: it gets a name that it likes for the same file, elsewhere,
        # since disks for carrying (exFAT) know no links.
        with tempfile.TemporaryDirectory(prefix="halfmirror-", dir=scratch_root()) as folder:
            link = Path(folder, f"recording{SUFFIX}")
            link.symlink_to(path.absolute())
            self._writer = dv.io.MonoCameraWriter(str(link), config)
            self._writer.setPackagingCount(1)  # else edges are held back

    def add(self, events: Events, edges: TriggerEdges) -> None:
        """See `Writer.add`."""
        dv = self._dv
        for k in range(0, len(events), _EVENTS_PER_PACKET):
            e = events[k : k + _EVENTS_PER_PACKET]
            store = dv.EventStore()
            for row in zip(e.t.tolist(), e.x.tolist(), e.y.tolist(), e.p.tolist(), strict=True):
                store.push_back(row)
            self._writer.writeEvents(store)
        kinds = dv.TriggerType
        for t, rising in zip(edges.t.tolist(), edges.rising.tolist(), strict=True):
            kind = kinds.EXTERNAL_SIGNAL_RISING_EDGE if rising else kinds.EXTERNAL_SIGNAL_FALLING_EDGE
            self._writer.writeTrigger(dv.Trigger(t, kind))
        self.content.add_events(events)
        self.content.add_edges(edges)

    def add_imu(self, samples: Inertial) -> None:
        """Inertial samples, in g, °/s and °C as dv-processing has them; it knows a magnetometer besides."""
        for t, v in zip(samples.t.tolist(), samples.values.tolist(), strict=True):
            self._writer.writeImu(self._dv.IMU(t, v[6], *v[0:6], 0.0, 0.0, 0.0))
        self.content.imu += len(samples)

    def add_frame(self, image: NDArray[np.uint8], start_us: int, end_us: int) -> None:
        """See `Writer.add_frame`."""
        dv = self._dv
        bgr = np.ascontiguousarray(image[..., ::-1]) if image.ndim == 3 else image
        self._writer.writeFrame(dv.Frame(start_us, end_us - start_us, 0, 0, bgr, dv.FrameSource.SENSOR))
        self.content.add_frame(image, start_us, end_us)

    def finish(self) -> None:
        """See `Writer.finish`."""
        del self._writer  # completes the file

    def abandon(self) -> None:
        """Nothing is left open: its process goes."""
