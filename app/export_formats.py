"""Exports of events and exposures in every format but MS-RBD's: written, read back, compared, then named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.escapes import escaped
from app.export import (
    REPORT,
    ExportRequest,
    ExportResult,
    NothingExported,
    counted_from,
    exposures,
    without_frames,
)
from app.offline_input import Item, OfflineInput, begin_us, open_input, read_from
from app.output.atomic import staged_file, staged_folder, writing
from app.output.report import read_json, write_json
from app.version import version
from capture.errors import UsageError
from capture.packets import EventPacket, Frame
from inference.restorers.picture import picture_of
from recordings.export.content import Content, Facts, compare, read_back
from recordings.export.grid import SharedGrid, shared_grid
from recordings.export.ordered import InOrder
from recordings.export.remote import RemoteWriter
from recordings.export.writers import Writer
from recordings.formats.own import OwnRecording
from recordings.open import open_recording
from recordings.recording import OpenOptions
from sync.exposure import AlignedExposure
from sync.rig import Clock, Rig

RIG = "rig.toml"
"""In a folder that would not tell otherwise how its events lie on its pictures."""


@dataclass(frozen=True, slots=True)
class Format:
    """One of the formats.

    Attributes:
        folder: the output is a folder, else a file.
        pictures: it needs frames.
        aligned: events lie on the picture's pixels.
        as_came: events keep their times, also where a rolling shutter exposed the frames.
        events_only: it holds no pictures.
    """

    folder: bool = False
    pictures: bool = False
    aligned: bool = False
    as_came: bool = False
    events_only: bool = False


FORMATS: dict[str, Format] = {
    "efnet-h5": Format(pictures=True, aligned=True),
    "highrev": Format(folder=True, pictures=True, aligned=True),
    "dsec": Format(folder=True),
    "aedat4": Format(as_came=True),
    "evt3": Format(as_came=True, events_only=True),
    "hdf5": Format(as_came=True, events_only=True),
}


@dataclass(slots=True)
class ExportInput:
    """What is exported.

    Attributes:
        name: as the person gave it.
        rig: None without frames.
        event_size: of the event sensor; None without events.
        camera: its name, "" when not known.
        triggers: there may be trigger edges.
        items, span_us, prepare, problems, placed, zero_us: see `OfflineInput`.
        by_driver: see `RecordingInfo`.
        assumed: nothing but equal sizes tells that one sensor gave both streams.
    """

    name: str
    rig: Rig | None
    event_size: tuple[int, int] | None
    camera: str
    triggers: bool
    items: Iterator[Item]
    span_us: int
    prepare: Callable[[Callable[[float], None]], None]
    problems: Callable[[], list[str]]
    placed: bool = True
    zero_us: int | None = None
    by_driver: bool = False
    assumed: bool = False

    @property
    def two_cameras(self) -> bool:
        """Frames are of other pixels than the events, or of pixels that nobody knows."""
        return self.rig is not None and self.rig.has_events and not (self.placed and self.rig.identity)


@contextmanager
def open_export(
    text: str,
    seconds: float | None,
    said: OpenOptions,
    *,
    placed: bool = True,
    from_us: int = 0,
    zero_us: int | None = None,
) -> Iterator[ExportInput]:
    """As `open_input`, for recordings without frames or without events as well.

    Raises:
        UsageError: also for a rig file where there are no frames; RecordingError: see `open_input`.
    """
    path = Path(text)
    if not path.exists() or path.suffix.lower() == ".toml":
        with open_input(text, seconds, said.exposure_us, said.geometry, said.rig) as source:
            yield _of(source)
        return
    with open_recording(path, exposure_us=said.exposure_us, geometry=said.geometry) as r:
        frames = r.info.image_size is not None
        camera, triggers, size = r.info.camera, r.info.has_triggers, r.info.event_size
        by_driver, facts = r.info.by_driver, r.rig_facts()
        assumed = facts is not None and facts.one_sensor and not facts.exact
        assumed &= said.rig is None and not isinstance(r, OwnRecording)
        if not frames:
            if said.rig is not None:
                raise UsageError(f"{text} has no frames on which --rig could place events; leave --rig out")
            items, span, zero = read_from(r, seconds, from_us, zero_us)
            yield ExportInput(
                text, None, size, camera, triggers, items, span, lambda _progress: None,
                lambda: list(dict.fromkeys([*r.info.problems, *r.report.problems])), zero_us=zero,
            )  # fmt: skip
            return
    with open_input(
        text,
        seconds,
        said.exposure_us,
        said.geometry,
        said.rig,
        placed=placed,
        from_us=from_us,
        zero_us=zero_us,
    ) as source:
        yield replace(_of(source, camera, triggers), by_driver=by_driver, assumed=assumed)


def _of(source: OfflineInput, camera: str = "", triggers: bool = True) -> ExportInput:
    rig = source.rig
    size = (rig.events.width, rig.events.height) if rig.has_events else None
    return ExportInput(
        source.name, rig, size, camera or rig.events.camera, triggers, iter(source.items),
        source.span_us, source.prepare, source.problems, source.placed, source.zero_us,
    )  # fmt: skip


def export(kind: str, source: ExportInput, request: ExportRequest) -> tuple[ExportResult, list[str]]:
    """Write, verify, name. Returns the counts, and notes on what the format does not hold.

    Raises:
        NothingExported: nothing that the format could hold lies within the times asked for.
        RecordingError: it does not read back as it was written.
        UsageError, OutputError: about the place, or the format needs what the input lacks.
        Whatever the source raises.
    """
    form = FORMATS[kind]
    request = counted_from(source.zero_us, request)
    if source.event_size is None:
        raise UsageError(f"{source.name}: has no events, and {kind} is made of them; use --to png or mp4")
    if form.pictures and source.rig is None:
        raise UsageError(without_frames(source.name, kind))
    grid = shared_grid(source.rig, 1) if form.aligned and source.rig is not None else None
    result = ExportResult(grid=grid)
    told = source.rig is not None and source.placed and not source.rig.identity
    apart = told and not form.aligned and not form.events_only
    beside = rig_beside(request.output) if apart and not form.folder else None
    if beside is not None and beside.exists() and not request.overwrite:
        raise UsageError(f"{beside} exists; give another name with -o, or --overwrite")
    with _staged(kind, form, request) as part:
        with writing(request.output):
            writer, again = _writer(kind, part, source, grid, request)
            try:
                _fill(kind, writer, source, request, result, grid)
                writer.finish()
            except BaseException:
                writer.abandon()
                raise
        content = writer.content
        result.written = content.frames
        result.unheld = result.frames_in - result.written - result.skipped - sum(result.refused.values())
        if not content.events or (form.pictures and not content.frames):
            raise NothingExported(_nothing(source, request, result, content.events))
        compare(request.output, again(), content)
        result.facts = Facts.of(content)
        notes = [*writer.notes, *result.missing.notes()]
        rig = _untold(form, source) if apart and content.frames else None
        where = beside or request.output / RIG
        if rig is not None:
            notes.append(f"how events lie on the pictures is in no file of {kind}: add --rig {where}")
        elif content.frames and not source.placed:
            notes.append(
                "how events lie on the pictures is not known; measure it: "
                f"halfmirror calibrate rig --from {request.output} -o rig.toml"
            )
        if form.folder:
            write_json(part / REPORT, _report(kind, source, result, notes))
        if rig is not None:
            rig.save(beside or part / RIG)
    return result, notes


def rig_beside(output: Path) -> Path:
    """Where the rig file of an exported file lies."""
    return output.with_suffix(".rig.toml")


def _untold(form: Format, source: ExportInput) -> Rig:
    """The rig of two cameras whose streams are written as they are, without a word on how they lie.

    As `--rig` takes it for what is written: all on one clock, and where events keep their times, by how much
    they are off.
    """
    rig = source.rig
    assert rig is not None
    if form.as_came:
        clock = Clock()
        if rig.clock.relation == "same":  # frames are written where they belong
            moved = {"delay_us": 0.0, "delay_measured_us": None, "delay_uncertainty_us": None}
            clock = rig.clock.model_copy(update=moved)
        return rig.model_copy(update={"clock": clock})
    at_once = rig.image.model_copy(update={"rolling_us": 0.0})
    return rig.model_copy(update={"clock": Clock(), "image": at_once})


def _staged(kind: str, form: Format, request: ExportRequest) -> AbstractContextManager[Path]:
    if form.folder:
        return staged_folder(
            request.output, overwrite=request.overwrite, ours=lambda folder: _is_ours(folder, kind)
        )  # fmt: skip
    return staged_file(request.output, overwrite=request.overwrite)


def _writer(
    kind: str, part: Path, source: ExportInput, grid: SharedGrid | None, request: ExportRequest
) -> tuple[Writer, Callable[[], Content]]:
    """The writer and what reads back. Imported here: h5py, numba and dv-processing take their time."""
    assert source.event_size is not None
    size = source.event_size
    both = size if grid is None else (grid.columns, grid.rows)
    if kind == "evt3":
        from recordings.export.evt3_file import Evt3Writer

        raw = Evt3Writer(part, size, source.camera)
        return raw, raw.read_back
    if kind == "hdf5":
        from recordings.export.prophesee_h5 import PropheseeH5Writer

        return RemoteWriter(PropheseeH5Writer, part, size, source.camera), lambda: read_back(part)
    if kind == "aedat4":
        from recordings.export.aedat4 import Aedat4Writer

        image = None if source.rig is None else (source.rig.image.width, source.rig.image.height)
        camera = escaped(source.camera) or "camera"
        remote = RemoteWriter(
            Aedat4Writer, part, size, image, source.triggers, camera, source.two_cameras, source.by_driver,
            source.assumed,
        )  # fmt: skip
        return remote, lambda: read_back(part)
    if kind == "dsec":
        from recordings.export import dsec

        return RemoteWriter(dsec.DsecWriter, part, size), lambda: dsec.read_back(part, size)
    if kind == "efnet-h5":
        from recordings.export import efnet_h5

        remote = RemoteWriter(efnet_h5.EfnetH5Writer, part, both, escaped(source.name))
        return remote, lambda: efnet_h5.read_back(part, both)
    from recordings.export import highrev

    return highrev.HighRevWriter(part, both, request.name), lambda: highrev.read_back(part, both)


def _fill(
    kind: str,
    writer: Writer,
    source: ExportInput,
    request: ExportRequest,
    result: ExportResult,
    grid: SharedGrid | None,
) -> None:
    source.prepare(lambda _share: None)
    order: InOrder | None = None
    imu = writer.add_imu if kind == "aedat4" and isinstance(writer, RemoteWriter) else None

    def add(packet: EventPacket) -> None:
        nonlocal order
        if order is None:
            begin = request.zero_us
            if begin is None:
                begin = begin_us(packet)
            until = None if request.until_us is None else begin + request.until_us
            order = InOrder(begin + request.from_us if request.from_us else None, until, begin)
        events, edges = order.add(packet)
        writer.add(events if grid is None else grid.events(events), edges)
        if packet.imu is not None and imu is not None and len(kept := order.within(packet.imu)):
            imu(kept)

    for item in _outcomes(kind, source, request, result):
        if isinstance(item, EventPacket):
            add(item)
        else:
            if not FORMATS[kind].events_only:
                result.missing.exposure(item)
            picture = picture_of(item.frame)
            x = item.exposure
            writer.add_frame(picture if grid is None else grid.picture(picture), x.start_us, x.end_us)
    rest = None if order is None else order.finish()
    if rest is not None:
        writer.add(rest[0] if grid is None else grid.events(rest[0]), rest[1])


def _outcomes(
    kind: str, source: ExportInput, request: ExportRequest, result: ExportResult
) -> Iterator[EventPacket | AlignedExposure]:
    if source.rig is not None:
        yield from exposures(source.items, source.rig, request, result, as_came=FORMATS[kind].as_came)
        return
    for item in source.items:
        if isinstance(item, Frame):
            raise UsageError(f"{source.name}: a frame came where none was to be")
        result.missing.packet(item, request.zero_us, request.from_us, request.until_us)
        yield item


def _nothing(source: ExportInput, request: ExportRequest, r: ExportResult, events: int) -> str:
    asked = ""
    if request.from_us or request.until_us is not None:
        until = "its end" if request.until_us is None else f"{request.until_us / 1e6:g} s"
        asked = f" lie between {request.from_us / 1e6:g} s and {until}"
    refused = "; ".join(f"{n} refused, {why}" for why, n in r.refused.items())
    seen = f"{events} events and {r.written} of {r.frames_in} frames"
    return f"{source.name}: {seen}{asked}, too little for a file" + (f" ({refused})" if refused else "")


def _report(kind: str, source: ExportInput, r: ExportResult, notes: list[str]) -> dict[str, Any]:
    f = r.facts
    return {
        "program": "halfmirror", "version": version(), "format": kind, "input": source.name,
        "frames_in": r.frames_in, "frames_written": f.frames, "frames_outside_of_times": r.skipped,
        "frames_refused": r.refused, "exposure_sources": r.sources.report(),
        "events": f.events, "trigger_edges": f.edges,
        "first_us": f.first_us, "last_us": f.last_us, "checksum": f.checksum, "notes": notes,
        **r.missing.report(),
        "problems": source.problems(),
    }  # fmt: skip


def _is_ours(folder: Path, kind: str) -> bool:
    """An earlier export of the same format and nothing else."""
    names = {"dsec": {"events.h5", "images", "image_exposure_timestamps_us.txt"},
             "highrev": {"blur", "event", "exposures.csv"}}[kind]  # fmt: skip
    if {e.name for e in folder.iterdir()} - {RIG} != names | {REPORT}:
        return False
    report = read_json(folder / REPORT)
    return (report.get("program"), report.get("format")) == ("halfmirror", kind)
