"""Small data sets in published layouts, written as their authors' tools write them (NumPy, h5py, PNG)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from capture.packets import Events

GRID, SCALE = (64, 48), 4
START_US = 1_000_000
PERIOD_US, EXPOSURE_US = 66_000, 60_000
FRAMES = 5


def made_events(n: int = 9000, seed: int = 3, size: tuple[int, int] = GRID) -> Events:
    """Random events from the start of the first exposure to the end of the last."""
    rng = np.random.default_rng(seed)
    span = (FRAMES - 1) * PERIOD_US + EXPOSURE_US
    w, h = size
    x, y = rng.integers(0, w, n), rng.integers(0, h, n)
    x[0], y[0] = w - 1, h - 1  # the grid's last pixel occurs in the first exposure
    t = np.sort(rng.integers(0, span, n)) + START_US
    return Events(t, x.astype(np.uint16), y.astype(np.uint16), rng.random(n) < 0.5, w, h)


def made_image(k: int, size: tuple[int, int] = (GRID[0] * SCALE, GRID[1] * SCALE)) -> Any:
    """Frame k, (H, W, 3) RGB: three different planes."""
    return np.random.default_rng(100 + k).integers(0, 256, (size[1], size[0], 3), np.uint8)


def exposure(k: int) -> tuple[int, int]:
    """Start and end of frame k."""
    return START_US + k * PERIOD_US, START_US + k * PERIOD_US + EXPOSURE_US


def columns(e: Events, form: str = "suggested") -> dict[str, Any]:
    """The dictionary of one file's events; `form` picks the types that files were seen with."""
    p: Any = e.p.astype(np.int8)
    if form == "signed":
        return {
            "x": e.x.astype(np.int64),
            "y": e.y.astype(np.int64),
            "t": e.t.astype(np.float64),
            "p": 2 * p - 1,
        }
    if form == "column":
        return {k: v.reshape(-1, 1) for k, v in columns(e).items()}
    return {"x": e.x, "y": e.y, "t": e.t, "p": p}


def pair(
    k: int, e: Events, *, form: str = "suggested", scale: int | None = None, **other: Any
) -> dict[str, Any]:
    """Arrays of the file with frames k and k + 1."""
    (s1, e1), (s2, e2) = exposure(k), exposure(k + 1)
    a: dict[str, Any] = {
        "blur1": made_image(k)[:, :, ::-1].transpose(2, 0, 1),
        "blur2": made_image(k + 1)[:, :, ::-1].transpose(2, 0, 1),
        "exp_start1": np.int64(s1), "exp_end1": np.int64(e1),
        "exp_start2": np.int64(s2), "exp_end2": np.int64(e2),
        "events": columns(e.between(s1, e2), form),
    }  # fmt: skip
    if scale is not None:
        a["scale_factor"] = np.int64(scale)
    return {**a, **other}


def write_msrbd(folder: Path, step: int = 1, compressed: bool = False, **more: Any) -> list[Path]:
    """A sequence of pairs: step 1 overlaps, step 2 does not."""
    folder.mkdir(exist_ok=True)
    e, out = made_events(), []
    for k in range(0, FRAMES - 1, step):
        path = folder / f"Toys_{k:04d}.npz"
        (np.savez_compressed if compressed else np.savez)(path, **pair(k, e, **more))
        out.append(path)
    return out


def rewritten(path: Path, to: Path, **members: bytes) -> Path:
    """A copy of an `.npz` with some members' bytes replaced."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            name = info.filename.removesuffix(".npy")
            new.writestr(info.filename, members.pop(name) if name in members else old.read(info))
        for name, data in members.items():
            new.writestr(f"{name}.npy", data)
    return to


def mutated(data: bytes, seed: int) -> bytes:
    """The file with bits flipped, cut, with a hole, or with lies where sizes may stand."""
    rng = np.random.default_rng(seed)
    b = bytearray(data)
    n = len(b)
    match seed % 5:
        case 0:
            for k in rng.integers(0, n, 8):
                b[k] ^= 1 << int(rng.integers(8))
        case 1:
            return bytes(b[: int(rng.integers(1, n))])
        case 2:
            k = int(rng.integers(0, max(1, n - 300)))
            b[k : k + 256] = rng.bytes(256)
        case 3:
            for k in rng.integers(0, min(n, 3000) - 8, 4):  # where headers are
                b[k : k + 4] = rng.choice([b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0", b"9999"])
        case _:
            for k in rng.integers(max(0, n - 3000), n - 8, 4):  # where directories are
                b[k : k + 4] = rng.choice([b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0", rng.bytes(4)])
    return bytes(b)


def write_efnet(path: Path, e: Events, *, exposures: bool, unit: float = 1e-6) -> Path:
    """EFNet's file with raw events: REBlur's with exposures, GoPro's without; `unit`: one µs in the file's."""
    import h5py

    with h5py.File(path, "w") as f:
        f["events/xs"], f["events/ys"] = e.x.astype(np.int16), e.y.astype(np.int16)
        f["events/ts"], f["events/ps"] = e.t * unit, e.p
        f.attrs["sensor_resolution"] = (e.height, e.width)
        for k in range(FRAMES):
            d = f.create_dataset(f"images/image{k:09d}", data=made_image(k, (e.width, e.height))[:, :, ::-1])
            a, b = exposure(k)
            d.attrs["timestamp"] = (a + b) / 2 * unit
            if exposures:
                d.attrs["exposure_start"], d.attrs["exposure_end"] = a * unit, b * unit
    return path
