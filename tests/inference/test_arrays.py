"""Networks on one's own arrays: the same pictures as on exposures, whatever form the arrays have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.errors import HalfmirrorError
from inference import models
from inference.arrays import Deblurrer, events_of
from inference.engine import Engine
from tests.inference.moving_scene import scene
from tests.inference.restorers.rigs import splitter
from tests.inference.restorers.streams import EXPOSURE_US, PERIOD_US, exposures

SIZE = (96, 72)


def columns(e: Any) -> tuple[Any, Any, Any, Any]:
    return e.t, e.x, e.y, e.p


def of(*a: Any, **k: Any) -> Any:
    return scene(*SIZE, *a, **k).exposure


@pytest.mark.parametrize("network", ["edi", "glint", "none"])
@pytest.mark.parametrize("at", [0.5, 1, np.float32(0.25), [0.0, 0.3, 1.0], (0.5,), np.linspace(0, 1, 3)])
def test_pictures_are_those_of_an_exposure(network: str, at: Any) -> None:
    e = of()
    engine = Engine(models.create(network, e.rig, {}, "cpu"))
    (want,) = engine.push(e, np.atleast_1d(at).tolist())
    deblurrer = Deblurrer(network, image_size=SIZE, device="cpu")
    found = deblurrer(e.frame.image, columns(e.events), (1_000_000, 1_040_000), at)
    assert np.array_equal(found, want.images if np.ndim(at) else want.images[0])
    assert deblurrer.last is not None
    assert deblurrer.last.times_us == want.times_us
    assert deblurrer.last.figures == want.figures


def test_every_form_of_events() -> None:
    e = of()
    x = (e.frame.image, (1_000_000, 1_040_000))
    t, xs, ys, p = columns(e.events)
    structured = np.zeros(len(t), [("x", "u2"), ("y", "u2"), ("p", "i2"), ("t", "i8")])
    structured["t"], structured["x"], structured["y"], structured["p"] = t, xs, ys, p
    forms = [
        e.events,
        (t, xs, ys, p),
        (t.tolist(), xs.tolist(), ys.tolist(), p.tolist()),
        (t, xs.astype(np.int32), ys.astype(np.int64), np.where(p, 1, -1)),
        (t.astype(np.uint64), xs, ys, p.astype(np.uint8)),
        structured,
    ]
    pictures = [Deblurrer("edi", image_size=SIZE)(x[0], f, x[1]) for f in forms]
    assert not np.array_equal(pictures[0], x[0])
    assert all(np.array_equal(pictures[0], q) for q in pictures)
    assert np.array_equal(events_of(t, xs, ys, np.where(p, 1, -1), *SIZE).p, p)


def test_every_form_of_an_exposure_and_of_thresholds() -> None:
    """A program may keep its exposures as the rows of one array."""
    e = of()
    span = (1_000_000, 1_040_000)
    pictures = [
        Deblurrer("edi", image_size=SIZE, contrast=c)(e.frame.image, e.events, s)
        for s in (span, list(span), np.array([span])[0])
        for c in (0.25, (0.25, 0.25), np.float32(0.25), np.array([0.25, 0.25]))
    ]
    assert all(np.array_equal(pictures[0], p) for p in pictures)


def test_events_of_others_change_nothing_but_the_contrast() -> None:
    """All of a recording may be given with every frame."""
    first, second = of(), of(start_us=1_060_000, seed=3)
    t, x, y, p = (np.concatenate(c) for c in zip(columns(first.events), columns(second.events), strict=True))
    for contrast in (0.2, (0.2, 0.25)):
        whole = Deblurrer("edi", image_size=SIZE, contrast=contrast)
        parted = Deblurrer("edi", image_size=SIZE, contrast=contrast)
        for e in (first, second):
            span = (e.exposure.start_us, e.exposure.end_us)
            a = whole(e.frame.image, (t, x, y, p), span)
            assert np.array_equal(a, parted(e.frame.image, columns(e.events), span))


def test_two_cameras_by_a_rig_file(tmp_path: Path) -> None:
    rig = splitter()
    rig.save(tmp_path / "rig.toml")
    (e,) = exposures([1], rig=rig)
    (want,) = Engine(models.create("edi", rig, {}, "cpu")).push(e, [0.5])
    for given in (rig, tmp_path / "rig.toml", str(tmp_path / "rig.toml")):
        found = Deblurrer("edi", rig=given)(e.frame.image, e.events, (PERIOD_US, PERIOD_US + EXPOSURE_US))
        assert np.array_equal(found, want.images[0])


def test_a_network_that_looks_ahead() -> None:
    window = exposures(range(6), 40, 32)
    options = {"random_weights": True}
    engine = Engine(models.create("cdvd-tsp", window[0].rig, options, "cpu"))
    want = [r for e in window for r in engine.push(e, [0.5])] + engine.flush()
    deblurrer = Deblurrer("cdvd-tsp", image_size=(40, 32), options=options, device="cpu")
    with pytest.raises(HalfmirrorError, match="needs the 2 frames that follow"):
        deblurrer(window[0].frame.image)
    found = [r for e in window for r in deblurrer.feed(e.frame.image)] + deblurrer.finish()
    assert [r.ordinal for r in found] == list(range(6))
    assert all(np.array_equal(a.images, b.images) for a, b in zip(found, want, strict=True))


def test_another_sequence() -> None:
    e = of()
    span = (1_000_000, 1_040_000)
    deblurrer = Deblurrer("edi", image_size=SIZE)
    deblurrer(e.frame.image, e.events, span)
    with pytest.raises(HalfmirrorError, match="not later than the one before"):
        deblurrer(e.frame.image, e.events, span)
    deblurrer.reset()
    deblurrer(e.frame.image, e.events, span)


GOOD: dict[str, Any] = {
    "frame": np.zeros((72, 96), np.uint8),
    "events": ([5], [1], [2], [1]),
    "exposure_us": (0, 9),
}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"frame": np.zeros((72, 96))}, r"uint8, \(72, 96, 3\) RGB or \(72, 96\) gray; got float64 \(72, 96\)"),
        ({"frame": np.zeros((96, 72), np.uint8)}, r"got uint8 \(96, 72\)"),
        ({"frame": np.zeros((72, 96, 4), np.uint8)}, r"got uint8 \(72, 96, 4\)"),
        ({"events": None}, "edi needs events"),
        ({"exposure_us": None}, "edi needs events and the exposure"),
        ({"exposure_us": (9, 9)}, "from 9 to 9 µs has no length"),
        ({"exposure_us": (0.0, 0.01)}, "whole numbers of microseconds"),
        ({"exposure_us": (1, 2, 3)}, "two whole numbers"),
        ({"events": ([0.5], [1], [2], [1])}, r"whole microseconds, got float64: seconds · 1e6"),
        ({"events": ([5], [1.5], [2], [1])}, "x are whole pixels"),
        ({"events": ([5], [96], [2], [1])}, "1 outside the 96×72 sensor"),
        ({"events": ([5, 4], [1, 1], [2, 2], [1, 1])}, "1 with decreasing time"),
        ({"events": ([5, 6], [1, 1], [2, 2], [1])}, "different lengths"),
        ({"events": ([5], [1], [2], ["on"])}, "p are numbers or truth values"),
        ({"events": ([5], [1], [2])}, "four arrays"),
        ({"events": (5, 1, 2, 1)}, "t is an array of one axis"),
        ({"events": ([5], [1], [2], 1)}, "p is an array of one axis"),
        ({"events": ([[5]], [[1]], [[2]], [[1]])}, "t is an array of one axis"),
        ({"events": np.zeros((7, 4), np.int64)}, "four arrays"),
        ({"events": np.zeros(2, [("t", "i8"), ("x", "u2"), ("y", "u2")])}, r"lacks \['p'\]"),
        ({"events": events_of([5], [1], [2], [1], 64, 48)}, "events of 64×48 pixels, expected 96×72"),
        ({"at": 1.01}, "between 0 and 1"),
        ({"at": []}, "between 0 and 1"),
        ({"at": float("nan")}, "between 0 and 1"),
        ({"at": [[0.1, 0.2]]}, "between 0 and 1"),
        ({"at": "middle"}, "between 0 and 1"),
        ({"at": None}, "between 0 and 1"),
    ],
)
def test_what_is_refused(bad: dict[str, Any], why: str) -> None:
    deblurrer = Deblurrer("edi", image_size=SIZE)
    deblurrer(**GOOD)
    deblurrer.reset()
    with pytest.raises(HalfmirrorError, match=why):
        deblurrer(**{**GOOD, **bad})
    deblurrer(**GOOD)  # and nothing of it is left


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"image_size": None}, "give image_size"),
        ({"event_size": (48, 36)}, "told by a rig"),
        ({"image_size": (4, 4)}, "image_size 4×4"),
        ({"image_size": 96}, "image_size is .width, height. in pixels; got 96"),
        ({"image_size": (96.0, 72.0)}, "in pixels"),
        ({"event_size": (1, 2, 3)}, "event_size is"),
        ({"tone": "gamma"}, "tone 'gamma'"),
        ({"network": "edl"}, "unknown network"),
        ({"options": {"colour": 1}}, "colour"),
        ({"contrast": 0.0}, "contrast"),
        ({"contrast": (0.1, 0.2, 0.3)}, "contrast is one number, or two"),
        ({"contrast": "a"}, "contrast is one number, or two"),
        ({"device": "abacus"}, "abacus"),
        ({"device": None}, "device None is not one"),
        ({"rig": "no.toml"}, "no.toml does not exist"),
        ({"rig": splitter()}, "image_size 96×72, but the rig says 128×96"),
    ],
)
def test_what_cannot_be_made(bad: dict[str, Any], why: str) -> None:
    with pytest.raises(HalfmirrorError, match=why):
        Deblurrer(**{"image_size": SIZE, **bad})


def test_a_fixed_instant() -> None:
    deblurrer = Deblurrer("efnet", image_size=SIZE, options={"random_weights": True}, device="cpu")
    with pytest.raises(HalfmirrorError, match=r"efnet gives only the instants 0\.5; got 0\.2"):
        deblurrer(**GOOD, at=0.2)
