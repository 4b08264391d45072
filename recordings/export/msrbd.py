"""Writes MS-RBD style sequences: pairs of blurry frames with their events, for GEM's published code and others.

`SPLIT/NAME_000000.npz` as the published code reads it (events pickled, see `array_pickle`; it wants the folders
of both splits), and `plain/NAME_000000.npz` with the same content and no pickle. Every frame but the first and
the last is in two files. Written twice from the same content, files are the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.packets import EventPacket, Events, Frame
from recordings.export.array_pickle import npy_of_dict
from recordings.export.content import Content, compare, read_back
from recordings.export.grid import SharedGrid
from sync.exposure import AlignedExposure

SPLITS = ("train", "test")
PLAIN = "plain"
# Events are kept for so long; the synchroniser keeps no more, so no exposure is older.
RETAIN_US = 4_000_000
# From the last exposure on they are kept for longer, for its pair with the next one, but no more than these: a
# camera that is gone may come back after hours.
RETAIN_BYTES = 512 * 2**20


class MsRbdWriter:
    """Writes the files of one sequence into `folder`, which it fills.

    Feed packets (`add_packet`) and exposures (`add_exposure`) as the synchroniser gives them: an exposure after
    the packets that complete it. Frames that do not follow one another directly (one was lost or refused, the
    stream was interrupted) start a new run of pairs; so do those whose pair would be of more events than are
    kept.

    Args:
        folder: an empty folder.
        name: stem of the files.
        split: "train" or "test".
        grid: see `shared_grid`.
        picture: makes (H, W, 3) RGB or (H, W) gray of a frame (Bayer frames have to be turned into colour).

    Attributes:
        content: of the pairs written so far.
        pairs: number of files of each kind.
        single: frames that are in no pair, because a neighbour was lost or refused or overlaps.
        too_long: pairs that were not written, because they are of more events than are kept.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        split: str,
        grid: SharedGrid,
        picture: Callable[[Frame], NDArray[np.uint8]],
    ) -> None:
        self._folder, self._name, self._split, self._grid = folder, name, split, grid
        self._picture = picture
        for sub in (*SPLITS, PLAIN):
            (folder / sub).mkdir()
        self.content = Content()
        self.pairs = 0
        self.single = self.too_long = 0
        self._held: list[Events] = []
        self._held_bytes = 0
        self._gone_us = -(1 << 62)  # up to here events are no longer held
        self._last: AlignedExposure | None = None
        self._last_in_pair = False
        self._covered = -(1 << 62)

    def add_packet(self, packet: EventPacket) -> None:
        """Events, kept until the exposures that they belong to are written."""
        floor = packet.complete_until_us - RETAIN_US
        while self._held and (until := int(self._held[0].t[-1])) < floor:
            wanted = self._last is not None and until >= self._last.exposure.start_us
            if wanted and self._held_bytes <= RETAIN_BYTES:
                break
            self._held_bytes -= self._held.pop(0).nbytes
            self._gone_us = until
        if len(packet.events):
            self._held.append(packet.events)
            self._held_bytes += packet.events.nbytes

    def add_exposure(self, e: AlignedExposure) -> None:
        """The next exposure that can be used."""
        before = self._last
        follows = (
            before is not None
            and before.ordinal + 1 == e.ordinal
            and before.frame.epoch == e.frame.epoch
            and before.frame.sequence + 1 == e.frame.sequence
            and not e.frame.gap
            and before.exposure.end_us <= e.exposure.start_us
        )
        if before is not None and follows and self._gone_us >= before.exposure.start_us:
            follows = False
            self.too_long += 1
        if before is not None and follows:
            self._write(before, e)
        elif before is not None:
            self.single += not self._last_in_pair
        self._last, self._last_in_pair = e, follows
        self._held = [h for h in self._held if int(h.t[-1]) >= e.exposure.start_us]
        self._held_bytes = sum(h.nbytes for h in self._held)

    def finish(self) -> None:
        """No more comes."""
        self.single += self._last is not None and not self._last_in_pair
        self._last = None

    def _write(self, a: AlignedExposure, b: AlignedExposure) -> None:
        start, end = a.exposure.start_us, b.exposure.end_us
        parts = [p for h in self._held if len(p := h.between(start, end))]
        e = Events.concatenate(parts) if parts else Events.empty(a.events.width, a.events.height)
        e = self._grid.events(e)
        pictures = [_rgb(self._grid.picture(self._picture(f.frame))) for f in (a, b)]
        for picture, x, known in zip(pictures, (a, b), (self._last_in_pair, False), strict=True):
            if not known:
                self.content.add_frame(picture, x.exposure.start_us, x.exposure.end_us)
        self.content.add_events(e.between(max(start, self._covered), end))
        self._covered = end
        stem = f"{self._name}_{self.pairs:06d}.npz"
        blurs: dict[str, NDArray[Any]] = {
            f"blur{k}": np.ascontiguousarray(p[:, :, ::-1].transpose(2, 0, 1))  # planes in the order B, G, R
            for k, p in enumerate(pictures, 1)
        }
        times: dict[str, NDArray[Any]] = {
            f"exp_{w}{k}": np.array(v, np.int64)
            for k, x in enumerate((a, b), 1)
            for w, v in (("start", x.exposure.start_us), ("end", x.exposure.end_us))
        }
        scale = {"scale_factor": np.array(self._grid.scale, np.int64)}
        p8 = e.p.astype(np.int8)
        published = {k: _npy(v) for k, v in {**blurs, **times, **scale}.items()}
        published["events"] = npy_of_dict({"x": e.x, "y": e.y, "t": e.t, "p": p8})
        _zip(self._folder / self._split / stem, published)
        plain = {**blurs, **{f"{k}_us": v for k, v in times.items()}, **scale}
        plain |= {"events_x": e.x, "events_y": e.y, "events_t_us": e.t, "events_p": p8}
        _zip(self._folder / PLAIN / stem, {k: _npy(v) for k, v in plain.items()})
        self.pairs += 1


def verify(folder: Path, split: str, content: Content) -> None:
    """Read both kinds of files back and compare with what was to be written.

    Raises:
        RecordingError: they differ.
    """
    for sub in (split, PLAIN):
        compare(folder / sub, read_back(folder / sub), content)


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image


def _npy(a: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, a, version=(1, 0), allow_pickle=False)
    return out.getvalue()


def _zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        for name, data in members.items():
            info = zipfile.ZipInfo(f"{name}.npy")  # its date is fixed, so equal content gives equal bytes
            info.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(info, data, compresslevel=1)
