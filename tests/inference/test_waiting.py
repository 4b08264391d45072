"""Threads wait briefly, unless the user has said how."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from inference.waiting import ROUNDS, wait_briefly


@pytest.mark.parametrize("chosen", [{}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_the_users_choice_stays(chosen: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    wait_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == chosen.get("GOMP_SPINCOUNT", None if chosen else ROUNDS)


def test_it_is_set_before_torch_is_loaded() -> None:
    code = (
        "import sys, inference.waiting as w; assert 'torch' not in sys.modules; w.wait_briefly(); "
        "import os; print(os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ROUNDS
