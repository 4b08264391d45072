"""What the cameras' drivers counted while a recording was made: frames delivered, losses by cause, limits."""

from __future__ import annotations

from collections.abc import Mapping

Counts = Mapping[str, int]


class CameraCounts:
    """Differences of what was told, camera by camera. A camera's process that begins anew counts from zero.

    Args:
        before: by role, as last told before the recording began.
        from_zero: what is told first of a camera without a `before` all belongs to the recording; else it is
            only what later counts are compared with.
    """

    def __init__(self, before: Mapping[str, Counts], *, from_zero: bool) -> None:
        self._last = {role: dict(counts) for role, counts in before.items()}
        self._from_zero = from_zero
        self._since: dict[str, dict[str, int]] = {}

    def told(self, cameras: Mapping[str, Counts]) -> None:
        """A camera worker's message: role → counts since it was opened."""
        for role, counts in cameras.items():
            last = self._last.get(role)
            known = last is not None or self._from_zero
            since = self._since.setdefault(role, {})
            for name, n in counts.items():
                had = (last or {}).get(name, 0)
                more = (n - had if n >= had else n) if known else 0
                since[name] = since.get(name, 0) + more
            self._last[role] = dict(counts)

    def report(self) -> dict[str, dict[str, int]]:
        """By role, so many since the recording began; {} where no driver counts."""
        return {role: dict(counts) for role, counts in self._since.items()}
