"""A protocol's figures as Markdown and JSON, beside what was published."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping

from training.protocols.run import ProtocolResult
from training.report import finite, row

_DIGITS = {"psnr": 2, "mse": 5}
_UNITS = {"psnr": "PSNR, dB", "ssim": "SSIM", "mse": "MSE", "lpips": "LPIPS"}


def markdown(result: ProtocolResult, about: Mapping[str, str]) -> str:
    """Means over all pictures, the published numbers, the table of sequences, what was left out."""
    how = result.protocol
    lines = [f"# Protocol {how.name} on {result.where}", ""]
    lines += [f"* {name}: {text}" for name, text in about.items()]
    missed = [m for s in result.sequences for m in s.missed]
    lines += [
        f"* how: {how.how}",
        f"* {len(result.sequences)} sequences, {result.count(result.methods[0])} pictures; means over pictures",
        *(f"* {text}" for text in result.notes),
        *(f"* left out: {text}" for text in [*result.skipped, *missed]),
        "", *_means(result), "", *_published(result),
    ]  # fmt: skip
    if result.measures:
        lines += ["## Sequences", "", *_sequences(result)]
    return "\n".join(lines) + "\n"


def as_json(result: ProtocolResult, about: Mapping[str, str]) -> str:
    """The same for a program, with every picture's figures; what is infinite is null."""
    how = result.protocol
    document = {
        "protocol": how.name, "how": how.how, "data": result.where, "about": dict(about),
        "machine": platform.platform(), "skipped": result.skipped, "notes": result.notes,
        "published": [
            {
                "weights": p.weights, "data": p.data, "psnr": p.psnr, "ssim": p.ssim, "protocol": p.protocol,
            }
            for p in how.published
        ],
        "methods": {
            method: {
                "pictures": result.count(method),
                "mean": {m: finite(result.mean(method, m)) for m in result.measures},
                "sequences": {
                    s.name: {m: finite(s.mean(method, m)) for m in result.measures} for s in result.sequences
                },
            }
            for method in result.methods
        },
        "pictures": {
            s.name: {n: [{k: finite(v) for k, v in one.items()} for one in m] for n, m in s.measures.items()}
            for s in result.sequences
        },
        "missed": {s.name: s.missed for s in result.sequences if s.missed},
    }  # fmt: skip
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _means(result: ProtocolResult) -> list[str]:
    names = result.measures
    lines = [row(["method", *(_UNITS.get(m, m) for m in names), "pictures"])]
    lines.append(row(["---"] * (len(names) + 2)))
    for method in result.methods:
        cells = [_text(result.mean(method, m), m) for m in names]
        lines.append(row([method, *cells, str(result.count(method))]))
    return lines


def _published(result: ProtocolResult) -> list[str]:
    rows = result.protocol.published
    if not rows:
        return []
    lines = [
        "Published, on other data than these unless the data are the same set:", "",
        row(["weights", "data", "PSNR, dB", "SSIM", "protocol"]), row(["---"] * 5),
    ]  # fmt: skip
    lines += [row([p.weights, p.data, _plain(p.psnr), _plain(p.ssim), p.protocol or "–"]) for p in rows]
    return [*lines, ""]


def _sequences(result: ProtocolResult) -> list[str]:
    lines = [row(["sequence", *(f"{m}: PSNR / SSIM" for m in result.methods)])]
    lines.append(row(["---"] * (len(result.methods) + 1)))
    for s in result.sequences:
        pairs = [(_text(s.mean(m, "psnr"), "psnr"), _text(s.mean(m, "ssim"), "ssim")) for m in result.methods]
        lines.append(row([s.name, *(f"{p} / {q}" for p, q in pairs)]))
    return lines


def _text(value: float | None, measure: str) -> str:
    if value is None:
        return "–"
    return f"{value:.{_DIGITS.get(measure, 4)}f}" if math.isfinite(value) else "∞"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
