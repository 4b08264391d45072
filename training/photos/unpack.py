"""Single files out of a package's archive, in memory: nothing is unpacked to a path that an archive names.

Only members that are asked for by their exact name are read, only regular files, none larger than a photo may
be.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from training.photos.decode import MAX_BYTES
from training.photos.photo import PhotoError

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


def members(archive: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """The wanted files of a wheel (.whl), a Debian package (.deb) or an npm package (.tgz).

    Args:
        archive: the package.
        wanted: paths inside it, with "/" and without a leading "./".

    Raises:
        PhotoError: the archive is damaged; a wanted file is missing, a link, a folder or too large.
    """
    asked = set(wanted)
    try:
        if archive.suffix == ".whl":
            found = _from_zip(archive, asked)
        elif archive.suffix == ".deb":
            with _deb(archive) as stream:
                found = _from_tar(archive, stream, asked)
        else:
            with tarfile.open(archive, mode="r|gz") as tar:
                found = _from_tar(archive, tar, asked)
    except _BROKEN as e:
        raise PhotoError(f"{archive.name} is damaged ({e or type(e).__name__}); fetch it again") from e
    if missing := sorted(asked - found.keys()):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise PhotoError(f"{archive.name} does not contain {missing[0]}{more}: it is another version")
    return found


def _from_zip(archive: Path, asked: set[str]) -> dict[str, bytes]:
    found = {}
    with zipfile.ZipFile(archive) as bundle:
        for info in bundle.infolist():
            if info.filename in asked:
                _allow(archive, info.filename, stat.S_ISLNK(info.external_attr >> 16), info.file_size)
                with bundle.open(info) as file:
                    found[info.filename] = _read(archive, info.filename, file)
    return found


def _from_tar(archive: Path, tar: tarfile.TarFile, asked: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for info in tar:
        name = str(PurePosixPath(info.name))
        if name not in asked:
            continue
        _allow(archive, name, not info.isreg(), info.size)
        file = tar.extractfile(info)
        assert file is not None
        found[name] = _read(archive, name, file)
        if found.keys() == asked:  # the rest of a large package is not worth reading
            break
    return found


@contextmanager
def _deb(archive: Path) -> Iterator[tarfile.TarFile]:
    """The files of a Debian package as a stream, by dpkg-deb, which knows every compression in use."""
    tool = shutil.which("dpkg-deb")
    if tool is None:
        raise PhotoError(
            f"{archive.name} cannot be opened: dpkg-deb is not here (it comes with Debian and Ubuntu)"
        )
    with subprocess.Popen(
        [tool, "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                yield tar
        finally:
            process.kill()


def _allow(archive: Path, name: str, link: bool, size: int) -> None:
    if link:
        raise PhotoError(f"{archive.name}: {name} is a link or no file; refused")
    if size > MAX_BYTES:
        raise PhotoError(f"{archive.name}: {name} has {size / 1e6:.0f} MB; refused")


def _read(archive: Path, name: str, file: IO[bytes]) -> bytes:
    data = file.read(MAX_BYTES + 1)  # what the table of contents says need not be true
    if len(data) > MAX_BYTES:
        raise PhotoError(f"{archive.name}: {name} has more than {MAX_BYTES / 1e6:.0f} MB; refused")
    return data
