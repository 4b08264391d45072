"""MP4 with a time stamp of its own for every picture (variable frame rate)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from app.output.atomic import OutputError, writing

# MPEG-4 part 2 stores its time base in 16 bits: 20 µs is the finest round one. H.264 takes microseconds.
_TICKS = {"libx264": 1_000_000, "mpeg4": 50_000}

LONGEST_PAUSE_US = 1_800_000_000
"""Between two pictures. MP4 has 31 bits for the ticks; behind a longer pause the muxer loses all times."""


def best_codec() -> str:
    """ "libx264" (H.264) when the installed PyAV has it, else "mpeg4", which every build has.

    Raises:
        OutputError: neither is there.
    """
    import av

    for name in _TICKS:
        try:
            av.codec.Codec(name, "w")
        except (ValueError, LookupError):  # av's UnknownCodecError is a ValueError
            continue
        return name
    raise OutputError(
        "PyAV can encode neither H.264 nor MPEG-4; reinstall it: pip install --force-reinstall av"
    )


class Mp4Writer:
    """Writes uint8 pictures, (H, W, 3) RGB or (H, W) gray, each shown from its own time on.

    Times are int64 µs, strictly increasing; the first one becomes 0 in the file. A time that does not lie at
    least one tick after the one before (two exposures that touch) is moved there and counted in `moved`; one
    tick is 1 µs with H.264, 20 µs with MPEG-4. A pause of more than `LONGEST_PAUSE_US` is cut to that, and
    `cut_us` tells how much of all pauses is missing. Odd sizes are padded by one row or column, because the
    colour planes are half as large (4:2:0). No B-frames, so that order in the file is order in time.

    Use as a context manager; leave it with an exception and the file is only closed, not completed.
    """

    def __init__(self, path: Path, *, final: Path | None = None, live: bool = False, codec: str = "") -> None:
        """`final` is the name used in error messages; `live` trades file size for speed."""
        self.path = path
        self.final = final or path
        self.live = live
        self.codec = codec or best_codec()
        self.count = 0
        self.moved = 0
        self.cut_us = 0
        self.first_us: int | None = None
        self._before_us = 0
        self._tick = Fraction(1, _TICKS[self.codec])
        self._last_pts = -1
        self._size: tuple[int, int] | None = None
        self._file: IO[bytes] | None = None
        self._container: Any = None
        self._stream: Any = None

    def add(self, image: NDArray[np.uint8], time_us: int) -> None:
        """Append one picture.

        Raises:
            OutputError: disk full or not writable. ValueError: another size than the first picture's.
        """
        h, w = image.shape[:2]
        if self._size is None:
            self._open(w, h)
        if self._size != (w, h):
            raise ValueError(f"picture of {w}×{h} in a video of {self._size}")
        if self.first_us is None:
            self.first_us = self._before_us = time_us
        self.cut_us += max(0, time_us - self._before_us - LONGEST_PAUSE_US)
        self._before_us = time_us
        pts = round((time_us - self.first_us - self.cut_us) / 1_000_000 / self._tick)
        if pts <= self._last_pts:
            pts = self._last_pts + 1
            self.moved += 1
        self._last_pts = pts
        import av

        if h % 2 or w % 2:
            image = np.pad(image, ((0, h % 2), (0, w % 2)) + ((0, 0),) * (image.ndim - 2), mode="edge")
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image), format="gray" if image.ndim == 2 else "rgb24"
        )
        frame.pts = pts
        frame.time_base = self._tick
        with self._errors():
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        self.count += 1

    def close(self) -> None:
        """Complete the file. Nothing is left open whatever happens.

        Raises:
            OutputError: as `add`.
        """
        if self._container is None:
            return
        container, file = self._container, self._file
        self._container = self._file = None
        try:
            with self._errors():
                for packet in self._stream.encode(None):
                    container.mux(packet)
                container.close()
        finally:
            assert file is not None
            with writing(self.final):
                file.close()

    def abandon(self) -> None:
        """Close without completing; the file is not playable."""
        container, file = self._container, self._file
        self._container = self._file = None
        for thing in (container, file):
            try:
                if thing is not None:
                    thing.close()
            except (OSError, ValueError, OutputError):
                pass  # what is thrown away may fail to close (the disk is full)
            except Exception as e:
                if type(e).__module__.partition(".")[0] != "av":
                    raise

    def _open(self, width: int, height: int) -> None:
        import av

        with self._errors():
            # A file object of our own rather than a path: Python's errors (disk full) come through as they are.
            self._file = self.path.open("wb", buffering=0)
            self._container = av.open(self._file, "w", format="mp4")
            # The rate is only a hint for the encoder's rate control; time stamps rule.
            options = {"qscale": "3"}
            if self.codec == "libx264":
                options = {"preset": "veryfast", "crf": "18", "bf": "0"}
                if self.live:
                    options |= {"preset": "ultrafast", "tune": "zerolatency"}
            self._stream = self._container.add_stream(self.codec, rate=30, options=options)
            self._stream.width, self._stream.height = width + width % 2, height + height % 2
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = self._tick
            self._stream.time_base = self._tick
            if self.live:
                self._stream.thread_count = 1  # the pipeline needs the other cores
        self._size = (width, height)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """PyAV's errors as one sentence; those that carry an errno as the disk's own."""
        import av

        try:
            with writing(self.final):
                yield
        except av.error.FFmpegError as e:
            raise OutputError(f"cannot encode {self.final} with {self.codec}: {e}") from e

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()
