"""What is said while a recording is made, and after it. No Qt here."""

from __future__ import annotations

import errno
import re
from collections import deque
from pathlib import Path
from typing import Any

from app.patience import ANSWERS_S, NoAnswerError, Waiting, within
from app.viewer.words import clock, grouped
from capture.camera import limited_s
from recordings.formats.own_health import ended_early
from sync.exposure import in_words

RATE_OVER_S = 2.0
_NAME = re.compile(r"[^/\\\x00-\x1f]{1,100}")


class Pace:
    """Bytes a second over the last moments, from the recorder's figures."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, elapsed_s: float, written: int) -> None:
        """The recorder's newest word."""
        seen = self._seen
        if seen and elapsed_s <= seen[-1][0]:
            return
        seen.append((elapsed_s, written))
        while len(seen) > 2 and elapsed_s - seen[1][0] >= RATE_OVER_S:
            seen.popleft()

    @property
    def hz(self) -> float | None:
        """Bytes a second, None while not known."""
        if len(self._seen) < 2:
            return None
        (a, n), (b, m) = self._seen[0], self._seen[-1]
        return (m - n) / (b - a) if b > a else None


def running(f: dict[str, Any], pace: float | None) -> list[str]:
    """Figures while it runs: time, speed, when the disk is full, frames with their triggers."""
    out = [clock(round(1e6 * (f["elapsed_s"] + f.get("preroll_s", 0.0))))]
    out.append("– MB/s" if pace is None else f"{pace / 1e6:.1f} MB/s")
    room = f.get("room")
    if room is not None and pace:
        out.append(f"disk full in {hours(room / pace)}")
    without = f.get("frames_without_trigger") or 0
    out.append(frames(f["frames"], f.get("frames_with_trigger"), f.get("exposure_source"), without))
    if f["queued"] > 8e6:
        out.append(f"{f['queued'] / 1e6:.0f} MB wait for the disk")
    return out


def hours(seconds: float) -> str:
    """h:mm; a day is long enough to be exact about."""
    if seconds >= 99 * 3600:
        return "more than 99 h"
    minutes = int(seconds // 60)
    return f"{minutes // 60}:{minutes % 60:02d}"


def frames(n: int, with_trigger: int | None, source: str | None, without_trigger: int = 0) -> str:
    """How many frames, and how many of them have their trigger where there is such a signal, or should be."""
    if with_trigger is not None and (source == "trigger" or without_trigger):
        return f"{grouped(with_trigger)} of {grouped(n)} frames with trigger"
    return f"{grouped(n)} frames"


def losses(counts: dict[str, int]) -> str:
    """What was lost, by place; "" for nothing."""
    lost = [f"{grouped(n)} {place}" for place, n in counts.items() if n]
    return "lost: " + ", ".join(lost) if lost else ""


def interruptions(health: dict[str, Any]) -> list[str]:
    """Where a camera was away, in words, from `health.json`: what it did not send then is in no count."""
    counts = {"events": health.get("gap_count", 0), "frames": health.get("frame_gap_count", 0)}
    return [f"{what} interrupted {n} time{'s' if n > 1 else ''}" for what, n in counts.items() if n]


def report(folder: str, h: dict[str, Any]) -> tuple[list[str], bool]:
    """The health report in three lines, and whether something is wrong."""
    seconds = h["elapsed_s"]
    if h["first_us"] is not None and h["until_us"] is not None:
        seconds = (h["until_us"] - h["first_us"]) / 1e6
    before = f", {h['preroll_s']:.1f} s of it from before" if h.get("preroll_s") else ""
    what = (
        f"{Path(folder).name}: {seconds:.1f} s{before} · {grouped(h['frames'])} frames · "
        f"{h['events'] / 1e6:.2f} M events · {h['disk']['bytes'] / 1e6:.0f} MB"
    )
    wrong = [losses(h["losses"])]
    wrong += interruptions(h) + ended_early(h)
    limited = limited_s(h.get("cameras") or {})
    wrong += [f"event rate limited in the camera for {limited:.1f} s"] if limited else []
    wrong += [h["message"] if h["state"] == "stopped" else ""]
    wrong += [f"{h['time_jump_count']} jumps of time" if h["time_jump_count"] else ""]
    found = [w for w in wrong if w]
    more = [f"event rate up to {h['event_rate_peak_hz'] / 1e6:.1f} M/s"]
    more += [f"writes that the disk held up: {h['disk']['stalls']}"] if h["disk"]["stalls"] else []
    second = " · ".join([*(found or ["nothing lost"]), *more])
    third, unsure = _exposures(h)
    return [what, second, third], bool(found) or unsure


def _exposures(h: dict[str, Any]) -> tuple[str, bool]:
    c = h["clock"]
    if "problem" in c:
        return f"frames and events were not matched: {c['problem']}", True
    if c.get("alone"):
        return f"{c['alone']} alone: nothing to match", False
    source = c.get("exposure_source") or ""
    if not source:
        return "no exposure is known yet" + (f": {c['why_not']}" if c.get("why_not") else ""), True
    words = [f"exposure: {source} ±{in_words(c['exposure_uncertainty_us'])}"]
    # Only where edges are expected do frames count as being without: a loose wire leaves another source.
    unmatched = c["frames_without_trigger"]
    if source == "trigger" or unmatched:
        words.append(frames(c["frames_with_trigger"] + unmatched, c["frames_with_trigger"], source, unmatched))
        lone = c["triggers_without_frame"]
        words += [f"{grouped(lone)} triggers without frame"] if lone else []
        words += [c["why_not"]] if unmatched and c.get("why_not") else []
    if c.get("residual_us"):
        words.append(f"clocks agree within {c['residual_us']:.0f} µs")
    # At its ends a recording cuts a frame from its trigger now and then.
    return " · ".join(words), unmatched > 2


def bad_name(name: str) -> str:
    """Why nothing can be called so, whatever the folder; "" when it can."""
    if not name.strip():
        return "give it a name"
    if not _NAME.fullmatch(name) or name.startswith("."):
        return "a name has no slash and does not begin with a dot"
    return ""


def looked_for(folder: Path, name: str) -> Waiting[bool]:
    """Whether this name is taken: asked on a thread of its own, waited for as long as most disks need."""
    return Waiting((folder / name).exists, ANSWERS_S)


def name_problem(folder: Path, name: str, look: Waiting[bool] | None = None) -> str:
    """Why a recording cannot be called so, or its folder not be looked into; "" when it can.

    `look`: of `looked_for`, None: begun here. Where it is still going, it may be asked again later.
    """
    if bad := bad_name(name):
        return bad
    try:
        look = looked_for(folder, name) if look is None else look
        if look.going:
            return f"{folder} does not answer; choose another folder"
        return f"{name} is there already" if look.result() else ""
    except OSError as e:
        if e.errno == errno.ENAMETOOLONG:
            return "the name is too long for the disk; give a shorter one"
        return f"{folder} cannot be looked into ({e.strerror or e}); choose another folder"


def next_name(folder: Path, last: str) -> str:
    """The first free name after `last`: cups, cups-002, cups-003, …

    Where the folder cannot be looked into it is a name that may be taken; `name_problem` says so.
    """
    found = re.fullmatch(r"(.*?)(?:-(\d{1,6}))?", last or "take-000")
    assert found is not None  # everything matches
    stem, n = found[1] or "take", int(found[2] or 1)
    if last and not _there(folder / last):
        return last
    while True:
        n += 1
        name = f"{stem}-{n:03d}"
        if not _there(folder / name):
            return name


def left(made: Path, look: Waiting[bool]) -> str:
    """What is on the disk of a recording whose recorder failed, in words. `look`: is its folder there."""
    if look.going:
        return f"{made} does not answer"
    try:
        there = look.result()
    except OSError as e:
        return f"{made} cannot be looked into ({e.strerror or e})"
    return f"what was written before is in {made}" if there else "nothing was recorded"


def can_be_opened(look: Waiting[bool]) -> bool:
    """Its folder is there and may be looked into, as far as the disk has answered. `look`: see `left`."""
    try:
        return not look.going and look.result()
    except OSError:
        return False


def _there(path: Path) -> bool:
    # `exists` raises for a share that is gone, a folder that may not be entered, and a name that is too long;
    # for a share that may come back it does not end.
    try:
        return within(ANSWERS_S, path.exists, path)
    except (OSError, NoAnswerError):
        return False
