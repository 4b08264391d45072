"""`halfmirror recordings`: what a recording is and holds; whether it is sound, and what can be saved of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import console, repair, verify
from app.cli.options import ExposureUs, Geometry
from app.cli.progress import bar

if TYPE_CHECKING:
    from recordings.survey import Survey

EXAMPLE = "Example: halfmirror recordings info street.aedat4"

app = typer.Typer(
    name="recordings",
    help="Recordings of any known format: what they are and hold, whether they are sound, and mending them.",
    epilog=EXAMPLE,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("verify", epilog=verify.EXAMPLE)(verify.verify)
app.command("repair", epilog=repair.EXAMPLE)(repair.repair)


@app.command("info", epilog=EXAMPLE)
def info(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The recording.")],
    exposure_us: ExposureUs = None,
    geometry: Geometry = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> int:
    """Read a recording once and say what it is: sensor, size, counts, times, rates, exposures, problems."""
    from app.cli.arguments import recording_path, sensor_size
    from recordings.open import open_with
    from recordings.recording import OpenOptions
    from recordings.survey import survey

    said = OpenOptions(exposure_us=exposure_us, geometry=sensor_size(geometry))
    with bar() as progress, open_with(recording_path(path), said) as recording:
        progress("reading", 0.0)
        found = survey(recording, lambda share: progress("reading", share))
    if as_json:
        import json

        typer.echo(json.dumps(_values(found, exposure_us), indent=2))
        return 0
    from rich.text import Text

    from inference.weights_limits import plain

    for what, text in _facts(found, exposure_us):
        style = "yellow" if what == "problem" else ""
        # Names come from a file, which may be anybody's.
        console.out().print(Text.assemble((f"{what:<10} ", "bold"), (plain(text), style)), soft_wrap=True)
    return 0


def _facts(s: Survey, stated_us: int | None) -> Iterator[tuple[str, str]]:
    i, r = s.info, s.report
    yield "recording", str(i.path)
    yield "format", f"{i.format}, {_bytes(i.bytes)}"
    yield "camera", i.camera or "not named"
    yield "time", f"{i.start_us / 1e6:.6f} s to {i.end_us / 1e6:.6f} s: {(i.end_us - i.start_us) / 1e6:.3f} s"
    if i.event_size is None:
        yield "events", "none"
    else:
        share = f", {100 * s.on / r.events:.0f} % brighter" if r.events else ""
        yield "events", f"{r.events} of {i.event_size[0]}×{i.event_size[1]} pixels{share}"
    if s.first_event_us is not None and s.last_event_us is not None:
        yield "", f"first at {s.first_event_us / 1e6:.6f} s, last at {s.last_event_us / 1e6:.6f} s"
        yield (
            "",
            (
                f"{_rate(s.mean_rate_hz)} on average, {_rate(s.peak.hz)} in the busiest 10 ms, "
                f"at {s.peak.at_us / 1e6:.2f} s"
            ),
        )
    rejected = r.events_rejected_decreasing, r.events_rejected_outside
    if any(rejected):
        yield "", f"refused: {rejected[0]} that run back in time, {rejected[1]} outside the sensor"
    if i.image_size is None:
        yield "frames", "none"
    else:
        also = f", {r.frames_rejected} refused" if r.frames_rejected else ""
        drawn = f", {s.drawn} drawn from events or spikes and never exposed" if s.drawn else ""
        yield "frames", f"{r.frames} of {i.image_size[0]}×{i.image_size[1]} pixels{also}{drawn}"
        yield "exposures", _exposures(s, stated_us)
    also = f", {r.edges_rejected} refused" if r.edges_rejected else ""
    yield "triggers", f"{r.edges} edges, {s.rising} rising{also}" if r.edges or also else "none"
    if s.imu_samples:
        yield "IMU", f"{s.imu_samples} samples"
    gaps = [f"{n} in the {of}" for n, of in ((s.gaps, "events"), (s.frame_gaps, "frames")) if n]
    yield "gaps", ", ".join(gaps) or "none"
    if r.ignored:
        yield "not used", ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in r.ignored.items())
    if r.bytes_unread:
        yield "unread", _bytes(r.bytes_unread)
    for problem in r.problems or ["none"]:
        yield ("problem" if r.problems else "problems"), problem


def _exposures(s: Survey, stated_us: int | None) -> str:
    length = s.exposure_us
    if length is None:
        return "the file gives none"
    shortest, median, longest = (v / 1e3 for v in length)
    text = (
        f"{median:.3f} ms"
        if shortest == longest
        else f"{shortest:.3f} to {longest:.3f} ms, median {median:.3f}"
    )
    source = "from the frames' own stamps"
    if stated_us is not None:
        source += ", or as stated where they lack them"
    return f"{len(s.exposures_us)} of {s.report.frames}, {source}: {text}"


def _values(s: Survey, stated_us: int | None) -> dict[str, Any]:
    i, r = s.info, s.report
    length = s.exposure_us
    source = "frame stamps" if stated_us is None else "frame stamps, else stated"
    return {
        "path": str(i.path), "format": i.format, "camera": i.camera, "bytes": i.bytes,
        "start_us": i.start_us, "end_us": i.end_us,
        "events": None if i.event_size is None else {
            "width": i.event_size[0], "height": i.event_size[1], "count": r.events, "brighter": s.on,
            "first_us": s.first_event_us, "last_us": s.last_event_us,
            "mean_rate_hz": round(s.mean_rate_hz, 1), "peak_rate_hz": round(s.peak.hz, 1),
            "peak_at_us": s.peak.at_us if s.peak.events else None,
            "rejected_decreasing": r.events_rejected_decreasing, "rejected_outside": r.events_rejected_outside,
        },
        "frames": None if i.image_size is None else {
            "width": i.image_size[0], "height": i.image_size[1], "count": r.frames,
            "rejected": r.frames_rejected, "drawn": s.drawn,
            "exposures": {
                "count": len(s.exposures_us), "source": source if length else None,
                "shortest_us": length and length[0], "median_us": length and length[1],
                "longest_us": length and length[2],
            },
        },
        "triggers": {"edges": r.edges, "rising": s.rising, "rejected": r.edges_rejected},
        "imu_samples": s.imu_samples, "gaps": s.gaps, "frame_gaps": s.frame_gaps, "ignored": r.ignored,
        "bytes_unread": r.bytes_unread,
        "problems": list(r.problems),
    }  # fmt: skip


def _rate(hz: float) -> str:
    return f"{hz / 1e6:.3f} Mev/s" if hz >= 1e5 else f"{hz / 1e3:.3f} kev/s"


def _bytes(n: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} bytes"
