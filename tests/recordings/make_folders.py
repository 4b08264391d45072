"""Small folders of pictures, events and times, in the layouts of published data sets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from capture.packets import Events
from tests.recordings.make_datasets import FRAMES, exposure, made_image

SIZE = (64, 48)


def write_pictures(folder: Path, name: str = "{:06d}.png", size: tuple[int, int] = SIZE) -> None:
    """`FRAMES` pictures: `made_image`."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(FRAMES):
        assert cv2.imwrite(str(folder / name.format(k)), made_image(k, size)[:, :, ::-1])


def write_exposures(
    path: Path, heading: str = "# exposure_start_timestamp_us, exposure_end_timestamp_us"
) -> None:
    """Start and end of every exposure, in µs."""
    lines = [heading] if heading else []
    path.write_text("\n".join([*lines, *(f"{a}, {b}" for a, b in map(exposure, range(FRAMES)))]) + "\n")


def npz(path: Path, e: Events, *, exchanged: bool = False, fixed: int = 1, column: bool = False) -> None:
    """One file of events as x, y, timestamp, polarity."""
    x, y = e.x.astype(np.int64) * fixed, e.y.astype(np.int64) * fixed
    if fixed > 1:
        x, y = x + fixed // 2 - 1, y + fixed // 2 - 1  # within the pixel
    arrays = {"x": y, "y": x} if exchanged else {"x": x, "y": y}
    arrays |= {"timestamp": e.t, "polarity": e.p.astype(np.int8)}
    np.savez_compressed(path, **{k: v.reshape(-1, 1) if column else v for k, v in arrays.items()})


def write_intervals(folder: Path, e: Events, **form: int) -> None:
    """One event file for each interval between the starts of exposures, as BS-ERGB has them."""
    folder.mkdir(parents=True)
    starts = [exposure(k)[0] for k in range(FRAMES)]
    for k, (a, b) in enumerate(zip(starts, [*starts[1:], 1 << 60], strict=True)):
        npz(folder / f"{k:06d}.npz", e.between(a, b), **form)


def write_highrev(folder: Path, e: Events, *, exchanged: bool = True) -> None:
    """Three event files in an exposure, one behind it."""
    write_pictures(folder / "blur", "SEQ_{:05d}.png")
    (folder / "event").mkdir()
    for k in range(FRAMES):
        a, b = exposure(k)
        cuts = [a, a + 20_000, a + 40_000, b, exposure(k + 1)[0]]
        for i in range(4):
            part = e.between(cuts[i], cuts[i + 1])
            npz(folder / "event" / f"SEQ_{k:05d}_{i:02d}.npz", part, exchanged=exchanged, column=True)


def write_text_events(path: Path, e: Events) -> None:
    """Seconds, column, row, polarity."""
    rows = zip(e.t.tolist(), e.x.tolist(), e.y.tolist(), e.p.tolist(), strict=True)
    path.write_text("".join(f"{t / 1e6:.6f} {x} {y} {int(p)}\n" for t, x, y, p in rows))
