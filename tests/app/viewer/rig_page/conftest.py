"""The rig page in a window, on a preview without cameras."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.device_survey import Survey
from app.rig_discovery import RigDiscovery
from app.viewer.rig_desk import RigDesk
from app.viewer.window import ViewerWindow
from capture.simulated.presets import configure
from capture.simulated.rig import facts_of
from sync.rig import Rig
from tests.app.test_rig_discovery import device
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_preview import FakePreview
from tests.app.viewer.fake_session import FakeSession

Ticks = Callable[..., None]


@pytest.fixture(autouse=True)
def _none_made() -> Iterator[None]:
    FakePreview.made.clear()
    yield
    FakePreview.made.clear()


@pytest.fixture
def found() -> Survey:
    """What is connected."""
    return Survey(
        [device("evk4:1", "events", "1"), device("evk4:2", "events", "2"), device("flir:9", "frames", "9")]
    )


@pytest.fixture
def window(make_window: MakeWindow, fake: FakeSession, found: Survey) -> ViewerWindow:
    w = make_window(fake)
    w.rig.choices.discovery = RigDiscovery(lambda: found)
    w.rig.make_preview = FakePreview
    w.resize(1280, 800)
    return w


@pytest.fixture
def desk(window: ViewerWindow) -> RigDesk:
    return window.rig


@pytest.fixture
def ticks(window: ViewerWindow, clock: Clock) -> Ticks:
    """So many looks at the figures; first waits for what runs beside."""

    def go(looks: int = 2) -> None:
        d, deadline = window.rig.choices.discovery, time.monotonic() + 5
        while (d.looking or any(t.is_alive() for t in d._threads)) and time.monotonic() < deadline:
            time.sleep(0.005)
        run(window, clock, 12 * looks)

    return go


def rig_file(tmp_path: Path, **events: Any) -> Path:
    rig = Rig.from_facts("simulated:handheld", facts_of(configure("handheld")))
    rig = rig.model_copy(
        update={
            "name": "ours",
            "events": rig.events.model_copy(update={"camera": "evk4:1", "width": 64, "height": 48, **events}),
            "image": rig.image.model_copy(update={"camera": "flir:9"}),
            "geometry": rig.geometry.model_copy(update={"residual_px": 0.12, "measured": "with a board"}),
        }
    )
    rig.save(tmp_path / "ours.toml")
    return tmp_path / "ours.toml"


@pytest.fixture
def running(desk: RigDesk, ticks: Ticks, tmp_path: Path) -> FakePreview:
    """The page on a rig file of two cameras, both running."""
    desk.show(rig_file(tmp_path))
    preview = FakePreview.made[-1]
    preview.come_up()
    ticks()
    return preview
