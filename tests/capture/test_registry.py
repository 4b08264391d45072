from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

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


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Makes the driver `toy` of a module with this text, at this place in it."""

    def install(text: str, place: str) -> None:
        (tmp_path / "toy_plugin.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "toy_plugin", raising=False)
        entries = [EntryPoint("toy", f"toy_plugin:{place}", registry.GROUP)]
        monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == registry.GROUP else [])

    return install


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("raise RuntimeError('the SDK found\\nno licence')", r"\(RuntimeError: the SDK found\)"),
        ("import ctypes; ctypes.CDLL('libno-such.so')", r"\(OSError: libno-such.so: "),
        ("def x(:", r"\(SyntaxError: "),
        ("", r"\(module 'toy_plugin' has no attribute 'DRIVER'\)"),
    ],
)
def test_a_plugin_that_fails_at_import_is_named(
    plugin: Callable[[str, str], None], text: str, why: str
) -> None:
    plugin(text, "DRIVER")
    with pytest.raises(
        CameraError, match=rf"camera 'toy': its driver toy_plugin:DRIVER cannot be loaded {why}"
    ):
        registry.driver("toy")


@pytest.mark.parametrize("place", ["DRIVER", "Inside.DRIVER", "DRIVER [extra]"])
def test_every_form_of_an_entry_point(plugin: Callable[[str, str], None], place: str) -> None:
    plugin("class Inside:\n    DRIVER = 'this'\nDRIVER = Inside.DRIVER", place)
    assert registry.driver("toy") == "this"
    assert "toy" in registry.names()


def test_what_a_driver_refuses_is_a_wrong_request(plugin: Callable[[str, str], None]) -> None:
    """As docs/cameras.md shows one: a whole number after the colon, settings that pydantic checks."""
    plugin(
        """
from pydantic import BaseModel
class Config(BaseModel, extra="forbid"):
    index: int
class DRIVER:
    def configure(rest, settings):
        return Config(index=int(rest), **settings)
""",
        "DRIVER",
    )
    assert registry.open_driver("toy:3")[1].model_dump() == {"index": 3}
    for text, settings, why in (
        ("toy", {}, "camera 'toy': invalid literal"),
        ("toy:zero", {}, "camera 'toy:zero': invalid literal .* 'zero'"),
        ("toy:3", {"colour": 1}, "camera 'toy:3': colour: Extra inputs are not permitted$"),
    ):
        with pytest.raises(UsageError, match=why):
            registry.open_driver(text, settings)
