"""Rings are as large as the frames that come, where that is known before a camera is open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app import room
from app.room import frame_ring_bytes, picture_bytes
from app.sources import CameraPlan, Source, SourceRequest, resolve
from capture.camera import CameraRole

PIXELS = 1152 * 768


def simulated(**settings: Any) -> Source:
    return resolve(SourceRequest.of("simulated", settings))


def of_camera(name: str = "genicam:127.0.0.1", **settings: Any) -> Source:
    plan = CameraPlan("frames", name, settings, (CameraRole.FRAMES,))
    return replace(simulated(), cameras=(plan,))


@pytest.mark.parametrize(
    ("source", "pixel_bytes"),
    [
        (simulated(), 3),
        (simulated(frame_sensor={"layout": "bayer_rggb"}), 1),
        (simulated(frame_sensor={"layout": "gray"}), 1),
        (of_camera(pixel_format="BayerRG8"), 1),
        (of_camera(pixel_format="Mono8"), 1),
        (of_camera(pixel_format="RGB8"), 3),
        (of_camera(), 3),  # the camera chooses
        (of_camera("flir:20123456"), 1),  # and this one has a format of 8 bits
        (of_camera("flir:20123456", pixel_format="RGB8"), 3),
        (of_camera("flir-spinnaker:20123456"), 1),
        (replace(simulated(frame_sensor={"layout": "gray"}), live=False), 3),
        (replace(simulated(), cameras=()), 3),
    ],
)
def test_a_frame_takes_what_its_pixels_take(source: Source, pixel_bytes: int) -> None:
    assert frame_ring_bytes(source, 90) == 90 * (PIXELS * pixel_bytes + 4096)
    assert picture_bytes(source) == PIXELS * 3 + 4096


def test_small_frames_are_not_saved_at() -> None:
    source = resolve(SourceRequest.of("simulated:davis", {"frame_sensor": {"layout": "gray"}}))
    assert frame_ring_bytes(source, 36) == 36 * (346 * 260 * 3 + 4096)
    assert frame_ring_bytes(source, 360) == 64 << 20


def test_a_camera_that_fails_when_it_is_made_is_left_to_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's may raise anything, or describe itself without all fields."""

    class Driver:
        def frame_camera(self, config: object) -> object:
            raise RuntimeError("no licence")

    monkeypatch.setattr(room, "open_driver", lambda camera, settings: (Driver(), None))
    assert frame_ring_bytes(of_camera(), 90) == 90 * (PIXELS * 3 + 4096)
