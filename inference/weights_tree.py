"""What a checkpoint's pickled structure is made of once it is read: plain containers and descriptions.

Nothing here holds data: a `TensorRef` says where in the file a tensor's values lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from inference.weights_limits import Limits, WeightsError, megabytes
from recordings.pickle_steps import Inert as Inert
from recordings.pickle_steps import Named as Named

# PyTorch's storage classes: name -> (dtype, bytes of one value).
STORAGES: dict[str, tuple[str, int]] = {
    "FloatStorage": ("float32", 4),
    "DoubleStorage": ("float64", 8),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}

# NumPy's names of the dtypes that a weight can have.
ARRAYS: dict[str, tuple[str, int]] = {
    "f8": ("float64", 8), "f4": ("float32", 4), "f2": ("float16", 2), "i8": ("int64", 8), "i4": ("int32", 4),
    "i2": ("int16", 2), "i1": ("int8", 1), "u1": ("uint8", 1), "b1": ("bool", 1),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class StorageRef:
    """A run of values in the file.

    Attributes:
        key: the name that the file gives it.
        dtype: as PyTorch names it.
        itemsize: bytes of one value.
        numel: number of values.
        fetch: gives its bytes; called only when the values are wanted.
    """

    key: str
    dtype: str
    itemsize: int
    numel: int
    fetch: Callable[[], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class TensorRef:
    """A tensor: `storage` seen with an offset, a shape and strides, all counted in values."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of values."""
        return product(self.shape)


@dataclass(slots=True, eq=False)
class DtypeRef:
    """A NumPy dtype; `order` is "<", ">" or "|"."""

    code: str
    order: str = "|"

    def known(self) -> tuple[str, int]:
        """(PyTorch's name, bytes of one value).

        Raises:
            WeightsError: neither a number nor a truth value, or bytes in the other order.
        """
        if self.code not in ARRAYS or self.order == ">":
            raise WeightsError(f"holds a NumPy array of type {self.order}{self.code}, which no weight has")
        return ARRAYS[self.code]


@dataclass(slots=True, eq=False)
class ArrayRef:
    """A NumPy array that waits for its contents; `tensor` is set by them."""

    tensor: TensorRef | None = None


def product(shape: tuple[int, ...]) -> int:
    """Number of values of a tensor of this shape."""
    n = 1
    for size in shape:
        n *= size
    return n


def contiguous(shape: tuple[int, ...], fortran: bool = False) -> tuple[int, ...]:
    """Strides of a tensor without gaps; rows last unless `fortran`."""
    out, step = [], 1
    for size in shape if fortran else reversed(shape):
        out.append(step)
        step *= max(size, 1)
    return tuple(out) if fortran else tuple(reversed(out))


def check_view(storage: StorageRef, offset: object, shape: object, stride: object, limits: Limits) -> TensorRef:
    """A tensor over a storage, if the one lies within the other and within the limits.

    Raises:
        WeightsError: not whole numbers, outside its storage, or larger than the limits.
    """
    size, step = _whole(shape), _whole(stride)
    if size is None or step is None or len(size) != len(step) or not _is_count(offset):
        raise WeightsError("declares a tensor whose shape is not made of whole numbers")
    assert isinstance(offset, int)
    if len(size) > limits.dimensions:
        raise WeightsError(f"declares a tensor of {len(size)} dimensions; at most {limits.dimensions} are read")
    need = product(size) * storage.itemsize
    if need > limits.total_bytes:
        raise WeightsError(
            f"declares a tensor of {megabytes(need)}; at most {megabytes(limits.total_bytes)} are read"
        )
    last = offset + sum((n - 1) * s for n, s in zip(size, step, strict=True)) if product(size) else 0
    if product(size) and last >= storage.numel:
        raise WeightsError(
            f"declares a tensor that reaches to value {last} of a storage with {storage.numel} values"
        )
    return TensorRef(storage, offset, size, step)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _whole(values: object) -> tuple[int, ...] | None:
    if not isinstance(values, tuple | list) or not all(_is_count(v) for v in values):
        return None
    return tuple(values)
