"""The stream of an open camera: buffers, what came in them, and why some were no frame."""

from __future__ import annotations

import ctypes
import math
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.errors import CameraError
from capture.genicam.aravis import Aravis, AravisError, BufferStatus
from capture.genicam.config import FORMAT_NUMBERS, LAYOUTS
from capture.packets import PixelLayout

_CAUSES = {
    BufferStatus.TIMEOUT: "timeout",
    BufferStatus.MISSING_PACKETS: "missing packets",
    BufferStatus.WRONG_PACKET_ID: "wrong packet id",
    BufferStatus.SIZE_MISMATCH: "size mismatch",
    BufferStatus.ABORTED: "aborted",
    BufferStatus.PAYLOAD_NOT_SUPPORTED: "payload not supported",
}
_FIXED = 0
SOCKET_BYTES = 16 << 20

_INFO = {
    "underrun": b"n_underruns",
    "packets resent": b"n_resent_packets",
    "packets missing": b"n_missing_packets",
}


@dataclass(frozen=True, slots=True, eq=False)
class RawFrame:
    """A complete frame as it came.

    Attributes:
        image: (H, W) or (H, W, 3) uint8, a copy.
        layout: what its values mean.
        frame_id: of the protocol; wraps.
        stamp_ns: the camera's clock.
        exposure_us: as the frame itself says, None without chunks.
        host_ns: `time.monotonic_ns` when its first packet arrived.
    """

    image: NDArray[np.uint8]
    layout: PixelLayout
    frame_id: int
    stamp_ns: int
    exposure_us: float | None
    host_ns: int


class Stream:
    """Made while the camera is set up as it will stream; gone when that changes.

    Making and `release` are for the SDK's thread; `pop` for one reader at a time.

    Args:
        chunks: which feature tells what, see `Settings.chunk_features`.

    Attributes:
        lost: buffers that were no frame, by cause.
    """

    def __init__(
        self, aravis: Aravis, camera: int, *, chunks: dict[str, str], buffers: int, resend: bool
    ) -> None:
        self._a = aravis
        self._chunks = {what: name.encode() for what, name in chunks.items()}
        self._parser: int | None = None
        self.lost: Counter[str] = Counter()
        self._before: dict[str, int] = {}
        self._handle: int | None = aravis.camera_create_stream(camera, None, None)
        if not self._handle:
            raise CameraError("the stream cannot be made")
        try:
            if self._chunks:
                self._parser = aravis.camera_create_chunk_parser(camera)
            if aravis.camera_is_gv_device(camera):
                aravis.set_number(self._handle, "packet-resend", int(resend))
                # As much as the system allows (net.core.rmem_max): frames come in bursts.
                aravis.set_number(self._handle, "socket-buffer", _FIXED)
                aravis.set_number(self._handle, "socket-buffer-size", SOCKET_BYTES)
            payload = aravis.camera_get_payload(camera)
            for _ in range(buffers):
                aravis.stream_push_buffer(self._handle, aravis.buffer_new(payload, None))
        except BaseException:
            self.release()
            raise

    def begin(self) -> None:
        """The camera starts to send. A packet socket has seen what else came by until it was filtered."""
        self._before = self._counted()

    def release(self) -> None:
        """Give everything back. With a camera that is gone it takes seconds."""
        handle, self._handle = self._handle, None
        parser, self._parser = self._parser, None
        self._a.release(handle)
        self._a.release(parser)

    def pop(self, timeout_s: float) -> RawFrame | str | None:
        """The next frame; the cause when a buffer was none; None when nothing came in time."""
        a, handle = self._a, self._handle
        if handle is None:
            return None
        if timeout_s > 0:
            buffer = a.stream_timeout_pop_buffer(handle, round(1e6 * timeout_s))
        else:
            buffer = a.stream_try_pop_buffer(handle)
        if not buffer:
            return None
        try:
            found = self._frame(buffer)
        finally:
            a.stream_push_buffer(handle, buffer)
        if isinstance(found, str):
            self.lost[found] += 1
        return found

    def _frame(self, buffer: int) -> RawFrame | str:
        a = self._a
        status = a.buffer_get_status(buffer)
        if status != BufferStatus.SUCCESS:
            return _CAUSES.get(status, f"status {status}")
        pixels = FORMAT_NUMBERS.get(a.buffer_get_image_pixel_format(buffer))
        if pixels is None:
            return "pixel format"
        layout = LAYOUTS[pixels]
        width, height = a.buffer_get_image_width(buffer), a.buffer_get_image_height(buffer)
        shape = (height, width, 3) if layout is PixelLayout.RGB else (height, width)
        address, size = a.data_of(buffer)
        wanted = math.prod(shape)
        if width < 1 or height < 1 or size < wanted:
            return "size mismatch"
        # Copied: the buffer goes back to the camera at once.
        raw = (ctypes.c_uint8 * wanted).from_address(address)
        image = np.ctypeslib.as_array(raw).reshape(shape).copy()
        stamp = int(a.buffer_get_timestamp(buffer))
        exposure = None
        if self._parser is not None and a.buffer_has_chunks(buffer):
            try:
                if (name := self._chunks.get("stamp_ns")) is not None:
                    stamp = int(a.chunk_parser_get_integer_value(self._parser, buffer, name))
                if (name := self._chunks.get("exposure_us")) is not None:
                    exposure = float(a.chunk_parser_get_float_value(self._parser, buffer, name))
            except AravisError:
                return "chunk data"
        return RawFrame(
            image, layout, int(a.buffer_get_frame_id(buffer)), stamp, exposure, self._arrival(buffer)
        )

    def _arrival(self, buffer: int) -> int:
        """When the first packet came. Aravis says it by the wall clock."""
        now = time.monotonic_ns()
        age = time.time_ns() - int(self._a.buffer_get_system_timestamp(buffer))
        # A wall clock that was set meanwhile must not make the frame older than the buffers allow, nor newer.
        return now - age if 0 <= age < 10_000_000_000 else now

    def counters(self) -> dict[str, int]:
        """What Aravis counted itself, all in packets; the SDK's thread need not be asked."""
        return {what: n - self._before.get(what, 0) for what, n in self._counted().items()}

    def _counted(self) -> dict[str, int]:
        if self._handle is None:
            return {}
        return {what: int(self._a.stream_get_info_uint64_by_name(self._handle, n)) for what, n in _INFO.items()}
