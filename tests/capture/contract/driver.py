"""The contract of a driver: names, settings, discovery, what it says when its SDK is not there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from capture.errors import CameraError, UsageError
from capture.registry import Driver


@dataclass(frozen=True)
class DriverCase:
    """One driver to hold to the contract.

    Attributes:
        rest, settings: of a source that can be configured.
        bad_rest: one that cannot.
        hide_sdk: makes the driver's SDK impossible to load while a test runs; None where it needs none.
    """

    driver: Driver
    rest: str
    settings: dict[str, Any]
    bad_rest: str
    hide_sdk: Callable[[pytest.MonkeyPatch], None] | None = None


class DriverContract:
    """The contract of `capture.registry.Driver`."""

    def test_discovery_never_raises(self, subject: DriverCase) -> None:
        for info in subject.driver.discover():
            assert info.name.split(":")[0] == subject.driver.name

    def test_a_missing_sdk_is_one_sentence(self, subject: DriverCase, monkeypatch: pytest.MonkeyPatch) -> None:
        """It says what to install, and nothing else breaks: names, settings, discovery."""
        if subject.hide_sdk is None:
            pytest.skip("this driver needs no SDK")
        subject.hide_sdk(monkeypatch)
        config = subject.driver.configure(subject.rest, subject.settings)
        assert subject.driver.discover() == []
        cameras: list[Any] = []
        for make in (subject.driver.event_camera, subject.driver.frame_camera):
            with contextlib.suppress(CameraError):  # the driver has no such camera
                cameras.append(make(config))
        assert cameras
        for camera in cameras:
            with pytest.raises(CameraError, match=r"install") as told:
                camera.open()
            assert "\n" not in str(told.value)
            camera.close()

    def test_a_wrong_setting_is_named(self, subject: DriverCase) -> None:
        with pytest.raises(UsageError, match="nonsense"):
            subject.driver.configure(subject.rest, {**subject.settings, "nonsense": 1})

    def test_a_wrong_name_is_refused_in_one_line(self, subject: DriverCase) -> None:
        with pytest.raises(UsageError) as e:
            subject.driver.configure(subject.bad_rest, subject.settings)
        assert "\n" not in str(e.value)

    def test_facts_agree_with_the_cameras(self, subject: DriverCase) -> None:
        config = subject.driver.configure(subject.rest, subject.settings)
        facts = subject.driver.rig_facts(config)
        if facts is None:
            pytest.skip("a camera by itself, of no rig")
        pair = subject.driver.pair(config)
        events, frames = pair or (subject.driver.event_camera(config), subject.driver.frame_camera(config))
        try:
            assert facts.event_size == (events.info.width, events.info.height)
            assert facts.image_size == (frames.info.width, frames.info.height)
            assert facts.one_sensor == frames.info.capabilities.event_clock
        finally:
            events.close()
            frames.close()
