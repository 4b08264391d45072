"""What all parity tests share: one thread, no gradients kept, the published weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


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
