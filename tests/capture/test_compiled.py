"""Compiled functions where numba finds no place for its cache: a program of another user's, and no home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRY = """
import sys
from pathlib import Path
from numba.core import caching

def nowhere(self):
    raise OSError("read-only")

for locator in (caching.InTreeCacheLocator, caching.UserWideCacheLocator):
    locator.ensure_cache_path = nowhere  # as for a user who may write neither here nor at home

from capture.evt_time import next_high
import numpy as np
import os
print(next_high(np.array([0, 8 << 12 | 5], np.uint16), 0, 12))
print(os.environ["NUMBA_CACHE_DIR"])
place = Path(os.environ["NUMBA_CACHE_DIR"])
print(oct(place.stat().st_mode & 0o777), len(list(place.rglob("*.nbi"))))
"""


@pytest.mark.parametrize("started", ["with a place of its own", "with one that cannot be written to"])
def test_without_a_place_for_the_cache_the_run_has_one_of_its_own(tmp_path: Path, started: str) -> None:
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {"TMPDIR": str(tmp_path)}
    if started != "with a place of its own":
        env["NUMBA_CACHE_DIR"] = "/proc/nothing"
    out = subprocess.run([sys.executable, "-c", TRY], env=env, capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    value, place, kept = out.stdout.splitlines()
    assert value == "5"
    assert Path(place).parent == tmp_path
    assert kept == "0o700 1"
    assert not list(tmp_path.iterdir())  # and leaves nothing behind
