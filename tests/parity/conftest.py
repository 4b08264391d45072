"""What all parity tests share: one thread, no gradients kept, the published weights."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import torch

from tests.parity.cases import READ, unread


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that passes has read every array that it says it checks."""
    marks = list(item.iter_markers("reads"))
    READ.clear()
    result = yield
    if marks:
        # A mark on a test that has no case would be a claim that nothing holds.
        case = item.callspec.params["case"]  # type: ignore[attr-defined]
        left = unread(marks, case, READ)
        assert not left, f"says that it checks arrays and never looks at them: {', '.join(left)}"
    return result


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The cases were computed with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def published_weights() -> Path:
    """The folder with weights that others published; they are never part of this repository."""
    root = Path(os.environ.get("HALFMIRROR_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    folder = root / "weights"
    if not folder.is_dir():
        pytest.skip(
            f"no published weights at {folder}; set HALFMIRROR_SHARED to the folder that holds weights/"
        )
    return folder
