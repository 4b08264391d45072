"""Exports of pictures, as they came or restored, as PNG files or as a video; read back and compared."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.export import REPORT, ExportRequest, NothingExported
from app.offline import NothingRestored, OfflineResult, deblur
from app.offline_input import OfflineInput, begin_us
from app.output.atomic import staged_file, staged_folder, writing
from app.output.mp4 import LONGEST_PAUSE_US, Mp4Writer
from app.output.png import TIMESTAMPS, PngSequence, Stamp
from app.output.report import read_json, write_json
from app.version import version
from capture.packets import EventPacket, Frame
from inference.models import create
from recordings.export.writers import read_png
from recordings.recording import RecordingError
from sync.exposure_sources import ExposureSources
from sync.synchroniser import Outcome

PASSED_THROUGH = "none"
LATENT = 0.5
RUN_IN = 16
"""Exposures before the times asked for that are restored with them: networks that look at neighbours, carry
something on or learn the contrast are in their stride then."""
_US = 1_000_000


@dataclass(slots=True)
class Pictures:
    """What was written, as it must read back.

    Attributes:
        times_us: of each picture, on the event clock.
        checksum: over all pixels, "" for a video, which keeps them only nearly.
        moved: pictures of a video whose time had to move by a tick.
        cut_us: what is missing of its longest pauses.
        skipped: exposures that were read and lie outside the times asked for.
        sources: where the exposures of the pictures came from.
    """

    times_us: list[int] = field(default_factory=list)
    checksum: str = ""
    moved: int = 0
    cut_us: int = 0
    skipped: int = 0
    sources: ExposureSources = field(default_factory=ExposureSources)


class _Span:
    """Hands on what lies within the times asked for, counted from the first event (without events: frame)."""

    def __init__(self, writer: Mp4Writer | PngSequence, source: OfflineInput, request: ExportRequest) -> None:
        self._writer, self._request = writer, request
        self.written = Pictures()
        self._hash = hashlib.sha256()
        self._begin = source.zero_us if request.zero_us is None else request.zero_us
        self._first: int | None = None  # ordinal that the pictures of a part count from
        self._last_us: int | None = None  # start of the exposure that was asked about last
        source.items = self._watched(source.items)

    def _watched(self, items: Iterator[EventPacket | Frame]) -> Iterator[EventPacket | Frame]:
        for item in items:
            if self._begin is None and isinstance(item, EventPacket):
                self._begin = begin_us(item)
            if self._request.frames is not None and len(self.written.times_us) >= self._request.frames:
                return  # a simulated rig never ends
            yield item

    def wanted(self, outcome: Outcome) -> bool:
        """See `app.offline.Wanted`: no exposure long before the times asked for is restored."""
        x = outcome.exposure
        if not self._request.from_us or x is None or not x.known:
            return True
        self._begin = x.start_us if self._begin is None else self._begin
        period = 0 if self._last_us is None else max(0, x.start_us - self._last_us)
        self._last_us = x.start_us
        return x.start_us >= self._begin + self._request.from_us - RUN_IN * period

    def add(self, image: NDArray[np.uint8], stamp: Stamp) -> None:
        """See `app.offline.Sink.add`."""
        start = stamp.time_us if stamp.exposure_start_us is None else stamp.exposure_start_us
        end = stamp.time_us if stamp.exposure_end_us is None else stamp.exposure_end_us
        self._begin = start if self._begin is None else self._begin
        r, w = self._request, self.written
        late = r.until_us is not None and end > self._begin + r.until_us
        early = bool(r.from_us) and start < self._begin + r.from_us
        if early or late or (r.frames is not None and len(w.times_us) >= r.frames):
            w.skipped += 1
            return
        if isinstance(self._writer, Mp4Writer):
            self._writer.add(image, stamp.time_us)
        else:
            # Of a part they count from its own beginning: how much was read before it is nobody's business.
            self._first = stamp.ordinal if self._first is None and r.from_us else self._first
            self._writer.add(image, replace(stamp, ordinal=stamp.ordinal - (self._first or 0)))
        w.times_us.append(stamp.time_us)
        w.sources.add(stamp.source, stamp.uncertainty_us)
        _hash(self._hash, image)
        w.checksum = self._hash.hexdigest()[:16]


def export_pictures(
    kind: str,
    source: OfflineInput,
    request: ExportRequest,
    network: str,
    options: dict[str, Any],
    device: str = "auto",
) -> tuple[OfflineResult, Pictures]:
    """Write PNG files with `timestamps.csv`, or an MP4; whole or not at all.

    Args:
        kind: "png" or "mp4".
        network: restores every frame in the middle of its exposure; "none" leaves them as they are.
        device: what it runs on.

    Raises:
        NothingExported: no picture lies within the times asked for, or none could be restored.
        RecordingError: it does not read back as it was written.
        UsageError, OutputError: about the place or the network.
    """
    restorer = create(network, source.rig, options=options, device=device)
    with _staged(kind, request) as (part, writer):
        sink = _Span(writer, source, request)
        try:
            result = deblur(source, restorer, (LATENT,), sink, wanted=sink.wanted)
        except NothingRestored as e:
            raise NothingExported(str(e)) from e
        writer.close()
        written = sink.written
        written.skipped += result.outside
        if not written.times_us:
            read = result.pictures + result.outside
            raise NothingExported(
                f"{source.name}: none of {read} pictures lies between the times asked for"
            )  # fmt: skip
        if isinstance(writer, Mp4Writer):
            written.moved, written.cut_us, written.checksum = writer.moved, writer.cut_us, ""
            _compare_video(request.output, part, written)
        else:
            _compare_pictures(request.output, part, written)
            write_json(part / REPORT, _report(kind, source, result, written, network))
    return result, written


@contextmanager
def _staged(kind: str, request: ExportRequest) -> Iterator[tuple[Path, Mp4Writer | PngSequence]]:
    out = request.output
    if kind == "mp4":
        with staged_file(out, overwrite=request.overwrite) as part, Mp4Writer(part, final=out) as video:
            yield part, video
        return
    with staged_folder(out, overwrite=request.overwrite, ours=_is_ours) as folder:
        pictures = PngSequence(folder, final=out)
        try:
            yield folder, pictures
        finally:
            pictures.discard()


def _hash(h: Any, image: NDArray[np.uint8]) -> None:
    h.update(np.array(image.shape, np.int64).tobytes())
    h.update(np.ascontiguousarray(image).tobytes())


def _compare_pictures(final: Path, folder: Path, written: Pictures) -> None:
    h, found = hashlib.sha256(), Pictures()
    with writing(final), (folder / TIMESTAMPS).open(encoding="utf-8", newline="") as f:
        for row in csv.DictReader(f):
            found.times_us.append(int(row["time_us"]))
            _hash(h, read_png(folder / row["file"]))
    found.checksum = h.hexdigest()[:16]
    if (found.times_us, found.checksum) != (written.times_us, written.checksum):
        raise RecordingError(f"{final}: reads back as {_facts(found)}, {_facts(written)} was written; removed")


def _compare_video(final: Path, path: Path, written: Pictures) -> None:
    """Every picture is there at its time; pixels are only nearly the same, which is what a video does."""
    import av

    with av.open(str(path)) as video:
        stamps = [
            round(Fraction(f.pts) * f.time_base * _US)
            for f in video.decode(video=0)
            if f.pts is not None and f.time_base is not None
        ]
        tick = round(Fraction(video.streams.video[0].time_base or Fraction(1, _US)) * _US) or 1
    # Longer pauses than a video can hold were cut.
    pauses = [min(b - a, LONGEST_PAUSE_US) for a, b in pairwise(written.times_us)]
    wanted = list(accumulate(pauses, initial=0))
    # A picture that came too soon after another was moved on by ticks.
    near = tick + written.moved * 20
    if len(stamps) != len(wanted) or any(abs(a - b) > near for a, b in zip(stamps, wanted, strict=True)):
        raise RecordingError(
            f"{final}: reads back as {len(stamps)} pictures, {len(wanted)} were written, or their times differ "
            "by more than a tick; it was removed"
        )


def _facts(p: Pictures) -> str:
    ends = f"{p.times_us[0]} … {p.times_us[-1]} µs, " if p.times_us else ""
    return f"{len(p.times_us)} pictures, {ends}checksum {p.checksum}"


def _report(kind: str, source: OfflineInput, r: OfflineResult, w: Pictures, network: str) -> dict[str, Any]:
    return {
        "program": "halfmirror", "version": version(), "format": kind, "input": source.name, "network": network,
        "latent": LATENT, "frames_in": r.frames_in, "pictures": len(w.times_us),
        "frames_outside_of_times": w.skipped, "frames_refused": r.refusals(),
        "exposure_sources": w.sources.report(), "first_us": w.times_us[0], "last_us": w.times_us[-1],
        "checksum": w.checksum, "problems": source.problems(),
    }  # fmt: skip


def _is_ours(folder: Path) -> bool:
    """An earlier export of pictures and nothing else."""
    report = read_json(folder / REPORT)
    try:
        with (folder / TIMESTAMPS).open(encoding="utf-8", newline="") as f:
            named = {row["file"] for row in csv.DictReader(f)}
    except (OSError, ValueError, KeyError):
        return False
    ours = (report.get("program"), report.get("format")) == ("halfmirror", "png")
    return ours and {e.name for e in folder.iterdir()} == named | {REPORT, TIMESTAMPS}
