"""The arrays of a case's `representation.npz`."""

from __future__ import annotations

import pytest

from tests.parity.cases import Arrays, Case


def arrays(case: Case) -> Arrays:
    """All arrays; the test is skipped, with the reason, where the case has none."""
    found = case.only("representation*.npz")
    if not found:
        pytest.skip(f"{case}: no representation.npz beside the manifest")
    return found
