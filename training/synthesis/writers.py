"""Synthetic videos in the layouts of the published data sets, with their truth: what recipes train on.

Each file or folder appears whole or not at all, and a video that is there already is not drawn again.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from capture.packets import Events
from capture.parts import own_part
from inference.representations import mask_numba, scer_numba
from inference.representations.coding import Mode
from training.files import replace_bytes, replace_with
from training.synthesis.clip import Clip

Writer = Callable[[Path, str, Clip], None]


def _efnet_h5(folder: Path, name: str, clip: Clip) -> None:
    """Raw events, frames with stamps and exposures as REBlur's; times in seconds as GoPro's."""

    def fill(file: Any) -> None:
        e = clip.events
        file["events/xs"], file["events/ys"] = e.x.astype(np.int16), e.y.astype(np.int16)
        file["events/ts"], file["events/ps"] = e.t * 1e-6, e.p
        file.attrs["sensor_resolution"] = clip.frames.shape[1:3]
        file.attrs["num_events"], file.attrs["num_imgs"] = len(e), len(clip.frames)
        for k, (start, end) in enumerate(clip.exposures):
            for group, pictures in (("images", clip.frames), ("sharp_images", clip.truth)):
                data = file.create_dataset(f"{group}/image{k:09d}", data=pictures[k][:, :, ::-1])
                data.attrs["timestamp"] = (start + end) / 2 * 1e-6
                data.attrs["exposure_start"], data.attrs["exposure_end"] = start * 1e-6, end * 1e-6

    _h5(folder / f"{name}.h5", fill)


def _efnet_scer(folder: Path, name: str, clip: Clip) -> None:
    """SCER of each exposure, as published, without the authors' noise; its mask."""

    def fill(file: Any) -> None:
        file.attrs["sensor_resolution"] = clip.frames.shape[1:3]
        for k, span in enumerate(clip.exposures):
            grid = scer_numba.scer(clip.events, *span, mode=Mode.RELATIVE)
            arrays: dict[str, NDArray[Any]] = {
                f"voxels/voxel{k:09d}": grid, f"masks/mask{k:09d}": mask_numba.event_mask(grid),
                f"images/image{k:09d}": _bgr_planes(clip.frames[k]),
                f"sharp_images/image{k:09d}": _bgr_planes(clip.truth[k]),
            }  # fmt: skip
            for key, values in arrays.items():
                file.create_dataset(key, data=values).attrs["size"] = values.shape

    _h5(folder / f"{name}.h5", fill)


def _highrev(folder: Path, name: str, clip: Clip) -> None:
    """Flat folders; of each frame two event files within the exposure and one behind, x and y exchanged."""
    for part in ("blur", "sharp", "event"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for k, (start, end) in enumerate(clip.exposures):
        stem = f"{name}_{k + 1:05d}"
        cuts = [start, (start + end) // 2, end, end + (end - start) // 10]
        for j in range(3):
            e = clip.events.between(cuts[j], cuts[j + 1])
            columns = {
                "x": e.y.astype(np.int64), "y": e.x.astype(np.int64), "timestamp": e.t,
                "polarity": e.p.astype(np.int64),
            }  # fmt: skip
            _npz(folder / "event" / f"{stem}_{j:02d}.npz", {n: v[:, None] for n, v in columns.items()})
        _png(folder / "sharp" / f"{stem}.png", clip.truth[k])
        _png(folder / "blur" / f"{stem}.png", clip.frames[k])


def _msrbd(folder: Path, name: str, clip: Clip) -> None:
    """Overlapping pairs without pickle, with the truth of both exposures."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(len(clip.frames) - 1):
        (s1, e1), (s2, e2) = clip.exposures[k], clip.exposures[k + 1]
        e: Events = clip.events.between(s1, e2)
        sharp, stamps = _truths(clip, k)
        _npz(
            folder / f"{name}_{k:06d}.npz",
            {
                "blur1": _bgr_planes(clip.frames[k]), "blur2": _bgr_planes(clip.frames[k + 1]),
                "exp_start1": np.int64(s1), "exp_end1": np.int64(e1), "exp_start2": np.int64(s2),
                "exp_end2": np.int64(e2), "scale_factor": np.int64(clip.scale), "events_x": e.x,
                "events_y": e.y, "events_t_us": e.t, "events_p": e.p.astype(np.int8),
                "sharp_imgs": sharp, "sharp_timestamps": stamps,
            },
        )  # fmt: skip


def _truths(clip: Clip, k: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Sharp pictures of frames k and k + 1 in order of time, planes BGR; the middles are among them."""
    found: dict[int, NDArray[np.uint8]] = {}
    for i in (k, k + 1):
        start, end = clip.exposures[i]
        middle = (start + end) // 2
        found |= {int(t): p for t, p in zip(clip.times_us[i], clip.more[i], strict=True) if abs(t - middle) > 1}
        found[middle] = clip.truth[i]
    stamps = np.array(sorted(found), np.int64)
    return np.stack([_bgr_planes(found[int(t)]) for t in stamps]), stamps


def _frames(folder: Path, name: str, clip: Clip) -> None:
    """A video as folders of PNGs, `blur` and `gt`."""
    for part, pictures in (("gt", clip.truth), ("blur", clip.frames)):
        final = folder / part / name
        staged = own_part(final)
        staged.mkdir(parents=True, exist_ok=True)
        try:
            for k, picture in enumerate(pictures):
                _png(staged / f"{k:05d}.png", picture)
            # A call that was interrupted may have left the first part.
            shutil.rmtree(final, ignore_errors=True)
            os.replace(staged, final)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


FORMATS: dict[str, Writer] = {
    "efnet-h5": _efnet_h5, "efnet-scer": _efnet_scer, "highrev": _highrev, "msrbd": _msrbd, "frames": _frames,
}  # fmt: skip


def last_written(format_: str, folder: Path, name: str, frames: int) -> Path:
    """What appears last of a video: where it is, the video is whole."""
    return {
        "efnet-h5": folder / f"{name}.h5", "efnet-scer": folder / f"{name}.h5",
        "highrev": folder / "blur" / f"{name}_{frames:05d}.png",
        "msrbd": folder / f"{name}_{frames - 2:06d}.npz", "frames": folder / "blur" / name,
    }[format_]  # fmt: skip


def _bgr_planes(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.moveaxis(picture[:, :, ::-1], 2, 0))


def _h5(path: Path, fill: Callable[[Any], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", track_order=False, libver="earliest") as file:
        fill(file)
    replace_with(path, buffer)


def _npz(path: Path, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    replace_with(path, buffer)


def _png(path: Path, picture: NDArray[np.uint8]) -> None:
    done, data = cv2.imencode(".png", picture[:, :, ::-1])
    assert done
    replace_bytes(path, data.tobytes())
