"""Convolutions in forms that cost less: the result is that of the plain one."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from inference.networks.blocks import (
    StackedConv,
    add_pointwise,
    picture_of_pixels,
    pixel_runs,
    pointwise,
)

pytestmark = pytest.mark.usefixtures("one_thread")
LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)


def _parts(layout: torch.memory_format) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    a, b = torch.rand(2, 3, 5, 7), torch.rand(2, 4, 5, 7)
    return a.contiguous(memory_format=layout), b.contiguous(memory_format=layout)


@LAYOUTS
@pytest.mark.parametrize("kernel", [1, 3])
def test_parts_stand_for_their_concatenation(kernel: int, layout: torch.memory_format) -> None:
    parts = _parts(layout)
    conv = StackedConv(7, 6, kernel, padding=kernel // 2)
    want = F.conv2d(torch.cat(parts, 1), conv.weight, conv.bias, padding=kernel // 2)
    torch.testing.assert_close(conv(*parts), want)
    conv(*parts).sum().backward()
    assert conv.weight.grad is not None
    assert list(conv.state_dict()) == ["weight", "bias"]


@LAYOUTS
@pytest.mark.parametrize("grad", [False, True])
def test_a_sum_with_a_pointwise_convolution(grad: bool, layout: torch.memory_format) -> None:
    parts = _parts(layout)
    conv = StackedConv(7, 6, 1)
    out = torch.rand(2, 6, 5, 7).contiguous(memory_format=layout)
    want = out + conv(*parts)
    with torch.set_grad_enabled(grad):
        got = add_pointwise(out.clone(memory_format=torch.preserve_format), conv, *parts)
    torch.testing.assert_close(got, want)
    if grad:
        got.sum().backward()
        assert conv.weight.grad is not None


@LAYOUTS
@pytest.mark.parametrize("bias", [False, True])
def test_rows_as_a_batch(bias: bool, layout: torch.memory_format) -> None:
    x, _ = _parts(layout)
    weight, b = torch.rand(5, 3, 1, 1), torch.rand(5) if bias else None
    torch.testing.assert_close(pointwise(x, weight, b), F.conv2d(x, weight, b))


@LAYOUTS
def test_runs_of_rows_are_the_picture(layout: torch.memory_format) -> None:
    x = torch.rand(2, 3, 300, 8).contiguous(memory_format=layout)
    with torch.inference_mode():
        runs = pixel_runs(x)
        assert len(runs) == 3
        assert torch.equal(picture_of_pixels(runs), x)
    assert len(pixel_runs(x)) == 1  # gradients want few, large steps
