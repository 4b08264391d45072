from __future__ import annotations

import pytest

from capture import registry
from capture.errors import CameraError, UsageError


def test_an_unknown_camera_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown camera 'nikon'; known: .*simulated"):
        registry.open_driver("nikon:3")


@pytest.mark.parametrize(("typed", "near"), [("simulatet:", "simulated"), ("gencam:127.0.0.1", "genicam")])
def test_a_misspelt_camera_is_told_the_nearest(typed: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{near}'"):
        registry.open_driver(typed)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(UsageError, match="empty before the colon"):
        registry.CameraName.parse(":handheld")


def test_a_name_keeps_colons_of_its_rest() -> None:
    n = registry.CameraName.parse("aedat4-tcp:localhost:7777")
    assert (n.driver, n.rest, str(n)) == ("aedat4-tcp", "localhost:7777", "aedat4-tcp:localhost:7777")


def test_a_driver_that_cannot_be_imported_costs_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "broken", "no_such_package.driver:DRIVER")
    with pytest.raises(CameraError, match=r"camera 'broken': its driver .* cannot be loaded \(No module"):
        registry.driver("broken")


def test_a_third_party_driver_comes_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name, value = "toy", "tests.capture.test_registry:TOY"

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry()] if group == registry.GROUP else [])
    assert registry.driver("toy") is TOY
    assert "toy" in registry.names()


TOY = object()
