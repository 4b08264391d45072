"""`webcam:INDEX` with OpenCV's capture replaced by one that can be unplugged; the example of the manual."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from capture import registry, webcam
from capture.camera import CameraState
from capture.errors import CameraError, UsageError
from capture.packets import Frame, PixelLayout
from capture.ring import RingLayout, RingMemory, RingReader, RingRef
from capture.webcam import DRIVER, Webcam
from capture.worker import CameraWorkerSpec, run_camera_worker
from tests.capture.contract import (
    Ask,
    CameraCase,
    CameraContract,
    DriverCase,
    DriverContract,
    Plug,
    UnplugContract,
    read_items,
)
from tests.capture.fake_link import FakeLink

LATE_S = 0.012
MANUAL = Path(__file__).resolve().parents[2] / "docs" / "cameras.md"


class FakeCapture:
    """What `cv2.VideoCapture` does, at 40 fps: blue-green-red pictures, until the plug is out."""

    plugged: ClassVar[bool] = True
    longest_us: ClassVar[int] = 20_000
    stamped: ClassVar[bool] = True
    backend: ClassVar[str] = "V4L2"
    sizes: ClassVar[set[tuple[int, int]]] = {(48, 64), (96, 128)}
    hanging: ClassVar[threading.Event | None] = None
    period_s: ClassVar[float] = 0.025

    def __init__(self) -> None:
        self.opened, self.number, self.next = False, 0, 0.0
        self.values: dict[int, float] = {cv2.CAP_PROP_AUTO_EXPOSURE: 3, cv2.CAP_PROP_EXPOSURE: 156}

    def open(self, index: int) -> bool:
        self.opened = self.plugged and index == 0
        return self.opened

    def isOpened(self) -> bool:
        return self.opened

    def getBackendName(self) -> str:
        return self.backend

    def set(self, what: int, value: float) -> bool:
        if what == cv2.CAP_PROP_EXPOSURE:
            if self.values[cv2.CAP_PROP_AUTO_EXPOSURE] != 1:
                return False
            value = min(value, self.longest_us / 100)
        self.values[what] = value
        return True

    def get(self, what: int) -> float:
        if what == cv2.CAP_PROP_POS_MSEC:
            return (self.next - 0.025 - LATE_S) * 1e3 if self.stamped else 0.0
        return self.values.get(what, 0.0)

    def read(self) -> tuple[bool, np.ndarray[Any, Any] | None]:
        if self.hanging is not None:
            self.hanging.wait()
        time.sleep(max(0.0, self.next - time.monotonic()))
        self.next = time.monotonic() + self.period_s
        if not (self.opened and self.plugged):
            return False, None
        self.number += 1
        sides = (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        size = tuple(int(self.values.get(s, 0)) for s in sides)
        image = np.zeros((*(size if size in self.sizes else (48, 64)), 3), np.uint8)
        image[...] = (10, 20, 30)
        image[0, 0, 0] = self.number
        return True, image

    def release(self) -> None:
        self.opened = False


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(webcam.cv2, "VideoCapture", FakeCapture)
    for name, value in (("plugged", True), ("longest_us", 20_000), ("stamped", True), ("backend", "V4L2")):
        monkeypatch.setattr(FakeCapture, name, value)
    monkeypatch.setattr(FakeCapture, "hanging", None)
    yield
    if FakeCapture.hanging is not None:
        FakeCapture.hanging.set()


def make(index: int = 0, **settings: Any) -> Webcam:
    return DRIVER.frame_camera(DRIVER.configure(str(index), settings))


class TestWebcam(CameraContract):
    @pytest.fixture
    def case(self) -> CameraCase:
        return CameraCase(make)


class TestWebcamDriver(DriverContract):
    @pytest.fixture
    def subject(self) -> DriverCase:
        return DriverCase(DRIVER, "0", {"rate_hz": 25}, "front")


class TestWebcamPlug(UnplugContract):
    @pytest.fixture(params=["error", "silence"])
    def plug(self, request: pytest.FixtureRequest) -> Plug:
        def pull(ask: Ask) -> None:
            if request.param == "error":
                FakeCapture.plugged = False
            else:
                FakeCapture.hanging = threading.Event()

        def put_back() -> None:
            FakeCapture.plugged = True
            if FakeCapture.hanging is not None:
                FakeCapture.hanging.set()
                FakeCapture.hanging = None

        return Plug(make, "webcam:0", pull, put_back)


def test_frames_are_rgb_without_an_exposure() -> None:
    with make() as c:
        c.start()
        f = read_items(c, 1)[0]
    assert isinstance(f, Frame)
    assert (f.layout, f.device_start_ns, f.exposure_ns) == (PixelLayout.RGB, None, None)
    assert f.image[5, 5].tolist() == [30, 20, 10]


@pytest.mark.parametrize("stamped", [True, False])
def test_an_exposure_that_is_set_is_that_of_the_frames(monkeypatch: pytest.MonkeyPatch, stamped: bool) -> None:
    monkeypatch.setattr(FakeCapture, "stamped", stamped)
    with make(exposure_us=8_000) as c:
        c.start()
        assert c.info.capabilities.exposure_stamps
        got = read_items(c, 4)
    for f in got:
        assert isinstance(f, Frame)
        assert f.exposure_ns == 8_000_000
        assert f.device_end_ns is not None
        late_s = (f.host_ns - f.device_end_ns) / 1e9
        assert (LATE_S <= late_s < LATE_S + 1) if stamped else late_s == 0


def test_an_exposure_that_it_does_not_take_is_refused() -> None:
    c = make(exposure_us=25_000)
    for _ in range(2):  # and it stays refused
        with pytest.raises(CameraError, match="an exposure of 25000 µs is not possible, it took 20000 µs; set"):
            c.open()
    with pytest.raises(UsageError, match="exposure_us"):
        make(exposure_us=0)


def test_an_exposure_needs_a_system_that_can_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCapture, "backend", "MSMF")
    with pytest.raises(CameraError, match=r"on Linux \(V4L2\) only"):
        make(exposure_us=8_000).open()
    with make() as c:
        assert not c.info.capabilities.exposure_stamps


def test_its_size_is_asked_for() -> None:
    with make(width=128, height=96) as c:
        c.start()
        (frame,) = read_items(c, 1)
        assert (c.info.width, c.info.height) == (128, 96)
    assert isinstance(frame, Frame)
    assert frame.image.shape == (96, 128, 3)
    with pytest.raises(CameraError, match="pictures of 1280×720 are not possible, it gives 64×48; set width"):
        make(width=1280, height=720).open()
    with pytest.raises(UsageError, match="width and height go together"):
        DRIVER.configure("0", {"width": 640})


def test_no_camera_and_a_number_that_is_none() -> None:
    with pytest.raises(CameraError, match="webcam:7: no camera there"):
        make(7).open()
    with pytest.raises(UsageError, match="webcam:100: index: "):
        DRIVER.configure("100", {})


def test_opencv_itself_says_when_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(CameraError, match="webcam:99: no camera there"):
        make(99).open()


# -- the example of the manual --------------------------------------------------------------------------------


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    code = MANUAL.read_text().split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 42
    (tmp_path / "mycamera.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.spec_from_file_location("mycamera", tmp_path / "mycamera.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_runs_in_a_camera_worker(example: ModuleType) -> None:
    memory = RingMemory.create(RingLayout("frames", 1 << 20, 64, ("test",)))
    reader, got = RingReader(RingRef(memory.name, "frames"), "test"), []

    def script(link: FakeLink) -> None:
        while (item := reader.read()) is not None:
            got.append(item.packet())
        link.stopping |= len(got) >= 5

    link = FakeLink(script, polls=10**6)
    try:
        spec = CameraWorkerSpec(
            "mycamera:0", frames=RingRef(memory.name, "frames"), drivers={"mycamera": "mycamera:DRIVER"}
        )
        run_camera_worker(link, spec)  # type: ignore[arg-type]
    finally:
        reader.close()
        memory.close()
        registry.BUILT_IN.pop("mycamera")
    assert [f.sequence for f in got[:5]] == [1, 2, 3, 4, 5]
    assert got[0].image[5, 5].tolist() == [30, 20, 10]
    assert CameraState.FAULTED not in [state for state, _ in link.said]


def test_the_example_says_when_its_camera_is_gone(example: ModuleType) -> None:
    d = example.DRIVER
    camera = d.frame_camera(d.configure("0", {}))
    camera.open()
    camera.start()
    FakeCapture.plugged = False
    with pytest.raises(CameraError, match="plug it in again"):
        camera.read(0.1)
    camera.close()
    with pytest.raises(CameraError, match="no camera there"):
        camera.open()


def test_a_long_exposure_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames come as seldom as it makes them, whatever rate was asked for."""
    monkeypatch.setattr(FakeCapture, "longest_us", 1_000_000)
    monkeypatch.setattr(FakeCapture, "period_s", 1.1)
    with make(exposure_us=1_000_000) as c:
        c.start()
        assert len(read_items(c, 2)) == 2
