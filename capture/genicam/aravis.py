"""Aravis 0.8 through ctypes: the few calls that the driver needs, with errors as exceptions.

No PyGObject: only the shared library is needed (Debian and Ubuntu: libaravis-0.8-0). Calls release the GIL.
None of the feature calls is safe against another at the same time: one thread makes them all (`SdkThread`).
Reference: https://aravisproject.github.io/aravis/aravis-stable/ (the C API of 0.8).
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from typing import Any

from capture.errors import CameraError

MISSING = (
    "Aravis 0.8 is not installed, which opens GigE Vision and USB3 Vision cameras; "
    "on Debian/Ubuntu: sudo apt-get install libaravis-0.8-0"
)

_P, _S, _I, _B, _D, _U64, _I64 = c.c_void_p, c.c_char_p, c.c_int, c.c_int, c.c_double, c.c_uint64, c.c_int64
_SIZE = c.c_size_t

PACKET_SOCKET_DISABLED = 1
NEVER_ADJUST = 0
CHECK_RANGES = 1


class BufferStatus(IntEnum):
    """What became of a frame."""

    UNKNOWN = -1
    SUCCESS = 0
    CLEARED = 1
    TIMEOUT = 2
    MISSING_PACKETS = 3
    WRONG_PACKET_ID = 4
    SIZE_MISMATCH = 5
    FILLING = 6
    ABORTED = 7
    PAYLOAD_NOT_SUPPORTED = 8


class AravisError(CameraError):
    """What Aravis says; one line, without the place."""


class _GError(c.Structure):
    _fields_ = (("domain", c.c_uint32), ("code", c.c_int), ("message", c.c_char_p))


_ENTRIES = "arv_device_dup_available_enumeration_feature_values_as_strings"

# Name → result, arguments; those that report an error take a GError** more.
_REPORTING: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_camera_new": (_P, (_S,)),
    "arv_camera_create_stream": (_P, (_P, _P, _P)),
    "arv_camera_get_payload": (c.c_uint, (_P,)),
    "arv_camera_start_acquisition": (None, (_P,)),
    "arv_camera_stop_acquisition": (None, (_P,)),
    "arv_camera_gv_set_packet_size": (None, (_P, _I)),
    "arv_camera_gv_get_packet_size": (c.c_uint, (_P,)),
    "arv_camera_gv_auto_packet_size": (c.c_uint, (_P,)),
    "arv_camera_gv_set_packet_delay": (None, (_P, _I64)),
    "arv_device_is_feature_available": (_B, (_P, _S)),
    "arv_device_execute_command": (None, (_P, _S)),
    "arv_device_get_boolean_feature_value": (_B, (_P, _S)),
    "arv_device_set_boolean_feature_value": (None, (_P, _S, _B)),
    "arv_device_get_integer_feature_value": (_I64, (_P, _S)),
    "arv_device_set_integer_feature_value": (None, (_P, _S, _I64)),
    "arv_device_get_float_feature_value": (_D, (_P, _S)),
    "arv_device_set_float_feature_value": (None, (_P, _S, _D)),
    "arv_device_get_string_feature_value": (_S, (_P, _S)),
    "arv_device_set_string_feature_value": (None, (_P, _S, _S)),
    "arv_device_get_integer_feature_bounds": (None, (_P, _S, c.POINTER(_I64), c.POINTER(_I64))),
    "arv_device_get_float_feature_bounds": (None, (_P, _S, c.POINTER(_D), c.POINTER(_D))),
    "arv_device_get_integer_feature_increment": (_I64, (_P, _S)),
    _ENTRIES: (c.POINTER(_S), (_P, _S, c.POINTER(c.c_uint))),
    "arv_device_read_memory": (_B, (_P, _U64, c.c_uint32, _P)),
    "arv_chunk_parser_get_integer_value": (_I64, (_P, _P, _S)),
    "arv_chunk_parser_get_float_value": (_D, (_P, _P, _S)),
}  # fmt: skip
_PLAIN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_camera_is_gv_device": (_B, (_P,)),
    "arv_camera_get_device": (_P, (_P,)),
    "arv_camera_create_chunk_parser": (_P, (_P,)),
    "arv_camera_gv_set_packet_size_adjustment": (None, (_P, _I)),
    "arv_camera_gv_set_stream_options": (None, (_P, _I)),
    "arv_gv_device_is_controller": (_B, (_P,)),
    "arv_device_set_range_check_policy": (None, (_P, _I)),
    "arv_stream_push_buffer": (None, (_P, _P)),
    "arv_stream_timeout_pop_buffer": (_P, (_P, _U64)),
    "arv_stream_try_pop_buffer": (_P, (_P,)),
    "arv_stream_get_info_uint64_by_name": (_U64, (_P, _S)),
    "arv_buffer_new": (_P, (_SIZE, _P)),
    "arv_buffer_get_status": (_I, (_P,)),
    "arv_buffer_get_data": (_P, (_P, c.POINTER(_SIZE))),
    "arv_buffer_get_frame_id": (_U64, (_P,)),
    "arv_buffer_get_timestamp": (_U64, (_P,)),
    "arv_buffer_get_system_timestamp": (_U64, (_P,)),
    "arv_buffer_get_image_width": (_I, (_P,)),
    "arv_buffer_get_image_height": (_I, (_P,)),
    "arv_buffer_get_image_pixel_format": (c.c_uint32, (_P,)),
    "arv_buffer_has_chunks": (_B, (_P,)),
    "arv_enable_interface": (None, (_S,)),
    "arv_disable_interface": (None, (_S,)),
    "arv_update_device_list": (None, ()),
    "arv_get_n_devices": (c.c_uint, ()),
    "arv_get_device_id": (_S, (c.c_uint,)),
    "arv_get_device_vendor": (_S, (c.c_uint,)),
    "arv_get_device_model": (_S, (c.c_uint,)),
    "arv_get_device_serial_nbr": (_S, (c.c_uint,)),
}


class Aravis:
    """The loaded library: every function of the tables above as an attribute, without the prefix `arv_`.

    Functions that report errors raise `AravisError`. Strings go in and come out as bytes.
    """

    def __init__(self, library: c.CDLL, glib: c.CDLL, gobject: c.CDLL) -> None:
        self._free_error = glib.g_error_free
        self._free_error.argtypes = [_P]
        self._free_error.restype = None
        self._free = glib.g_free
        self._free.argtypes = [_P]
        self._free.restype = None
        self._unref = gobject.g_object_unref
        self._unref.argtypes = [_P]
        self._unref.restype = None
        self._set_property = gobject.g_object_set
        self._set_property.restype = None
        for name, (result, arguments) in _PLAIN.items():
            f = getattr(library, name)
            f.restype, f.argtypes = result, list(arguments)
            setattr(self, name.removeprefix("arv_"), f)
        for name, (result, arguments) in _REPORTING.items():
            f = getattr(library, name)
            f.restype, f.argtypes = result, [*arguments, c.POINTER(c.POINTER(_GError))]
            setattr(self, name.removeprefix("arv_"), self._reporting(f))

    def __getattr__(self, name: str) -> Any:  # for the type checker: attributes are made above
        raise AttributeError(name)

    def _reporting(self, f: Any) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            error = c.POINTER(_GError)()
            result = f(*arguments, c.byref(error))
            if error:
                text = (error.contents.message or b"").decode("utf-8", "replace")
                self._free_error(error)
                raise AravisError(" ".join(text.split()).rstrip("."))
            return result

        return call

    def release(self, thing: int | None) -> None:
        """Drop a reference to a GObject."""
        if thing:
            self._unref(thing)

    def set_number(self, thing: int, name: str, value: int) -> None:
        """Set an integer or enumeration property of a GObject."""
        self._set_property(_P(thing), name.encode(), c.c_int(value), _P(None))

    def entries(self, device: int, feature: str) -> list[str]:
        """Entries of an enumeration that can be chosen now."""
        n = c.c_uint()
        words = self.device_dup_available_enumeration_feature_values_as_strings(
            device, feature.encode(), c.byref(n)
        )
        try:
            return [words[k].decode() for k in range(n.value)]
        finally:
            self._free(words)

    def bounds(self, device: int, feature: str, floating: bool) -> tuple[float, float]:
        """Lowest and highest value of a number."""
        low, high = (_D(), _D()) if floating else (_I64(), _I64())
        ask = self.device_get_float_feature_bounds if floating else self.device_get_integer_feature_bounds
        ask(device, feature.encode(), c.byref(low), c.byref(high))
        return float(low.value), float(high.value)

    def memory(self, device: int, address: int, count: int) -> bytes:
        """Bytes of the camera's registers."""
        data = c.create_string_buffer(count)
        self.device_read_memory(device, address, count, data)
        return data.raw

    def data_of(self, buffer: int) -> tuple[int, int]:
        """Address and length of a buffer's data."""
        size = _SIZE()
        return int(self.buffer_get_data(buffer, c.byref(size)) or 0), size.value


@cache
def load() -> Aravis:
    """The library, loaded once.

    Raises:
        CameraError: it is not installed (says what to install), or another version.
    """
    try:
        library = c.CDLL("libaravis-0.8.so.0")
        glib, gobject = c.CDLL("libglib-2.0.so.0"), c.CDLL("libgobject-2.0.so.0")
    except OSError as e:
        raise CameraError(MISSING) from e
    try:
        return Aravis(library, glib, gobject)
    except AttributeError as e:
        raise CameraError(f"the installed Aravis 0.8 is too old ({e}); install 0.8.20 or newer") from e
