"""Writes a dictionary of arrays as the pickle that NumPy 1 and 2 both read, step by step, without `pickle`.

What `numpy.savez(..., events=dict)` of NumPy 2 writes names a module that NumPy before 1.26 does not have. Here
the steps are written by hand: protocol 2, `numpy.core.multiarray`, bytes as Latin-1 text, as NumPy 1 did.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_TEXT = (1 << 32) - 1


def npy_of_dict(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A `.npy` file (version 1.0): a 0-d object array that holds the dictionary.

    Raises:
        ValueError: an array that is not a list of numbers, or larger than the format holds (4 GiB as text).
    """
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": ()})
    items = b"".join(_text(k) + _array(v) for k, v in arrays.items())
    state = b"(K\x01)" + _dtype("O8", "|", 63) + b"\x89](}(" + items + b"uet"
    out.write(b"\x80\x02" + _EMPTY_ARRAY + state + b"b.")
    return out.getvalue()


def _text(s: str) -> bytes:
    data = s.encode("utf-8")
    if len(data) > _MAX_TEXT:
        raise ValueError(f"an array of {len(data)} bytes is larger than this kind of file holds")
    return b"X" + struct.pack("<I", len(data)) + data


def _bytes(data: bytes) -> bytes:
    """Bytes, which protocol 2 has as text to be encoded."""
    return b"c_codecs\nencode\n" + _text(data.decode("latin-1")) + _text("latin1") + b"\x86R"


_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
_EMPTY_ARRAY = _RECONSTRUCT + b"K\x00\x85" + _bytes(b"b") + b"\x87R"


def _dtype(code: str, order: str, flags: int) -> bytes:
    minus_one = b"J\xff\xff\xff\xff"
    made = b"cnumpy\ndtype\n" + _text(code) + b"\x89\x88\x87R"
    return made + b"(K\x03" + _text(order) + b"NNN" + 2 * minus_one + b"K" + bytes([flags]) + b"tb"


def _array(a: NDArray[Any]) -> bytes:
    if a.ndim != 1 or a.dtype.kind not in "biuf":
        raise ValueError(f"expected a list of numbers, got {a.dtype} {a.shape}")
    little = np.ascontiguousarray(a, a.dtype.newbyteorder("<"))
    code, order = little.dtype.str[1:], little.dtype.str[0]
    state = b"(K\x01J" + struct.pack("<i", len(a)) + b"\x85" + _dtype(code, order, 0) + b"\x89"
    return _EMPTY_ARRAY + state + _bytes(little.tobytes()) + b"tb"
