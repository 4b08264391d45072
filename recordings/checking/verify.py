"""Is a recording sound? Checked in a child process with a deadline, whatever its format."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from capture.camera import Progress
from capture.errors import HalfmirrorError, UsageError
from capture.packets import Frame
from recordings.checking.findings import Verification
from recordings.checking.streams import StreamCheck
from recordings.checking.verify_own import verify_own
from recordings.formats.own_about import FORMAT
from recordings.open import OWN, open_recording, recognise
from recordings.recording import NotARecording, ReadReport, Recording, RecordingError, Remark
from recordings.sandbox import ReaderBroken, Sandbox
from recordings.sandbox_child import Reply

_TELL_S = 0.2
_HANGS = 6
"""Deadlines of the reader within one of the child around it: it may pass over several places that hang."""


def verify(
    path: Path,
    *,
    geometry: tuple[int, int] | None = None,
    deadline_s: float = 10.0,
    progress: Progress | None = None,
) -> Verification:
    """Read a recording through and check it.

    Our own recordings: every chunk's checksum and number, the index, `health.json` against the contents, time,
    frame numbers, exposures against trigger edges. Other formats: what their readers refuse and what comes out
    of them. The file is only read, in a child process: a reader that hangs or crashes costs no more than that.

    Args:
        path: file or folder.
        geometry: see `OpenOptions`.
        deadline_s: longest time without progress of the format's reader.
        progress: called now and then with a share 0…1.

    Raises:
        NotARecording: missing, empty, of no known format, or it lacks what `geometry` would say.
        RecordingError: it may not be read at all, or the child cannot be started.
    """
    known = recognise(path)
    sandbox = Sandbox(
        "recordings.checking.verify:Server",
        {"path": str(path.absolute()), "shown": str(path), "geometry": geometry, "deadline_s": deadline_s},
        what=str(path), deadline_s=_HANGS * deadline_s,
    )  # fmt: skip
    found: Verification | None = None
    try:
        for reply in sandbox.request("verify"):
            if reply.kind == "share" and progress is not None:
                progress(float(reply.header["share"]))
            elif reply.kind == "usage":
                raise NotARecording(str(reply.header["text"]))
            elif reply.kind == "found":
                found = Verification.of(reply.header)
    except ReaderBroken as e:
        found = _broken(path, known.name, str(e))
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise RecordingError(f"{path}: the process that checks it sent nonsense ({e})") from e
    finally:
        sandbox.close()
    if found is None:
        raise RecordingError(f"{path}: the process that checks it said nothing")
    return found


def _broken(path: Path, name: str, text: str) -> Verification:
    v = Verification(str(path), name)
    v.unusable("file", text.removeprefix(f"{path}: "))
    return v


class Server:
    """Runs in the child. See `recordings.sandbox_child`."""

    def __init__(self, path: str, shown: str, geometry: list[int] | None, deadline_s: float) -> None:
        self._path, self._shown, self._deadline_s = Path(path), shown, deadline_s
        self._geometry = None if geometry is None else (geometry[0], geometry[1])

    def do_verify(self) -> Iterator[Reply]:
        """One reply "found" at the end, "share" now and then before it."""
        v = Verification(self._shown)
        told = 0.0
        try:
            for share in self._check(v):
                if time.monotonic() - told > _TELL_S:
                    told = time.monotonic()
                    yield Reply("share", {"share": min(1.0, max(0.0, share))}, {})
        except UsageError as e:  # something that the person has to say first
            yield Reply("usage", {"text": str(e).replace(str(self._path), self._shown)}, {})
            return
        yield Reply("found", v.values(), {})

    def _check(self, v: Verification) -> Iterator[float]:
        try:
            known = recognise(self._path)
            if known.name == OWN:
                v.format = FORMAT
                yield from verify_own(self._path, v)
                return
            v.format = known.name
            yield from _verify_read(self._path, v, self._geometry, self._deadline_s)
        except UsageError:
            raise
        except (HalfmirrorError, OSError) as e:
            text = str(getattr(e, "strerror", None) or e)
            v.unusable("file", text.removeprefix(f"{self._path}: "))


def _verify_read(
    path: Path, v: Verification, geometry: tuple[int, int] | None, deadline_s: float
) -> Iterator[float]:
    """Any format, through its reader."""
    with open_recording(path, geometry=geometry, deadline_s=deadline_s) as r:
        v.format = r.info.format
        yield 0.0
        check = StreamCheck()
        yield from _through(r, check, v)
        check.finish(v)
        _reported(r.report, v)


def _through(r: Recording, check: StreamCheck, v: Verification) -> Iterator[float]:
    i = r.info
    span = max(1, i.end_us - i.start_us)
    try:
        for item in r.items():
            if isinstance(item, Frame):
                check.frame(item)
                continue
            check.packet(item)
            yield (item.complete_until_us - i.start_us) / span
    except RecordingError as e:
        text = str(e).removeprefix(f"{i.path}: ")
        if check.events or check.frames:
            v.loss("file", f"cannot be read beyond {check.events} events and {check.frames} frames: {text}")
        else:
            v.unusable("file", text)


def _reported(r: ReadReport, v: Verification) -> None:
    """What the reader refused."""
    refused: tuple[tuple[str, int, str], ...] = (
        ("events", r.events_rejected_decreasing, "run back in time"),
        ("events", r.events_rejected_outside, "lie outside the sensor"),
        ("frames", r.frames_rejected, "were refused"),
        ("triggers", r.edges_rejected, "edges were refused"),
    )
    for where, n, text in refused:
        if n:
            v.loss(where, f"{n} {text}")
    if r.bytes_unread:
        v.loss("file", f"{r.bytes_unread} bytes cannot be read")
    for problem in r.problems:
        (v.note if isinstance(problem, Remark) else v.loss)("file", problem)
    for name, n in r.ignored.items():
        v.note("file", f"{n} {name.replace('_', ' ')} are in it and not used")
