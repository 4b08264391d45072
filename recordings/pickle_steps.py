"""Follows a pickle step by step on a stack of our own. Nothing that it names is looked up, let alone called.

`Machine` builds plain values. What a name, a call or an object becomes is for a subclass to say: arrays of a
data set (`recordings.formats.pickled_arrays`), tensors of a checkpoint (`inference.weights_pickle`).
"""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, cast

# What damage in a pickle, or a lie in it, raises while its steps are followed.
DAMAGE = (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, struct.error, EOFError,
          RecursionError)  # fmt: skip
_CALLS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD", "INST", "OBJ"}


class PickleRefused(Exception):
    """The pickle is damaged or asks for what is not admitted; nothing of it was run."""


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A class or function that the file names. It is never looked up, let alone called."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Inert:
    """Stands where the file has an object of a class that is not admitted. It holds nothing."""

    of: str


def megabytes(count: int) -> str:
    """A number of bytes as a person reads it."""
    if count >= 10_000_000_000_000:
        return "more than 10 TB"
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count} bytes"


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
            raise PickleRefused("its structure is cut off")
        if size < 0 or size > self._left:
            raise PickleRefused(f"declares a value of {megabytes(size)} where {megabytes(self._left)} are left")
        self._left -= size
        return self._file.read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """See `io`."""
        line = self._file.readline(self._left + 1)
        if len(line) > self._left:
            raise PickleRefused("its structure is longer than what is left of the file")
        self._left -= len(line)
        return line

    def tell(self) -> int:
        """Place in the file."""
        return self._file.tell()


def hashable(value: object) -> Any:
    """The value, if it may be the key of a dictionary or the member of a set.

    Raises:
        PickleRefused: a container.
    """
    # A tuple as a key is hashed all the way down, which a crafted file makes endless.
    if isinstance(value, tuple | list | dict | set | frozenset | bytearray | memoryview):
        raise PickleRefused(f"uses a {type(value).__name__} as the key of a dictionary")
    return value


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


class Machine:
    """The stack machine for one pickle.

    Args:
        steps: most steps, and items that calls copy.
    """

    def __init__(self, steps: int) -> None:
        self._most = steps
        self._steps = 0

    def read(self, file: IO[bytes], allowed: int) -> Any:
        """Follow one pickle from the file's place to its end, and leave the file there.

        `allowed` is the number of bytes that it may take, at most what is left of the file.

        Raises:
            PickleRefused: damaged, larger than the limits, or it names what is not admitted.
        """
        stack: list[Any] = []
        memo: dict[int, Any] = {}
        try:
            for op, arg, _ in pickletools.genops(cast(IO[bytes], Bounded(file, allowed))):
                self.count(1)
                if op.name == "STOP":
                    return stack.pop()
                self._step(op.name, arg, stack, memo)
        except DAMAGE as error:
            raise PickleRefused(f"its structure is damaged or cut off ({_short(error)})") from error
        raise PickleRefused("its structure is cut off")

    def count(self, n: int) -> None:
        """`n` more steps.

        Raises:
            PickleRefused: too many.
        """
        self._steps += n
        if self._steps > self._most:
            raise PickleRefused(f"its structure takes more than {self._most} steps")

    def _step(self, name: str, arg: Any, stack: list[Any], memo: dict[int, Any]) -> None:
        if name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name in LITERALS:
            stack.append(arg)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[arg] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            words = arg.split(" ", 1) if name == "GLOBAL" else take(stack, 2)
            stack.append(self._checked_name(*words))
        elif name == "BINPERSID":
            stack.append(self.persistent(stack.pop()))
        elif name in _CALLS:
            self._object(name, arg, stack)
        elif name in BUILDERS:
            BUILDERS[name](stack)
        elif name not in ("PROTO", "FRAME"):
            raise PickleRefused(f"its structure uses the step {name}, which no file of this kind needs")

    def _object(self, name: str, arg: Any, stack: list[Any]) -> None:
        if name == "BUILD":
            state = stack.pop()
            self.build(stack[-1], state)
            return
        if name == "REDUCE":
            called, args = take(stack, 2)
            if not isinstance(called, Named) or not isinstance(args, tuple):
                raise PickleRefused("calls something that is no function")
            stack.append(self.call(called, args))
            return
        if name == "NEWOBJ":
            kind, _ = take(stack, 2)
        elif name == "NEWOBJ_EX":
            kind, _, _ = take(stack, 3)
        else:  # INST and OBJ, of Python 2
            items = marked(stack)
            kind = self._checked_name(*arg.split(" ", 1)) if name == "INST" else items[0]
        stack.append(self.stand_in(kind))

    def _checked_name(self, module: object, name: object) -> Named:
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleRefused("names something by what is no name")
        return self.named(module, name)

    # --- what a kind of file admits ---------------------------------------------------------------------

    def named(self, module: str, name: str) -> Named:
        """A name in the file, if it may be there at all."""
        raise NotImplementedError

    def call(self, called: Named, args: tuple[Any, ...]) -> Any:
        """What the call of `called` stands for."""
        raise NotImplementedError

    def build(self, target: object, state: object) -> None:
        """Set the state of an object that a call gave."""
        raise NotImplementedError

    def stand_in(self, kind: object) -> Any:
        """What takes the place of an object of the class `kind`."""
        raise PickleRefused(f"holds an object of {str(kind)[:120]}, which is not admitted; nothing was run")

    def persistent(self, pid: object) -> Any:
        """What a reference to something beside the pickle stands for."""
        raise PickleRefused("refers to something outside the file")


def _short(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 80 else text[:77] + "…"
