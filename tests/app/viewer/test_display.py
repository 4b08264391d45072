from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from app.viewer.display import display_available

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="displays are looked for on Linux only"
)


def test_no_variable_no_display() -> None:
    assert display_available({}) == (False, "no display: neither DISPLAY nor WAYLAND_DISPLAY is set")


@pytest.mark.parametrize("platform", ["offscreen", "minimal", "vnc:size=800x600"])
def test_platforms_without_a_server(platform: str) -> None:
    assert display_available({"QT_QPA_PLATFORM": platform}) == (True, "")


def test_a_server_that_does_not_answer_is_no_display() -> None:
    ok, reason = display_available({"DISPLAY": ":7391"})
    assert not ok
    assert reason == "the X display :7391 does not answer"
    assert "is not a display" in display_available({"DISPLAY": "nonsense"})[1]
    assert not display_available({"DISPLAY": ":7391", "QT_QPA_PLATFORM": "xcb"})[0]


def test_a_wayland_socket_is_knocked_at(tmp_path: Path) -> None:
    env = {"WAYLAND_DISPLAY": "wayland-t", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert not display_available(env)[0]
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "wayland-t"))
        s.listen()
        assert display_available(env) == (True, "")
        assert not display_available({**env, "QT_QPA_PLATFORM": "xcb"})[0]
