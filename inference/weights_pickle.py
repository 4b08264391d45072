"""Reads the structure of a pickled checkpoint without unpickling it.

A pickle is a program for a small stack machine whose steps may name any function and call it; that is how a
checkpoint runs code. Here the steps are only parsed and followed on a stack of our own (`pickle_steps`).
Nothing that the file names is looked up, imported or called. Plain containers and numbers are built, tensors
and NumPy arrays become descriptions (`weights_tree`), a few harmless classes and objects of third-party classes
become empty stand-ins, and everything else is refused by its name.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import IO, Any

from inference.weights_limits import LIMITS, Limits, WeightsError, megabytes
from inference.weights_tree import (
    STORAGES,
    ArrayRef,
    DtypeRef,
    Inert,
    Named,
    StorageRef,
    TensorRef,
    check_view,
    contiguous,
)
from recordings.pickle_steps import Machine, PickleRefused, hashable

# Given (storage class name, dtype, itemsize, key, numel); gives the storage, or refuses.
FindStorage = Callable[[str, int, str, int], StorageRef]
# Given the bytes of a checkpoint inside the checkpoint, as pickled tensors carry them.
Nested = Callable[[bytes], Any]

_OLD_MODULES = {
    "__builtin__": "builtins", "copy_reg": "copyreg", "pathlib._local": "pathlib",
    "numpy._core.multiarray": "numpy.core.multiarray", "numpy._core.numeric": "numpy.core.numeric",
}  # fmt: skip

# Calls that only make a value, which no weight needs: a stand-in takes their place.
_HARMLESS = {
    "copyreg._reconstructor", "datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta",
    "datetime.timezone", "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "functools.partial",
    "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePath", "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath", "torch.device", "torch.serialization._get_layout",
}  # fmt: skip
# Names of the standard library that may occur without a call.
_MENTIONED = _HARMLESS | {
    "argparse.Namespace", "types.SimpleNamespace", "builtins.object", "builtins.dict", "builtins.list",
    "builtins.tuple", "builtins.set", "builtins.frozenset", "builtins.int", "builtins.float", "builtins.str",
    "builtins.bool", "builtins.bytes", "builtins.bytearray", "builtins.complex", "collections.OrderedDict",
    "collections.defaultdict", "collections.Counter", "collections.deque", "_codecs.encode",
}  # fmt: skip
# Enumerations of these are pickled as calls; a name with a capital is a class there.
_FRAMEWORKS = {"pytorch_lightning", "lightning", "lightning_fabric", "torchmetrics", "omegaconf"}


class Structure(Machine):
    """The stack machine for one pickle.

    Args:
        find_storage: gives the storage that a tensor's values lie in.
        nested: reads tensors that were pickled one by one.
        limits: bounds.

    Attributes:
        inert: names of the classes that a stand-in took the place of.
    """

    def __init__(self, find_storage: FindStorage, nested: Nested, limits: Limits = LIMITS) -> None:
        super().__init__(limits.steps)
        self._find_storage = find_storage
        self._nested = nested
        self._limits = limits
        self._declared = 0
        self.inert: set[str] = set()

    def read(self, file: IO[bytes], allowed: int) -> Any:
        """Follow one pickle from the file's place to its end, and leave the file there.

        `allowed` is the number of bytes that it may take, at most what is left of the file.

        Raises:
            WeightsError: damaged, larger than the limits, or it names what is not admitted.
        """
        try:
            return super().read(file, allowed)
        except PickleRefused as error:
            raise WeightsError(str(error)) from error

    # --- names and calls --------------------------------------------------------------------------------

    def named(self, module: str, name: str) -> Named:
        """See `Machine.named`: of the standard library only what a checkpoint has a use for."""
        found = Named(_OLD_MODULES.get(module, module), name)
        top = found.module.split(".")[0]
        if top in sys.stdlib_module_names and str(found) not in _MENTIONED:
            raise _unneeded(found)
        return found

    def call(self, called: Named, args: tuple[Any, ...]) -> Any:
        """See `Machine.call`."""
        name = str(called)
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            return self._tensor(args[0], *args[1:4])
        if name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            return args[0]
        if name == "torch._tensor._rebuild_from_type_v2":
            return self._call_of(args[0], args[2])
        if name == "torch.storage._load_from_bytes":
            return self._inside(args[0])
        if name == "torch.Size":
            self.count(len(args[0]))
            return tuple(args[0])
        if called.module in ("numpy", "numpy.core.multiarray", "numpy.core.numeric"):
            return self._array(called, args)
        if called.module in ("collections", "builtins", "_codecs") and name in _MENTIONED:
            return self._container(called, args)
        framework = called.module.split(".")[0] in _FRAMEWORKS and called.name[:1].isupper()
        if name in _HARMLESS or framework:
            return self.stand_in(args[0] if name == "copyreg._reconstructor" else called)
        raise _unneeded(called)

    def _call_of(self, called: object, args: object) -> Any:
        if not isinstance(called, Named) or not isinstance(args, tuple):
            raise WeightsError("calls something that is no function")
        return self.call(called, args)

    def stand_in(self, kind: object) -> Any:
        """See `Machine.stand_in`."""
        if not isinstance(kind, Named):
            raise WeightsError("makes an object of what is no class")
        if str(kind) in ("collections.OrderedDict", "collections.Counter", "collections.defaultdict"):
            return {}
        self.inert.add(str(kind))
        return Inert(str(kind))

    def _container(self, called: Named, args: tuple[Any, ...]) -> Any:
        name = str(called)
        if name == "collections.defaultdict":
            return {}
        if name in ("collections.OrderedDict", "collections.Counter", "builtins.dict"):
            given = args[0] if args else {}
            self.count(len(given))
            out: dict[Any, Any] = {}
            for name_of, value in given.items() if isinstance(given, dict) else given:
                out[hashable(name_of)] = value
            return out
        if name in ("builtins.set", "builtins.frozenset"):
            items = args[0] if args else []
            self.count(len(items))
            return frozenset(hashable(i) for i in items)
        if name == "_codecs.encode" and isinstance(args[0], str) and args[1] in ("latin1", "latin-1"):
            self.count(len(args[0]))
            return args[0].encode("latin-1")
        if name in ("builtins.bytearray", "builtins.bytes"):
            # With a number as its argument this would allocate so many bytes.
            if not args or isinstance(args[0], bytes):
                return args[0] if args else b""
            raise _unneeded(called, "with something else than bytes")
        if name == "builtins.complex":
            return complex(*args)
        raise _unneeded(called)

    # --- tensors and arrays -----------------------------------------------------------------------------

    def persistent(self, pid: object) -> Any:
        """See `Machine.persistent`: a storage beside the structure."""
        if not isinstance(pid, tuple) or len(pid) < 2:
            raise WeightsError("refers to something outside the file")
        if pid[0] == "module" and isinstance(pid[1], Named):
            self.inert.add(str(pid[1]))
            return pid[1]
        if pid[0] != "storage" or len(pid) < 5 or not isinstance(pid[1], Named):
            raise WeightsError("refers to something outside the file")
        kind, key, numel = pid[1], pid[2], pid[4]
        if not kind.module.startswith("torch") or kind.name not in STORAGES:
            raise WeightsError(f"holds values of the kind {kind}, which no weight has")
        if type(numel) is not int or numel < 0 or not isinstance(key, str):
            raise WeightsError("declares a storage without a size")
        dtype, itemsize = STORAGES[kind.name]
        if numel * itemsize > self._limits.total_bytes:
            raise WeightsError(
                f"declares values of {megabytes(numel * itemsize)}; "
                f"at most {megabytes(self._limits.total_bytes)} are read"
            )
        storage = self._find_storage(dtype, itemsize, key, numel)
        view = pid[5] if len(pid) > 5 else None
        return storage if view is None else _part(storage, view)

    def _inside(self, raw: object) -> StorageRef:
        found = self._nested(raw) if isinstance(raw, bytes) else None
        if not isinstance(found, StorageRef):
            raise WeightsError("holds a checkpoint inside the checkpoint, which is no tensor")
        return found

    def _tensor(self, storage: object, offset: object, shape: object, stride: object) -> TensorRef:
        if not isinstance(storage, StorageRef):
            raise WeightsError("declares a tensor without values")
        tensor = check_view(storage, offset, shape, stride, self._limits)
        # Strides of nought make a small storage a huge tensor; copies of it would fill the memory.
        self._declared += tensor.numel * storage.itemsize
        if self._declared > self._limits.total_bytes:
            raise WeightsError(f"declares tensors of more than {megabytes(self._limits.total_bytes)} together")
        return tensor

    def _array(self, called: Named, args: tuple[Any, ...]) -> Any:
        if called.name == "dtype" and isinstance(args[0], str):
            code = args[0].lstrip("<>|=")
            return DtypeRef(code, args[0][0] if args[0][0] in "<>|" else "|")
        if called.name == "_reconstruct" and isinstance(args[0], Named):
            return ArrayRef()
        if called.name == "scalar" and isinstance(args[0], DtypeRef):
            if isinstance(args[1], bytes) and args[0].code in ("f8", "i8") and len(args[1]) == 8:
                return struct.unpack("<d" if args[0].code == "f8" else "<q", args[1])[0]
            return Inert("numpy.number")
        if called.name == "_frombuffer" and isinstance(args[0], bytes):
            array = ArrayRef()
            self._fill(array, args[2], args[1], args[3] == "F", args[0])
            return array
        raise _unneeded(called)

    def _fill(self, array: ArrayRef, shape: object, dtype: object, fortran: bool, raw: object) -> None:
        if not isinstance(dtype, DtypeRef) or not isinstance(shape, tuple):
            raise WeightsError("holds a NumPy array without type or shape")
        if not isinstance(raw, bytes):
            raise WeightsError("holds a NumPy array of objects, which no weight is")
        name, itemsize = dtype.known()
        storage = StorageRef("", name, itemsize, len(raw) // itemsize, lambda: raw)
        array.tensor = self._tensor(storage, 0, shape, contiguous(shape, fortran))

    def build(self, target: object, state: object) -> None:
        """See `Machine.build`: the contents of an array."""
        if isinstance(target, ArrayRef):
            if not isinstance(state, tuple) or len(state) != 5:
                raise WeightsError("holds a NumPy array without contents")
            self._fill(target, state[1], state[2], bool(state[3]), state[4])
        elif isinstance(target, DtypeRef):
            if not isinstance(state, tuple) or state[1] not in ("<", ">", "|", "="):
                raise WeightsError("holds a NumPy array of unknown byte order")
            target.order = "|" if state[1] == "=" else state[1]
        elif not isinstance(target, Inert | dict | TensorRef):
            raise WeightsError("sets the state of what has none")
        # The state of a stand-in, and attributes of a dictionary such as `_metadata`, are let go.


def _unneeded(named: Named, how: str = "") -> WeightsError:
    return WeightsError(
        f"it names {str(named)[:120]}{' ' + how if how else ''}, which no weights need; nothing was run"
    )


def _part(storage: StorageRef, view: object) -> StorageRef:
    """A storage that is a part of another (checkpoints of PyTorch before 1.6)."""
    if not isinstance(view, tuple) or len(view) != 3:
        raise WeightsError("declares a part of a storage without place or size")
    _, offset, numel = view
    if not all(type(v) is int and v >= 0 for v in (offset, numel)) or offset + numel > storage.numel:
        raise WeightsError("declares a part of a storage that lies outside it")
    size, start = storage.itemsize, offset * storage.itemsize

    def fetch() -> bytes:
        return storage.fetch()[start : start + numel * size]

    return StorageRef(f"{storage.key}+{offset}", storage.dtype, size, numel, fetch)
