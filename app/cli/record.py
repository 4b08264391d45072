"""`halfmirror record`: a rig's raw streams to disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from app.recording import RecordResult

EXAMPLE = "Example: halfmirror record simulated:davis -o cups --seconds 10"


def record(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The folder to make, one for each recording.", show_default=False),
    ],
    rig: Annotated[
        str,
        typer.Argument(
            metavar="[RIG]", help="simulated, simulated:PRESET, a camera's name, or a rig file (.toml)."
        ),
    ] = "simulated",
    frames: Annotated[
        int | None, typer.Option("--frames", help="So many frames, each with all its events.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="So long. Without either: until Ctrl+C.")
    ] = None,
    sequences: Annotated[
        int, typer.Option("--sequences", help="So many recordings, as DIR/001, DIR/002, …")
    ] = 1,
    split: Annotated[
        str | None, typer.Option("--split", help="What it is for in a data set: train or test.")
    ] = None,
    also_msrbd: Annotated[
        bool, typer.Option("--also-msrbd", help="Write MS-RBD style files meanwhile, into DIR-msrbd.")
    ] = False,
    preroll: Annotated[
        float, typer.Option("--pre-roll", help="Wait for Enter; so many seconds before it belong to each.")
    ] = 0.0,
) -> int:
    """Record what the cameras say, as they say it, without restoring anything.

    A recording is a folder: recording.toml (cameras, settings, the whole rig file), the raw streams, and
    health.json (what was lost and where, rewritten every second). It is readable however the program ends;
    replay and deblur take the folder's name. Ctrl+C ends it cleanly; while what waits for the disk is written
    then, Ctrl+C again leaves that out.

    One camera alone is recorded by its name (webcam:0, evk4) or with a rig file that says "none" for the other.

    With --pre-roll the last seconds are kept in memory until Enter is pressed, and belong to the recording.
    """
    from app.cli import console
    from app.cli.arguments import positive_seconds, rig_source
    from app.recorder import RecordRequest
    from app.recording import record as run
    from app.sources import SourceRequest
    from capture.errors import UsageError
    from recordings.recorder.take import Limits

    if frames is not None and seconds is not None:
        raise UsageError("give either --frames or --seconds, not both")
    if frames is not None and not 1 <= frames <= 1_000_000:
        raise UsageError(f"--frames {frames} is out of range; give 1 to 1000000")
    if seconds is not None:
        positive_seconds(seconds)
    if not 1 <= sequences <= 999:
        raise UsageError(f"--sequences {sequences} is out of range; give 1 to 999")
    if split not in (None, "train", "test"):
        raise UsageError(f"--split {split} is neither train nor test")
    request = RecordRequest(
        output, sequences, Limits(frames, seconds), split or "", preroll_s=preroll, also_msrbd=also_msrbd  # type: ignore[arg-type]
    )  # fmt: skip
    with Line(frames, seconds) as line:
        result = run(
            SourceRequest.of(rig_source(rig)), request, said=console.say, watch=line.update,
            signal=enter_pressed if preroll else lambda: False,
        )  # fmt: skip
    _print(result)
    for problem in result.written.problems:
        console.fail(problem)
    if result.interrupted:
        return console.INTERRUPTED
    return 1 if result.written.problems else 0


def enter_pressed() -> bool:
    """A line has come on standard input since the last call; never waits.

    Raises:
        UsageError: standard input has ended, so none will ever come.
    """
    import os
    import select

    from capture.errors import UsageError

    try:
        if not select.select([0], [], [], 0)[0]:
            return False
        data = os.read(0, 4096)
    except (OSError, ValueError):
        data = b""
    if not data:
        raise UsageError(
            "--pre-roll waits for Enter, and nothing comes on standard input; start it in a terminal"
        )
    return b"\n" in data


class Line:
    """One line on the terminal while it records; nothing when stderr is not a terminal."""

    def __init__(self, frames: int | None, seconds: float | None) -> None:
        from app.cli import console

        self._frames, self._seconds = frames, seconds
        self._status = console.err().status("starting")
        self._last = (0.0, 0)
        self._rate = 0.0

    def update(self, figures: dict[str, Any], waiting: str) -> None:
        """See `app.recording.Watch`."""
        self._status.update(self.text(figures, waiting))

    def text(self, f: dict[str, Any], waiting: str) -> str:
        """What the line says."""
        if not f or f.get("armed"):
            return waiting or "starting"
        t, n = self._last
        if f["elapsed_s"] < t:
            t, n, self._last = 0.0, 0, (0.0, 0)  # the next sequence
        if f["elapsed_s"] - t >= 1.0:
            self._rate = (f["bytes"] - n) / (f["elapsed_s"] - t) / 1e6
            self._last = (f["elapsed_s"], f["bytes"])
        of_frames = "" if self._frames is None else f" of {self._frames}"
        of_seconds = "" if self._seconds is None else f" of {self._seconds:g}"
        lost = {k: v for k, v in f["losses"].items() if v}
        parts = [
            f"sequence {f['sequence']} of {f['sequences']}" if f["sequences"] > 1 else "",
            f"{f['elapsed_s']:.0f}{of_seconds} s", f"{f['frames']}{of_frames} frames", _matched(f),
            f"{f['events'] / 1e6:.1f} M events", f"{self._rate:.0f} MB/s",
            f"{f['queued'] / 1e6:.0f} MB wait for the disk" if f["queued"] > 8e6 else "",
            "lost: " + ", ".join(f"{n} {k}" for k, n in lost.items()) if lost else "nothing lost", waiting,
        ]  # fmt: skip
        return " · ".join(p for p in parts if p)

    def __enter__(self) -> Line:
        self._status.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._status.stop()


def _matched(f: dict[str, Any]) -> str:
    """How many frames have their trigger edges; "" where none are expected, or known yet."""
    with_trigger, without = f.get("frames_with_trigger") or 0, f.get("frames_without_trigger") or 0
    return f"{with_trigger} of {with_trigger + without} with trigger" if with_trigger or without else ""


def _print(result: RecordResult) -> None:
    """The same three lines of each recording as in the window, under a verdict."""
    from app.cli import console
    from app.viewer.recording_words import report
    from app.viewer.words import NARROW

    for folder, h in result.health.items():
        lines, wrong = report(folder, h)
        console.out().print(
            f"{folder}: {'NOT all well' if wrong else 'all well'}", markup=False, soft_wrap=True
        )
        for line in lines:
            console.out().print("  " + line.replace(NARROW, ""), markup=False, soft_wrap=True)
    for line in result.written.lines:
        console.out().print(line, markup=False, soft_wrap=True)
