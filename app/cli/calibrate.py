"""`halfmirror calibrate`: a rig's geometry and clock, measured, checked, reported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import console
from app.cli.options import ExposureUs, Geometry
from app.cli.progress import bar

if TYPE_CHECKING:
    from calibration.check import CheckResult
    from calibration.geometry.targets import Board
    from calibration.run import Calibration
    from recordings.recording import OpenOptions
    from sync.rig import Rig

EXAMPLE = "Example: halfmirror calibrate rig simulated --headless -o rig.toml"
WARNED = 3
"""Exit code of `check` for a calibration that can be used with a warning."""

app = typer.Typer(
    name="calibrate",
    help="A rig's geometry and clock: measured, checked, reported.",
    epilog=EXAMPLE,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

BoardSize = Annotated[
    str, typer.Option("--board", metavar="COLUMNSxROWS", help="Squares of the target.", show_default=True)
]
SquareMm = Annotated[float, typer.Option("--square-mm", help="Side of a square of the target.")]


@app.command("rig", epilog=EXAMPLE)
def rig(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[RIG]",
            help="simulated (the default), simulated:PRESET, a rig file (.toml), or a sensor that gives both "
            "streams by its name (davis346).",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The rig file to write.")] = Path("rig.toml"),
    from_: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="RECORDING", help="Calibrate from this instead; may be given again."),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Without a window.")] = False,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", help="How long the rig is recorded (40, one sensor 8), or a simulated rig's scene (8)."
        ),
    ] = None,
    board: BoardSize = "7x5",
    square_mm: SquareMm = 34.0,
    exposure_us: ExposureUs = None,
    geometry: Geometry = None,
    lens: Annotated[
        str, typer.Option("--lens", help="Distortion to measure: auto (where it helps), none, brown, fisheye.")
    ] = "auto",
    only_time: Annotated[
        bool, typer.Option("--only-time", help="Keep the geometry; measure the clock only.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier rig file.")] = False,
    progress_json: Annotated[
        bool, typer.Option("--progress-json", hidden=True, help="Progress as lines of JSON on stdout.")
    ] = False,
) -> int:
    """Measure a rig and write its file, with a report beside it.

    Simulated rigs look at a blinking board and then at their scene. Live rigs are recorded first, into a
    folder beside OUT that goes again: show the blinking board (halfmirror calibrate show-target) from all
    sides, holding still for two swaps each time, then move the rig by hand. OUT.report.html opens in any
    browser and loads nothing.
    """
    from app.cli.arguments import positive_seconds, recording_path, refuse_input, refuse_no_rig, sensor_size
    from app.cli.run_session import no_window
    from app.output.atomic import folder_of, require_place
    from capture.errors import UsageError
    from recordings.recording import OpenOptions

    if seconds is not None:
        positive_seconds(seconds)
    target = parse_board(board, square_mm)
    if lens not in ("none", "auto", "brown", "fisheye"):
        raise UsageError(f"--lens {lens!r}: give none, auto, brown or fisheye")
    if output.suffix.lower() != ".toml":
        raise UsageError(f"-o {output}: a rig file ends in .toml")
    recordings = [recording_path(p) for p in from_ or []]
    stated = OpenOptions(exposure_us=exposure_us, geometry=sensor_size(geometry))
    if not recordings and stated != OpenOptions():
        raise UsageError("--exposure-us and --geometry tell of recordings; give one with --from")
    if recordings and source is not None and not source.lower().endswith(".toml"):
        raise UsageError(f"give either {source} or --from; with --from, RIG may be the rig file known so far")
    if recordings and seconds is not None:
        raise UsageError("--seconds is how long a rig is recorded; leave it out with --from")
    source = "simulated" if source is None else source
    _check_source(source)
    for recording in recordings:
        refuse_input(output, recording)
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists already; give another name with -o, or --overwrite")
    refuse_no_rig(output)
    require_place(output)
    if not headless and not recordings and not progress_json and not no_window():
        from app.viewer.calibration_run import CalibrationWish
        from app.viewer.main import run_viewer

        further = ["--board", board, "--square-mm", f"{square_mm:g}", "--lens", lens]
        further += [] if seconds is None else ["--seconds", f"{seconds:g}"]
        further += ["--only-time"] if only_time else []
        wish = CalibrationWish(output, tuple(further), target)
        return run_viewer(_sessions(), _opened(source), None, calibrate=wish)
    tell = Said() if progress_json else None
    c = _run(source, recordings, stated, target, seconds, lens, only_time, tell, folder_of(output))
    return _finish(c, output, overwrite=overwrite, tell=tell, recordings=recordings, stated=stated)


def _opened(source: str) -> str | Path:
    return Path(source) if source.lower().endswith(".toml") else source


def _sessions() -> Any:
    from app.cli.run_session import session_maker

    return session_maker({})


def parse_board(size: str, square_mm: float) -> Board:
    """`7x5` and the side of a square.

    Raises:
        UsageError: not of this form, or no board of this kind exists.
    """
    from app.cli.arguments import parse_geometry
    from calibration.geometry.targets import Board
    from capture.errors import UsageError

    try:
        columns, rows = parse_geometry(size)
    except UsageError:
        raise UsageError(f"--board {size!r} is not COLUMNSxROWS; give for example 7x5") from None
    return Board(columns, rows, square_mm)


def _check_source(source: str) -> None:
    from app.cli.arguments import is_stream, rig_source
    from capture.errors import UsageError

    if not is_stream(source) and not source.lower().endswith(".toml") and Path(source).exists():
        raise UsageError(
            f"{source} is not a rig file (.toml); for a recording use: halfmirror calibrate rig --from {source}"
        )
    rig_source(source)


class Said:
    """Progress as lines of JSON on stdout, for a window that watches."""

    # typer writes and flushes a line at a time, so a pipe has it at once.
    def __call__(self, step: str, what: str, share: float, **more: Any) -> None:
        """One line."""
        import json

        typer.echo(json.dumps({"step": step, "what": what, "share": round(share, 3), **more}))


def _run(
    source: str, recordings: list[Path], stated: OpenOptions, board: Board, seconds: float | None, lens: str,
    only_time: bool, said: Said | None, place: Path,
) -> Calibration:  # fmt: skip
    import shlex
    import sys

    from app.calibrating import Wanted, material_of
    from app.version import version
    from calibration.run import Options, calibrate

    command = shlex.join(["halfmirror", *(a for a in sys.argv[1:] if a != "--progress-json")])
    with bar() as progress:

        def tell(step: str, what: str, share: float, **more: Any) -> None:
            progress(f"{step}: {what}", share)
            if said is not None:
                said(step, what, share, **more)

        def taken(what: str, share: float, *, do: str = "") -> None:
            progress(f"{what}: {do}" if do else f"cameras: {what}", share)
            if said is not None:
                said("cameras", what, share, do=do)

        wanted = Wanted(board, seconds)
        with material_of(source, recordings, wanted, taken, stated, console.say, place) as m:
            tell("cameras", "both cameras are there", 1.0, cameras=_cameras(m.rig, m.takes[-1].serials))
            options = Options(board, lens, only_time)
            return calibrate(
                m.rig, m.takes, options, command=command, program=f"halfmirror {version()}", tell=tell
            )


def _cameras(rig: Rig, serials: dict[str, str]) -> list[str]:
    cameras = (("events", rig.events, "events"), ("frames", rig.image, "image"))
    there = [(word, e, serials.get(role, e.serial)) for word, e, role in cameras]
    return [f"{word} {e.width}×{e.height}, {e.camera}" + (f", {s}" if s else "") for word, e, s in there]


def report_paths(output: Path) -> tuple[Path, Path]:
    """Where the report of a rig file lies."""
    return output.with_name(f"{output.stem}.report.html"), output.with_name(f"{output.stem}.report.json")


def _opens(rig_file: Path, recordings: list[Path], stated: OpenOptions | None = None) -> str:
    """What a window can open with a rig file that was made from these recordings (none: from its cameras)."""
    from app.sources import SourceRequest, rig_for
    from capture.errors import HalfmirrorError
    from recordings.open import open_with
    from recordings.recording import OpenOptions

    if not recordings:
        return "rig"
    try:
        with open_with(recordings[-1], stated or OpenOptions()) as r:
            rig_for(r, str(recordings[-1]), rig_file)
        return "recording"
    except HalfmirrorError:  # it tells its geometry itself
        pass
    try:
        SourceRequest.of(rig_file)
        return "rig"
    except HalfmirrorError:  # the cameras of a file have no name by which they could be opened
        return ""


def _finish(
    c: Calibration,
    output: Path,
    *,
    overwrite: bool,
    tell: Said | None,
    recordings: list[Path],
    stated: OpenOptions,
) -> int:
    from app.output.atomic import staged_file, writing
    from calibration.report import report_html, report_json
    from calibration.time.result import Verdict

    if tell is not None:
        tell("report", "writing", 0.0)
    failed = c.verdict is Verdict.FAIL
    # The rig file of before stays where this one fails, and its own report with it.
    kept = failed and output.exists()
    html, plain = report_paths(output.with_stem(f"{output.stem}-failed") if kept else output)
    # The rig file comes last: where it is, its report is too.
    with staged_file(html, overwrite=True) as h, staged_file(plain, overwrite=True) as j, writing(html):
        # Names of files, which stand in it, may be no text.
        h.write_text(report_html(c), encoding="utf-8", errors="backslashreplace")
        j.write_text(report_json(c), encoding="utf-8")
    if not failed:
        with staged_file(output, overwrite=overwrite) as part:
            c.rig.save(part)
    worst = next((f"{s}: {t}" for s, t, v in c.problems() if v is Verdict.FAIL), "see the report")
    _print(c, output if not failed else None, html, worst if failed else "")
    if tell is not None:
        tell(
            "report", "done", 1.0, verdict=str(c.verdict), report=str(html), rig="" if failed else str(output),
            summary=summary(c), problems=[t for _, t, v in c.problems() if v is not Verdict.PASS],
            steps=judged(c), opens="" if failed else _opens(output, recordings, stated),
        )  # fmt: skip
    if failed:
        console.fail(f"not calibrated: {worst}; no rig file was written, the report is {html}")
        return 1
    return 0


def judged(c: Calibration) -> dict[str, str]:
    """The steps that did not pass, with the worst verdict of each."""
    from calibration.time.result import Verdict

    out: dict[str, str] = {}
    for step, _, verdict in c.problems():  # the worst first
        if verdict is not Verdict.PASS:
            out.setdefault(step, str(verdict))
    return out


def summary(c: Calibration) -> list[str]:
    """The result in a few lines."""
    lines = []
    if c.geometry is not None and c.geometry.image_from_event is not None:
        lines.append(
            f"geometry: {c.geometry.rms_px:.3f} event pixels RMS on views held out, "
            f"{c.geometry.p95_px:.3f} at the 95th percentile ({c.geometry_by})"
        )
    else:
        lines.append(f"geometry: {c.geometry_by}")
    lines.append(f"time: {c.time.summary()}")
    if c.check is not None and c.check.shift is not None:
        lines.append(f"check: edges of the scene lie {c.check.shift.rms_px:.2f} event pixels apart (RMS)")
    return lines


def _print(c: Calibration, output: Path | None, html: Path, last: str) -> None:
    """`last`: the problem that the last line will name; nothing is said twice."""
    from calibration.time.result import Verdict

    o = console.err()
    problems = [(f"{step}: {text}", v) for step, text, v in c.problems() if v is not Verdict.PASS]
    named = [line for line, _ in problems]
    for line in summary(c):
        if line not in named:
            o.print(line, markup=False, soft_wrap=True)
    for line, verdict in problems:
        if line != last:
            console.say(f"{verdict}: {line}")
    o.print(f"verdict: {c.verdict}", markup=False)
    o.print(str(html), style="bold", markup=False, soft_wrap=True)
    if output is not None:
        o.print(str(output), style="bold", markup=False, soft_wrap=True)


@app.command("check", epilog="Example: halfmirror calibrate check rig.toml kitchen")
def check(
    rig_file: Annotated[Path, typer.Argument(metavar="RIG_TOML", help="The rig file.")],
    recording: Annotated[
        str, typer.Argument(metavar="RECORDING", help="A recording of this rig, or simulated:PRESET.")
    ],
    exposure_us: ExposureUs = None,
    geometry: Geometry = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> int:
    """How well does this calibration fit this recording: in event pixels, in µs, by place.

    Exit code 0: pass; 3: usable with a warning; 1: fail.
    """
    from app.calibrating import checked_take
    from app.cli.arguments import sensor_size
    from calibration.check import check as run
    from calibration.time.result import Verdict
    from recordings.recording import OpenOptions
    from sync.rig import Rig

    rig = Rig.load(rig_file)
    take = checked_take(
        recording, rig, OpenOptions(exposure_us=exposure_us, geometry=sensor_size(geometry))
    )  # fmt: skip
    with bar() as progress:
        result = run(take.items, rig, serials=take.serials, progress=progress, by_driver=take.by_driver)
    if as_json:
        import json

        typer.echo(json.dumps({"rig": str(rig_file), "recording": recording, **result.to_json()}, indent=2))
    else:
        _print_check(result)
    return {Verdict.PASS: 0, Verdict.WARN: WARNED, Verdict.FAIL: 1}[result.verdict]


def _print_check(r: CheckResult) -> None:
    import numpy as np

    from calibration.time.result import Verdict

    o = console.out()
    s = r.shift
    if s is not None:
        o.print(
            f"geometry: edges lie {s.rms_px:.2f} event pixels apart (RMS over the field; {s.dx:+.2f}, "
            f"{s.dy:+.2f} on average, worst cell {s.worst_px:.2f}, {s.frames} frames)",
            markup=False, soft_wrap=True,
        )  # fmt: skip
        for row in s.cells:
            cells = ["      –     " if np.isnan(c[0]) else f"{c[0]:+5.2f} {c[1]:+5.2f} " for c in row]
            o.print("    " + "  ".join(cells), markup=False)
    o.print(f"time: {r.time.summary()}", markup=False, soft_wrap=True)
    if r.time.shift_us is not None:
        o.print(
            f"time: by {r.time.shift_by} exposures lie {r.time.shift_us:+.0f} ± "
            f"{r.time.shift_uncertainty_us:.0f} µs from where {r.time.shift_from} put them",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    for t in r.troubles:
        if t.verdict is not Verdict.PASS:
            o.print(f"{t.verdict}: {t.text}", markup=False, soft_wrap=True)
    o.print(str(r.verdict), style="bold", markup=False)


@app.command("show-target", epilog="Example: halfmirror calibrate show-target --still -o board.pdf")
def show_target(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it in true scale (.pdf or .svg) instead.")
    ] = None,
    still: Annotated[
        bool,
        typer.Option("--still", help="Do not blink: to be swung by hand before a rig with a trigger wire."),
    ] = False,
    board: BoardSize = "7x5",
    square_mm: SquareMm = 34.0,
    paper: Annotated[str, typer.Option("--paper", help="Of the file: a4, a3, letter, tabloid.")] = "a4",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier file.")] = False,
    phase_ms: Annotated[float, typer.Option("--phase-ms", help="How long each picture stands.")] = 400.0,
) -> int:
    """Show the target on the whole screen: a ChArUco board that blinks, so that an event camera sees it.

    Esc ends it.
    """
    from app.cli.run_session import no_window
    from calibration.geometry.targets import BlinkingBoard
    from capture.errors import HalfmirrorError, UsageError

    if overwrite and output is None:
        raise UsageError("--overwrite is about -o; give both")
    target = parse_board(board, square_mm)
    blinking = BlinkingBoard(target, phase_ms)
    if output is not None:
        from calibration.geometry.print_target import write_target

        if output.exists() and not overwrite:
            raise UsageError(f"{output} exists already; give another name with -o, or --overwrite")
        write_target(target, output, paper)
        console.out().print(str(output), style="bold", markup=False, soft_wrap=True)
        return 0
    reason = no_window()
    if reason:
        raise HalfmirrorError(f"the target needs a screen ({reason}); write it to a file with -o board.pdf")
    from app.viewer.target_window import show

    return show(blinking, still=still)
