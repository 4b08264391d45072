"""Names under which something is written until it is whole, a process's own; what killed ones left goes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from capture.ring_memory import process_token

# Another machine may write on the same disk, under a process id that nobody has here: it touches what it
# writes more often than this.
LEFT_S = 24 * 3600.0


def own_part(final: Path) -> Path:
    """The hidden name `.NAME.PID.part` beside `final`; nothing is made.

    What other processes left there under such names for the same `final` is removed: files and
    folders of this user, whose process is gone, not touched for a day.
    """
    with contextlib.suppress(OSError):  # the folder is not there yet, or nobody may look into it
        _sweep(final)
    return final.with_name(f".{final.name}.{os.getpid()}.part")


def _sweep(final: Path) -> None:
    named = re.compile(rf"\.{re.escape(final.name)}\.(\d+)\.part")
    with os.scandir(final.parent) as entries:
        found = [(Path(e), int(m[1])) for e in entries if (m := named.fullmatch(e.name))]
    for path, pid in found:
        with contextlib.suppress(OSError):  # somebody else was quicker
            about = path.lstat()
            if process_token(pid) or about.st_uid != os.getuid() or time.time() - about.st_mtime < LEFT_S:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
