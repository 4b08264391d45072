"""What becomes of an exposure: the result that goes on to a viewer or a file, and the counts of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from capture.errors import HalfmirrorError
from inference.quality import ReblurResidual
from inference.restorers.base import Needs, Restored
from sync.exposure import AlignedExposure, RefusedExposure
from sync.rig import Rig

Outcome = AlignedExposure | RefusedExposure

LONGEST_LINE = 160


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """An outcome of the synchroniser with the host time at which its exposure ended.

    The host time is worked out on the thread that feeds the synchroniser, which alone touches its clocks.
    """

    outcome: Outcome
    end_host_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One exposure's outcome, on its way to a viewer or a file.

    Attributes:
        exposure: the exposure, restored or refused.
        restored: the sharp pictures, None when refused or failed.
        failure: one line when restoring failed.
        exposure_end_host_ns: `time.monotonic_ns` at which the exposure ended as best known, 0 unknown.
        held: answers a request on the held exposure.
        request: number of that request.
        residual: re-blur residual of the exposure. Such a result comes beside that of the stream and counts for
            no exposure; on the held one it answers no request and has no pictures.
    """

    exposure: Outcome
    restored: Restored | None
    failure: str
    exposure_end_host_ns: int
    held: bool = False
    request: int = 0
    residual: ReblurResidual | None = None


@dataclass(slots=True)
class StageCounters:
    """Every exposure accounted for: `exposures_in = restored + refused + failed + superseded + waiting`.

    `waiting` counts those in the queue, and those that a network with a lag still owes.
    """

    exposures_in: int = 0
    restored: int = 0
    refused: int = 0
    failed: int = 0
    superseded: int = 0
    waiting: int = 0
    refused_by: dict[str, int] = field(default_factory=dict)


def admitted(outcome: Outcome, needs: Needs, rig: Rig) -> AlignedExposure | None:
    """What a restorer with these needs is given of an outcome, None when it stays refused.

    One that needs no events is given frames without them, too, and such whose exposure is not known.
    """
    if isinstance(outcome, AlignedExposure):
        return outcome
    return None if needs.events else outcome.frame_alone(rig)


def refusal_of(o: RefusedExposure) -> str:
    """Why an exposure was refused, in one line."""
    return f"{o.reason.value} – {o.detail}"


def line_of(e: BaseException) -> str:
    """An error in one line of bounded length; its class is named unless the message is our own."""
    text = str(e).strip().splitlines()
    first = text[0] if text else ""
    line = first if isinstance(e, HalfmirrorError) else f"{type(e).__name__}: {first}".removesuffix(": ")
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"
