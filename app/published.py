"""Pictures that another Halfmirror publishes, read: the address, and messages of a layout that is checked.

What comes over a wire may be anything: sizes are bounded before memory is taken for them, and nothing but JSON
and bytes is read. The layout is `docs/publishing.md`'s.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.publishing import LONGEST_TEXT, TOPIC, VERSION
from app.session import Picture
from capture.errors import HalfmirrorError, UsageError
from sync.rig import LARGEST_PX

LARGEST_PART = 1 << 30
"""Bytes of one part of a message; the sender of a larger one is cut off."""

Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Side = Annotated[int, Field(ge=1, le=LARGEST_PX)]
Share = Annotated[float, Field(ge=0, le=1)]
Nanoseconds = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class MessageError(HalfmirrorError):
    """A message that is no picture of Halfmirror's; one line says what is wrong."""


class Header(BaseModel):
    """Header of a message, as `app.publishing.header_of` makes it; newer programs may add to it."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    version: int
    number: Annotated[int, Field(ge=0, lt=2**63)]
    source: Text
    ordinal: Annotated[int, Field(ge=0, lt=2**63)]
    blurred: Annotated[tuple[Side, ...], Field(min_length=2, max_length=3)]
    sharp: Annotated[tuple[Side, ...], Field(min_length=3, max_length=4)] | None
    instants: Annotated[tuple[Share, ...], Field(max_length=1000)]
    exposure_start_us: Nanoseconds | None = None
    exposure_end_us: Nanoseconds | None = None
    exposure_source: Text = ""
    uncertainty_us: float = 0.0
    exposure_end_host_ns: Nanoseconds = 0
    ready_host_ns: Nanoseconds = 0
    network: Text = ""
    refusal: Text = ""
    flags: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    figures: Annotated[dict[str, float | None], Field(max_length=1000)] = {}


def stream_address(text: str) -> str:
    """Where published pictures are to be had: `tcp://HOST:PORT` or `ipc://PATH`.

    Raises:
        UsageError: neither.
    """
    tcp = re.fullmatch(r"tcp://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})", text)
    if tcp and 1 <= int(tcp[2]) <= 65535:
        return text
    if text.startswith("ipc://") and 0 < len(text.removeprefix("ipc://").encode(errors="replace")) <= 100:
        return text
    raise UsageError(
        f"{text} is no address of published pictures; give tcp://HOST:PORT, as --publish has it where they are "
        "made, or ipc://PATH"
    )


def read_message(parts: Sequence[bytes]) -> tuple[Header, Picture]:
    """One message.

    Args:
        parts: as ZeroMQ gives them.

    Returns:
        The header, and the picture, read-only. It has no events, and its times on the host are the sender's.

    Raises:
        MessageError: not of this layout.
    """
    if len(parts) != 4 or parts[0] != TOPIC:
        raise MessageError(f"a message of {len(parts)} parts is no picture of Halfmirror's")
    try:
        told = json.loads(parts[1])
        if isinstance(told, dict) and isinstance(told.get("version"), int) and told["version"] > VERSION:
            raise MessageError(
                f"its messages are of version {told['version']}, this program reads {VERSION}; update it"
            )
        h = Header.model_validate(told)
    except ValidationError as e:
        fault = e.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the header"
        raise MessageError(f"a message's header cannot be read: {where}: {fault['msg']}") from e
    except (ValueError, RecursionError) as e:
        raise MessageError("a message's header is not JSON") from e
    blurred = _image(parts[2], h.blurred, "blurred")
    if h.sharp is None:
        sharp, latents = None, h.instants[:0]
    else:
        if h.sharp[1:3] != h.blurred[:2] or h.sharp[0] != len(h.instants):
            raise MessageError(
                f"sharp pictures {h.sharp} do not fit a blurred one {h.blurred} and {len(h.instants)} instants"
            )
        sharp, latents = _image(parts[3], h.sharp, "sharp"), h.instants
    figures = {k: v for k, v in h.figures.items() if v is not None}
    return h, Picture(
        h.ordinal, blurred, sharp, latents, h.exposure_start_us, h.exposure_end_us, h.exposure_source,
        h.uncertainty_us, h.refusal, h.network, None, np.eye(3), h.exposure_end_host_ns, h.ready_host_ns,
        h.flags, figures,
    )  # fmt: skip


def _image(part: bytes, shape: tuple[int, ...], what: str) -> NDArray[np.uint8]:
    channels = shape[2:] if what == "blurred" else shape[3:]
    if channels not in ((), (3,)):
        raise MessageError(f"a {what} picture of {shape} is neither gray nor RGB")
    if len(part) != math.prod(shape):
        raise MessageError(f"a {what} picture of {shape} came with {len(part)} bytes")
    return np.frombuffer(part, np.uint8).reshape(shape)
