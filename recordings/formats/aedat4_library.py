"""How dv-processing is asked: where it may never return, what it raises, how its pictures lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray

from recordings.formats.aedat4_stages import Stage
from recordings.sandbox_child import mark, one_line

# A stream with this many unreadable packets in a row is given up.
MAX_FAILURES = 100


def marked(stage: Stage, read: Callable[[], Any]) -> Callable[[], Any]:
    """`read` with the stage noted before each call."""

    def marked() -> Any:
        mark(stage)
        return read()

    return marked


def robust(read: Callable[[], Any], limit: int = MAX_FAILURES) -> Iterator[Any]:
    """What `read` gives until None; a packet that raises becomes its message (str) and is passed over."""
    failures = 0
    while failures < limit:
        try:
            item = read()
        except Exception as e:
            failures += 1
            yield one_line(e)
            continue
        if item is None:
            return
        failures = 0
        yield item


def first_frame(r: Any, stream: str | None) -> Any:
    """The first frame of a stream; reading begins anew."""
    frame = r.getNextFrame(stream)
    r.resetSequentialRead()
    return frame


def image_of(image: NDArray[Any]) -> NDArray[Any]:
    """Gray (H, W) or RGB (H, W, 3): dv-processing keeps OpenCV's order of channels, BGR or BGRA."""
    if image.ndim == 3 and image.shape[2] == 1:
        return image[:, :, 0]
    if image.ndim == 3 and image.shape[2] in (3, 4):
        return image[:, :, 2::-1]
    return image
