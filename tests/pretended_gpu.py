"""A GPU that is not there: tensors say that they lie on one, and are computed on the CPU.

What a GPU refuses is refused here as well: operations on tensors of two devices (a single number may come
from the CPU), a tensor of the CPU indexed from the GPU, numpy's view of what lies there. So a whole restorer
can run as on a GPU on a machine without one. How fast a GPU is, and what its own kernels and number types do
to the values, only a GPU shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

try:
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
except ImportError:
    pytest.skip("this PyTorch cannot be given a device from Python", allow_module_level=True)

_NAME = "pretended"
_CPU = torch.device("cpu")
# Between devices on purpose.
_MOVES = {"aten::_to_copy", "aten::to", "aten::copy_"}
_WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal"}
# Indices may lie on the CPU: they are taken along.
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


def pretended_gpu() -> torch.device:
    """The device; from the first call on it exists in this process."""
    try:
        return torch.device(_NAME, 0)
    except RuntimeError:
        _setup_privateuseone_for_python_backend(_NAME)
        module = getattr(torch, _NAME)
        module.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]
        # Whatever else runs in this process (random states are kept of all devices) need not know of it.
        module.is_available, module.device_count = lambda: False, lambda: 0
        return torch.device(_NAME, 0)


class There(Tensor):
    """A tensor on the pretended GPU; `inner` has its values."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> There:
        """Of a tensor on the CPU; both share their memory."""
        made: There = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=pretended_gpu(), requires_grad=inner.requires_grad,
        )  # fmt: skip
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every operation on such a tensor comes here."""
        return _computed(func, args, kwargs or {})


class PretendedGpu(TorchDispatchMode):
    """Inside, tensors can be made on the device and brought to it."""

    recording = False
    """While a graph is recorded: nothing may come from the host, nothing may be asked back."""

    def __enter__(self) -> Any:
        # `torch.tensor(…, device=…)` is then seen as a tensor on the CPU and its way to the device.
        self._before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *why: Any) -> None:
        super().__exit__(*why)
        torch._C._set_only_lift_cpu_tensors(self._before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every operation comes here."""
        if self.recording:
            _check_recorded(func, args, kwargs or {})
        return _computed(func, args, kwargs or {})

    def capture(self, run: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        """As `inference.restorers.compiling.on_cuda`."""
        run()  # what is made once and kept is made here

        def again() -> Tensor:
            self.recording = True
            try:
                return run()
            finally:
                self.recording = False

        result = again()

        def replay() -> None:
            with torch.inference_mode():
                result.copy_(again())

        return result, replay


def _check_recorded(func: Any, args: Any, kwargs: dict[str, Any]) -> None:
    name = func._schema.name
    assert name not in ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal"), (
        f"{name} waits for the device"
    )
    if name in _MOVES:
        to = kwargs.get("device")
        there = isinstance(args[0], There)
        other = isinstance(args[1], There) if name == "aten::copy_" else to is None or to.type == _NAME
        both_here = not there and (not other or to is None)
        assert both_here or (there and other), f"{name} between host and device"


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do one operation on the CPU, for the device that it is asked of."""
    name = func._schema.name
    leaves = tree_leaves((args, kwargs))
    tensors = [t for t in leaves if isinstance(t, Tensor)]
    there = any(isinstance(t, There) for t in tensors)
    if name == "aten::_has_compatible_shallow_copy_type":
        return len({isinstance(t, There) for t in tensors}) == 1
    if name not in _MOVES:
        _check_devices(name, tensors)
    devices = [d for d in leaves if isinstance(d, torch.device)]
    if devices:
        there = devices[0].type == _NAME
    elif name == "aten::copy_":
        there = isinstance(args[0], There)
    known = {id(t.inner): t for t in tensors if isinstance(t, There)}

    def bare(x: Any) -> Any:
        return x.inner if isinstance(x, There) else _CPU if isinstance(x, torch.device) else x

    out = func(*tree_map(bare, args), **tree_map(bare, {k: v for k, v in kwargs.items() if k != "pin_memory"}))
    if name in ("aten::_to_copy", "aten::to") and there != isinstance(args[0], There):
        # Another device has memory of its own; on the CPU nothing was copied where the type is the same.
        out = out.clone()
    if not there:
        return out

    def placed(x: Any) -> Any:
        return known[id(x)] if id(x) in known else There(x) if isinstance(x, Tensor) else x

    # A view of what was made outside of inference mode is no inference tensor either.
    viewed = func.is_view and not tensors[0].is_inference()
    with torch.inference_mode(torch.is_inference_mode_enabled() and not viewed):
        return tree_map(placed, out)


def _check_devices(name: str, tensors: list[Tensor]) -> None:
    there = [isinstance(t, There) for t in tensors]
    if name in _INDEXING:
        assert there[0] or not any(there), f"{name}: a tensor on the CPU, indexed from the GPU"
        return
    beside = [t for t, yes in zip(tensors, there, strict=True) if t.ndim and not yes]
    assert not any(there) or not beside, f"{name}: {tuple(beside[0].shape)} lie on the CPU, others on the GPU"
