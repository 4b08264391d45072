"""Small messages between the supervisor and its workers: msgpack, with a schema that is checked on receipt."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgpack
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from capture.camera import CameraState
from capture.errors import HalfmirrorError

LARGEST = 1 << 20
"""Bytes of the largest message; bulk data belongs in a ring."""


class InvalidMessage(HalfmirrorError):
    """Bytes that are not a message of this program, or not for this side."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Status(_Message):
    """Worker → supervisor, several times a second: its sign of life and its figures.

    Attributes:
        state: where the worker stands.
        detail: error text of a FAULTED one, progress of a STARTING one, "end" at the end of a recording.
        ready: opened, waits for `Start`.
        permanent: FAULTED, and starting it again would not help.
        traceback: of an unforeseen error, for a bug report.
        items, events, dropped: since this worker process began; `dropped` as far as the device tells.
        fps: items a second, over the last second.
        event_rate_hz: events a second, over the last second.
        backlog: items that wait for the slowest reader.
    """

    type: Literal["status"] = "status"
    state: CameraState
    detail: str = ""
    ready: bool = False
    permanent: bool = False
    traceback: str = ""
    items: int = 0
    events: int = 0
    dropped: int = 0
    fps: float = 0.0
    event_rate_hz: float = 0.0
    backlog: int = 0


class Reply(_Message):
    """Worker → supervisor: the answer to the command of this number; `error` is "" when it succeeded."""

    type: Literal["reply"] = "reply"
    number: int
    result: dict[str, Any] = {}
    error: str = ""


class Published(_Message):
    """Worker → supervisor: anything else, handed on to who asks by topic."""

    type: Literal["published"] = "published"
    topic: str
    body: dict[str, Any] = {}


class Start(_Message):
    """Supervisor → worker: begin; the rig's common time axis begins at `epoch_ns` (`time.monotonic_ns`)."""

    type: Literal["start"] = "start"
    epoch_ns: int


class Stop(_Message):
    """Supervisor → worker: finish and leave.

    Attributes:
        given_s: after so long its process is ended, whatever it does; None: not said.
    """

    type: Literal["stop"] = "stop"
    given_s: float | None = None


class Command(_Message):
    """Supervisor → worker: a request by name, to be answered by a `Reply` with the same number.

    Attributes:
        target: which of a worker's cameras ("events", "frames"), "" when it does not matter.
    """

    type: Literal["command"] = "command"
    number: int
    verb: str
    arguments: dict[str, Any] = {}
    target: str = ""


FromWorker = Status | Reply | Published
ToWorker = Start | Stop | Command

_from_worker: TypeAdapter[FromWorker] = TypeAdapter(Annotated[FromWorker, Field(discriminator="type")])
_to_worker: TypeAdapter[ToWorker] = TypeAdapter(Annotated[ToWorker, Field(discriminator="type")])


def pack(message: FromWorker | ToWorker) -> bytes:
    """Bytes of a message.

    A file's name that is no UTF-8 is lone surrogates to Python. What a worker tells is for people, and reads
    `\\udcff` then; in what it is asked for such a name would be another one, and is refused.

    Raises:
        InvalidMessage: it holds what msgpack has no place for, or it is too large.
    """
    try:
        errors = "strict" if isinstance(message, Command) else "backslashreplace"
        data: bytes = msgpack.packb(message.model_dump(), unicode_errors=errors)
    except (TypeError, ValueError, OverflowError) as e:
        raise InvalidMessage(f"message {message.type!r} cannot be packed: {e}") from e
    if len(data) > LARGEST:
        raise InvalidMessage(f"message {message.type!r} has {len(data)} bytes; bulk data belongs in a ring")
    return data


def _unpacked(data: bytes) -> Any:
    if len(data) > LARGEST:
        raise InvalidMessage(f"a message of {len(data)} bytes was refused")
    try:
        return msgpack.unpackb(data)
    except Exception as e:  # msgpack raises several unrelated classes, RecursionError-like ones among them
        raise InvalidMessage(f"a message that is not msgpack was refused: {e!r}") from None


def from_worker(data: bytes) -> FromWorker:
    """The message that a worker sent. Raises `InvalidMessage`."""
    try:
        return _from_worker.validate_python(_unpacked(data))
    except ValidationError as e:
        raise InvalidMessage(f"a message from a worker was refused: {e.error_count()} faults") from None


def to_worker(data: bytes) -> ToWorker:
    """The message that the supervisor sent. Raises `InvalidMessage`."""
    try:
        return _to_worker.validate_python(_unpacked(data))
    except ValidationError as e:
        raise InvalidMessage(f"a message from the supervisor was refused: {e.error_count()} faults") from None
