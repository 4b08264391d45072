"""Tiny photos and tiny packages, made on the spot."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.photos.pools import Pool


def picture(seed: int, height: int = 150, width: int = 200) -> NDArray[np.uint8]:
    """uint8 RGB with structure at all scales, so that its likeness is its own."""
    rng = np.random.default_rng(seed)
    layers = sum(
        cv2.resize(rng.random((n, n, 3)), (width, height), interpolation=cv2.INTER_CUBIC) * 8 / n
        for n in (3, 6, 12, 24)
    )
    return np.asarray(cv2.normalize(np.asarray(layers), None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def encoded(image: NDArray[Any], suffix: str = ".png") -> bytes:
    """A picture file: RGB, RGBA or gray in."""
    if image.ndim == 3:
        image = image[..., [2, 1, 0, *range(3, image.shape[2])]]
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else []
    return bytes(cv2.imencode(suffix, image, quality)[1])


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF segment that holds nothing but the orientation tag."""
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def wheel(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            bundle.writestr(info, target)
    return path


def tgz(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.SYMTYPE
            info.linkname = target
            tar.addfile(info)
    return path


HAS_DPKG = shutil.which("dpkg-deb") is not None


def deb(path: Path, files: dict[str, bytes], work: Path) -> Path:
    root = work / "deb-root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: tiny-photos\nVersion: 1.0-1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: tiny\n"
    )
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(root), str(path)], check=True, capture_output=True
    )
    return path


def resource_file(files: dict[str, bytes], *, compress: bool = True, version: int = 3) -> bytes:
    """A Qt resource file with one folder, "photos", that holds the files."""
    payload, names = b"", b""
    entries: list[tuple[int, int]] = []

    def name(text: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return at

    folder = name("photos")
    for text, data in files.items():
        kept = struct.pack(">I", len(data)) + zlib.compress(data) if compress else data
        entries.append((name(text), len(payload)))
        payload += struct.pack(">I", len(kept)) + kept
    stamp = b"" if version == 1 else bytes(8)
    nodes = struct.pack(">IHII", 0, 2, 1, 1) + stamp + struct.pack(">IHII", folder, 2, len(files), 2) + stamp
    for at, data_at in entries:
        nodes += struct.pack(">IHHHI", at, int(compress), 0, 0, data_at) + stamp
    start = 24 if version == 3 else 20
    parts = (start, start + len(nodes), start + len(nodes) + len(payload))
    return struct.pack(">4s4I", b"qres", version, *parts) + bytes(start - 20) + nodes + payload + names


def pool(
    name: str, registry: str, photos: dict[str, bytes], *, inside: str = "", prefix: str = "photos/"
) -> Pool:
    """A pool of one package `tiny-photos` 1.0-1 with these photos ("name.suffix" → bytes)."""
    return Pool.model_validate(
        {
            "name": name, "title": "Tiny", "stated": "here",
            "packages": [{"registry": registry, "name": "tiny-photos", "version": "1.0-1"}],
            "photos": [
                {
                    "name": file.rsplit(".", 1)[0], "package": "tiny-photos",
                    "path": inside or f"{prefix}{file}", "inside": f"photos/{file}" if inside else "",
                    "licence": "CC0-1.0", "author": "A. Author", "sha256": hashlib.sha256(data).hexdigest(),
                }
                for file, data in photos.items()
            ],
        }
    )  # fmt: skip
