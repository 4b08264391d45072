"""Recent exposures at hand: one of them can be held and looked into while the stream goes on."""

from __future__ import annotations

from collections import OrderedDict

from inference.outcomes import Job
from inference.restorers.base import Needs
from sync.exposure import AlignedExposure

KEPT_EXPOSURES = 12  # how far back an exposure can be held and looked into

Request = tuple[int, tuple[float, ...]]
"""Number and instants."""


class Kept:
    """The newest exposures of one epoch. For one thread, or under its user's lock.

    Attributes:
        held: the one that the user keeps; it stays when it is no longer among the newest.
        request: instants wanted of it; a newer request replaces one that still waits.
    """

    def __init__(self) -> None:
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self.held: AlignedExposure | None = None
        self.request: Request | None = None

    def add(self, job: Job) -> None:
        """Keep a new one; the oldest goes."""
        self._jobs[job.outcome.ordinal] = job
        while len(self._jobs) > KEPT_EXPOSURES:
            self._jobs.popitem(last=False)

    def forget(self) -> None:
        """Ordinals begin anew. What is held stays held."""
        self._jobs.clear()

    def get(self, ordinal: int) -> Job | None:
        """One of the newest, None when it has gone."""
        return self._jobs.get(ordinal)

    def hold(self, ordinal: int | None) -> bool:
        """Hold one of the newest, None: let go. False when it has gone already."""
        job = None if ordinal is None else self._jobs.get(ordinal)
        self.held = job.outcome if job and isinstance(job.outcome, AlignedExposure) else None
        if self.held is None:
            self.request = None
        return ordinal is None or self.held is not None

    def window(self, exposure: AlignedExposure, needs: Needs) -> list[AlignedExposure] | None:
        """An exposure between its neighbours as a restorer wants them, None when some have gone."""
        span = range(exposure.ordinal - needs.frames_before, exposure.ordinal + needs.frames_after + 1)
        jobs = [self._jobs.get(n) for n in span if n != exposure.ordinal]
        neighbours = [j.outcome for j in jobs if j is not None and isinstance(j.outcome, AlignedExposure)]
        window = sorted([*neighbours, exposure], key=lambda e: e.ordinal)
        return window if len(window) == len(span) else None
