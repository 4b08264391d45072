"""What every camera driver must keep to. A driver's tests inherit from these classes and say how to make one.

    class TestMyCamera(CameraContract):        # life, reading, capabilities, settings, nothing left behind
        @pytest.fixture(params=[...])
        def case(self, request): return CameraCase(make=lambda: ..., values={"exposure_us": 5000.0})

    class TestMyDriver(DriverContract):        # names, settings, discovery, a missing SDK
        @pytest.fixture
        def subject(self): return DriverCase(DRIVER, rest, settings, bad_rest, hide_sdk)

    class TestMyPlug(UnplugContract):          # unplugged, plugged in again, hung: the camera and its worker
        @pytest.fixture
        def plug(self): return Plug(make=..., camera="name:rest", pull=..., put_back=..., hang=...)

What a driver does not have (an SDK, settings) it leaves out of its case.
"""

from tests.capture.contract.camera import CameraCase, CameraContract, left_behind, read_items
from tests.capture.contract.driver import DriverCase, DriverContract
from tests.capture.contract.unplug import Ask, Plug, UnplugContract

__all__ = [
    "Ask", "CameraCase", "CameraContract", "DriverCase", "DriverContract", "Plug", "UnplugContract",
    "left_behind", "read_items",
]  # fmt: skip
