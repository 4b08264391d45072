"""The camera contract over the DAVIS code path: AEDAT4 streams over TCP and Unix sockets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture import registry
from capture.camera import Camera, CameraRole
from tests.capture.contract import (
    Ask,
    CameraCase,
    CameraContract,
    DriverCase,
    DriverContract,
    Plug,
    UnplugContract,
)
from tests.capture.inivation.server import Served


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as m:
        m.setenv("HALFMIRROR_CACHE", str(tmp_path_factory.getbasetemp() / "simulated-cache"))
        yield


@pytest.fixture(scope="module")
def served(cache: None) -> Iterator[dict[str, Served]]:
    with tempfile.TemporaryDirectory() as d:  # short paths: a socket's has 107 bytes at most
        made = {"tcp": Served("davis"), "unix": Served("handheld", Path(d))}
        yield made
        for s in made.values():
            s.end()


def opened(s: Served, role: CameraRole) -> Camera:  # type: ignore[type-arg]
    d, config = registry.open_driver(s.name, s.settings)
    return d.event_camera(config) if role is CameraRole.EVENTS else d.frame_camera(config)


CASES = {
    "tcp-events": ("tcp", CameraRole.EVENTS, 12),
    "tcp-frames": ("tcp", CameraRole.FRAMES, 6),
    "unix-events": ("unix", CameraRole.EVENTS, 12),
}


class TestStreamedDavis(CameraContract):
    @pytest.fixture(params=CASES.values(), ids=CASES.keys())
    def case(self, request: pytest.FixtureRequest, served: dict[str, Served]) -> CameraCase:
        server, role, items = request.param
        return CameraCase(lambda: opened(served[server], role), items, values={"edge_wait_ms": 1.0})


class TestStreamDriver(DriverContract):
    @pytest.fixture
    def subject(self, served: dict[str, Served]) -> DriverCase:
        s = served["tcp"]
        return DriverCase(registry.driver("aedat4-tcp"), s.name.partition(":")[2], s.settings, "no port")


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    from capture.errors import UsageError

    with pytest.raises(UsageError, match="path of a socket"):
        registry.open_driver("aedat4-unix:" + "a" * 200, {})[1].places()  # type: ignore[attr-defined]


class TestStreamsUnplugged(UnplugContract):
    """The server is killed, comes back; the worker process is `tests/app` 's business."""

    @pytest.fixture(params=[CameraRole.EVENTS, CameraRole.FRAMES], ids=["events", "frames"])
    def plug(self, request: pytest.FixtureRequest, served: dict[str, Served]) -> Plug:
        s, role = served["tcp"], request.param
        s.start()
        s.await_spare()

        def pull(ask: Ask) -> None:
            s.kill()

        return Plug(lambda: opened(s, role), s.name, pull, s.start, role, s.settings)
