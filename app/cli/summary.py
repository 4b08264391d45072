"""The table that a headless run prints."""

from __future__ import annotations

from app.cli import console
from app.headless import HeadlessRun, ends_at
from capture.camera import limited_s
from capture.rate import per_second
from inference.switching import PASS_THROUGH


def figure(value: float) -> str:
    """Three significant digits, whole numbers from a hundred on (never 2.2e+05)."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_summary(run: HeadlessRun, folder: str | None) -> None:
    """Exposures in, out and dropped by place, rates, latency, contrast, workers; then where the files are."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")

    def row(name: str, value: str) -> None:
        table.add_row(name, Text(value))

    s = run.status
    row("ran", f"{run.seconds:.1f} s" + (", then interrupted" if run.interrupted else ""))
    if s is not None:
        dropped = s.items_in - s.items_out - s.waiting
        row("exposures", f"in {s.items_in} = out {s.items_out} + dropped {dropped} + waiting {s.waiting}")
        losses = [f"{place} {n}" for place, n in s.losses.items() if n]
        row("lost, by place", ", ".join(losses) or "nothing")
        if limited := limited_s(s.cameras):
            row("event rate limited", f"in the camera, for {limited:.1f} s")
        rates = [f"{stage} {per_second(fps)}" for stage, fps in s.stage_fps.items()]
        row("frames per second", ", ".join(rates) or per_second(s.fps))
        if s.latency_p95_ms:  # nothing was restored: nothing took no time
            row("exposure end → picture", f"p50 {s.latency_p50_ms:.0f} ms, p95 {s.latency_p95_ms:.0f} ms")
            parts = [f"{part} {ms:.0f} ms" for part, ms in s.latency_parts_ms.items()]
            if parts:
                row("of it, medians", ", ".join(parts))
        if s.exposure_source:
            row("exposure from", f"{s.exposure_source} ±{s.uncertainty_us:.0f} µs")
        if s.unmatched:
            why = f": {s.unmatched_why}" if s.unmatched_why else ""
            row("without their trigger", f"{s.unmatched} frames{why}")
        for line in s.cautions:
            row("warning", line)
        for w in s.workers:
            restarts = f", {w.restarts} restarts" if w.restarts else ""
            row(f"worker {w.name}", f"{w.state}{restarts}" + (f": {w.detail}" if w.detail else ""))
    if run.unchanged:
        unchanged = {PASS_THROUGH: f"{PASS_THROUGH} (unchanged)"}
        row("restored by", ", ".join(f"{unchanged.get(k, k)} {n}" for k, n in run.restored_by.items()))
    for name, value in run.figures.items():
        row(name.replace("_", " "), figure(value))
    for flag, n in run.flags.items():
        row("flag", f"{flag} ({n} of {run.pictures})")
    if folder is not None:
        video = f"{run.video_frames} frames, {run.codec}"
        if run.video_dropped:
            video += f"; {run.video_dropped} left out, the encoder was too slow"
        if run.video_full_s is not None:
            video += f"; {ends_at(run.video_full_s)}, {run.video_after_full} pictures came later"
        row("video", video)
    o = console.out()
    o.print(table)
    if folder is not None:
        o.print(folder, style="bold", markup=False, soft_wrap=True)
