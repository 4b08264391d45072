"""What a check of a recording found: one line each, and a verdict over all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Grade(IntEnum):
    """How bad a finding is; the worst one is the verdict, and the exit code of `recordings verify`."""

    NOTE = 0  # worth knowing, nothing is missing
    LOSS = 1  # something is missing or wrong; the rest can be used
    UNUSABLE = 2  # nothing can be read


VERDICTS = {
    Grade.NOTE: "sound",
    Grade.LOSS: "usable with losses",
    Grade.UNUSABLE: "unusable",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        grade: how bad it is.
        where: the stream or file: "events", "frames", "triggers", "clock", "recorder", a file's name, …
        text: one line.
    """

    grade: Grade
    where: str
    text: str


@dataclass(slots=True)
class Verification:
    """All findings about one recording.

    Attributes:
        path: the recording.
        format: its format, "" when it is of none.
        counts: what was read: "events", "event_packets", "edges", "frames", "epochs".
        findings: in the order in which they were met.
    """

    path: str
    format: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def grade(self) -> Grade:
        """That of the worst finding."""
        return max((f.grade for f in self.findings), default=Grade.NOTE)

    @property
    def verdict(self) -> str:
        """In words."""
        return VERDICTS[self.grade]

    def note(self, where: str, text: str) -> None:
        """Something worth knowing."""
        self._add(Grade.NOTE, where, text)

    def loss(self, where: str, text: str) -> None:
        """Something is missing or wrong."""
        self._add(Grade.LOSS, where, text)

    def unusable(self, where: str, text: str) -> None:
        """Nothing can be read."""
        self._add(Grade.UNUSABLE, where, text)

    def _add(self, grade: Grade, where: str, text: str) -> None:
        self.findings.append(Finding(grade, where, " ".join(text.split())))

    def values(self) -> dict[str, Any]:
        """Plain values, for JSON and for messages between processes."""
        return {
            "path": self.path, "format": self.format, "verdict": self.verdict, "exit_code": int(self.grade),
            "counts": dict(self.counts),
            "findings": [
                {"grade": f.grade.name.lower(), "where": f.where, "text": f.text} for f in self.findings
            ],
        }  # fmt: skip

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Verification:
        """Back from `values`.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: these are none.
        """
        found = [
            Finding(Grade[str(f["grade"]).upper()], str(f["where"]), str(f["text"])) for f in values["findings"]
        ]
        counts = {str(k): int(v) for k, v in values["counts"].items()}
        return cls(str(values["path"]), str(values["format"]), counts, found)
