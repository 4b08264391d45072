"""`halfmirror export`: a recording in the layout of a published data set, a maker's format, or as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import ExposureUs, Geometry, RigFile

if TYPE_CHECKING:
    from app.export import ExportRequest, ExportResult
    from app.offline_input import Item, OfflineInput
    from recordings.recording import OpenOptions

EXAMPLE = (
    "Example: halfmirror export cups --to evt3 -o cups.raw --from 1 --until 3\n"
    "Example: halfmirror export two.aedat4 --to msrbd -o two --rig rig.toml"
)
# Names and what each takes are told before anything heavy is imported.
EVENT_FORMATS = ("efnet-h5", "highrev", "dsec", "aedat4", "evt3", "hdf5")
PICTURE_FORMATS = ("png", "mp4")
FORMATS = ("msrbd", *EVENT_FORMATS, *PICTURE_FORMATS)
# How a file of each format is called; the other formats are folders.
SUFFIXES = {
    "efnet-h5": (".h5", ".hdf5"), "aedat4": (".aedat4",), "evt3": (".raw",), "hdf5": (".hdf5", ".h5"),
    "mp4": (".mp4",),
}  # fmt: skip
_OTHERS = {".png", ".jpg", ".jpeg", ".avi", ".mkv", ".mov", ".npz", ".dat", ".aedat"}
# The simulated rig never ends; so long it is looked at for a number of frames.
LONGEST_S = 3600.0
LATE_S = 2.0
"""Frames lie in a recording as they came, so those of its last moments behind later events."""


def export(
    input_: Annotated[
        str, typer.Argument(metavar="INPUT", help="A recording, or simulated, or simulated:PRESET.")
    ],
    to: Annotated[str, typer.Option("--to", help=f"The format: {', '.join(FORMATS)}.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file or folder to make.", show_default=False)
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="msrbd, highrev: stem of the files (the recording's name).")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="msrbd: train or test (train).")] = None,
    scale: Annotated[
        int | None, typer.Option("--scale", help="msrbd: image pixels along an event pixel (as the rig's).")
    ] = None,
    from_: Annotated[float, typer.Option("--from", help="Begin so many seconds after the start.")] = 0.0,
    until: Annotated[float | None, typer.Option("--until", help="End so many seconds after the start.")] = None,
    marked: Annotated[
        bool, typer.Option("--marked", help="Between the marks set in the viewer (I and O).")
    ] = False,
    frames: Annotated[int | None, typer.Option("--frames", help="At most so many frames.")] = None,
    restored: Annotated[
        str | None,
        typer.Option("--restored", help="png, mp4 only: as this network restores them (as they came)."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="With --restored: auto, cpu, cuda or cuda:N (auto).")
    ] = None,
    exposure_us: ExposureUs = None,
    geometry: Geometry = None,
    rig: RigFile = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
) -> int:
    """Write a recording in another format, and read it back to be sure.

    msrbd, efnet-h5, highrev, dsec: layouts of data sets, with the exposures that are known. aedat4, evt3, hdf5:
    the cameras' streams. All of these hold what the cameras gave. png, mp4: pictures, restored ones with
    --restored NETWORK. What is written appears only when it is whole and reads back equal.
    """
    from app.cli.arguments import refuse_input, sensor_size
    from app.export import ExportRequest, without_frames
    from capture.errors import UsageError
    from capture.validation import did_you_mean
    from recordings.open import NoFrames
    from recordings.recording import OpenOptions

    if to not in FORMATS:
        raise UsageError(f"--to {to}: {did_you_mean(to, FORMATS)}the formats are {', '.join(FORMATS)}")
    if split not in (None, "train", "test"):
        raise UsageError(f"--split {split}: give train or test")
    if split is not None and to != "msrbd":
        raise UsageError(f"--split is for msrbd; {to} has no splits")
    if name is not None and to not in ("msrbd", "highrev"):
        raise UsageError(f"--name is for msrbd and highrev; {to} gets its name from -o")
    if scale is not None and to != "msrbd":
        raise UsageError(f"--scale is for msrbd; {to} has the pixels as they are")
    if restored is not None and to not in PICTURE_FORMATS:
        raise UsageError(
            f"--restored is for {' and '.join(PICTURE_FORMATS)}; {to} holds what the cameras gave: write the "
            "restored pictures beside it, with --to png"
        )
    if device is not None and restored is None:
        raise UsageError("--device is what a network runs on; give one with --restored")
    if to == "msrbd" and frames is not None and frames < 2:
        raise UsageError(f"--frames {frames}: a pair needs 2 or more")
    if frames is not None and not 1 <= frames <= 1_000_000:
        raise UsageError(f"--frames {frames} is out of range; give 1 to 1000000")
    refuse_input(output, input_)
    if to == "aedat4" and rig is not None:  # beside which the rig file of two cameras is written
        from app.export_formats import rig_beside

        refuse_input(rig_beside(output), str(rig))
    _check_name(to, output)
    zero_us: int | None = None
    size = sensor_size(geometry)
    if marked:
        from_, until, zero_us = _marks(input_, from_, until, size)
    _check_times(from_, until)
    request = ExportRequest(
        output, _stem(input_, name), split or "train", scale, round(from_ * 1e6),
        None if until is None else round(until * 1e6), frames, overwrite, zero_us,
    )  # fmt: skip
    seconds = _looked_at(input_, from_, until, frames)
    said = OpenOptions(exposure_us=exposure_us, geometry=size, rig=rig)
    if to in EVENT_FORMATS:
        return _events(to, input_, request, seconds, said)
    try:
        if to == "msrbd":
            return _msrbd(input_, request, seconds, said)
        return _pictures(to, input_, request, seconds, said, restored, device or "auto")
    except NoFrames:
        raise UsageError(without_frames(input_, to)) from None


def _check_name(to: str, output: Path) -> None:
    """A name that promises another kind of file is refused: other programs go by it."""
    from capture.errors import UsageError

    own = SUFFIXES.get(to, ())
    known = _OTHERS.union(*SUFFIXES.values())
    if output.suffix.lower() in known.difference(own):
        how = f"is written as NAME{own[0]}" if own else "is a folder"
        raise UsageError(f"-o {output}: {to} {how}; give such a name")


def _marks(
    input_: str, from_: float, until: float | None, size: tuple[int, int] | None
) -> tuple[float, float | None, int]:
    """The marked part, and the start that marks count from: that of all streams, as the viewer has it."""
    from capture.errors import UsageError
    from recordings.marks import seconds
    from recordings.open import open_recording

    if from_ or until is not None:
        raise UsageError("give either --marked or --from and --until, not both")
    start, end = seconds(Path(input_))
    with open_recording(Path(input_), geometry=size) as recording:
        return start, end, recording.info.start_us


def _check_times(from_: float, until: float | None) -> None:
    from app.cli.arguments import positive_seconds
    from capture.errors import UsageError

    if not 0 <= from_ <= 86_400:
        raise UsageError(f"--from {from_:g} is out of range; give 0 to 86400")
    if until is not None and positive_seconds(until, "--until") <= from_:
        raise UsageError(f"--until {until:g} does not lie behind --from {from_:g}")


def _looked_at(input_: str, from_: float, until: float | None, frames: int | None) -> float | None:
    """Seconds of the source that are read; what is written of them goes by the frames' own times."""
    if Path(input_).exists():
        return None if until is None else until + LATE_S
    if until is None and frames is not None:
        return from_ + LONGEST_S
    return until


def _stem(input_: str, name: str | None) -> str:
    import re

    from capture.errors import UsageError

    if name is not None:
        if not re.fullmatch(r"[\w][\w.-]{0,99}", name):
            raise UsageError(f"--name {name!r}: give letters, digits, dots, hyphens, underscores")
        return name
    # A simulated rig's settings are no part of its name.
    said = input_ if Path(input_).exists() else input_.partition("?")[0]
    # What a recording is called is nobody's mistake: spaces and the like become hyphens.
    stem = re.sub(r"[^\w.-]+", "-", Path(said.replace(":", "-")).stem).lstrip(".-")
    return stem[:100] or "recording"


def _shown(
    items: Iterable[Item], span_us: int, frames: int | None, show: Callable[[str, float], None]
) -> Iterator[Item]:
    """The items, and by how far they reach of `span_us` a bar; a number of frames may end it at any time."""
    from capture.packets import EventPacket

    start: int | None = None
    for item in items:
        yield item
        if isinstance(item, EventPacket):
            start = item.complete_until_us if start is None else start
            done = item.complete_until_us - start
            share = 0.0 if frames is not None or span_us <= 0 else min(1.0, max(0.0, done / span_us))
            show(f"writing, second {done / 1e6:.1f}", share)
    show("reading back", 0)


def _opened(
    input_: str, request: ExportRequest, seconds: float | None, said: OpenOptions, placed: bool = True
) -> AbstractContextManager[OfflineInput]:
    """What frames are exported of, from shortly before the part that is wanted; see `open_input`."""
    from app.offline_input import open_input

    return open_input(
        input_, seconds, said.exposure_us, said.geometry, said.rig, placed=placed, from_us=request.from_us,
        zero_us=request.zero_us,
    )  # fmt: skip


def _msrbd(input_: str, request: ExportRequest, seconds: float | None, said: OpenOptions) -> int:
    from app.cli import progress
    from app.export import export_msrbd, long_pairs

    with _opened(input_, request, seconds, said) as source, progress.bar() as show:
        show("preparing", 0)
        source.items = _shown(source.items, source.span_us, request.frames, show)
        r = export_msrbd(source, request)
        problems = [*source.problems(), *r.missing.notes(), *long_pairs(r)]
    assert r.grid is not None
    _frames(r, f" + in no pair {r.single}")
    g, f = r.grid, r.facts
    _told(
        r, request, problems,
        f"{r.pairs} pairs, {f.events} events, {g.width}×{g.height} with {g.columns}×{g.rows} events "
        f"(scale {g.scale}), {f.first_us} … {f.last_us} µs",
    )  # fmt: skip
    return 0


def _events(kind: str, input_: str, request: ExportRequest, seconds: float | None, said: OpenOptions) -> int:
    from app.cli import console, progress
    from app.export_formats import FORMATS, open_export
    from app.export_formats import export as run

    with (
        open_export(
            input_,
            seconds,
            said,
            placed=FORMATS[kind].aligned,
            from_us=request.from_us,
            zero_us=request.zero_us,
        ) as source,
        progress.bar() as show,
    ):
        show("preparing", 0)
        source.items = _shown(source.items, source.span_us, request.frames, show)
        r, notes = run(kind, source, request)
        problems = source.problems()
    if r.frames_in:
        _frames(r, f" + not held {r.unheld}" if r.unheld else "")
    f = r.facts
    edges = f", {f.edges} trigger edges" if f.edges else ""
    size = "" if r.grid is None else f", {r.grid.width}×{r.grid.height} pixels"
    _told(
        r,
        request,
        problems,
        f"{f.frames} frames, {f.events} events{edges}{size}, {f.first_us} … {f.last_us} µs",
    )
    for note in notes:
        console.say(f"note: {note}")
    return 0


def _pictures(
    kind: str, input_: str, request: ExportRequest, seconds: float | None, said: OpenOptions,
    restored: str | None, device: str,
) -> int:  # fmt: skip
    from app.cli import console, progress
    from app.export_pictures import PASSED_THROUGH, export_pictures
    from inference import models

    network = restored or PASSED_THROUGH
    models.check(network)
    placed = models.needs_events(network)
    with _opened(input_, request, seconds, said, placed=placed) as source, progress.bar() as show:
        show("preparing", 0)
        source.items = _shown(source.items, source.span_us, request.frames, show)
        result, w = export_pictures(kind, source, request, network, {}, device)
        problems = source.problems()
    o = console.out()
    refused = "".join(f" + refused {n} ({why})" for why, n in result.refusals().items())
    dropped = f" + dropped {result.dropped}" if result.dropped else ""
    o.print(
        f"frames in {result.frames_in} = written {len(w.times_us)} + outside {w.skipped}{refused}{dropped}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    equal = f"and equal: checksum {w.checksum}" if w.checksum else f"with the same times ({w.moved} moved on)"
    o.print(
        f"{len(w.times_us)} pictures, {w.times_us[0]} … {w.times_us[-1]} µs; read back {equal}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    problems += w.sources.notes()
    if w.cut_us:
        problems.append(f"pauses longer than 30 minutes were cut, by {w.cut_us / 1e6:.0f} s in all")
    for problem in problems:
        console.say(f"note: {problem}")
    o.print(str(request.output), style="bold", markup=False, soft_wrap=True)
    return 0


def _frames(r: ExportResult, more: str = "") -> None:
    from app.cli import console

    refused = "".join(f" + refused {n} ({why})" for why, n in r.refused.items())
    console.out().print(
        f"frames in {r.frames_in} = written {r.written}{more} + outside {r.skipped}{refused}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def _told(r: ExportResult, request: ExportRequest, problems: list[str], what: str) -> None:
    from app.cli import console

    o = console.out()
    o.print(what, markup=False, soft_wrap=True)
    o.print(f"read back and equal: checksum {r.facts.checksum}", markup=False, soft_wrap=True)
    for problem in [*problems, *r.sources.notes()]:
        console.say(f"note: {problem}")
    o.print(str(request.output), style="bold", markup=False, soft_wrap=True)
