"""Recent exposures at hand: one of them can be held and looked into while the stream goes on."""

from __future__ import annotations

from collections import OrderedDict

from inference.outcomes import Job, Outcome, admitted
from inference.restorers.base import Needs
from sync.exposure import AlignedExposure
from sync.rig import Rig

KEPT_EXPOSURES = 12  # how far back an exposure can be held and looked into

Request = tuple[int, tuple[float, ...]]
"""Number and instants."""


class Kept:
    """The newest exposures of one epoch. For one thread, or under its user's lock.

    Attributes:
        held: the one that the user keeps; it stays when it is no longer among the newest.
        shown: one that may be on screen for longer than the newest ones last; it can be held, too.
        request: instants wanted of it; a newer request replaces one that still waits.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self.held: Outcome | None = None
        self.shown: Job | None = None
        self.request: Request | None = None

    def add(self, job: Job) -> None:
        """Keep a new one; the oldest goes."""
        self._jobs[job.outcome.ordinal] = job
        while len(self._jobs) > KEPT_EXPOSURES:
            self._jobs.popitem(last=False)

    def forget(self) -> None:
        """Ordinals begin anew. What is held stays held."""
        self._jobs.clear()
        self.shown = None

    def get(self, ordinal: int) -> Job | None:
        """One of the newest, None when it has gone."""
        return self._jobs.get(ordinal)

    def hold(self, ordinal: int | None) -> bool:
        """Hold one of the newest or the one shown, None: let go. False when it has gone already.

        Who asks again for the one that is held keeps it, however far the stream has gone on meanwhile.
        """
        if self.held is not None and self.held.ordinal == ordinal:
            return True
        job = None if ordinal is None else self._jobs.get(ordinal)
        if job is None and self.shown is not None and self.shown.outcome.ordinal == ordinal:
            job = self.shown
        self.held = None if job is None else job.outcome
        if self.held is None:
            self.request = None
        return ordinal is None or self.held is not None

    def window(self, exposure: AlignedExposure, needs: Needs) -> list[AlignedExposure] | None:
        """An exposure between its neighbours as a restorer wants them, None when some have gone."""
        window: list[AlignedExposure] = []
        for n in range(exposure.ordinal - needs.frames_before, exposure.ordinal + needs.frames_after + 1):
            job = self._jobs.get(n)
            neighbour = admitted(job.outcome, needs, self._rig) if job is not None else None
            found = exposure if n == exposure.ordinal else neighbour
            # What is held may be from before a seek; ordinals have begun anew since.
            if found is None or found.frame.epoch != exposure.frame.epoch:
                return None
            window.append(found)
        return window
