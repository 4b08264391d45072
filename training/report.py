"""An evaluation as a table for people (Markdown) and for programs (JSON)."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from typing import Any

from training.evaluation import BEST_CONTRAST, BLURRED, Evaluation

# measure, heading, digits
_COLUMNS = (
    ("psnr", "PSNR, dB", 2), ("ssim", "SSIM", 4), ("lpips", "LPIPS", 4),
    ("reblur", "re-blur residual, codes", 2), ("ms", "ms a picture", 1),
)  # fmt: skip


def markdown(result: Evaluation, about: Mapping[str, str]) -> str:
    """The table of means, the table of sequences, what a reader must know.

    Args:
        result: as measured.
        about: lines of the head, by name: command, device …
    """
    count = sum(len(s[BLURRED].values.get("psnr", [])) for s in result.sequences.values())
    lines = [f"# Evaluation on {result.suite}", ""]
    lines += [f"* {name}: {text}" for name, text in about.items()]
    lines += [
        f"* {len(result.sequences)} sequences, {count} pictures with a known truth; means over sequences of "
        "means over their pictures (ms: medians)",
        *(f"* {note}" for note in result.notes),
        "",
        *_table(result),
        "",
        "## Sequences",
        "",
        "PSNR in dB / SSIM.",
        "",
        *_sequence_table(result),
    ]
    flags = _flags(result)
    if flags:
        lines += ["", "## Flags", "", *(f"* {method}: {flag} ({n}×)" for method, flag, n in flags)]
    return "\n".join(lines) + "\n"


def as_json(result: Evaluation, about: Mapping[str, str]) -> str:
    """The same for a program; what was not taken, or is infinite, is null."""
    methods: dict[str, Any] = {}
    for method in result.methods:
        sequences = {
            name: {m: finite(figures[method].of(m)) for m, _, _ in _COLUMNS}
            | ({"contrast": figures[method].contrast} if method == BEST_CONTRAST else {})
            for name, figures in result.sequences.items()
        }
        methods[method] = {
            "mean": {m: finite(result.mean(method, m)) for m, _, _ in _COLUMNS},
            "sequences": sequences,
            "flags": {flag: n for name, flag, n in _flags(result) if name == method},
        }
    document = {
        "suite": result.suite, "about": dict(about), "machine": platform.platform(), "notes": result.notes,
        "methods": methods,
    }  # fmt: skip
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _table(result: Evaluation) -> list[str]:
    columns = [c for c in _COLUMNS if any(result.mean(m, c[0]) is not None for m in result.methods)]
    lines = [row(["method", *(heading for _, heading, _ in columns)]), row(["---"] * (len(columns) + 1))]
    lines += [
        row([method, *(_text(result.mean(method, measure), digits) for measure, _, digits in columns)])
        for method in result.methods
    ]
    return lines


def _sequence_table(result: Evaluation) -> list[str]:
    lines = [row(["sequence", *result.methods]), row(["---"] * (len(result.methods) + 1))]
    for name, figures in result.sequences.items():
        cells = []
        for method in result.methods:
            own = figures[method]
            cell = f"{_text(own.of('psnr'), 2)} / {_text(own.of('ssim'), 3)}"
            cells.append(cell if own.contrast is None else f"{cell} (c {own.contrast:g})")
        lines.append(row([name, *cells]))
    return lines


def _flags(result: Evaluation) -> list[tuple[str, str, int]]:
    out: dict[tuple[str, str], int] = {}
    for figures in result.sequences.values():
        for method, own in figures.items():
            for flag, n in own.flags.items():
                out[method, flag] = out.get((method, flag), 0) + n
    return [(method, flag, n) for (method, flag), n in out.items()]


def row(cells: list[str]) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _text(value: float | None, digits: int) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if math.isfinite(value) else "∞"


def finite(value: float | None) -> float | None:
    """What JSON can hold; None for infinity."""
    return value if value is not None and math.isfinite(value) else None
