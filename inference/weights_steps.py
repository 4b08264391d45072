"""The steps of a pickle that build plain values, on a stack of our own.

See `weights_pickle`, which follows the others: names, calls, objects, references to tensors.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any

from inference.weights_limits import WeightsError, megabytes
from inference.weights_tree import Inert, Named, TensorRef


class Mark:
    """Where a run of items begins on the stack; only its identity counts."""


class Bounded(io.RawIOBase):
    """The next `allowed` bytes of a file, no more; a longer value is refused before it is allocated."""

    def __init__(self, file: IO[bytes], allowed: int) -> None:
        super().__init__()
        self._file = file
        self._left = allowed

    def read(self, size: int = -1) -> bytes:
        """See `io`."""
        if 0 <= self._left < size <= 8:  # no value is declared, the steps themselves end
            raise WeightsError("its structure is cut off")
        if size < 0 or size > self._left:
            raise WeightsError(f"declares a value of {megabytes(size)} where {megabytes(self._left)} are left")
        self._left -= size
        return self._file.read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """See `io`."""
        line = self._file.readline(self._left + 1)
        if len(line) > self._left:
            raise WeightsError("its structure is longer than what is left of the file")
        self._left -= len(line)
        return line

    def tell(self) -> int:
        """Place in the file."""
        return self._file.tell()


def hashable(value: object) -> Any:
    """The value, if it may be the key of a dictionary or the member of a set.

    Raises:
        WeightsError: a container.
    """
    # A tuple as a key is hashed all the way down, which a crafted file makes endless.
    if value is None or isinstance(value, str | int | float | bytes | Inert | Named | TensorRef):
        return value
    raise WeightsError(f"uses a {type(value).__name__} as the key of a dictionary")


def take(stack: list[Any], n: int) -> list[Any]:
    """The uppermost n items, off the stack.

    Raises:
        IndexError: fewer, or a mark among them.
    """
    if len(stack) < n or any(isinstance(v, Mark) for v in stack[-n:]):
        raise IndexError("the stack is too short")
    out = stack[-n:]
    del stack[-n:]
    return out


def marked(stack: list[Any]) -> list[Any]:
    """Everything above the last mark, which is taken off too."""
    out: list[Any] = []
    while not isinstance(top := stack.pop(), Mark):
        out.append(top)
    return out[::-1]


def _append(stack: list[Any], items: list[Any]) -> None:
    if isinstance(stack[-1], list):
        stack[-1].extend(items)
    elif not isinstance(stack[-1], Inert):
        raise TypeError("appends to what is no list")


def _set(stack: list[Any], items: list[Any]) -> None:
    target = stack[-1]
    if isinstance(target, Inert):
        return
    if not isinstance(target, dict) or len(items) % 2:
        raise TypeError("sets an item of what is no dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[hashable(key)] = value


def _append_one(stack: list[Any]) -> None:
    _append(stack, take(stack, 1))


def _append_marked(stack: list[Any]) -> None:
    items = marked(stack)
    _append(stack, items)


def _set_one(stack: list[Any]) -> None:
    items = take(stack, 2)
    _set(stack, items)


def _set_marked(stack: list[Any]) -> None:
    items = marked(stack)
    _set(stack, items)


def _add_marked(stack: list[Any]) -> None:
    items = marked(stack)
    if not isinstance(stack[-1], set):
        raise TypeError("adds to what is no set")
    stack[-1].update(hashable(i) for i in items)


def _dict(stack: list[Any]) -> None:
    items = marked(stack)
    stack.append({})
    _set(stack, items)


def _drop(stack: list[Any]) -> None:
    stack.pop()


def _drop_marked(stack: list[Any]) -> None:
    marked(stack)


CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "MARK": Mark,
}  # fmt: skip
LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
}  # fmt: skip
BUILDERS: dict[str, Callable[[list[Any]], None]] = {
    "TUPLE": lambda s: s.append(tuple(marked(s))),
    "TUPLE1": lambda s: s.append(tuple(take(s, 1))),
    "TUPLE2": lambda s: s.append(tuple(take(s, 2))),
    "TUPLE3": lambda s: s.append(tuple(take(s, 3))),
    "LIST": lambda s: s.append(marked(s)),
    "DICT": _dict,
    "FROZENSET": lambda s: s.append(frozenset(hashable(i) for i in marked(s))),
    "APPEND": _append_one,
    "APPENDS": _append_marked,
    "SETITEM": _set_one,
    "SETITEMS": _set_marked,
    "ADDITEMS": _add_marked,
    "DUP": lambda s: s.append(s[-1]),
    "POP": _drop,
    "POP_MARK": _drop_marked,
}
