"""A dictionary of NumPy arrays that lies pickled in a `.npy` member, read without unpickling it.

Admitted: dictionaries, lists, tuples, strings, numbers, NumPy arrays and scalars of numbers. The names that
occur in such a pickle are those of NumPy before and after version 2 (`numpy.core`, `numpy._core`); the rest
is refused by its name, and nothing is looked up or called. See `recordings.pickle_steps`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from recordings.pickle_steps import Machine, Named, PickleRefused, megabytes

MAX_STEPS = 100_000
_ADMITTED = {
    "numpy.ndarray", "numpy.dtype", "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
    "_codecs.encode",
}  # fmt: skip


@dataclass(slots=True, eq=False)
class _Array:
    """An array under construction; `objects` in place of values when it holds Python objects."""

    values: NDArray[Any] | None = None
    objects: list[Any] | None = None


@dataclass(slots=True, eq=False)
class _Dtype:
    code: str
    order: str = "="


class ArrayMachine(Machine):
    """Follows a pickle of arrays. Memory: what the pickle itself holds, at most twice."""

    def __init__(self) -> None:
        super().__init__(MAX_STEPS)

    def named(self, module: str, name: str) -> Named:
        """See `Machine.named`."""
        found = Named(module.replace("numpy._core.", "numpy.core."), name)
        if str(found) not in _ADMITTED:
            raise PickleRefused(f"it names {str(found)[:120]}, which no array needs; nothing was run")
        return found

    def call(self, called: Named, args: tuple[Any, ...]) -> Any:
        """See `Machine.call`."""
        name = called.name
        if name == "_reconstruct" and isinstance(args[0], Named) and str(args[0]) == "numpy.ndarray":
            return _Array()
        if name == "dtype" and isinstance(args[0], str):
            return _Dtype(args[0].lstrip("<>|="), args[0][0] if args[0][:1] in ("<", ">", "|") else "=")
        if name == "scalar" and isinstance(args[0], _Dtype) and isinstance(args[1], bytes):
            return np.frombuffer(args[1], _known(args[0]))[0]
        if name == "encode" and isinstance(args[0], str) and args[1] in ("latin1", "latin-1"):
            return args[0].encode("latin-1")
        raise PickleRefused(f"it calls {called} in a way that no array needs; nothing was run")

    def build(self, target: object, state: object) -> None:
        """See `Machine.build`."""
        if isinstance(target, _Dtype) and isinstance(state, tuple) and state[1] in ("<", ">", "|", "="):
            target.order = state[1]
            return
        if not isinstance(target, _Array) or not isinstance(state, tuple) or len(state) != 5:
            raise PickleRefused("sets the state of what has none")
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
            raise PickleRefused("holds an array without type or shape")
        if dtype.code.startswith("O"):
            if not isinstance(raw, list):
                raise PickleRefused("holds an array of objects without its objects")
            target.objects = raw
            return
        if (
            not isinstance(raw, bytes | memoryview)
            or not all(type(n) is int and n >= 0 for n in shape)
            or len(shape) > 8
        ):
            raise PickleRefused("holds an array whose values are no values")
        known = _known(dtype)
        if math.prod(shape) * known.itemsize != len(raw):
            raise PickleRefused(
                f"declares an array of {megabytes(math.prod(shape) * known.itemsize)} "
                f"and gives {megabytes(len(raw))}"
            )
        target.values = np.frombuffer(raw, known).reshape(shape, order="F" if fortran else "C")


def _known(dtype: _Dtype) -> np.dtype[Any]:
    if dtype.code not in {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}:
        raise PickleRefused(f"holds values of the type {dtype.code[:20]!r}, which are no numbers")
    return np.dtype(f"{dtype.order}{dtype.code}")


def read_array_dict(file: IO[bytes], allowed: int) -> dict[str, NDArray[Any]]:
    """The one dictionary in a pickled 0-d object array, as `numpy.savez(..., events=dict)` writes it.

    Values are arrays, which lie in the file's own memory where `file` gives views; numbers become 0-d arrays.
    What is neither is left out.

    Raises:
        PickleRefused: damaged, no dictionary, or it names what is not admitted.
    """
    found = ArrayMachine().read(file, allowed)
    while isinstance(found, _Array) and found.objects is not None and len(found.objects) == 1:
        found = found.objects[0]
    if not isinstance(found, dict):
        raise PickleRefused("holds no dictionary of arrays")
    out: dict[str, NDArray[Any]] = {}
    for name, value in found.items():
        if isinstance(value, _Array) and value.values is not None:
            out[str(name)] = value.values
        elif isinstance(value, bool | int | float | np.generic):
            out[str(name)] = np.asarray(value)
    return out
