"""Packets to items and back: exact, whatever they hold; what is not an item is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from capture import codec
from capture.packets import (
    EventPacket,
    Events,
    Frame,
    FrameClock,
    FrameKind,
    PixelLayout,
    Rejected,
    TriggerEdges,
)
from capture.ring import RingError

I64 = st.integers(-(2**63), 2**63 - 1)
COUNT = st.integers(0, 2**40)


@st.composite
def event_packets(draw: st.DrawFn) -> EventPacket:
    n, m = draw(st.integers(0, 200)), draw(st.integers(0, 9))
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width, height = draw(st.integers(1, 65535)), draw(st.integers(1, 65535))
    events = Events(
        np.sort(r.integers(-(2**62), 2**62, n)),
        r.integers(0, width, n).astype(np.uint16),
        r.integers(0, height, n).astype(np.uint16),
        r.random(n) < 0.5,
        width,
        height,
    )
    edges = TriggerEdges(np.sort(r.integers(-(2**62), 2**62, m)), r.random(m) < 0.5)
    return EventPacket(
        events, edges, draw(I64), draw(COUNT), draw(COUNT), draw(st.booleans()),
        Rejected(draw(COUNT), draw(COUNT)), draw(COUNT),
    )  # fmt: skip


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    layout = draw(st.sampled_from(PixelLayout))
    shape: tuple[int, ...] = (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    image = draw(hnp.arrays(np.uint8, (*shape, 3) if layout is PixelLayout.RGB else shape))
    start = draw(st.none() | st.integers(-(2**62), 2**62))
    end = draw(st.none() | st.integers(0 if start is None else start, 2**62))
    return Frame(
        image, layout, draw(I64), start, end, draw(st.sampled_from(FrameClock)), draw(COUNT),
        draw(st.sampled_from(FrameKind)), draw(COUNT),
    )  # fmt: skip


def through_bytes(packet: Any) -> Any:
    kind, header, arrays = codec.encode(packet)
    p = codec.plan(kind, header, arrays)
    data = memoryview(bytearray(p.size))
    codec.place(p, arrays, data)
    return codec.decode(*codec.unpack(len(p.meta), data))


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    for f in dataclasses.fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if dataclasses.is_dataclass(x):
            assert_same(x, y)
        elif isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            assert x.shape == y.shape
            assert np.array_equal(x, y)
            assert not y.flags.writeable
        else:
            assert type(x) is type(y)
            assert x == y


@settings(max_examples=60, deadline=None)
@given(event_packets() | frames() | st.builds(codec.StreamEnd, COUNT))
def test_every_field_survives(packet: Any) -> None:
    assert_same(packet, through_bytes(packet))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        hnp.arrays(
            st.sampled_from(["u1", "<i2", ">i4", "<f4", "<f8", "?", "<c8"]), hnp.array_shapes(min_side=0)
        ),
        max_size=4,
    )
)
def test_arrays_of_any_shape_byte_order_and_stride(arrays: list[np.ndarray[Any, Any]]) -> None:
    given_ = [a.T if i % 2 else a for i, a in enumerate(arrays)]
    p = codec.plan("picture", {"a": 1, "b": [1.5, None, "x"]}, given_)
    data = memoryview(bytearray(p.size))
    codec.place(p, given_, data)
    kind, header, back = codec.unpack(len(p.meta), data)
    assert (kind, header) == ("picture", {"a": 1, "b": [1.5, None, "x"]})
    assert len(back) == len(given_)
    for a, b in zip(given_, back, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


def test_numpy_scalars_in_a_header_become_plain() -> None:
    p = codec.plan("x", {"n": np.int64(3), "f": np.float32(0.5)}, ())
    assert codec.unpack(len(p.meta), memoryview(bytearray(p.meta)))[1] == {"n": 3, "f": 0.5}


@pytest.mark.parametrize(
    ("header", "arrays"),
    [
        ({}, [np.array([object()])]),
        ({}, [np.array(["text"])]),
        ({}, [np.array(["2020-01-01"], "datetime64[D]")]),
        ({"a": object()}, []),
        ({"a": 2**70}, []),
        ({"a": np.zeros(3)}, []),
    ],
)
def test_what_cannot_travel_is_refused(header: dict[str, Any], arrays: list[Any]) -> None:
    with pytest.raises(RingError, match="item 'x'"):
        codec.plan("x", header, arrays)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 220))
def test_random_bytes_are_an_item_or_a_ring_error(data: bytes, meta: int) -> None:
    try:
        kind, header, arrays = codec.unpack(meta, memoryview(data))
        codec.decode(kind, header, arrays)
    except RingError:
        pass


def test_a_shape_that_reaches_beyond_the_item_is_refused() -> None:
    p = codec.plan("x", {}, [np.zeros(100)])
    short = memoryview(bytearray(p.size - 64))
    short[: len(p.meta)] = p.meta
    with pytest.raises(RingError, match="beyond the item"):
        codec.unpack(len(p.meta), short)


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(RingError, match="'nonsense'"):
        codec.decode("nonsense", {}, ())
    with pytest.raises(RingError, match="'frame'"):
        codec.decode("frame", {}, (np.zeros((2, 2), np.uint8),))
