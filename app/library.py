"""For programs of one's own: recordings as aligned exposures and as sharp pictures, one after the other.

What is named here is offered by `import halfmirror` (`docs/python.md`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.offline import open_input, steps
from app.output.png import Stamp
from capture.packets import EventPacket
from inference import models
from inference.outcomes import Outcome
from sync.synchroniser import Synchroniser

Picture = tuple[NDArray[np.uint8], Stamp]


class _Kept:
    """Pictures until someone takes them."""

    def __init__(self) -> None:
        self._pictures: list[Picture] = []

    def add(self, image: NDArray[np.uint8], stamp: Stamp) -> None:
        self._pictures.append((image, stamp))

    def take(self) -> list[Picture]:
        taken, self._pictures = self._pictures, []
        return taken


def deblur(
    recording: str | Path, network: str = "edi", at: float | Sequence[float] = 0.5, *,
    options: Mapping[str, Any] | None = None, device: str = "auto", seconds: float | None = None,
    exposure_us: int | None = None, geometry: tuple[int, int] | None = None, rig: str | Path | None = None,
) -> Iterator[Picture]:  # fmt: skip
    """The sharp pictures of a recording, one exposure after the other, as `halfmirror deblur` makes them.

    An exposure that cannot be restored gives no picture; `exposures` tells why.

    Args:
        recording: a path, or "simulated", "simulated:PRESET".
        network: a name of `inference.models.names()`.
        at: instants inside each exposure, 0 start … 1 end.
        options: the network's own, as `--set` gives them.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        seconds: the first so many; of a simulated rig 5 where nothing is said.
        exposure_us, geometry, rig: as `--exposure-us`, `--geometry` and `--rig`: what a file does not say.

    Yields:
        (H, W, 3) RGB or (H, W) gray, uint8, and what it shows: `latent`, `time_us`, `exposure_start_us` …

    Raises:
        UsageError, RecordingError: a source, a network, an instant or an option that is none.
        NothingRestored: at the end, where not one exposure could be restored.
    """
    models.check(network, options)
    latents = tuple(map(float, at)) if isinstance(at, Sequence) else (float(at),)
    with open_input(str(recording), seconds, exposure_us, geometry, _path(rig)) as source:
        restorer = models.create(network, source.rig, options, device)
        kept = _Kept()
        for _ in steps(source, restorer, latents, kept):
            yield from kept.take()


def exposures(
    recording: str | Path, *, margin_before_us: int = 0, margin_after_us: int = 0, seconds: float | None = None,
    exposure_us: int | None = None, geometry: tuple[int, int] | None = None, rig: str | Path | None = None,
) -> Iterator[Outcome]:  # fmt: skip
    """The frames of a recording in order, each with the events of its exposure, on one clock.

    Args:
        recording: a path, or "simulated", "simulated:PRESET".
        margin_before_us, margin_after_us: events wanted around each exposure.
        seconds, exposure_us, geometry, rig: as for `deblur`.

    Yields:
        `AlignedExposure` (`frame.image`, `exposure.start_us`, `events`, `rig` …), or `RefusedExposure` with the
        `reason` where a frame cannot be put together with events.

    Raises:
        UsageError, RecordingError: a source that is none.
    """
    with open_input(str(recording), seconds, exposure_us, geometry, _path(rig)) as source:
        source.prepare(lambda _share: None)
        sync = Synchroniser(source.rig, margin_before_us=margin_before_us, margin_after_us=margin_after_us)
        for item in source.items:
            if isinstance(item, EventPacket):
                sync.push_events(item)
            else:
                sync.push_frame(item)
            yield from sync.take()
        yield from sync.finish()


def _path(rig: str | Path | None) -> Path | None:
    return None if rig is None else Path(rig)
