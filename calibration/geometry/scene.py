"""The map between both cameras without a target, from an ordinary scene that moves.

Three stages: a search over rotation, scale and both hands (`scene_search.search`); one homography refined over
all pairs of frames (`scene_search.refine`); then each group of pairs, on its own, says for every patch of the
field how far it is still off. Those patches are views like any others: `solve` fits them, leaves out groups
that disagree, and tells the held-out error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.geometry.change import Change, changes, told_change
from calibration.geometry.collect import TimedFrame
from calibration.geometry.fit import LensChoice
from calibration.geometry.result import GeometryResult
from calibration.geometry.scene_search import (
    WIDE,
    Aligned,
    Told,
    centred,
    eroded,
    gradients,
    part,
    refine,
    search,
)
from calibration.geometry.solve import check, solve
from calibration.geometry.views import Source, View
from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.tone import Tone
from sync.lens import PixelMap
from sync.rig import Rig

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

MIN_ACTIVITY = 0.08
"""Events per pixel and pair of frames, in the median, below which nothing moves."""
MIN_LIKENESS = 0.35
"""Correlation of both pictures of change below which they are not of the same thing."""
_CLEAR = 0.7
"""Likeness above which the other hand need not be tried."""
MIN_PAIRS = 4
_CONTRAST = Contrast(0.2, 0.2)
_GROUPS = 6
_PATCHES = (6, 8)
_REACH_PX = 26.0  # of a patch's window, standard deviations 2
_BLUR = 0.8
_SURE_PX = 0.3
"""A patch counts if its shift is known to this in its worse direction."""
_PATCH_LIKENESS = 0.5
"""Correlation of both pictures of change within a patch. Where only noise changes it is near 0, and the slopes
of that noise would still tell a shift, and seem sure of it."""
_FURTHEST_PX = 2.5
_ROUNDS = 2
_STIFFER = 1.04
_LAG_TRIAL_US = 3_000
_LEAST_LAG_US = 300.0
_LAG_PAIRS = 8
_WIDE_PAIRS = 8
"""Of the wide search: each pair takes some seconds at 1280×720, and most scenes that get there fail."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneResult:
    """What a scene says of the geometry.

    Attributes:
        geometry: the map, its errors, a verdict; "fail" with the reason when the scene does not suffice.
        likeness: correlation of the change that the frames tell with the change that the events saw, -1…1.
        contrast_gain: true contrast thresholds over those assumed, as the scene has it.
        pairs: pairs of frames that were used.
        lag_us: by how much the events come late, as far as the scene tells.
    """

    geometry: GeometryResult
    likeness: float
    contrast_gain: float
    pairs: int
    lag_us: float = 0.0


def solve_scene(
    frames: Sequence[TimedFrame], events: Events, image_size: tuple[int, int], event_size: tuple[int, int],
    *, tone: Tone = "srgb", scale: float | None = None, start: F64 | None = None,
    contrast: Contrast | None = None, lens: LensChoice | Literal["auto"] = "none",
    told: Told = lambda share: None,
) -> SceneResult:  # fmt: skip
    """The map event pixel → image pixel from an ordinary scene. Never raises on a bad scene.

    Args:
        frames: with exposures on the event clock (to a few ms); a second or two of motion, better ten.
        events: of the whole time.
        image_size, event_size: (width, height).
        tone: of the frames.
        scale: image pixels per event pixel, ±14 %, from the sizes by default; where that fails, half to twice
            as many.
        start: (3, 3) a map that is known to some pixels: no search then.
        contrast: thresholds; a common factor on both does not matter.
        lens: see `solve`.
        told: progress; the share goes by what takes longest, so it may leap.
    """
    expected = scale or float(np.sqrt(image_size[0] * image_size[1] / (event_size[0] * event_size[1])))
    s = expected
    pairs = changes(frames, events, tone, s, contrast or _CONTRAST)
    reason = _too_little(pairs, len(frames))
    if reason:
        return _failed(reason, image_size, event_size, 0.0, len(pairs))
    starts = [start] if start is not None else search(
        pairs, event_size, image_size, s, told=part(told, 0.0, 0.2)
    )[:2]  # fmt: skip
    aligned = refine(pairs, starts[0], event_size, told=part(told, 0.2, 0.35))
    if aligned.likeness < _CLEAR and len(starts) > 1:
        other = refine(pairs, starts[1], event_size, told=part(told, 0.35, 0.5))
        aligned = max(aligned, other, key=lambda a: a.likeness)
    if aligned.likeness < MIN_LIKENESS and start is None:
        # Lenses that do not match their sensors, or a camera on its side.
        few = pairs[:: -(-len(pairs) // _WIDE_PAIRS)]
        wide = [
            refine(few, m, event_size, told=part(told, 0.7 + 0.05 * k, 0.75 + 0.05 * k))
            for k, m in enumerate(search(few, event_size, image_size, s, WIDE, part(told, 0.5, 0.7))[:3])
        ]
        found = max(wide, key=lambda a: a.likeness)
        if found.likeness >= MIN_LIKENESS:
            s = found.scale(event_size)
            pairs = changes(frames, events, tone, s, contrast or _CONTRAST)
            aligned = refine(pairs, found.image_from_event, event_size, told=part(told, 0.85, 0.9))
    if aligned.likeness < MIN_LIKENESS:
        reason = _unlike(aligned.likeness) + ("" if start is not None else _searched(expected))
        return _failed(reason, image_size, event_size, aligned.likeness, len(pairs))
    told(0.9)
    lag = _lag(frames, events, tone, s, contrast or _CONTRAST, aligned)
    if abs(lag) > _LEAST_LAG_US:
        pairs = changes(_later(frames, lag), events, tone, s, contrast or _CONTRAST)
        again = refine(pairs, aligned.image_from_event, event_size)
        aligned = again if again.likeness >= aligned.likeness else aligned
    pixel_map = PixelMap(aligned.image_from_event)
    result: GeometryResult | None = None
    for n in range(_ROUNDS):
        told(0.95 + 0.05 * n / _ROUNDS)
        views = scene_views(pairs, pixel_map, event_size)
        result = _stiffest(views, image_size, event_size, lens)
        if result.pixel_map is None:
            break
        moved = np.linalg.norm(
            result.pixel_map.to_image(_centres(event_size)) - pixel_map.to_image(_centres(event_size)), axis=1
        )
        pixel_map = result.pixel_map
        if float(np.nanmax(moved)) < 0.05 * s:
            break
    assert result is not None
    return SceneResult(_worded(result), aligned.likeness, aligned.gain, len(pairs), lag)


def _later(frames: Sequence[TimedFrame], lag_us: float) -> list[TimedFrame]:
    d = round(lag_us)
    return [TimedFrame(f.start_us + d, f.end_us + d, f.picture) for f in frames]


def _lag(
    frames: Sequence[TimedFrame], events: Events, tone: Tone, scale: float, contrast: Contrast, now: Aligned
) -> float:
    """By how many µs the events come late: the shift of the frames' times under which both are most alike.

    Pixels are slow in dim light, by milliseconds. While the camera turns one way, a lag looks like a shift, so
    each trial is laid on anew.
    """
    likeness = []
    size = (events.width, events.height)
    for d in (-_LAG_TRIAL_US, 0, _LAG_TRIAL_US):
        few = changes(_later(frames, d), events, tone, scale, contrast, _LAG_PAIRS)
        likeness.append(refine(few, now.image_from_event, size, steps=3).likeness)
    before, here, after = likeness
    bend = before - 2 * here + after
    if min(likeness) <= 0 or bend >= -1e-6:
        return 0.0
    peak = 0.5 * (before - after) / bend * _LAG_TRIAL_US
    return float(np.clip(peak, -2 * _LAG_TRIAL_US, 2 * _LAG_TRIAL_US))


def _stiffest(
    views: Sequence[View], image_size: tuple[int, int], event_size: tuple[int, int],
    lens: LensChoice | Literal["auto"],
) -> GeometryResult:  # fmt: skip
    """The map with the fewest numbers whose held-out error is not worse by more than a few per cent.

    Patches seldom cover the whole field, and where there are none a free map bends as it likes.
    """
    free = solve(views, image_size, event_size, lens=lens)
    for shape in ("similarity", "affine"):
        stiff = solve(views, image_size, event_size, shape=shape)
        if stiff.rms_px <= _STIFFER * free.rms_px:
            return stiff
    plain = solve(views, image_size, event_size)
    return plain if plain.rms_px <= _STIFFER * free.rms_px else free


def check_scene(
    frames: Sequence[TimedFrame], events: Events, rig: Rig, contrast: Contrast | None = None
) -> SceneResult:
    """How far a rig's map is off, patch by patch, on an ordinary scene. For a check and for the drift watch.

    Args:
        frames: with exposures on the event clock; half a second will do.
        events: of the whole time.
        rig: to be checked.
        contrast: thresholds; a common factor does not matter.
    """
    event_size, image_size = (rig.events.width, rig.events.height), (rig.image.width, rig.image.height)
    pairs = changes(frames, events, rig.image.tone, rig.scale, contrast or _CONTRAST)
    reason = _too_little(pairs, len(frames), least=1)
    if reason:
        return _failed(reason, image_size, event_size, 0.0, len(pairs))
    pixel_map = PixelMap.of(rig)
    now = refine(pairs, rig.image_from_event, event_size, steps=0)
    views = scene_views(pairs, pixel_map, event_size)
    if now.likeness < MIN_LIKENESS or not views:
        return _failed(_unlike(now.likeness), image_size, event_size, now.likeness, len(pairs))
    return SceneResult(_worded(check(views, rig)), now.likeness, now.gain, len(pairs))


def _too_little(pairs: Sequence[Change], frames: int, least: int = MIN_PAIRS) -> str:
    if len(pairs) < least:
        return (
            f"the scene does not suffice: {len(pairs)} pairs of neighbouring frames with events (of "
            f"{frames} frames); at least {least} are needed"
        )
    activity = float(np.median([c.activity for c in pairs]))
    if activity < MIN_ACTIVITY:
        return (
            f"the scene does not suffice: no motion ({activity:.2f} events per pixel from frame to frame); "
            "move the rig by hand in front of something with many edges"
        )
    return ""


def _unlike(likeness: float) -> str:
    return (
        "the scene does not suffice: frames and events do not tell of the same change (likeness "
        f"{likeness:.2f} of 1): the cameras look at different things, or the frames' times are off"
    )


def _searched(scale: float) -> str:
    return (
        f"; or the map is none that was looked for: {min(WIDE.scales) * scale:.1f} to "
        f"{max(WIDE.scales) * scale:.1f} image pixels per event pixel, upright or turned by right angles, give "
        "or take some degrees: show the blinking board"
    )


def _failed(
    reason: str, image_size: tuple[int, int], event_size: tuple[int, int], likeness: float, pairs: int
) -> SceneResult:
    empty = solve([], image_size, event_size)
    return SceneResult(replace(empty, problems=[reason]), likeness, 1.0, pairs)


def _worded(r: GeometryResult) -> GeometryResult:
    """The advice of a board, in words for a scene."""
    words = [p.replace("move the board there", "let things with edges move there") for p in r.problems]
    return replace(r, problems=words)


def _centres(size: tuple[int, int]) -> F64:
    rows, columns = _PATCHES
    x = (np.arange(columns) + 0.5) * size[0] / columns - 0.5
    y = (np.arange(rows) + 0.5) * size[1] / rows - 0.5
    return np.stack([a.ravel() for a in np.meshgrid(x, y)], axis=1)


def scene_views(pairs: Sequence[Change], pixel_map: PixelMap, event_size: tuple[int, int]) -> list[View]:
    """One view for each stretch of time: patches of the field, and where each is seen in the image.

    Args:
        pairs: in order of time.
        pixel_map: a map that is off by two event pixels at most.
        event_size: (width, height).
    """
    at = _places(pixel_map, event_size)
    windows = _windows(event_size)
    centres = _centres(event_size)
    out = []
    groups = np.array_split(np.arange(len(pairs)), min(_GROUPS, max(1, len(pairs) // 2)))
    for g, group in enumerate(groups):
        members = [pairs[k] for k in group.tolist()]
        shift, sure = _shifts(members, pixel_map.homography, at, windows, event_size)
        keep = (sure < _SURE_PX) & (np.linalg.norm(shift, axis=1) < _FURTHEST_PX)
        image = pixel_map.to_image(centres[keep] + shift[keep])
        finite = np.isfinite(image).all(axis=1)
        n = np.flatnonzero(keep)[finite]
        if len(n):
            when = members[len(members) // 2].when_us
            out.append(
                View(
                    image[finite], centres[n], n.astype(np.int64), when, Source.SCENE,
                    sigma_px=max(float(np.median(sure[n])), 0.05), name=f"scene {g + 1}",
                )
            )  # fmt: skip
    return out


def _places(pixel_map: PixelMap, size: tuple[int, int]) -> F32 | None:
    if pixel_map.plain:
        return None
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    flat = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    at = np.nan_to_num(pixel_map.to_image(flat), nan=-1e4)
    return np.ascontiguousarray(at.reshape(size[1], size[0], 2), np.float32)


def _windows(size: tuple[int, int]) -> tuple[F64, F64]:
    """Gaussian windows of the patches along x (C, w) and along y (R, h); a patch's is their product."""
    rows, columns = _PATCHES
    out = []
    for n, length in ((columns, size[0]), (rows, size[1])):
        middle = (np.arange(n) + 0.5) * length / n - 0.5
        out.append(np.exp(-0.5 * ((np.arange(length)[None] - middle[:, None]) / (_REACH_PX / 2)) ** 2))
    return out[0], out[1]


def _shifts(
    members: Sequence[Change], homography: F64, at: F32 | None, windows: tuple[F64, F64], size: tuple[int, int]
) -> tuple[F64, F64]:
    """Of every patch: (P, 2) shift in event pixels, (P,) its standard deviation in the worse direction."""
    along_x, along_y = windows

    def patches(a: F32) -> F64:
        return np.asarray(along_y @ a.astype(np.float64) @ along_x.T, np.float64).reshape(-1)

    sums = np.zeros((6, len(along_x) * len(along_y)))
    alike = np.zeros((3, sums.shape[1]))
    area = np.zeros(sums.shape[1])
    for c in members:
        told, weight = told_change(c, homography, size, at)
        weight = eroded(weight, _BLUR)
        told, seen = centred(told, _BLUR), centred(c.seen, _BLUR)
        gain = float(np.sum(weight * told * seen) / max(float(np.sum(weight * seen * seen)), 1e-9))
        miss = np.asarray(told - np.float32(gain) * seen, np.float32)
        spread = 1.5 * float(np.median(np.abs(miss[weight > 0]))) if (weight > 0).any() else 1.0
        robust = weight * np.minimum(1.0, 2.0 * max(spread, 1e-4) / np.maximum(np.abs(miss), 1e-6))
        robust = robust.astype(np.float32)
        # Gradients of the mean of both, so that noise in one of them does not pull the shift towards zero.
        gx, gy = gradients(np.asarray(0.5 * (told + np.float32(gain) * seen), np.float32))
        for k, a in enumerate((gx * gx, gx * gy, gy * gy, gx * miss, gy * miss, miss * miss)):
            sums[k] += patches(a * robust)
        for k, a in enumerate((told * seen, told * told, seen * seen)):
            alike[k] += patches(a * weight)
        area += patches(robust)
    xx, xy, yy, bx, by, mm = sums
    det = np.maximum(xx * yy - xy * xy, 1e-12)
    shift = -np.stack([(yy * bx - xy * by) / det, (xx * by - xy * bx) / det], axis=1)
    smaller = 0.5 * (xx + yy - np.sqrt((xx - yy) ** 2 + 4 * xy * xy))
    variance = mm / np.maximum(area, 1e-9)
    # Blurred pixels are not independent: about 4 π blur² of them share one draw of the noise.
    independent = 4 * np.pi * (_BLUR**2 + 0.3)
    sure = np.sqrt(independent * variance / np.maximum(smaller, 1e-12))
    sure[alike[0] < _PATCH_LIKENESS * np.sqrt(alike[1] * alike[2])] = np.inf
    sure[area < 0.25 * np.median(area[area > 0]) if (area > 0).any() else area >= 0] = np.inf
    return shift, sure
