"""The simulated rig as a whole, offline: both streams as items, and the truth about them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from capture.packets import EventPacket, Frame
from capture.registry import RigFacts
from capture.simulated.loops import Progress, event_loop, exposure_in_loop, frame_loop, frame_sensor
from capture.simulated.presets import SimulatedConfig, configure
from capture.simulated.rgb_sensor import FrameSensor
from capture.simulated.sources import EventSource, FrameSource, device_ns


def facts_of(config: SimulatedConfig) -> RigFacts:
    """What is known of the simulated rig: everything, exactly."""
    return RigFacts(
        event_size=(config.event_width, config.event_height),
        image_size=(config.image_width, config.image_height),
        image_from_event=config.image_from_event,
        tone=config.frame_sensor.tone,
        one_sensor=config.one_sensor,
        exact=True,
        threshold_on=config.event_sensor.threshold_on,
        threshold_off=config.event_sensor.threshold_off,
        host_latency_ms=(config.readout_us + abs(config.rolling_us)) / 1e3,
        rolling_us=config.rolling_us,
        note=f"simulated rig, preset {config.preset}: exact",
    )


class SimulatedRig:
    """Both cameras of a simulated rig and the truth.

    Args:
        config: as `configure` gives it; also a preset's name. Without one the default preset.

    Nothing is computed before it is asked for; the loops come from the cache when they are there.
    """

    def __init__(self, config: SimulatedConfig | str | None = None) -> None:
        self.config = config if isinstance(config, SimulatedConfig) else configure(config or "")
        self._sensor: FrameSensor | None = None

    def facts(self) -> RigFacts:
        """Sizes, geometry, tone, thresholds: exact."""
        return facts_of(self.config)

    def prepare(self, progress: Progress = lambda share: None) -> None:
        """Make both loops now, so that `items` starts at once."""
        frame_loop(self.config, lambda share: progress(0.6 * share))
        event_loop(self.config, lambda share: progress(0.6 + 0.4 * share))

    def items(self, seconds: float) -> Iterator[EventPacket | Frame]:
        """Both streams of the first `seconds` of the rig's time, as a recording gives them.

        In order of time, as fast as they are read. A frame comes when its exposure has ended, after the first
        packet whose `complete_until_us` reaches that end. Scheduled faults happen (a stall only when it
        loses data, since nobody waits here). `host_ns` is 0.
        """
        events = EventSource(self.config, event_loop(self.config))
        frames = FrameSource(self.config, frame_loop(self.config))
        end = round(seconds * 1e6)
        while events.position_us < end:
            packet = events.take()
            yield packet
            while (frame_end := frames.end_us()) <= packet.complete_until_us and frame_end <= end:
                yield frames.take()

    def exposure_truth(self, sequence: int) -> tuple[int, int]:
        """(start_us, end_us) of the frame with this sequence number, on the event clock, without jitter."""
        return exposure_in_loop(self.config, sequence)

    def device_ns(self, t_us: float) -> int:
        """What the frame camera's clock shows at a time on the event clock."""
        return device_ns(self.config, t_us)

    def truth(self, t_us: float) -> NDArray[np.uint8]:
        """The sharp picture at a time on the event clock; of a rolling shutter the time of its first row.

        (H, W) for a gray sensor, else (H, W, 3) RGB (of a Bayer sensor too); uint8, noise-free, in the frame
        camera's geometry and tone.
        """
        return self._frame_sensor().sharp(t_us / 1e6)

    def light(self, t_us: float) -> NDArray[np.float32]:
        """The same as linear light, (H, W) or (H, W, 3) float32, 1 = white paper."""
        return self._frame_sensor().light(t_us / 1e6)

    def _frame_sensor(self) -> FrameSensor:
        if self._sensor is None:
            self._sensor = frame_sensor(self.config)
        return self._sensor
