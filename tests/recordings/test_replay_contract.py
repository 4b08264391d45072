"""The camera contract over replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.camera import Camera
from recordings import sandbox_process
from recordings.replay import DRIVER
from tests.capture.contract import CameraCase, CameraContract, DriverCase, DriverContract


@pytest.fixture(autouse=True)
def _nursery() -> None:
    """What starts the readers belongs to this process, not to a camera that is left behind."""
    sandbox_process.prepare()


class TestReplayedCameras(CameraContract):
    @pytest.fixture(params=["events", "frames", "unpaced-events", "unpaced-frames"])
    def case(self, request: pytest.FixtureRequest, sample: Path) -> CameraCase:
        paced, _, kind = request.param.rpartition("-")
        config = DRIVER.configure(str(sample), {"speed": 0 if paced else 4})

        def make() -> Camera[object]:
            return DRIVER.event_camera(config) if kind == "events" else DRIVER.frame_camera(config)

        return CameraCase(make, 12 if kind == "events" else 6, values={"speed": 8.0, "loop": True})


class TestReplayDriver(DriverContract):
    @pytest.fixture
    def subject(self, sample: Path) -> DriverCase:
        return DriverCase(DRIVER, str(sample), {"speed": 0}, "no/such/file.aedat4")

    def test_facts_agree_with_the_cameras(self, subject: DriverCase) -> None:
        """Cameras of a file know their sizes once it is open, not before."""
        config = subject.driver.configure(subject.rest, subject.settings)
        facts = subject.driver.rig_facts(config)
        pair = subject.driver.pair(config)
        assert facts is not None
        assert pair is not None
        events, frames = pair
        try:
            events.open()
            frames.open()
            assert facts.event_size == (events.info.width, events.info.height)
            assert facts.image_size == (frames.info.width, frames.info.height)
            assert facts.one_sensor == frames.info.capabilities.event_clock
        finally:
            events.close()
            frames.close()
