"""Half precision on a CPU, as a GPU computes it, so that what it costs can be measured without one.

A GPU's tensor cores take products of half-precision numbers, sum them in float32 and round the sum once. CPUs
do so for bfloat16, if they are new (`inference.device.multiplies_bfloat16`). For all else PyTorch's own kernels
give the same there, but need up to a hundred times the time of float32. Here such products run in float32 and
are rounded, which is the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

HALF = (torch.float16, torch.bfloat16)
# Whether a composite operation arrives whole or in parts depends on the mode in which it is called.
_PRODUCTS = frozenset({
    "convolution", "conv2d", "conv3d", "conv_transpose2d", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm",
    "scaled_dot_product_attention",
})  # fmt: skip


class WideSums(TorchDispatchMode):
    """Inside it sums of products of half-precision tensors on the CPU are taken in float32 and then rounded.

    For use beside `torch.autocast("cpu", …)`, without gradients. All other operations run as they are.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See `TorchDispatchMode`."""
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ not in _PRODUCTS:
            return func(*args, **kwargs)
        narrow = [a.dtype for a in args if isinstance(a, Tensor) and a.dtype in HALF]
        if not narrow:
            return func(*args, **kwargs)
        wide = [a.float() if isinstance(a, Tensor) and a.dtype in HALF else a for a in args]
        return func(*wide, **kwargs).to(narrow[0])
