"""The synthetic suite: held-out sequences of four kinds; the last exposure of each has its truth.

A sequence is a few exposures in a row of one scene by one pair of cameras, with events all the time. The last
is measured; those before it are what a restorer has seen of the camera, as it has live.

The photos are the simulated rig's own, which no training sees, or those of a folder. The four kinds take after
the rig's presets: a DAVIS (one grid, gray), a camera in the hand, traffic before a camera that stands still,
and night; the last three with events some four times coarser than the image. All have noise. The tone is
linear or sRGB, as a rig file can state it, so that the double integral has what it needs.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.packets import Events, Frame, FrameClock, PixelLayout
from inference.restorers.contrast_pairs import MARGIN_US
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from training.suite import ListedSuite, SuiteItem
from training.synthesis.config import SynthesisConfig
from training.synthesis.layers import LoadPhoto
from training.synthesis.sample import Lead, Row, Sample, make_row
from training.synthesis.settings import config_of
from training.synthesis.told import rig_of

_ALL: dict[str, Any] = {
    "instants": 3, "middle_share": 0.4, "srgb_share": 0.5, "linear_share": 0.5, "still_share": 0.0,
    "exposure_ms": [8, 60], "blur_px": [4, 24], "object_px": [4, 28], "flat_share": 0.0, "lost_share": 0.0,
    "shift_px": 0.5, "noise_8bit": [0.5, 3.0],
}  # fmt: skip
_COARSE: dict[str, Any] = {"scale_share": 1.0, "scale": [3.6, 4.4], "colour_share": 1.0}
KINDS: dict[str, dict[str, Any]] = {
    "davis": {"scale_share": 0.0, "shift_share": 0.0, "colour_share": 0.0, "threshold": [0.1, 0.35]},
    "handheld": {**_COARSE, "layers": [0, 1], "blur_px": [8, 32]},
    "traffic": {**_COARSE, "layers": [1, 3], "blur_px": [0.01, 0.02], "object_px": [10, 40]},
    "night": {
        **_COARSE, "light": [0.12, 0.5], "highlight_share": 0.6, "noise_8bit": [3.0, 8.0], "dark_hz": [4, 12],
        "threshold": [0.2, 0.35],
    },
}  # fmt: skip
DUTY = (0.6, 0.95)
"""Exposure over frame period, drawn for each sequence."""
COARSER = 2.5
"""How many times fewer instants are drawn of exposures that are not measured."""
_SIMULATED = ("astronaut", "camera", "chelsea", "coffee", "hubble", "rocket")


def make_suite(
    count: int = 60, size: int = 256, photos: str = "", seed: int = 0, exposures: int = 4,
    changes: dict[str, Any] | None = None,
) -> ListedSuite:  # fmt: skip
    """The suite. Sequence i is of kind i mod 4.

    Args:
        count: sequences.
        size: side of the frames; a multiple of 8.
        photos: a folder; "": the simulated rig's own photos.
        seed: of the scenes; training never uses the same ones, whatever its seed.
        exposures: of each sequence, the measured one included. Scene, truth and frame of the measured one are
            the same whatever this is, but for noise.
        changes: settings of `SynthesisConfig` for all kinds, over their own ones: what if no pixel had a lag?

    Raises:
        UsageError: no photos, or values out of range.
    """
    if count < 1:
        raise UsageError(f"count {count}: a suite has at least one item")
    if size < 64 or size > 1024 or size % 8:
        raise UsageError(f"size {size}: give a multiple of 8 from 64 to 1024")
    if not 1 <= exposures <= 32:
        raise UsageError(f"exposures {exposures}: a sequence has 1 to 32")
    load, held = _photos(photos)
    lead = Lead(exposures - 1, DUTY, COARSER)
    kinds = {k: config_of({**_ALL, **KINDS[k], **(changes or {}), "size": size}) for k in KINDS}
    makers = [partial(_sequence, load, held, lead, i, kinds, seed) for i in range(count)]
    name = f"synthetic, {count} sequences of {exposures} exposures of {size}×{size}, seed {seed}"
    if changes:
        name += f", changed: {', '.join(changes)}"
    return ListedSuite(name, list(makers))


def _photos(folder: str) -> tuple[LoadPhoto, int]:
    if not folder:
        from capture.simulated.textures import photo

        names = _SIMULATED
        own: dict[int, NDArray[np.uint8]] = {}
        return lambda i: own.setdefault(i, photo(names[i])), len(names)
    # Not through `open_photos`: it leaves out the very photos that tests are made of.
    from training.photos.decode import SUFFIXES, NotAPhoto, decode, read

    where = Path(folder).expanduser()
    found: list[NDArray[np.uint8]] = []
    for path in sorted(where.rglob("*")) if where.is_dir() else []:
        if path.suffix.lower() in SUFFIXES:
            try:
                found.append(decode(read(path), 2048))
            except NotAPhoto as error:
                raise UsageError(f"photo {path} {error}; take it out of the suite's folder") from error
    if not found:
        raise UsageError(f"{folder} is no folder with photos; give one, or none for the simulated rig's own")
    return found.__getitem__, len(found)


def _sequence(
    load: LoadPhoto, photos: int, lead: Lead, index: int, kinds: dict[str, SynthesisConfig], seed: int
) -> tuple[SuiteItem, ...]:
    kind = list(kinds)[index % len(kinds)]
    config = kinds[kind]
    # Far from any seed that a person gives: the suite is no part of a training.
    row = make_row(config, lead, load, photos, 0x5EED_0000_0000 + seed, index)
    name = f"{kind}-{index:03d}"
    *before, last = aligned_row(row, name)
    latents = tuple(float(f) for f in row.last.instants)
    return (
        *(SuiteItem(name, f"{name}-before-{k}", a, (), row.last.truth[:0]) for k, a in enumerate(before)),
        SuiteItem(name, name, last, latents, row.last.truth),
    )


def aligned_row(row: Row, name: str) -> list[AlignedExposure]:
    """A row as the synchroniser would give it, with the events of the gaps (`contrast_pairs.MARGIN_US`).

    Args:
        row: see `aligned`.
        name: of the rig.
    """
    start = -row.begins_us[0] + 1_000_000
    e = row.events
    events = Events(e.t + start, e.x, e.y, e.p, e.width, e.height)
    last = aligned(row.last, name, len(row.frames) - 1, start)
    out = []
    for k, (image, opens) in enumerate(zip(row.frames, row.begins_us, strict=True)):
        begin, end = start + opens, start + opens + row.last.exposure_us
        first = max(begin - MARGIN_US, start + row.begins_us[0])
        frame = replace(
            last.frame, image=image, sequence=k, device_start_ns=begin * 1000, device_end_ns=end * 1000
        )
        exposure = replace(last.exposure, start_us=begin, end_us=end)
        inside = events.between(first, end)
        out.append(AlignedExposure(frame, exposure, inside, first, end, last.rig, k))
    return out


def aligned(sample: Sample, name: str, ordinal: int = 0, start_us: int = 1_000_000) -> AlignedExposure:
    """A sample as the synchroniser would give it.

    Args:
        sample: its tone must be linear or sRGB (a rig file states no other).
        name: of the rig.
        ordinal: of the exposure.
        start_us: of the exposure on the event clock.
    """
    rig = rig_of(sample, "linear" if sample.gamma == 1.0 else "srgb")
    on, off = sample.threshold
    sensor = rig.events.model_copy(update={"threshold_on": on, "threshold_off": off})
    rig = rig.model_copy(update={"name": name, "events": sensor})
    end = start_us + sample.exposure_us
    layout = PixelLayout.RGB if sample.frame.ndim == 3 else PixelLayout.GRAY
    frame = Frame(sample.frame, layout, ordinal, start_us * 1000, end * 1000, FrameClock.EVENT)
    exposure = Exposure(start_us, end, ExposureSource.CHUNK, 1.0)
    e = sample.events
    events = Events(e.t + start_us, e.x, e.y, e.p, e.width, e.height)
    return AlignedExposure(frame, exposure, events, start_us, end, rig, ordinal)
