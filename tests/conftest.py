"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def shared_data() -> Path:
    """The folder with real recordings; a test that wants it skips, with the reason, where it is absent."""
    root = Path(os.environ.get("HALFMIRROR_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    data = root / "data"
    if not data.is_dir():
        pytest.skip(f"real recordings are not at {data}; set HALFMIRROR_SHARED to the folder that holds data/")
    return data


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the tests that did not run for want of the real recordings."""
    n = sum(
        "real recordings are not at" in str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    )
    terminalreporter.write_line(f"tests skipped because the real recordings are absent: {n}")
