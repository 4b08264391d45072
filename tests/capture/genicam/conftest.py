"""Without Aravis nothing here can run; the tests then say what to install."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from capture.errors import CameraError
from capture.genicam import aravis
from capture.simulated.gige.device import GigeDevice
from tests.capture.genicam import wire


@pytest.fixture(autouse=True)
def _aravis() -> None:
    try:
        aravis.load()
    except CameraError as e:
        pytest.skip(str(e))


@pytest.fixture
def device() -> Iterator[GigeDevice]:
    """A simulated camera on the wire."""
    with wire.device() as d:
        yield d
