"""For programs of one's own: recordings and live rigs as sharp pictures, recordings as aligned exposures.

What is named here is offered by `import halfmirror` (`docs/python.md`).
"""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.following import START_LIMIT_S, Following, PipelineError
from app.offline import steps
from app.offline_input import open_input
from app.output.png import Stamp
from app.session import Picture as LivePicture
from app.session import Session
from app.supervised import NO_GUARD, NO_GUARD_STATUS
from capture.errors import UsageError
from inference import models
from inference.arrays import Instants, instants_of
from inference.outcomes import Outcome
from sync.synchroniser import OFFLINE_WAIT_US, Synchroniser

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
    recording: str | Path, network: str = "edi", at: Instants = 0.5, *,
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
    latents = instants_of(at)
    placed = models.needs_events(network)
    with open_input(str(recording), seconds, exposure_us, geometry, _path(rig), placed=placed) as source:
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
        UsageError, RecordingError: a source that is none; a margin below 0.
    """
    if margin_before_us < 0 or margin_after_us < 0:
        raise UsageError(f"margins of {margin_before_us} and {margin_after_us} µs: give 0 or more")
    with open_input(str(recording), seconds, exposure_us, geometry, _path(rig)) as source:
        source.prepare(lambda _share: None)
        sync = Synchroniser(
            source.rig, margin_before_us=margin_before_us, margin_after_us=margin_after_us,
            max_wait_us=OFFLINE_WAIT_US,
        )  # fmt: skip
        yield from sync.outcomes(source.items)


@contextmanager
def live(
    source: str | Path = "simulated", network: str = "edi", at: Instants = 0.5, *,
    options: Mapping[str, Any] | None = None, device: str = "auto", settings: Mapping[str, Any] | None = None,
    quiet_s: float | None = 30.0,
) -> Iterator[Iterator[LivePicture]]:  # fmt: skip
    """A rig while it runs, through the pipeline of `halfmirror live`, in processes of its own.

    ```
    if __name__ == "__main__":
        with halfmirror.live("simulated:davis") as pictures:
            for picture in pictures:
                ...
    ```

    Who is slower than the cameras gets the newest picture and misses those between. A program that uses this
    stands under `if __name__ == "__main__":`, since processes are started that read it once more.

    Args:
        source: "simulated:PRESET", a rig file, a camera that serves a whole rig, or a recording, which is then
            played at its own pace.
        network: a name of `inference.models.names()`.
        at: instants inside each exposure, 0 start … 1 end; a network with fixed instants gives those.
        options: the network's own, as `--set` gives them.
        device: "auto", "cpu", "cuda".
        settings: of the camera that is named; of a recording what its file does not say, "exposure_us",
            "geometry", "rig" as for `deblur`.
        quiet_s: when no picture has come for so long after the first it is an error; None: never. The first may
            take two minutes, and is given up when a worker has failed for five seconds.

    Yields:
        An iterator of `app.session.Picture`: `blurred` (H, W[, 3]), `sharp` (L, H, W[, 3]) or None where the
        exposure was refused (`refusal` says why), `latents`, `exposure_start_us` … It ends with a recording.

    Raises:
        UsageError: a source, a network, an option or a device that is none; a program that is in no file; while
            one iterates: no guard around the program.
        PipelineError, while one iterates: no picture came, with what the workers reported.
    """
    from app.live import make_session

    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker that is being started reads the program once more. The first process tells the person.
        print(f"halfmirror: {NO_GUARD}", file=sys.stderr, flush=True)
        os._exit(NO_GUARD_STATUS)
    program = str(getattr(sys.modules["__main__"], "__file__", None) or "")
    if program.startswith("<") and not os.path.exists(program):
        raise UsageError(
            f"halfmirror.live starts processes that read the program from {program}; save it to a file"
        )
    if device not in ("auto", "cpu"):
        from inference.device import choose_device

        choose_device(device)
    session = make_session(source, network, options=dict(options or {}), device=device, settings=settings)
    try:
        session.set_latents(instants_of(at))
        session.start()
        yield _pictures(session, quiet_s)
    finally:
        session.stop()


def _pictures(session: Session, quiet_s: float | None) -> Iterator[LivePicture]:
    try:
        yield from (p for p in Following(session, quiet_s=quiet_s) if p is not None)
    except PipelineError:
        if any(w.detail == NO_GUARD for w in session.status().workers):
            raise UsageError(NO_GUARD) from None
        raise


@contextmanager
def published(address: str, *, quiet_s: float | None = 30.0) -> Iterator[Iterator[LivePicture]]:
    """The pictures that a Halfmirror publishes (`--publish`), there or here, while it runs.

    ```
    with halfmirror.published("tcp://lab:5556") as pictures:
        for picture in pictures:
            ...
    ```

    Who is slower gets the newest picture and misses those between.

    Args:
        address: "tcp://HOST:PORT" or "ipc://PATH".
        quiet_s: when no picture has come for so long after the first it is an error. Before the first one is
            waited for two minutes, where nobody answers ten seconds. None: never an error, so that a program
            may be there before its publisher.

    Yields:
        An iterator of `app.session.Picture`, as `live` gives them, without `events`; arrays are read-only.

    Raises:
        UsageError: no address.
        PipelineError, while one iterates: nobody answers, or no picture came.
    """
    from app.stream_session import StreamSession

    session = StreamSession(address)
    try:
        session.start()
        limit_s, patience_s = (START_LIMIT_S, None) if quiet_s is not None else (math.inf, math.inf)
        following = Following(session, quiet_s=quiet_s, start_limit_s=limit_s, fault_patience_s=patience_s)
        yield (p for p in following if p is not None)
    finally:
        session.stop()


def _path(rig: str | Path | None) -> Path | None:
    return None if rig is None else Path(rig)
