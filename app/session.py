"""What the viewer sees of a running pipeline: pictures, status, requests.

A `Session` is live, a replay, or a fake in a test; the viewer cannot tell. No method blocks for longer than
a millisecond or two, since the GUI thread calls them, but `stop`, which it has called on another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from capture.camera import CameraState
from capture.packets import Events

if TYPE_CHECKING:
    from app.recorder import RecorderWatch, RecordRequest


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """How far the sharp pictures of an exposure, blurred again, are from the frame (`inference.residual`).

    Attributes:
        rms: over the picture, in codes (0…255).
        map: (H, W) uint8, of each pixel, in steps of `inference.quality.MAP_STEP` codes.
    """

    rms: float
    map: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One blurred frame and, unless refused, its sharp pictures, ready to paint.

    Attributes:
        ordinal: of the exposure, counted over all frames.
        blurred: (H, W, 3) or (H, W) uint8.
        sharp: (L, H, W, 3) or (L, H, W) uint8; None when the exposure was refused.
        latents: (L,) fractions 0…1.
        exposure_start_us, exposure_end_us: event clock; None when unknown.
        source: "trigger", "chunk", "estimated" or "" when refused.
        uncertainty_us: of the exposure's ends.
        refusal: one line, "" when restored.
        network: which restorer made `sharp`.
        events: of the exposure, on event pixels; None when there are none.
        image_from_event: (3, 3) float64, event pixel → image pixel.
        exposure_end_host_ns: `time.monotonic_ns` at which the exposure ended as best known (for latency).
        ready_host_ns: when the sharp picture was ready.
        flags, figures: as in `inference.restorers.base.Restored`.
        held: it answers `request_latents` on the held exposure rather than being a new one.
        time_us: position on the source's time axis, for the seek bar.
        residual: re-blur residual of the exposure; such a picture comes beside the stream, see `command`.
        restore_s: what the restorer took, representation included; 0 where it did nothing.
        aligned_host_ns: when its exposure and all its events were together, `time.monotonic_ns`; 0 unknown.
    """

    ordinal: int
    blurred: NDArray[np.uint8]
    sharp: NDArray[np.uint8] | None
    latents: tuple[float, ...]
    exposure_start_us: int | None
    exposure_end_us: int | None
    source: str
    uncertainty_us: float
    refusal: str
    network: str
    events: Events | None
    image_from_event: NDArray[np.float64]
    exposure_end_host_ns: int
    ready_host_ns: int
    flags: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    held: bool = False
    time_us: int = 0
    residual: Residual | None = None
    restore_s: float = 0.0
    aligned_host_ns: int = 0


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker process: its dot in the status strip."""

    name: str  # "events", "frames", "restore", "replay"
    state: CameraState
    detail: str = ""  # error text of a FAULTED worker, progress of a STARTING one
    restarts: int = 0
    pid: int | None = None
    fps: float = 0.0
    backlog: int = 0
    down_s: float = 0.0  # since it failed first, where its process lives and has given nothing since
    silent_s: int = 0  # whole seconds for which it has said nothing, though it speaks five times a second

    @property
    def told(self) -> str:
        """Its name and what it said, which a camera begins with its own name: that stands there once."""
        detail = self.detail or "no detail"
        return detail if detail.startswith(f"{self.name}: ") else f"{self.name}: {detail}"


@dataclass(frozen=True, slots=True)
class DriftStatus:
    """How the rig's calibration stands, slowly measured (`inference.drift`).

    Attributes:
        dx, dy: median shift between picture and events, event pixels.
        sigma_px: of it; None when unknown.
        samples: measurements behind it.
        residual_us: of trigger edges; 0 without.
        warning: one line when it should be calibrated again, else "".
    """

    dx: float
    dy: float
    sigma_px: float | None
    samples: int
    residual_us: float
    warning: str = ""


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """The figures of the status strip. Everything counted since the start of the session.

    `items_in = items_out + dropped + waiting` for exposures; `losses` names each place with its count:
    {"ring events": 0, "camera frames": 2, "superseded (viewer)": 5, "refused: …": 1}.
    """

    fps: float
    stage_fps: dict[str, float]
    latency_p50_ms: float
    latency_p95_ms: float
    items_in: int
    items_out: int
    waiting: int
    losses: dict[str, int]
    exposure_source: str
    uncertainty_us: float
    workers: tuple[WorkerStatus, ...]
    event_rate_hz: float = 0.0
    message: str = ""  # one line for a banner, e.g. "preparing the simulated scene 43 %"
    drift: DriftStatus | None = None  # None where nothing is watched (one sensor, no events)
    # What each camera's driver counts, by role: frames delivered, and lost by cause; {} where it does not.
    cameras: dict[str, dict[str, int]] = field(default_factory=dict)
    network: str = ""  # that will restore once what was chosen is ready; the one that does, if nothing waits
    runs_on: str = ""  # device and number type of the network, as the restore worker has it
    # What holds for the whole run and a person should know: the rig file is of other cameras.
    cautions: tuple[str, ...] = ()
    # The latency's parts, medians in ms: waiting for data, in the queue, restoring, to the screen; {} unknown.
    latency_parts_ms: dict[str, float] = field(default_factory=dict)
    # Frames whose trigger edges should have come and did not, and why edges and frames are not matched now.
    unmatched: int = 0
    unmatched_why: str = ""
    ended: bool = False  # the recording has given its last item and nothing waits (until it is sought)


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the seek bar draws; only for recordings.

    Attributes:
        start_us, end_us: the span.
        event_rate_hz: (N,) float32 over equal bins of the span.
        exposures_us: (M, 2) int64 start and end of each exposure.
    """

    start_us: int
    end_us: int
    event_rate_hz: NDArray[np.float32]
    exposures_us: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """A row of the network chooser."""

    name: str
    takes: str
    weights: str
    usable: bool
    reason: str = ""
    any_latent: bool = True
    last_ms: float | None = None


class Session(Protocol):
    """A running pipeline."""

    title: str
    is_recording: bool
    elsewhere: bool
    """Another program's, whose pictures are seen here: nothing can be recorded or calibrated."""

    def start(self) -> None:
        """Start the workers; returns at once."""

    def stop(self) -> None:
        """Stop everything; within 2 s no process and no shared memory is left."""

    def poll(self) -> Picture | None:
        """The newest picture since the last call, or None. Older ones are counted as superseded."""

    def status(self) -> SessionStatus:
        """The newest figures."""

    def timeline(self) -> Timeline | None:
        """For recordings, once it has been computed, which the first call begins; else None."""

    def networks(self) -> list[NetworkChoice]:
        """Rows of the chooser."""

    def select_network(self, name: str) -> None:
        """Switch while streaming; the old one runs until the new one is ready."""

    def set_latents(self, latents: tuple[float, ...]) -> None:
        """Instants at which new exposures are restored from now on."""

    def hold(self, ordinal: int | None) -> None:
        """Keep this exposure for `request_latents` (None: let go). New exposures go on being restored."""

    def request_latents(self, latents: tuple[float, ...], *, again: bool = False) -> None:
        """Restore the held exposure at these instants; the answer comes through `poll` with `held` set.

        `again`: the last wish once more, in case its answer was lost; one that still is in work counts.
        """

    def command(self, verb: str, **arguments: Any) -> None:
        """`pause`, `play`, `step` (frames: ±1), `seek` (time_us), `speed` (factor), `loop` (on),
        `restart` (worker), `fault` (kind, …), `set` (restorer options), `residual` (on).

        While `residual` is on, `poll` also gives re-blur residuals: of the held exposure (`held` set, without
        sharp pictures), else of a recent one of the stream a few times a second, with its pictures once more.
        """

    # recording: of a live session only

    def arm_recorder(self, preroll_s: float, *, ready: bool = False) -> None:
        """Keep the last so many seconds in memory from now on, for what is recorded; 0: nothing.

        `ready`: have the recorder's process up even so, so that a recording begins the moment it is asked for.
        """

    def begin_recording(self, request: RecordRequest) -> None:
        """Record from now on, while everything goes on. What goes wrong is in `recording`.

        Raises:
            UsageError, DiskError: the folder is there already or cannot be made; what one camera
                alone cannot give.
        """

    def finish_recording(self) -> None:
        """Have the recorder write what waits and end; `recording.health` has its last word then."""

    def disk_trial(self, folder: Path) -> str:
        """Try for a second how fast the disk is; one sentence when it is too slow for the rig. Blocks.

        Raises:
            DiskError: nothing can be written there.
        """

    @property
    def recording(self) -> RecorderWatch:
        """How recording goes, as of the last `status`."""


class SessionFactory(Protocol):
    """Makes a session for a source; the viewer calls it when another source is chosen."""

    def __call__(self, source: str | Path, network: str, *, rig: Path | None = None) -> Session:
        """A session that is not started yet; `rig`: a rig file that was calibrated from this recording."""
        ...
