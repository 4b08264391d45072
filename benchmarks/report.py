"""A benchmark's table as the file that is kept of it in `benchmarks/results`."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(
    title: str, command: str, about: str, text: str | None, head: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Title, command, machine, what was measured (the third paragraph of the benchmark's own text), the table.

    Args:
        title: of the file.
        command: that prints the table.
        about: the machine and its libraries.
        text: the benchmark's `__doc__`.
        head: names of the columns.
        rows: as many cells each.
    """
    lines = [f"# {title}", "", f"`{command}`", "", about, "", *(text or "").split("\n\n")[2:3], ""]
    lines += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), ""])
