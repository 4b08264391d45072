"""The catalogue: pools of freely licensed photos inside well-known packages, as data (`catalogue/*.toml`).

A pool names its packages with the version that was read, and for each photo where it lies, its licence as the
package states it, its author, and the SHA-256 of its bytes. The checksums decide what a photo is; versions only
say where to look.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from capture.errors import UsageError
from capture.validation import Strict, did_you_mean

Registry = Literal["pypi", "debian", "npm"]
# What leaves every use free, training included. Nothing -NC, nothing -ND, no GPL.
_FREE = (
    r"^(CC0-1\.0|CC-BY(-SA)?-[1-4]\.\d|BSD-3-Clause|MIT|Apache-2\.0"
    r"|public domain|no known copyright restrictions)$"
)
Licence = Annotated[str, StringConstraints(pattern=_FREE)]
Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*$")]
# No name starts with a dash, so none can be taken for an option of a client.
PackageName = Annotated[str, StringConstraints(pattern=r"^(@[a-z0-9-]+/)?[a-z0-9][a-z0-9.+_-]*$")]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+:~-]*$")]


def _inner(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or str(parts) != path:
        raise ValueError(f"{path!r} is not a plain relative path")
    return path


InnerPath = Annotated[str, AfterValidator(_inner)]


class Package(Strict):
    """A package that photos come from, in the version whose licences were read."""

    registry: Registry
    name: PackageName
    version: Version


class Entry(Strict):
    """One photo of a pool.

    Attributes:
        name: unique in its pool.
        package: a name in the pool's packages.
        path: the file inside the package's archive.
        inside: where `path` is a Qt resource file, the file inside that; else "".
        licence, author, source: as the package states them; `source` may be "".
        sha256: of the photo's bytes.
    """

    name: Slug
    package: PackageName
    path: InnerPath
    inside: InnerPath | Literal[""] = ""
    licence: Licence
    author: Annotated[str, StringConstraints(min_length=1)]
    source: Annotated[str, StringConstraints(pattern=r"^(https?://\S+)?$")] = ""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Pool(Strict):
    """Photos that are fetched and used together.

    Attributes:
        name: as `package:NAME` asks for it.
        title: what is to be seen, one line.
        stated: where the licences were read.
    """

    name: Slug
    title: str
    stated: str
    packages: Annotated[tuple[Package, ...], Field(min_length=1)]
    photos: Annotated[tuple[Entry, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Pool:
        names = [p.name for p in self.photos]
        sums = [p.sha256 for p in self.photos]
        if len(set(names)) < len(names) or len(set(sums)) < len(sums):
            raise ValueError(f"pool {self.name} has a photo twice")
        if unknown := {p.package for p in self.photos} - {p.name for p in self.packages}:
            raise ValueError(f"pool {self.name}: no package {', '.join(sorted(unknown))}")
        return self

    def package(self, entry: Entry) -> Package:
        """The package that an entry of this pool comes from."""
        return next(p for p in self.packages if p.name == entry.package)


@cache
def names() -> tuple[str, ...]:
    """Names of all pools, sorted."""
    folder = resources.files(__package__) / "catalogue"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


@cache
def pool(name: str) -> Pool:
    """A pool by its name.

    Raises:
        UsageError: no such pool; the message names those there are.
    """
    if name not in names():
        near = did_you_mean(name, names())
        raise UsageError(f"no pool of photos is called {name!r}; {near}there are: {', '.join(names())}")
    file = resources.files(__package__) / "catalogue" / f"{name}.toml"
    return Pool.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))


def every_pool() -> tuple[Pool, ...]:
    """All pools, by name."""
    return tuple(pool(n) for n in names())
