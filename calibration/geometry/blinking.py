"""The blinking board as an event camera sees it: a burst of events at every swap, counted into a picture.

When the board turns into its negative, a pixel that sees the share w of white goes from light proportional to
w + d to light proportional to 1 - w + d (d: the screen's black). Its signed count of events is the logarithm of
that ratio in units of the threshold, odd about w = 1/2, so that w is the logistic function of the count: the
picture comes out linear in light, and neither vignetting nor an uneven screen is in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.geometry.charuco import detect
from calibration.geometry.targets import Board
from calibration.geometry.views import Corners
from capture.packets import Events

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
I8 = NDArray[np.int8]
I64 = NDArray[np.int64]

_BIN_US = 2_000
_GAP_US = 30_000
"""Bursts closer than this are one swap: a screen draws it line by line, some 16 ms."""
_LONGEST_US = 120_000
"""No swap takes longer; what does is motion."""
_SHARE = 0.04
"""Least share of the pixels that a swap makes fire."""
_ALIKE = 0.75
"""Correlation of two swaps' pictures, sign aside, above which board and camera stood still between them."""
_CONTRAST = 3.0
"""Log contrast that is taken for the step of a pure pixel; edges are symmetric about it, so a rough figure
does."""


@dataclass(frozen=True, slots=True, eq=False)
class Swap:
    """One swap of the board for its negative.

    Attributes:
        start_us, end_us: of its burst, event clock.
        counts: (H, W) int8, ON minus OFF events, ±127 at most.
    """

    start_us: int
    end_us: int
    counts: I8


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """Swaps between which nothing moved.

    Attributes:
        swaps: in order of time, at least one.
        signs: +1 or -1 for each: whether it went the way of the first.
    """

    swaps: tuple[Swap, ...]
    signs: tuple[int, ...]

    @property
    def start_us(self) -> int:
        """When the first burst began."""
        return self.swaps[0].start_us

    @property
    def end_us(self) -> int:
        """When the last burst ended."""
        return self.swaps[-1].end_us


def find_swaps(events: Events) -> list[Swap]:
    """Bursts in which a good part of the sensor fires at once; lasting motion is none."""
    return swaps_of(lambda: [events])


def swaps_of(parts: Callable[[], Iterable[Events]]) -> list[Swap]:
    """As `find_swaps`, of events that come in parts, of which one is held at a time.

    What stays is a byte per pixel and swap: 1.4 GB of ten minutes with a swap every 400 ms before 1280×720.

    Args:
        parts: gives them in order of time, from the beginning each time it is called; read twice where anything
            may be a swap.
    """
    begin, rate, sensor = 0, np.zeros(0, np.int64), None
    for e in parts():
        if not len(e):
            continue
        if sensor is None:
            begin, sensor = int(e.t[0]), (e.height, e.width)
        more = np.bincount((e.t - begin) // _BIN_US)
        if len(more) > len(rate):
            # Twice as long, so that a take of many packets is not copied once for each.
            rate = np.pad(rate, (0, max(len(more), 2 * len(rate)) - len(rate)))
        rate[: len(more)] += more
    if sensor is None or rate.sum() < 100:
        return []
    rate = rate[: int(np.flatnonzero(rate)[-1]) + 1]
    spans = [(begin + a * _BIN_US, begin + b * _BIN_US) for a, b in _bursts(rate, sensor[0] * sensor[1])]
    # Nothing but the board is kept: of a long take with a light that flickers there are thousands of bursts.
    return [
        Swap(*span, np.clip(n, -127, 127).astype(np.int8))
        for span, n in _counts_in(parts, spans)
        if np.mean(np.abs(n) >= 2) >= _SHARE
    ]


def _bursts(rate: I64, pixels: int) -> list[tuple[int, int]]:
    """Ranges of bins [a, b) in which so many events come that it may be a swap."""
    # Two thresholds: a burst must be far above the usual, and is followed down to where it ends.
    usual = float(np.median(rate))
    high = max(usual * 4, 0.1 * float(np.percentile(rate, 99.8)), 0.004 * pixels)
    low = max(usual * 2, 0.1 * high)
    loud = np.flatnonzero(rate > high)
    out: list[tuple[int, int]] = []
    for group in np.split(loud, np.flatnonzero(np.diff(loud) * _BIN_US > _GAP_US) + 1):
        if not len(group):
            continue
        a, b = int(group[0]), int(group[-1])
        while a > 0 and rate[a - 1] > low:
            a -= 1
        while b + 1 < len(rate) and rate[b + 1] > low:
            b += 1
        # Two groups that were followed to the same ends are one.
        if (b + 1 - a) * _BIN_US <= _LONGEST_US and (a, b + 1) not in out[-1:]:
            out.append((a, b + 1))
    return out


def _counts_in(
    parts: Callable[[], Iterable[Events]], spans: list[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], F32]]:
    """Spans that hold events, in order of time, and their signed counts, each as soon as it is over."""
    waiting, counts = deque(spans), dict[tuple[int, int], F32]()
    for e in parts() if spans else ():
        if not len(e):
            continue
        while waiting and waiting[0][1] <= int(e.t[0]):
            if (over := waiting.popleft()) in counts:
                yield over, counts.pop(over)
        for span in waiting:
            if span[0] > int(e.t[-1]):
                break
            n = signed_counts(e.between(*span))
            counts[span] = counts[span] + n if span in counts else n
    yield from counts.items()


def signed_counts(events: Events) -> F32:
    """(H, W) float32: ON minus OFF events of each pixel."""
    index = events.y.astype(np.int64) * events.width + events.x
    n = events.width * events.height
    on = np.bincount(index[events.p], minlength=n)
    off = np.bincount(index[~events.p], minlength=n)
    return (on - off).reshape(events.height, events.width).astype(np.float32)


def still_stretches(swaps: Sequence[Swap]) -> list[Still]:
    """Swaps grouped into stretches without motion: their pictures are alike but for the sign."""
    out: list[Still] = []
    members: list[Swap] = []
    signs: list[int] = []
    for s in swaps:
        alike = _correlation(members[0].counts, s.counts) if members else 0.0
        if members and abs(alike) < _ALIKE:
            out.append(Still(tuple(members), tuple(signs)))
            members, signs = [], []
        signs.append((1 if alike > 0 else -1) if members else 1)
        members.append(s)
    if members:
        out.append(Still(tuple(members), tuple(signs)))
    return out


def _correlation(a: I8, b: I8) -> float:
    # Soft signs: a hot pixel must not outvote the board.
    x, y = (np.tanh(n.astype(np.float32) / 3) for n in (a, b))
    return float(np.sum(x * y) / np.sqrt(max(float(np.sum(x * x) * np.sum(y * y)), 1e-12)))


def event_picture(still: Still) -> F32:
    """(H, W) float32, 0…1: how white each pixel was before the first swap (or after: one of both), 0.5
    unknown."""
    total = np.zeros(still.swaps[0].counts.shape)
    for swap, sign in zip(still.swaps, still.signs, strict=True):
        counts = swap.counts.astype(np.float64)
        # ON and OFF thresholds differ, and a fast screen overruns the pixels one way more than the other.
        for hand in (1.0, -1.0):
            part = np.maximum(counts * hand, 0.0)
            full = part[part >= 2]
            if len(full):
                total += sign * hand * part / max(float(np.percentile(full, 60)), 1.0)
    mean = total / len(still.swaps)
    return (1.0 / (1.0 + np.exp(np.clip(_CONTRAST * mean, -30, 30)))).astype(np.float32)


def detect_blinking(still: Still, board: Board) -> Corners:
    """The board's corners in event pixels.

    Raises:
        BadView: nothing, too little, or a plain chessboard is seen.
    """
    picture = _without_specks(event_picture(still))
    middle = (still.start_us + still.end_us) // 2
    return detect(picture, board, when_us=middle)


def _without_specks(picture: F32) -> F32:
    """Pixels that stand out from all neighbours (hot, dead) get their median."""
    median = np.asarray(cv2.medianBlur(picture, 3), np.float32)
    # A corner's own pixel differs from its median by half the contrast at most.
    return np.where(np.abs(picture - median) > 0.7, median, picture).astype(np.float32)


def describe_nothing(events: int, seconds: float) -> str:
    """Why no swap was found in so many events in so many seconds, for a person."""
    if events < 2:
        return "the event camera gives no events: is its lens cap on?"
    seconds = max(seconds, 1e-6)
    return (
        f"no swap of the blinking board in {seconds:.1f} s of events ({events / seconds / 1e3:.0f} thousand a "
        "second): show it full-screen, let it fill a third of the field, turn the screen's brightness up"
    )
