"""What is asked of a camera's features, with a camera whose features can be chosen."""

from __future__ import annotations

from typing import Any

import pytest

from capture.genicam import finding
from capture.genicam.config import configure
from capture.genicam.features import Features
from capture.genicam.finding import Place, locate, same_serial
from capture.genicam.settings import Settings


class FakeAravis:
    """Features with their values; those in `away` are there and cannot be used now."""

    def __init__(self, **values: Any) -> None:
        self.values = {k.encode(): v for k, v in values.items()}
        self.away: set[bytes] = set()

    def device_is_feature_available(self, device: int, feature: bytes) -> bool:
        return feature in self.values and feature not in self.away

    def device_get_integer_feature_value(self, device: int, feature: bytes) -> int:
        return int(self.values[feature])

    def device_set_boolean_feature_value(self, device: int, feature: bytes, value: bool) -> None:
        self.values[feature] = value

    def device_set_string_feature_value(self, device: int, feature: bytes, value: bytes) -> None:
        self.values[feature] = value

    def entries(self, device: int, feature: str) -> list[str]:
        return ["FrameID", "Timestamp", "ExposureTime"]


def settings(**values: Any) -> Settings:
    a = FakeAravis(ChunkModeActive=False, ChunkSelector="", ChunkEnable=False, **values)
    return Settings(Features(a, 0, "genicam:x"), configure("genicam", "10.0.0.7", {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ticks", "taken"), [(None, True), (1_000_000_000, True), (0, True), (125_000_000, False)]
)
def test_a_chunk_s_stamp_is_taken_where_a_tick_is_a_nanosecond(ticks: int | None, taken: bool) -> None:
    """Ticks of 8 ns, read as nanoseconds, are a clock at an eighth of the speed."""
    values = {} if ticks is None else {"GevTimestampTickFrequency": ticks}
    found = settings(**values).chunk_features()
    assert found["exposure_us"] == "ChunkExposureTime"
    assert ("stamp_ns" in found) == taken


def test_a_feature_that_comes_with_another_one_is_found_then() -> None:
    a = FakeAravis(LineSource="Off")
    a.away.add(b"LineSource")
    f = Features(a, 0, "x")  # type: ignore[arg-type]
    assert not f.has("LineSource")
    a.away.clear()  # another line is selected
    assert f.has("LineSource")


def test_a_serial_number_is_looked_up_and_a_host_name_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [Place("10.0.0.7", "12345678", "Basler", "ace"), Place("10.0.0.8", "4", "Basler", "ace")]
    monkeypatch.setattr(finding, "present", lambda: there)
    assert locate(configure("genicam", "12345678", {})) == Place("10.0.0.7")
    assert locate(configure("genicam", "camera-on-the-bench", {})).handle == "camera-on-the-bench"
    monkeypatch.setattr(finding, "present", lambda: pytest.fail("an address is opened as it is"))
    assert locate(configure("genicam", "10.0.0.9", {})).handle == "10.0.0.9"


def test_the_number_on_the_label_finds_a_flir_on_usb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aravis has it from the USB descriptor: in hexadecimal."""
    usb = Place("FLIR-1E1000A0B1C2-0138C343", "0138C343", "FLIR", "Blackfly S")
    monkeypatch.setattr(finding, "present", lambda: [usb, Place("x", "0138C344", "FLIR", "Blackfly S")])
    assert locate(configure("flir", "20497219", {})) == usb
    assert same_serial("0138c343", "20497219")
    assert not same_serial("0138C343", "20497220")
    assert not same_serial("", "0")
