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


CALLEE = """
from capture.compiled import njit
from toy.constants import PLUS

@njit()
def f(x):
    return x + PLUS
"""
CALLER = """
from capture.compiled import njit
from toy import (
    callee,
)

f = callee.f

@njit()
def g(x):
    return f(x) * 10
"""


def test_what_is_kept_is_compiled_anew_when_a_file_that_it_imports_changes(tmp_path: Path) -> None:
    toy = tmp_path / "toy"
    toy.mkdir()
    for name, text in {"__init__": "", "constants": "PLUS = 1", "callee": CALLEE, "caller": CALLER}.items():
        (toy / f"{name}.py").write_text(text)
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[2]}"}
    env.pop("NUMBA_CACHE_DIR", None)

    def asked() -> str:
        code = "from toy.caller import g; print(g(1), sum(g.stats.cache_hits.values()))"
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert asked() == "20 0"
    assert asked() == "20 1"
    (toy / "callee.py").write_text(CALLEE.replace("x + PLUS", "x - PLUS"))
    assert asked() == "0 0"
    (toy / "constants.py").write_text("PLUS = 3")
    assert asked() == "-20 0"
    assert asked() == "-20 1"


def test_a_disk_that_takes_no_code_costs_a_compilation_and_not_the_program(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from capture.compiled import njit\n\n@njit()\ndef f(x):\n    return x + 1\n"
    )
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[2]}"}
    env["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"  # as a full disk, in the middle of a file
        "import mine\n"
        "print(mine.f(1))\n"
    )
    for _ in range(2):  # what the first try has left is no hindrance either
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stdout.strip()) == (0, "2"), done.stderr
