"""The folder for temporary files, which a full disk or a read-only system may not have."""

from __future__ import annotations

import tempfile
from pathlib import Path

from capture.errors import HalfmirrorError


class NoScratch(HalfmirrorError, OSError):
    """No folder for temporary files takes anything."""


def scratch_root() -> Path:
    """The system's folder for temporary files.

    Raises:
        NoScratch: not one of the usual places can be written to.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError as e:
        raise NoScratch(
            "no folder for temporary files takes anything (TMPDIR, /tmp, /var/tmp and the working folder are "
            "full or read-only); free some space, or name one in TMPDIR"
        ) from e
