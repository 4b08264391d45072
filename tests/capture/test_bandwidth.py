"""What a camera asks of its link, and what is advised."""

from __future__ import annotations

import re

import pytest

from capture.bandwidth import FULL, GIGE, USB3, EventStream, FrameStream, advice, demand, pixel_bytes


def test_a_gige_camera_by_hand() -> None:
    d = demand("genicam:192.168.1.20", size=(1152, 768), rate_hz=60, pixel_format="BayerRG8", frames=True)
    # 884 736 bytes in packets of 1464 of them: 605 packets, leader and trailer, 74 bytes around each.
    by_hand = 60 * (884_736 + 607 * 74)
    assert d.bytes_per_s == by_hand
    assert d.share == pytest.approx(by_hand / 125e6)
    assert d.words == "genicam:192.168.1.20: 56 MB/s, 45% of GigE"
    assert advice([d]) == ""


def test_jumbo_packets_cost_less() -> None:
    few = FrameStream(1152, 768, 60).on(GIGE)
    d = demand("genicam:10.0.0.2", size=(1152, 768), rate_hz=60, frames=True, settings={"packet_size": 9000})
    assert d.bytes_per_s < few
    assert d.bytes_per_s > 60 * 1152 * 768


def test_too_much_for_gige_is_told_with_what_would_do() -> None:
    d = demand("genicam:192.168.1.20", size=(1440, 1080), rate_hz=90, frames=True)
    assert d.share > 1
    line = advice([d])
    assert "of GigE" in line
    found = re.search(r"rate_hz to (\d+)", line)
    assert found
    lower = demand("genicam:192.168.1.20", size=(1440, 1080), rate_hz=int(found[1]), frames=True)
    assert FULL - 0.02 < lower.share <= FULL
    found = re.search(r"region of (\d+)×(\d+)", line)
    assert found
    smaller = demand("genicam:192.168.1.20", size=(int(found[1]), int(found[2])), rate_hz=90, frames=True)
    assert FULL - 0.1 < smaller.share <= FULL


def test_colours_on_the_wire_are_advised_against() -> None:
    d = demand("genicam:192.168.1.20", size=(1152, 768), rate_hz=60, pixel_format="RGB8", frames=True)
    assert "8-bit Bayer" in advice([d])
    # The colours would fill the wire, the mosaic does not.
    mosaic = demand("genicam:192.168.1.20", size=(1152, 768), rate_hz=60, pixel_format="BayerGR8", frames=True)
    assert advice([mosaic]) == ""


def test_events_have_a_limiter() -> None:
    d = demand("evk4:00050423", events=True, events_hz=90e6)
    assert d.link is USB3
    line = advice([d])
    found = re.search(r"events_per_s to (\d+)", line)
    assert found
    assert EventStream(int(found[1]), 5.3).on(USB3) <= FULL * USB3.bytes_per_s
    assert advice([demand("evk4", events=True)]) == ""
    assert "raise its thresholds" in advice([demand("davis346", events=True, events_hz=80e6)])


def test_two_cameras_at_one_controller() -> None:
    frames = demand("flir:1", size=(2448, 2048), rate_hz=50, frames=True, usb_speed="USB 3, 5 Gbit/s")
    events = demand("evk4", events=True, events_hz=20e6)
    assert advice([frames]) == advice([events]) == ""
    assert "a controller of its own" in advice([events, frames])
    # One of them on Ethernet: they share nothing.
    other = demand("genicam:10.0.0.2", size=(1152, 768), rate_hz=60, frames=True)
    assert advice([events, other]) == ""


def test_a_slow_port_is_named() -> None:
    d = demand("evk4", events=True, usb_speed="USB 2, 480 Mbit/s")
    assert "USB 2 speed" in advice([d])


def test_a_davis_sends_both() -> None:
    both = demand("davis346", size=(346, 260), rate_hz=40, frames=True, events=True, events_hz=1e6)
    assert both.bytes_per_s == 346 * 260 * 4 * 40 + 6e6


@pytest.mark.parametrize(
    ("camera", "why"),
    [
        ("simulated:davis", "no cable"),
        ("genicam:127.0.0.1", "on this machine"),
        ("aedat4-tcp:localhost:7777", "on this machine"),
        ("aedat4-tcp:127.0.0.1:7777?frames=7778", "on this machine"),
        ("webcam:0", "not known"),
        ("somebody-elses:1", "not known"),
        ("flir", "its size and frame rate will be known"),
    ],
)
def test_what_is_not_estimated_says_why(camera: str, why: str) -> None:
    d = demand(camera, frames=True, events=not camera.startswith(("flir", "genicam")))
    assert why in d.words
    assert d.share == 0
    assert advice([d]) == ""


def test_the_rig_file_tells_what_is_not_known_yet() -> None:
    given = {"width": 1152, "height": 768, "rate_hz": 60, "pixel_format": "auto"}
    d = demand("flir:19450123", frames=True, settings=given)
    assert d.frames == FrameStream(1152, 768, 60, "BayerRG8")
    nonsense = demand("flir", frames=True, settings={"width": "a", "height": True, "rate_hz": None})
    assert "will be known" in nonsense.words


def test_formats() -> None:
    assert [pixel_bytes(f) for f in ("BayerRG8", "Mono12p", "BayerRG12Packed", "Mono16", "BayerRG10", "?")] == [
        1.0, 1.5, 1.5, 2.0, 2.0, 1.0,
    ]  # fmt: skip
