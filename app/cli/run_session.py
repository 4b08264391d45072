"""What `live` and `replay` share: the viewer when there is a display, else the same pipeline without one."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import console
from app.cli.arguments import is_stream
from app.output.atomic import require_place
from app.session import Session, SessionFactory, SessionStatus
from capture.errors import UsageError
from capture.rate import per_second
from inference.network_options import FOR_ALL, NetworkOptions
from recordings.recording import OpenOptions

if TYPE_CHECKING:
    from app.headless import HeadlessRun

FALLBACK_S = 10.0
DEFAULT_NETWORK = "edi"


def session_maker(
    options: dict[str, Any],
    *,
    network: str = "",
    replay_speed: float = 1.0,
    loop: bool = False,
    residual: bool = False,
    said: OpenOptions | None = None,
    said_of: str | Path = "",
    publish: str | None = None,
    device: str = "auto",
) -> SessionFactory:
    """A factory as the viewer wants it, with the command line's options in it.

    `options` are those of `network`; the window may choose another one, which does not get them.
    `said`: what was stated about the recording `said_of`; of another one that the window opens it would be
    wrong. `publish`: where its pictures go, too. `device`: what networks run on.
    `residual`: of every exposure; a window has it measured only now and then.
    """

    given = NetworkOptions(network, options)

    def make(source: str | Path, network: str, *, rig: Path | None = None) -> Session:
        if is_stream(source):
            from app.stream_session import StreamSession

            return StreamSession(str(source))
        from app.live import make_session

        its = said if Path(source).resolve() == Path(said_of).resolve() else None
        its = its if rig is None else replace(its or OpenOptions(), rig=rig)
        return make_session(
            source, network, options=given.of(network), replay_speed=replay_speed, loop=loop,
            residual=residual, said=its, publish=publish, device=device,
        )  # fmt: skip

    return make


def show(
    options: dict[str, Any],
    source: str | Path,
    network: str | None,
    *,
    headless: bool,
    seconds: float | None,
    output: Path | None,
    screenshot: Path | None,
    verb: str,
    residual: bool = False,
    speed: float = 1.0,
    loop: bool = False,
    said: OpenOptions | None = None,
    rig_page: bool = False,
    publish: str | None = None,
    device: str = "auto",
) -> int:
    """Open the viewer, or run headless when asked to or when there is no display; returns the exit code.

    `seconds` None: headless runs of a live rig take 10 s, recordings run to their end. `network` None: the
    viewer takes the one used last, EDI where there are options, which are of the network that runs. `speed`
    (infinite: as fast as possible), `loop` and `said` are of a recording. `residual`: the window begins with
    the map of the re-blur residual; headless every exposure has its number. `rig_page`: the window begins with
    it; there is none without a window. `publish`: the address at which other programs get the pictures; without
    a window that goes on until Ctrl+C, with a folder only where `output` names one. `device`: what networks run
    on.
    """
    if network is None and not FOR_ALL.issuperset(options):
        network = _network_of(options)
    # The replay camera takes 0 for "no pace at all".
    pace = 0.0 if math.isinf(speed) else speed
    if rig_page and headless:
        raise UsageError("--rig-page is in the window; leave --headless out")
    if headless and screenshot is not None:
        raise UsageError(
            "--screenshot needs the window; leave --headless out (QT_QPA_PLATFORM=offscreen will do)"
        )
    if screenshot is not None:
        if screenshot.suffix.lower() != ".png":
            raise UsageError(f"--screenshot {screenshot}: is saved as PNG; give a name that ends in .png")
        if screenshot.exists():
            raise UsageError(f"--screenshot {screenshot}: exists already; give another name")
        require_place(screenshot)
    if not headless:
        reason = no_window()
        if not reason:
            from app.viewer.main import run_viewer

            if output is not None or seconds is not None:
                raise UsageError("-o and --seconds are for runs without a window; add --headless")
            make = session_maker(
                options, network=network or "", replay_speed=pace, loop=loop, said=said, said_of=source or "",
                publish=publish, device=device,
            )  # fmt: skip
            return run_viewer(
                make, source, network, screenshot=screenshot, speed=speed, loop=loop, residual=residual,
                rig_page=rig_page, said=said,
            )  # fmt: skip
        if rig_page:
            raise UsageError(f"--rig-page needs a display ({reason}); halfmirror devices needs none")
        if screenshot is not None:
            raise UsageError(f"--screenshot needs a display, or QT_QPA_PLATFORM=offscreen ({reason})")
        if seconds is None and publish is None and (verb == "live" or loop):
            seconds = FALLBACK_S
        to_end = "until Ctrl+C" if verb == "live" or loop else "to the end of the recording"
        length = to_end if seconds is None else f"for {seconds:g} s"
        console.say(f"No window ({reason}): running headless {length}.")
    if seconds is None and publish is None and verb == "live":
        seconds = FALLBACK_S
    make = session_maker(
        options, network=network or DEFAULT_NETWORK, replay_speed=pace, loop=loop, residual=residual, said=said,
        said_of=source or "", publish=publish, device=device,
    )  # fmt: skip
    return run_without_window(
        make, source, network or DEFAULT_NETWORK,
        seconds=seconds, output=output, verb=verb, residual=residual, publish=publish,
    )  # fmt: skip


def _network_of(options: dict[str, Any]) -> str:
    """Whose options these are where no network was named: EDI's, or nobody's."""
    from inference.restorers.edi import KNOWN_OPTIONS

    if others := sorted(set(options) - FOR_ALL - set(KNOWN_OPTIONS)):
        raise UsageError(f"{', '.join(others)}: {DEFAULT_NETWORK} has no such option; name the network with -n")
    return DEFAULT_NETWORK


def no_window() -> str:
    """Why no window can be opened, in one line; "" when one can."""
    from app.viewer.display import display_available

    ok, reason = display_available()
    if not ok:
        return reason
    try:
        import PySide6.QtWidgets  # noqa: F401  # a missing system library shows only now
    except ImportError as e:
        return f"Qt cannot be loaded: {e}; see halfmirror doctor"
    return ""


def run_without_window(
    make: SessionFactory,
    source: str | Path,
    network: str,
    *,
    seconds: float | None,
    output: Path | None,
    verb: str,
    residual: bool = False,
    publish: str | None = None,
) -> int:
    """The headless run with its folder, progress and table; returns the exit code."""
    from app.cli.summary import print_summary
    from app.following import faults
    from app.headless import ends_at, run_headless
    from app.output.atomic import staged_folder
    from app.signals import kept_when_complete
    from app.version import version
    from inference import models

    final = output
    if output is None and publish is None:
        final = free_name(f"{verb}-{time.strftime('%Y%m%d-%H%M%S')}")
    if publish is not None:
        console.say(f"Publishing at {publish}; Ctrl+C ends it.")
    about = {"version": version(), "command": sys.argv, "source": str(source), "network": network}
    staged = contextlib.nullcontext() if final is None else staged_folder(final, overwrite=None)
    with kept_when_complete() as complete, staged as part, _Line(seconds) as line:
        run = run_headless(
            make(source, network), part, seconds=seconds, about=about, final=final, progress=line.update,
            no_residual=models.no_residual(network) if residual else "",
            published=publish is not None, say=console.say,
            ending=line.ending if final is not None else lambda: None, complete=complete,
        )  # fmt: skip
    print_summary(run, None if final is None else str(final))
    gave_way = run.unchanged or (run.gave_way and not run.back)
    if gave_way:
        console.fail(_unchanged(run, network))
    if run.video_full_s is not None:
        console.fail(
            f"the video {ends_at(run.video_full_s)}; what came before that is in {final}: "
            "free some space or choose another place with -o"
        )
    if run.interrupted:
        return console.INTERRUPTED
    down = faults(run.status) if run.status else []
    if down:
        kept = "was published" if final is None else f"is in {final}"
        console.fail(f"a worker was down at the end ({'; '.join(down)}); what came before it {kept}")
    elif run.pictures == run.refused:
        reasons = (
            {k: n for k, n in run.status.losses.items() if k.startswith("refused") and n} if run.status else {}
        )
        why = ", ".join(f"{k} {n}" for k, n in reasons.items()) or "see the table"
        came = run.status.items_in if run.status else run.pictures
        kept = "were published" if final is None else f"are in {final}"
        console.fail(f"none of {came} exposures was restored ({why}); {run.pictures} {kept} as they came")
        return 1
    return 1 if down or gave_way or run.video_full_s is not None else 0


def _unchanged(run: HeadlessRun, network: str) -> str:
    """One line about pictures that came as they were, because the network had given way."""
    said = run.gave_way or f"{network} gave way"
    end = f"{network} restores again" if run.back else f"{network} did not restore at the end"
    return f"{run.unchanged} of {run.pictures} pictures are unchanged: {said}; {end}"


def free_name(stem: str) -> Path:
    """A path in the working folder that is not taken: `stem`, `stem-2`, …"""
    path, n = Path(stem), 1
    while path.exists():
        n += 1
        path = Path(f"{stem}-{n}")
    return path


class _Line:
    """One line on the terminal that says how far the run is; nothing when stderr is not a terminal."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._status = console.err().status("starting")

    def update(self, running_s: float, status: SessionStatus) -> None:
        if running_s <= 0:
            self._status.update(status.message or "starting")
            return
        of = f" of {self._seconds:.0f}" if self._seconds is not None else ""
        self._status.update(
            f"{running_s:.0f}{of} s · {per_second(status.fps)} fps · {status.latency_p50_ms:.0f} ms · "
            f"in {status.items_in} out {status.items_out}"
        )

    def ending(self) -> None:
        """It was interrupted, and its folder is being written."""
        self._status.update("ending; Ctrl+C again throws away what came")

    def __enter__(self) -> _Line:
        self._status.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._status.stop()
