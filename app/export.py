"""Exports a recording or the simulated rig: the same synchroniser as live, every exposure, then read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.missing_events import MissingEvents
from app.offline_input import Item, OfflineInput, begin_us
from app.output.atomic import staged_folder, writing
from app.output.report import read_json, write_json
from app.version import version
from capture.errors import HalfmirrorError
from capture.packets import EventPacket
from inference.restorers.picture import picture_of
from recordings.export.content import Facts
from recordings.export.grid import SharedGrid, shared_grid
from recordings.export.msrbd import PLAIN, RETAIN_BYTES, SPLITS, MsRbdWriter, verify
from sync.exposure import AlignedExposure, RefusedExposure
from sync.exposure_sources import ExposureSources
from sync.rig import Rig
from sync.rolling import MovedStream
from sync.synchroniser import OFFLINE_WAIT_US, Synchroniser

REPORT = "export.json"


class NothingExported(HalfmirrorError):
    """The input held nothing that the format can take; the message says why."""


def without_frames(name: str, kind: str) -> str:
    """Why a recording of events alone does not become `kind`, and what it can become."""
    return f"{name}: has no frames, which {kind} needs; use --to evt3, hdf5, dsec or aedat4"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, already checked.

    Attributes:
        output: the folder to make.
        name: stem of the files.
        split: "train" or "test".
        scale: image pixels along an event pixel; None: the whole number next to the rig's.
        from_us, until_us: exposures that lie wholly within this time since the start; None: no limit.
        zero_us: the start that those times count from; None: the first event's time.
        frames: no more than so many.
        overwrite: replace an earlier export.
    """

    output: Path
    name: str
    split: str = "train"
    scale: int | None = None
    from_us: int = 0
    until_us: int | None = None
    frames: int | None = None
    overwrite: bool = False
    zero_us: int | None = None


def counted_from(zero_us: int | None, request: ExportRequest) -> ExportRequest:
    """The request with the start that an input's times count from, where only a later part of it is read."""
    if zero_us is None or request.zero_us is not None:
        return request
    return replace(request, zero_us=zero_us)


@dataclass(slots=True)
class ExportResult:
    """Every frame accounted for: `frames_in = written + single + unheld + skipped + refused`.

    Attributes:
        skipped: outside of the times asked for.
        single: in no pair.
        too_long: pairs that were not written, because they are of more events than are kept.
        unheld: in a format that holds no pictures.
        refused: how many the synchroniser refused, by reason.
        facts: of the content as it reads back.
        sources: where the exposures that were taken came from, and how sure they are.
        missing: what the format cannot say about events.
    """

    frames_in: int = 0
    written: int = 0
    single: int = 0
    unheld: int = 0
    skipped: int = 0
    pairs: int = 0
    too_long: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    grid: SharedGrid | None = None
    sources: ExposureSources = field(default_factory=ExposureSources)
    missing: MissingEvents = field(default_factory=MissingEvents)


def export_msrbd(source: OfflineInput, request: ExportRequest) -> ExportResult:
    """Write an MS-RBD style sequence and verify it; the folder appears only when it is whole and sound.

    Raises:
        NothingExported: fewer than two exposures in a row.
        RecordingError: it does not read back as it was written.
        UsageError, OutputError: about the place.
        Whatever the source raises.
    """
    request = counted_from(source.zero_us, request)
    grid = shared_grid(source.rig, request.scale)
    result = ExportResult(grid=grid)
    with staged_folder(request.output, overwrite=request.overwrite, ours=_is_ours) as folder:
        with writing(request.output):
            writer = MsRbdWriter(folder, request.name, request.split, grid, picture_of)
            source.prepare(lambda _share: None)
            for item in exposures(iter(source.items), source.rig, request, result):
                if isinstance(item, EventPacket):
                    writer.add_packet(item)
                else:
                    result.missing.exposure(item)
                    writer.add_exposure(item)
            writer.finish()
        result.pairs, result.single, result.written = writer.pairs, writer.single, writer.content.frames
        result.too_long = writer.too_long
        if not writer.pairs:
            why = "; ".join(f"{n} refused, {reason}" for reason, n in result.refused.items())
            raise NothingExported(
                f"{source.name}: no two exposures follow one another among {result.frames_in} frames "
                f"({'; '.join([why or 'none refused', *long_pairs(result)])}), so there is no pair to write"
            )
        verify(folder, request.split, writer.content)
        result.facts = Facts.of(writer.content)
        write_json(folder / REPORT, _report(source, request, result))
    return result


def long_pairs(r: ExportResult) -> list[str]:
    """A note on pairs that are of more events than are kept, if there are any."""
    if not r.too_long:
        return []
    them = "1 pair is" if r.too_long == 1 else f"{r.too_long} pairs are"
    return [f"{them} of more than {RETAIN_BYTES >> 20} MiB of events and not written"]


def exposures(
    items: Iterator[Item], rig: Rig, request: ExportRequest, result: ExportResult, *, as_came: bool = False
) -> Iterator[EventPacket | AlignedExposure]:
    """Packets, and after them the exposures that they complete, as far as they are wanted; counted.

    Layouts that put events and exposures together know global shutters only: of a rolling one the events are
    told as if all rows were exposed together (`sync.rolling`), unless `as_came`.
    """
    sync = Synchroniser(rig, max_wait_us=OFFLINE_WAIT_US)
    stream = MovedStream(rig)
    start = request.zero_us
    taken = 0

    def wanted(e: AlignedExposure | RefusedExposure) -> bool:
        nonlocal taken
        if isinstance(e, RefusedExposure):
            reason = e.reason.name.lower().replace("_", " ")
            result.refused[reason] = result.refused.get(reason, 0) + 1
            return False
        begin = start or 0
        # The first exposure may begin before the first event; it is left out only when asked for.
        within = (not request.from_us or e.exposure.start_us >= begin + request.from_us) and (
            request.until_us is None or e.exposure.end_us <= begin + request.until_us
        )
        within = within and (request.frames is None or taken < request.frames)
        taken += within
        result.skipped += not within
        if within:
            result.sources.add(e.exposure.source.value, e.exposure.uncertainty_us)
        return within

    def begun_anew() -> None:
        """Frames that still waited when a clock began anew belong to neither of both."""
        if sync.counters.superseded:
            result.refused["a clock began anew"] = sync.counters.superseded

    for item in items:
        if isinstance(item, EventPacket):
            if start is None:
                start = begin_us(item)
            result.missing.packet(item, start, request.from_us, request.until_us)
            sync.push_events(item)
            yield item if as_came else stream.push(item)
        else:
            result.frames_in += 1
            sync.push_frame(item)
        for e in sync.take(None):
            if wanted(e):
                assert isinstance(e, AlignedExposure)
                yield e
        if request.frames is not None and taken >= request.frames:
            begun_anew()
            result.skipped += result.frames_in - taken - result.skipped - sum(result.refused.values())
            return
    rest = None if as_came else stream.finish()
    if rest is not None:
        yield rest
    for e in sync.finish():
        if wanted(e):
            assert isinstance(e, AlignedExposure)
            yield e
    begun_anew()


def _report(source: OfflineInput, request: ExportRequest, r: ExportResult) -> dict[str, Any]:
    f = r.facts
    assert r.grid is not None
    return {
        "program": "halfmirror",
        "version": version(),
        "format": "msrbd",
        "input": source.name,
        "split": request.split,
        "plain": PLAIN,
        "scale": r.grid.scale,
        "image_size": [r.grid.width, r.grid.height],
        "event_size": [r.grid.columns, r.grid.rows],
        "image_origin": [r.grid.left, r.grid.top],
        "frames_in": r.frames_in,
        "frames_written": f.frames,
        "frames_in_no_pair": r.single,
        "frames_outside_of_times": r.skipped,
        "frames_refused": r.refused,
        "exposure_sources": r.sources.report(),
        "pairs": r.pairs,
        "pairs_of_too_many_events": r.too_long,
        "events": f.events,
        "first_us": f.first_us,
        "last_us": f.last_us,
        "checksum": f.checksum,
        **r.missing.report(),
        "problems": source.problems(),
    }


def _is_ours(folder: Path) -> bool:
    """An earlier export and nothing else."""
    if {e.name for e in folder.iterdir()} - {*SPLITS, PLAIN, REPORT}:
        return False
    if any(f.suffix != ".npz" or f.is_dir() for sub in (*SPLITS, PLAIN) for f in (folder / sub).glob("*")):
        return False
    return bool(read_json(folder / REPORT).get("program") == "halfmirror")
