"""The offline run with its output, progress bar and report."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.cli import console
from app.cli.summary import figure
from app.offline import OfflineResult, deblur
from app.offline_input import OfflineInput, open_input
from app.output.atomic import staged_file, staged_folder
from app.output.mp4 import Mp4Writer
from app.output.png import TIMESTAMPS, PngSequence, Stamp
from app.output.report import read_json, write_json
from app.output.spread import residual_report
from app.version import version

if TYPE_CHECKING:
    from inference.restorers.base import Restorer

REPORT = "report.json"
_OURS = re.compile(r"exposure-\d{6,}-\d\.\d{4}\.png|timestamps\.csv|report\.json")


@dataclass(frozen=True, slots=True)
class Request:
    """What `deblur` was asked for, already checked."""

    source: str
    output: Path
    network: str
    latents: tuple[float, ...]
    options: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    device: str = "auto"
    overwrite: bool = False
    residual: bool = False
    exposure_us: int | None = None
    geometry: tuple[int, int] | None = None
    rig: Path | None = None

    @property
    def video(self) -> bool:
        """OUT names a video rather than a folder."""
        return self.output.suffix.lower() == ".mp4"


def run_offline(request: Request) -> int:
    """Do it; returns the exit code. The output appears under its final name only when all of it is there."""
    from inference.models import create, needs_events
    from inference.residual import why_not

    with (
        _output(request) as target,
        open_input(
            request.source,
            request.seconds,
            request.exposure_us,
            request.geometry,
            request.rig,
            placed=needs_events(request.network),
        ) as source,  # fmt: skip
    ):
        restorer = create(request.network, source.rig, options=request.options, device=request.device)
        weights = weights_of(restorer)
        no_residual = why_not(restorer.name, restorer.needs) if request.residual else ""
        with _Bar() as bar:
            result = deblur(source, restorer, request.latents, target, bar.update, residual=request.residual)
        report = _report(request, restorer, source, result, target)
        residual = residual_report(result.residual, no_residual)
        target.finish({**report, "weights": weights, "reblur_residual": residual})
        cut = target.facts().get("pauses_cut_us", 0)
    problems = [*source.problems(), *result.sources.notes()]
    if cut:
        problems.append(f"pauses longer than 30 minutes were cut in the video, by {cut / 1e6:.0f} s in all")
    _print(request, result, problems)
    if no_residual:
        console.say(f"note: no re-blur residual: {no_residual}")
    return 0


def weights_of(restorer: Restorer) -> dict[str, str] | None:
    """Which weights a restorer runs with, for a report; None where there is nothing to learn.

    `network`; `content_sha256` over the installed values; `file_sha256` of the file that was added, "" of
    weights that come with the program. Of random weights only the first.
    """
    from inference import store

    network = getattr(restorer, "network", "")
    if not network:
        return None
    found = None if getattr(restorer, "random_weights", False) else store.installed(network)
    origin = None if found is None else found.origin
    if origin is None:
        return {"network": network}
    return {
        "network": network, "content_sha256": origin.content_sha256, "file_sha256": origin.sha256
    }  # fmt: skip


class Target:
    """Where pictures go, and the report after them."""

    def __init__(self, writer: Mp4Writer | PngSequence, report: Path) -> None:
        self._writer = writer
        self._report = report

    def add(self, image: NDArray[np.uint8], stamp: Stamp) -> None:
        """See `app.offline.Sink.add`."""
        if isinstance(self._writer, Mp4Writer):
            self._writer.add(image, stamp.time_us)
        else:
            self._writer.add(image, stamp)

    def facts(self) -> dict[str, Any]:
        """What the report says of the output itself."""
        w = self._writer
        if isinstance(w, Mp4Writer):
            times = {"first_us": w.first_us, "times_moved": w.moved, "pauses_cut_us": w.cut_us}
            return {"kind": "mp4", "codec": w.codec, **times}
        return {"kind": "png", "timestamps": TIMESTAMPS, "names": "exposure-ORDINAL-INSTANT.png"}

    def finish(self, report: dict[str, Any]) -> None:
        """Complete the output with its report."""
        self._writer.close()
        write_json(self._report, report)


@contextmanager
def _output(request: Request) -> Iterator[Target]:
    out = request.output
    if request.video:
        report = out.with_name(f"{out.stem}.{REPORT}")
        with (
            staged_file(out, overwrite=request.overwrite) as part,
            staged_file(report, overwrite=request.overwrite) as report_part,
            Mp4Writer(part, final=out) as video,
        ):
            yield Target(video, report_part)
        return
    with staged_folder(out, overwrite=request.overwrite, ours=_is_ours) as folder:
        pictures = PngSequence(folder, final=out)
        try:
            yield Target(pictures, folder / REPORT)
        finally:
            pictures.discard()


def _is_ours(folder: Path) -> bool:
    """An earlier output of `deblur` and nothing else."""
    if not all(_OURS.fullmatch(entry.name) for entry in folder.iterdir()):
        return False
    return bool(read_json(folder / REPORT).get("program") == "halfmirror")


def _report(
    request: Request, restorer: Restorer, source: OfflineInput, r: OfflineResult, target: Target
) -> dict[str, Any]:
    return {
        "program": "halfmirror",
        "version": version(),
        "command": sys.argv,
        "input": request.source,
        "network": request.network,
        "options": request.options,
        "device": request.device,
        # With "auto" it depends on the machine; those without a network do not say.
        "runs_on": getattr(restorer, "runs_on", ""),
        "latents": request.latents,
        "contrast": {
            "asked": {k: v for k, v in request.options.items() if k.startswith("contrast")} or "auto",
            **{k: v for k, v in r.figures.items() if k.startswith("contrast")},
        },
        "items": {
            "frames_in": r.frames_in,
            "restored": r.restored,
            "refused": len(r.refused),
            "dropped": r.dropped,
            "pictures_out": r.pictures,
            "incomplete_events": r.incomplete,
            "frames_alone": r.alone,
            "events_in": r.events_in,
            "events_rejected": r.events_rejected,
            "events_dropped_upstream": r.events_dropped,
            "edges_in": r.edges_in,
            "frames_missing": r.frames_missing,
        },
        "exposure_sources": r.sources.report(),
        "refusals": r.refusals(),
        "refused": r.refused,
        "seconds": r.seconds,
        "figures_median": r.figures,
        "flags": r.flags,
        "problems": source.problems(),
        "rig": source.rig.model_dump(mode="json"),
        "output": target.facts(),
    }


class _Bar:
    """A progress bar on stderr with the time left."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        terminal = console.err()
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"), console=terminal, transient=True,
            disable=not terminal.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("preparing", total=1.0, note="")
        self._restoring = False

    def update(self, share: float, result: OfflineResult) -> None:
        if not result.seconds.get("read"):
            self._progress.update(self._task, description="preparing", completed=share)
            return
        if not self._restoring:
            self._restoring = True
            self._progress.reset(self._task, description="restoring")  # the time left is measured anew
        note = f"{result.restored} restored"
        if result.refused:
            note += f", {len(result.refused)} refused"
        self._progress.update(self._task, completed=share, note=note)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()


def _print(request: Request, r: OfflineResult, problems: list[str]) -> None:
    o = console.out()
    dropped = f" + dropped {r.dropped}" if r.dropped else ""
    o.print(
        f"exposures in {r.frames_in} = restored {r.restored} + refused {len(r.refused)}{dropped}; "
        f"{r.pictures} pictures in {r.seconds['total']:.1f} s",
        markup=False,
    )  # fmt: skip
    first = {x.reason: x.detail for x in reversed(r.refused)}
    for reason, n in r.refusals().items():
        o.print(f"refused {n}, {reason.replace('_', ' ')}: {first[reason]}", markup=False, soft_wrap=True)
    for flag, n in r.flags.items():
        o.print(f"{flag} ({n} of {r.restored})", markup=False, soft_wrap=True)
    for name, value in r.figures.items():
        o.print(f"{name.replace('_', ' ')} {figure(value)} (median)", markup=False)
    if r.residual is not None:
        x = r.residual
        of = f"{x.exposures} exposures, grey levels"
        o.print(f"re-blur residual {figure(x.mean)} mean, {figure(x.p95)} p95 ({of})", markup=False)
    for problem in problems:
        console.say(f"note: {problem}")
    o.print(str(request.output), style="bold", markup=False, soft_wrap=True)
