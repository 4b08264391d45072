"""Saves what can be read of our own recordings: killed writer, full disk, cut copy, damage in the middle.

Every whole chunk is copied as it is, byte for byte but for its header: numbers become consecutive again, and
the item behind a hole says how many of its stream are missing before it, so that every reader sees a gap there.
`health.json` is counted anew from what is kept, and says what is lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from capture.camera import Progress
from capture.errors import HalfmirrorError
from capture.packets import EventPacket, Frame
from recordings.checking.findings import Grade, Verification
from recordings.checking.own_losses import Losses, known_losses
from recordings.checking.verify_own import verify_own
from recordings.formats import own_chunks as chunks
from recordings.formats.own_about import ABOUT, INDEX_FILE, STREAMS, About, AboutError, write_synced
from recordings.formats.own_chunks import EVENTS, FRAME, GAP, HEADER
from recordings.formats.own_health import DAMAGED, REPAIRED, REPAIRED_WITH_LOSSES, read_health
from recordings.formats.own_index import Rows, read_index
from recordings.recorder.health import HealthWatch, report, save
from recordings.recording import RecordingError

TOLD = 64
"""Progress is told once in so many chunks."""


@dataclass(slots=True)
class RepairReport:
    """What was saved and what was not.

    Attributes:
        packets, events, edges, frames: kept.
        bytes: of the kept chunks.
        losses: known to be missing.
        bytes_unread: of the file, that are no whole chunk.
        unfinished: why what came last is not known, "" when it is.
    """

    packets: int = 0
    events: int = 0
    edges: int = 0
    frames: int = 0
    bytes: int = 0
    until_us: int | None = None
    losses: Losses = field(default_factory=Losses)
    bytes_unread: int = 0
    unfinished: str = ""

    @property
    def verdict(self) -> str:
        """ "complete": everything that was recorded is kept; "lossy" otherwise."""
        return "lossy" if self.losses.any or self.bytes_unread or self.unfinished else "complete"

    def lines(self) -> list[str]:
        """For a person."""
        until = "" if self.until_us is None else f", up to {self.until_us / 1e6:.3f} s"
        kept = f"{self.packets} event packets with {self.events} events and {self.edges} edges"
        lines = [f"kept: {kept}, {self.frames} frames, {self.bytes / 1e6:.1f} MB{until}"]
        if self.losses.any:
            lines.append(f"lost: {self.losses.text()}")
        if self.bytes_unread:
            lines.append(f"not readable: {self.bytes_unread} bytes")
        if self.unfinished:
            lines.append(f"not known: {self.unfinished}")
        return lines

    def values(self) -> dict[str, Any]:
        """For JSON."""
        x = self.losses
        return {
            "verdict": self.verdict,
            "kept": {
                "event_packets": self.packets, "events": self.events, "edges": self.edges,
                "frames": self.frames, "bytes": self.bytes, "until_us": self.until_us,
            },
            "lost": {
                "event_packets": x.packets, "events": x.events, "edges": x.edges, "frames": x.frames,
                "items_of_unknown_kind": x.unknown,
            },
            "bytes_unread": self.bytes_unread, "not_known": self.unfinished,
        }  # fmt: skip


def repair_own(
    folder: Path, out: Path, *, about: Path | None = None, progress: Progress | None = None
) -> RepairReport:
    """Write what can be read of a recording into an empty folder.

    Args:
        folder: the damaged recording; it is only read.
        out: an empty folder. It holds something half-written when an error is raised.
        about: a `recording.toml` to use in place of one that is missing or damaged.
        progress: called now and then with a share 0…1 of all three passes: reading, writing, reading back.

    Raises:
        RecordingError: nothing can be saved; the message says why.
        OSError: the disk of `out` is full, or one of them is gone.
    """
    source = folder / ABOUT if about is None else about
    try:
        write_synced(out, ABOUT, source.read_bytes())
        rig = About.load(out).rig
    except (OSError, AboutError) as e:
        why = str(e).replace(str(out / ABOUT), str(source)) if isinstance(e, AboutError) else e.strerror
        raise RecordingError(
            f"{folder}: nothing can be saved without a {ABOUT} ({why}); "
            "give that of another recording with the same rig: --about FILE"
        ) from e
    try:
        fd = os.open(folder / STREAMS, os.O_RDONLY)
    except OSError as e:
        raise RecordingError(f"{folder / STREAMS}: nothing can be saved ({e.strerror or e})") from e
    try:
        found = read_index(fd, folder, trust=False)
        is_good = _readable(fd, found.rows, _part(progress, 0))
        good, bad = found.rows[is_good], np.concatenate([found.rows[~is_good], found.torn])
        if not np.isin(good["kind"], (EVENTS, FRAME)).any():
            raise RecordingError(f"{folder}: nothing can be saved; there is not one whole item in it")
        health = read_health(folder)
        losses = known_losses(folder, good, bad, health)
        watch = HealthWatch(rig)
        result = _copy(fd, good, losses, watch, out, _part(progress, 1))
        result.losses = losses
        result.bytes_unread = found.bytes_unread + int(
            sum(HEADER.size + int(r["meta"]) + int(r["body"]) for r in found.rows[~is_good])
        )
    finally:
        os.close(fd)
    result.unfinished = _unfinished(health)
    _save_health(out, watch, result, health, len(good))
    _check(out, result, _part(progress, 2))
    return result


def _part(progress: Progress | None, number: int) -> Progress:
    """Of three parts that each take as long: all is read, copied, and read back."""
    return lambda share: None if progress is None else progress((number + share) / 3)


def _readable(fd: int, rows: Rows, progress: Progress) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which chunks hold what was written."""
    good = np.zeros(len(rows), np.bool_)
    for n, row in enumerate(rows):
        if n % TOLD == 0:
            progress(n / len(rows))
        try:
            _item(fd, row)
            good[n] = True
        except HalfmirrorError:
            pass
    return good


def _item(fd: int, row: np.void) -> tuple[chunks.Head, chunks.Item, bytes]:
    data = os.pread(fd, HEADER.size + int(row["meta"]) + int(row["body"]), int(row["offset"]))
    head = chunks.read_head(data)
    return head, chunks.decode(head, memoryview(data)[HEADER.size :]), data


def _copy(
    fd: int, good: Rows, losses: Losses, watch: HealthWatch, out: Path, progress: Progress
) -> RepairReport:
    result = RepairReport()
    holes = _holes(good, losses)
    with (out / STREAMS).open("xb") as streams, (out / INDEX_FILE).open("xb") as index:
        for number, (row, hole) in enumerate(zip(good, holes, strict=True)):
            if number % TOLD == 0:
                progress(number / len(good))
            head, item, data = _item(fd, row)
            # The recorder's own account of losses stays where it is; what is damaged is added to it.
            mine = hole.get(head.kind, 0)
            broken = head.kind == EVENTS and bool(mine or hole.get(0))
            flags = head.flags | GAP if broken else head.flags
            lost = min(head.lost + mine, 2**32 - 1)
            _put(streams, index, chunks.resealed(head, number, flags, lost), memoryview(data)[HEADER.size :])
            result.bytes += head.size
            if isinstance(item, EventPacket):
                watch.events(replace(item, gap=item.gap or broken), head.first_us, head.lost)
                result.packets += 1
                result.events += head.amount
                result.edges += head.edges
                result.until_us = max(head.until_us, result.until_us or head.until_us)
            elif isinstance(item, Frame):
                watch.frame(item, lost)
                watch.health.losses["ring frames"] -= mine
                result.frames += 1
        for f in (streams, index):
            f.flush()
            os.fsync(f.fileno())
    return result


def _put(streams: BinaryIO, index: BinaryIO, head: bytes, data: memoryview) -> None:
    index.write(streams.tell().to_bytes(8, "little") + head)
    streams.write(head)
    streams.write(data)


def _holes(good: Rows, losses: Losses) -> Iterator[dict[int, int]]:
    """For every kept chunk: how many of which kind are missing before it; 0 stands for unknown kinds.

    Missing items of a stream are told with the next one of that stream, unknown ones with the next events.
    """
    owed: dict[int, int] = {}
    known = sorted(losses.rows)
    at, last = 0, -1
    for row in good:
        number = int(row["number"])
        here: dict[int, int] = {}
        while at < len(known) and known[at] < number:
            if known[at] > last:
                kind = int(losses.rows[known[at]]["kind"])
                here[kind] = here.get(kind, 0) + 1
            at += 1
        unknown = number - last - 1 - sum(here.values())
        if unknown > 0:
            here[0] = unknown
        last = max(last, number)
        for kind, n in here.items():
            owed[kind] = owed.get(kind, 0) + n
        mine = {int(row["kind"]): owed.pop(int(row["kind"]), 0)}
        if row["kind"] == EVENTS:
            mine[0] = owed.pop(0, 0)
        yield mine


def _unfinished(health: dict[str, Any] | None) -> str:
    if health is None:
        return "how it ended, and what the recorder lost: health.json is missing or not readable"
    if health["state"] == "recording":
        return "what the recorder had in hand when it was killed, at most about a second"
    n = health["losses"].get("disk items", 0)
    return f"{n} items that a full or broken disk did not take any more" if n else ""


def _save_health(
    out: Path, watch: HealthWatch, result: RepairReport, before: dict[str, Any] | None, n: int
) -> None:
    old: dict[str, Any] = before or {}
    lost = result.losses
    told = watch.health.losses
    earlier: dict[str, int] = old.get("losses", {})
    told["disk items"] = earlier.get("disk items", 0)
    for place, missing in zip(DAMAGED, (lost.packets, lost.frames, lost.unknown), strict=True):
        told[place] = missing + earlier.get(place, 0)
    # What an earlier repair marked as missing in the chunks is not the ring's loss.
    for ring, place in zip(("ring event packets", "ring frames"), DAMAGED, strict=False):
        told[ring] = max(0, told[ring] - earlier.get(place, 0))
    try:
        elapsed = float(old.get("elapsed_s", 0.0))
    except (TypeError, ValueError):
        elapsed = 0.0
    disk = {"bytes": result.bytes, "chunks": n, "waiting_bytes": 0, "stalls": 0, "longest_stall_s": 0.0}
    state = REPAIRED if result.verdict == "complete" else REPAIRED_WITH_LOSSES
    content = report(
        watch, state=state, message="; ".join(result.lines()[1:]) or "complete",
        elapsed_s=elapsed, disk=disk, final=True, cameras=old.get("cameras", {}),
    )  # fmt: skip
    kept = {"before": old.get("state", ""), "ended_early": old.get("ended_early", {})}
    save(out, {**content, "repair": result.values(), **kept})


def _check(out: Path, result: RepairReport, progress: Progress) -> None:
    """What was written is read again before anybody trusts it."""
    v = Verification(str(out))
    for n, share in enumerate(verify_own(out, v)):
        if n % TOLD == 0:
            progress(share)
    found = tuple(v.counts.get(k, 0) for k in ("event_packets", "frames"))
    if v.grade == Grade.UNUSABLE or found != (result.packets, result.frames):
        raise RecordingError(
            f"{out}: reads back as {found[0]} event packets and {found[1]} frames and "
            f"{result.packets} and {result.frames} were written; the output was removed"
        )
