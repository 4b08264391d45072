"""Windows of five frames over a video, as CDVD-TSP is trained and measured (J. Pan et al., CVPR 2020)."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

FRAMES = 5
HALF = FRAMES // 2


class Ends(StrEnum):
    """What becomes of the first and the last two frames, which lack neighbours.

    NONE: they get no window; what all published figures use.
    PUBLISHED: the list of frames is extended by its own first two in front and its own last two behind,
        0 1 | 0 1 2 … n−1 | n−2 n−1: neither repeated nor mirrored. The window of frame 0 is 0 1 0 1 2, which
        runs back and forth in time. Only for comparison with files that were made so.
    CORRECTED: the outermost frame is repeated, 0 0 0 1 2, as the authors advise and as the restorer does.
    """

    NONE = "none"
    PUBLISHED = "published"
    CORRECTED = "corrected"


def five_frame_windows(count: int, ends: Ends = Ends.NONE) -> NDArray[np.int64]:
    """Frame numbers of every window of a video, in order of time.

    Args:
        count: frames of the video.
        ends: what becomes of its ends.

    Returns:
        (count − 4, 5) without ends (none below five frames), (count, 5) with them. Column 2 is the frame to
        restore.

    Raises:
        ValueError: a negative count, or PUBLISHED ends of a single frame, which has no second one to add.
    """
    if count < 0:
        raise ValueError(f"a video of {count} frames")
    frames = np.arange(count, dtype=np.int64)
    if count and ends is Ends.PUBLISHED:
        if count < HALF:
            raise ValueError(f"published ends take {HALF} frames from either end; the video has {count}")
        frames = np.concatenate([frames[:HALF], frames, frames[-HALF:]])
    elif count and ends is Ends.CORRECTED:
        frames = np.pad(frames, HALF, mode="edge")
    n = max(len(frames) - FRAMES + 1, 0)
    return np.asarray(frames[np.arange(n)[:, None] + np.arange(FRAMES)], np.int64)
