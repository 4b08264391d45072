"""Errors that a person may see: each is one line that says what, where, and what to do."""

from __future__ import annotations


class HalfmirrorError(Exception):
    """Base of every error with a message meant for a person.

    The message is one line: what went wrong, where, and what to do. The command line prints it without a
    traceback and leaves with `exit_code`.
    """

    exit_code: int = 1


class UsageError(HalfmirrorError):
    """The request itself is wrong: an unknown name, a value out of range, a path that is not there."""

    exit_code = 2


class InvalidPacket(HalfmirrorError):
    """Data that breaks a packet's contract (order, range, shape), refused at the boundary with counts."""


class CameraError(HalfmirrorError):
    """A camera cannot be found, opened, read or set."""


class CameraLost(CameraError):
    """A camera that was running is gone (unplugged, connection closed). The worker tries to get it back."""


class StaleError(CameraError):
    """Nothing as new as asked for has arrived."""


def first_line(error: BaseException) -> str:
    """First line of what a library says of an error, which may be pages; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
