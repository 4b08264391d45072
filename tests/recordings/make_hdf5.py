"""Small HDF5 recordings in the layouts of Prophesee, DSEC and EFNet's SCER form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from capture.packets import Events, TriggerEdges
from tests.recordings.make_datasets import FRAMES, made_image

CD = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
TRIGGER = np.dtype([("p", "<i2"), ("t", "<i8"), ("id", "<i2")])


def write_prophesee(
    path: Path,
    e: Events,
    edges: TriggerEdges | None = None,
    *,
    geometry: str = "",
    chunk: int = 500,
    indexes: int | None = None,
    **options: Any,
) -> Path:
    """`CD/events` and `EXT_TRIGGER/events`; `options`: of `create_dataset`, e.g. compression.

    `indexes`: also `CD/indexes`, a row every 2 ms, with numbers that are wrong by so many.
    """
    rows = np.zeros(len(e), CD)
    rows["x"], rows["y"], rows["p"], rows["t"] = e.x, e.y, e.p, e.t
    with h5py.File(path, "w") as f:
        f.create_dataset("CD/events", data=rows, chunks=(chunk,), **options)
        if indexes is not None:
            ts = np.arange(0, int(e.t[-1]) + 1, 2000)[int(e.t[0]) // 2000 :]
            index = np.zeros(len(ts), [("id", np.uint64), ("ts", np.int64)])
            index["ts"], index["id"] = ts, np.maximum(0, np.searchsorted(e.t, ts) + indexes)
            f.create_dataset("CD/indexes", data=index)
        if edges is not None:
            trig = np.zeros(len(edges.t), TRIGGER)
            trig["t"], trig["p"], trig["id"] = edges.t, edges.rising, 6
            f["EXT_TRIGGER/events"] = trig
        if geometry:
            f.attrs["geometry"] = geometry
        f.attrs["serial_number"] = "00001234"
    return path


def write_dsec(path: Path, e: Events, offset_us: int = 0, *, chunk: int = 500, **options: Any) -> Path:
    """`events/…` with times from `offset_us` on, `t_offset`, `ms_to_idx`."""
    t = e.t - offset_us
    with h5py.File(path, "w") as f:
        for name, values in (("x", e.x), ("y", e.y), ("t", t.astype(np.uint32)), ("p", e.p.astype(np.uint8))):
            f.create_dataset(f"events/{name}", data=values, chunks=(chunk,), **options)
        f["t_offset"] = np.int64(offset_us)
        f["ms_to_idx"] = np.searchsorted(t, np.arange(0, int(t[-1]) // 1000 + 1) * 1000).astype(np.uint64)
    return path


def write_scer(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
    """Voxels, images as planes, masks."""
    w, h = size
    with h5py.File(path, "w") as f:
        for k in range(FRAMES):
            f[f"voxels/voxel{k:09d}"] = np.zeros((6, h, w), np.float32)
            f[f"images/image{k:09d}"] = made_image(k, size)[:, :, ::-1].transpose(2, 0, 1)
            f[f"masks/mask{k:09d}"] = np.zeros((1, h, w), np.uint8)
        f.attrs["sensor_resolution"] = (h, w)
    return path
