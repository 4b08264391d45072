"""Our own recordings in depth: every chunk's place, number and checksum, and what the recorder counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from capture.camera import limited_s
from capture.errors import HalfmirrorError
from capture.packets import EventPacket, Frame
from recordings.checking.findings import Verification
from recordings.checking.own_losses import Losses, known_losses
from recordings.checking.streams import StreamCheck
from recordings.formats import own_chunks as chunks
from recordings.formats.own_about import HEALTH, INDEX_FILE, STREAMS, About, AboutError
from recordings.formats.own_chunks import EVENTS, FRAME, HEADER, INDEX
from recordings.formats.own_health import REPAIRED, REPAIRED_WITH_LOSSES, ended_early, read_health
from recordings.formats.own_index import Found, Rows, read_index
from recordings.recorder.health import HealthWatch

ENDS = 2
"""Frames at the two ends of a recording, whose edges lie outside of it."""


def verify_own(folder: Path, v: Verification) -> Iterator[float]:
    """Check one recording's folder; yields a share 0…1 now and then, and adds to `v`.

    Raises:
        OSError: the disk does not give it.
    """
    try:
        about = About.load(folder)
    except AboutError as e:
        v.unusable("recording.toml", str(e).removeprefix(f"{folder / 'recording.toml'}: "))
        return
    try:
        fd = os.open(folder / STREAMS, os.O_RDONLY)
    except OSError as e:
        v.unusable(STREAMS, f"cannot be read ({e.strerror or e})")
        return
    try:
        found = read_index(fd, folder, trust=False)
        for problem in found.problems:
            v.loss(STREAMS, problem.removeprefix(f"{STREAMS}: "))
        check = _Check(about, v)
        yield from check.run(fd, found.rows)
        check.finish(folder, found)
    finally:
        os.close(fd)


class _Check:
    def __init__(self, about: About, v: Verification) -> None:
        self.v, self.about = v, about
        self.streams, self.watch = StreamCheck(), HealthWatch(about.rig)
        self.good: list[int] = []

    def run(self, fd: int, rows: Rows) -> Iterator[float]:
        """Read every chunk that has a sound header."""
        wrong = unsound = refused = 0
        first = ""
        for n, row in enumerate(rows):
            yield n / len(rows)
            data = os.pread(fd, HEADER.size + int(row["meta"]) + int(row["body"]), int(row["offset"]))
            head = chunks.read_head(data)
            try:
                item = chunks.decode(head, memoryview(data)[HEADER.size :])
            except chunks.Damaged as e:
                first, wrong = first or str(e), wrong + 1
                continue
            except HalfmirrorError as e:
                first, unsound = first or f"chunk {head.number}: {e}", unsound + 1
                continue
            self.good.append(n)
            if isinstance(item, EventPacket):
                self.streams.packet(item)
                refused += head.amount - len(item.events)
                self.watch.events(item, head.first_us, head.lost)
            elif isinstance(item, Frame):
                self.streams.frame(item, head.lost)
                self.watch.frame(item, head.lost)
        if wrong or unsound:
            self.v.loss(STREAMS, f"{wrong + unsound} of {len(rows)} chunks damaged; first: {first}")
        if refused:
            self.v.loss("events", f"{refused} lie outside the sensor or run back in time")

    def finish(self, folder: Path, found: Found) -> None:
        """Everything that needs all of it."""
        v, rows = self.v, found.rows
        is_good = np.zeros(len(rows), np.bool_)
        is_good[self.good] = True
        good, bad = rows[is_good], np.concatenate([rows[~is_good], found.torn])
        if not np.isin(good["kind"], (EVENTS, FRAME)).any():
            v.unusable(STREAMS, "nothing was recorded; there is not one whole item in it")
            return
        self._index(folder, rows)
        health = read_health(folder)
        losses = known_losses(folder, good, bad, health)
        if text := losses.text():
            v.loss(STREAMS, f"not there any more: {text}")
        self.streams.finish(v, missing="missing by the camera's numbers")
        self._clock()
        if health is None:
            v.loss(HEALTH, "missing or not readable, so what the recorder lost is not known")
        else:
            self._health(health, losses)

    def _index(self, folder: Path, rows: Rows) -> None:
        """The index only saves time, so nothing is lost with it."""
        try:
            data = (folder / INDEX_FILE).read_bytes()
        except OSError:
            self.v.note(INDEX_FILE, "is not there; it is made anew whenever the recording is opened")
            return
        if data[: len(rows) * INDEX.itemsize] == rows.tobytes():
            return
        mine = np.frombuffer(data[: len(data) // INDEX.itemsize * INDEX.itemsize], INDEX)
        known = rows[rows["number"] < len(mine)]
        wrong = int(np.count_nonzero(mine[known["number"].astype(np.int64)] != known))
        if wrong:
            self.v.note(INDEX_FILE, f"{wrong} of its rows are not those of the chunks; they are not used")
        elif len(known) < len(rows):
            self.v.note(INDEX_FILE, f"ends {len(rows) - len(known)} chunks early; the rest is found without it")

    def _clock(self) -> None:
        """Exposures against the trigger edges, as the live pipeline matches them."""
        v, rig, clock = self.v, self.about.rig, self.watch.clock(final=True)
        if clock.get("problem"):
            v.loss("recording.toml", str(clock["problem"]))
            return
        if rig.clock.relation != "trigger" or not self.streams.frames or not self.streams.event_packets:
            return
        alone, matched = int(clock["frames_without_trigger"]), int(clock["frames_with_trigger"])
        edges = int(clock["triggers_without_frame"])
        if not self.streams.edges:
            v.loss("triggers", "there are none, so exposures are only estimated from arrival times")
        elif not matched:
            v.loss("triggers", f"they do not match the frames: {clock['why_not'] or 'no match was found'}")
        else:
            say = v.loss if alone > ENDS or edges > 2 * ENDS else v.note
            say(
                "triggers",
                f"{matched} of {self.streams.frames} frames have their edges "
                f"(fit {clock['residual_us']:.1f} µs, drift {clock['drift_ppm']:.1f} ppm); "
                f"{alone} frames without, {edges} edges too many",
            )

    def _health(self, health: dict[str, Any], losses: Losses) -> None:
        """What the recorder said, and whether it adds up."""
        v, h = self.v, self.watch.health
        state, message = health["state"], health["message"]
        if state == "recording":
            v.loss("recorder", "did not come to an end: it was killed, or is still at work")
        elif state == "stopped" and message:
            v.loss("recorder", f"ended early: {message}")
        elif state in (REPAIRED, REPAIRED_WITH_LOSSES):
            (v.note if state == REPAIRED else v.loss)("recorder", f"{state}: {message}")
        for place, n in health["losses"].items():
            if n:
                v.loss("recorder", f"lost {n} {place}")
        for early in ended_early(health):
            v.loss("recorder", early)
        if limited := limited_s(health["cameras"]):
            v.loss("recorder", f"the event camera limited its rate for {limited:.1f} s")
        if state == "recording" or losses.any or health["losses"].get("disk items"):
            return  # its figures are of another moment, or of items that are known to be missing
        mine = {"events": h.events, "event_packets": h.event_packets, "edges": h.edges, "frames": h.frames}
        for what, n in mine.items():
            if n != health[what]:
                v.loss(HEALTH, f"the recorder counted {health[what]} {what.replace('_', ' ')}, here are {n}")
