"""What messages between processes take."""

from __future__ import annotations

import pytest

from capture.camera import CameraState
from capture.messages import Command, InvalidMessage, Published, Status, from_worker, pack

NAME = "rec\udcff"
"""A file's name that is no UTF-8, as Python has it."""


def test_what_a_worker_tells_takes_names_that_are_no_utf_8() -> None:
    told = from_worker(pack(Published(topic="cameras", body={"name": NAME})))
    assert isinstance(told, Published)
    assert told.body == {"name": "rec\\udcff"}
    status = from_worker(pack(Status(state=CameraState.RUNNING, detail=NAME)))
    assert isinstance(status, Status)
    assert status.detail == "rec\\udcff"


def test_what_a_worker_is_asked_for_does_not_take_another_name() -> None:
    with pytest.raises(InvalidMessage, match="cannot be packed"):
        pack(Command(number=1, verb="begin", arguments={"folders": [NAME]}))
