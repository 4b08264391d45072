"""Values together with how far rounding may have carried them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.networks.gem_fusion import _SIGNS, _axis, _Query


@dataclass(frozen=True)
class Bounded:
    """A value, how far off one computed in half precision may be, and the sum of magnitudes behind it."""

    value: Tensor
    error: Tensor
    size: Tensor

    def rounded(self, u: float) -> Bounded:
        """Stored in a type of unit roundoff u."""
        return Bounded(self.value, self.error + u * (self.value.abs() + self.error), self.size)

    def relu(self) -> Bounded:
        """The larger of it and 0: no error grows."""
        return Bounded(self.value.relu(), self.error, self.size)

    def __add__(self, other: Bounded) -> Bounded:
        return Bounded(self.value + other.value, self.error + other.error, self.size + other.size)

    def __mul__(self, share: Tensor) -> Bounded:
        """Times something exact that is not negative."""
        return Bounded(self.value * share, self.error * share, self.size * share)


def layer(x: Bounded, weight: Tensor, bias: Tensor | None, u: float) -> Bounded:
    """(..., C) through a linear layer whose weights are rounded; x as it is."""
    weight = weight.double()
    of_bias = torch.zeros(()) if bias is None else bias.double()
    near = x.value.abs() + x.error
    return Bounded(
        x.value @ weight.t() + of_bias,
        x.error @ weight.abs().t() + u * near @ weight.abs().t(),
        x.size @ weight.abs().t() + of_bias.abs(),
    )


def queried(mlp: _Query, event: Tensor, image: Tensor, u: float) -> Bounded:
    """GEM's implicit function by its definition: the four predictions whole, then their weighed sum.

    Args:
        mlp: on the CPU.
        event, image: (N, C, h, w) and (N or 1, C, H, W).
        u: unit roundoff of stored maps and of factors; 0 for float32.

    Returns:
        (N, C, H, W).
    """
    n, c, h, w = event.shape
    height, width = image.shape[-2:]
    first, bias = mlp.imnet.entries("0")
    cells = torch.tensor([2 / height * h, 2 / width * w], dtype=torch.float64)
    cpu, exact = torch.device("cpu"), event.double().permute(0, 2, 3, 1)
    said = layer(_as_is(exact), first[:, :c], None, u).rounded(u)
    own = layer(_as_is(image.double().permute(0, 2, 3, 1)), first[:, c + 4 :], None, u).rounded(u)
    rows, columns = ([_axis(a, b, s, cpu) for s in _SIGNS] for a, b in ((h, height), (w, width)))
    areas = [(r.relative.double()[:, None] * s.relative.double()).abs() + 1e-9 for r in rows for s in columns]
    told: Bounded | None = None
    for i, (r, s) in enumerate((r, s) for r in rows for s in columns):
        place = torch.stack(
            [
                r.relative[:, None].expand(height, width), s.relative[None].expand(height, width),
                *(x.expand(height, width) for x in cells),
            ], dim=-1,
        ).double()  # fmt: skip
        by_place = place @ first[:, c : c + 4].double().t() + bias.double()
        hidden = _at(said, r.event, s.event) + _at(own, r.image, s.image)
        hidden = (hidden + Bounded(by_place, torch.zeros(()), by_place.abs())).relu()
        for index in ("2", "4"):
            hidden = layer(hidden.rounded(u), *mlp.imnet.entries(index), u).relu()
        part = hidden * (areas[3 - i] / sum(areas))[:, :, None]
        told = part if told is None else told + part
    assert told is not None
    last = layer(told.rounded(u), *mlp.imnet.entries("6"), u).rounded(u)
    return Bounded(
        *(t.expand(n, height, width, c).permute(0, 3, 1, 2) for t in (last.value, last.error, last.size))
    )


def _as_is(x: Tensor) -> Bounded:
    return Bounded(x, torch.zeros_like(x), x.abs())


def _at(x: Bounded, rows: Tensor, columns: Tensor) -> Bounded:
    return Bounded(*(t[:, rows][:, :, columns] for t in (x.value, x.error, x.size)))
