"""Options stay with the network they were given for."""

from __future__ import annotations

from inference.network_options import NetworkOptions


def test_another_network_gets_only_what_holds_for_all() -> None:
    o = NetworkOptions("glint", {"grid": "event", "random_weights": True})
    assert o.of("glint") == {"grid": "event", "random_weights": True}
    assert o.of("edi") == {"random_weights": True}
    o.change("edi", {"contrast_on": 0.2})
    assert o.of("edi") == {"random_weights": True, "contrast_on": 0.2}
    assert o.of("glint") == {"grid": "event", "random_weights": True}
    o.of("glint")["grid"] = "image"  # one's own to change
    assert o.of("glint")["grid"] == "event"
