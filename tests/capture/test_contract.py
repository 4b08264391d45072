"""The camera contract over the simulated cameras."""

from __future__ import annotations

import itertools

import pytest

from capture.camera import CameraRole
from capture.simulated.driver import DRIVER
from tests.capture.contract import (
    Ask,
    CameraCase,
    CameraContract,
    DriverCase,
    DriverContract,
    Plug,
    UnplugContract,
)
from tests.capture.simulated_small import SMALL, small, small_davis


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path_factory.getbasetemp() / "simulated-cache"))


CASES = {
    "events": CameraCase(lambda: DRIVER.event_camera(small()), values={"packet_us": 2000}),
    "frames": CameraCase(lambda: DRIVER.frame_camera(small()), 6, values={"readout_us": 1500}),
    "davis-events": CameraCase(lambda: DRIVER.event_camera(small_davis()), values={"packet_us": 10_000}),
    "davis-frames": CameraCase(lambda: DRIVER.frame_camera(small_davis()), 6, values={"readout_us": 0}),
    "unpaced-events": CameraCase(
        lambda: DRIVER.event_camera(small(paced=False, duration_s=0.2)), values={"packet_us": 2000}
    ),
    "unpaced-frames": CameraCase(
        lambda: DRIVER.frame_camera(small(paced=False, duration_s=0.4)), 6, values={"readout_us": 0}
    ),
}


class TestSimulatedCameras(CameraContract):
    @pytest.fixture(params=CASES.values(), ids=CASES.keys())
    def case(self, request: pytest.FixtureRequest) -> CameraCase:
        found: CameraCase = request.param
        return found


class TestSimulatedDriver(DriverContract):
    @pytest.fixture
    def subject(self) -> DriverCase:
        return DriverCase(DRIVER, "handheld", SMALL, "nonsense")


_plugs = itertools.count(1)


class TestSimulatedPlug(UnplugContract):
    """Unplugged on request, for a second. There is no SDK that could hang."""

    @pytest.fixture(params=["events", "frames"])
    def plug(self, request: pytest.FixtureRequest) -> Plug:
        role = CameraRole(request.param)
        make = DRIVER.event_camera if role is CameraRole.EVENTS else DRIVER.frame_camera

        def pull(ask: Ask) -> None:
            ask("fault", {"kind": "unplug", "seconds": 1.0})

        # Which plug is out is known by the configuration: each test has its own.
        own = {**SMALL, "clock_offset_ms": float(next(_plugs))}
        return Plug(lambda: make(small(**own)), "simulated", pull, lambda: None, role, own)
