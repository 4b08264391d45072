"""Spiking layers of the spike response model, with surrogate gradients, in plain PyTorch.

S. B. Shrestha, G. Orchard, SLAYER: Spike Layer Error Reassignment in Time, NeurIPS 2018, arXiv 1810.08646.
Written from the definitions. A bare threshold makes the result sensitive to rounding: everything here runs
in float32, without autocast and without TF32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.device import without_tf32

# Time steps that one product with the response kernel's band matrix covers.
_BLOCK = 64


@dataclass(frozen=True)
class Neuron:
    """Parameters of one layer's neurons; time is in steps.

    Attributes:
        threshold: θ, at which a neuron fires.
        tau: time constant of the response to a spike that comes in.
        tau_refractory: time constant of the response to the neuron's own spike, −θ at its peak.
        surrogate_width, surrogate_scale: of the derivative that stands for the threshold's.
    """

    threshold: float
    tau: float
    tau_refractory: float
    surrogate_width: float = 1.0
    surrogate_scale: float = 10.0


def alpha_kernel(tau: float, peak: float, steps: int = 160) -> Tensor:
    """`peak · t/τ · exp(1 − t/τ)` for t = 0, 1, …, until it is past its peak and below 0.01 in magnitude."""
    values = []
    for t in range(steps):
        value = peak * (t / tau) * math.exp(1 - t / tau)
        if t > tau and abs(value) < 0.01:
            break
        values.append(value)
    return torch.tensor(values, dtype=torch.float32)


def causal_filter(x: Tensor, kernel: Tensor) -> Tensor:
    """`y[t] = Σ_k kernel[k] · x[t − k]` along the first axis, zero before the first step; x is (T, M)."""
    steps, length = len(x), len(kernel)
    out = []
    for start in range(0, steps, _BLOCK):
        stop, first = min(start + _BLOCK, steps), max(0, start - length + 1)
        lag = torch.arange(start, stop, device=x.device)[:, None] - torch.arange(first, stop, device=x.device)
        band = kernel[lag.clamp(0, length - 1)] * ((lag >= 0) & (lag < length))
        out.append(band @ x[first:stop])
    return torch.cat(out) if len(out) > 1 else out[0]


class _Fire(torch.autograd.Function):
    """Threshold with refractory response; the gradient is the surrogate's."""

    @staticmethod
    def forward(ctx: Any, potential: Tensor, refractory: Tensor, neuron: Neuron) -> Tensor:
        u = potential.clone()
        spikes = torch.zeros_like(u)
        look = u.device.type == "cpu"  # elsewhere the question costs more than the work it saves
        for t in range(len(u)):
            fired = u[t] >= neuron.threshold
            if look and not fired.any():
                continue
            spikes[t] = fired
            # The membrane is not reset: the refractory response pulls it down from the next step on.
            later = u[t : t + len(refractory)]
            later.add_(refractory[: len(later), None] * spikes[t])
        ctx.save_for_backward(u)
        ctx.neuron = neuron
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        neuron: Neuron = ctx.neuron
        unit = neuron.surrogate_width * neuron.threshold
        slope = (neuron.surrogate_scale / unit) * torch.exp(-(u - neuron.threshold).abs() / unit)
        return gradients[0] * slope, None, None


class SpikeLayer(nn.Module):
    """The constants of one layer of neurons, kept as buffers under their published names."""

    srmKernel: Tensor
    refKernel: Tensor

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron
        for name, kernel in self._kernels().items():
            self.register_buffer(name, kernel)

    def _kernels(self) -> dict[str, Tensor]:
        neuron = self.neuron
        response = alpha_kernel(neuron.tau, 1.0)
        return {"srmKernel": response, "refKernel": alpha_kernel(neuron.tau_refractory, -neuron.threshold)}

    def respond(self, x: Tensor) -> Tensor:
        """Spikes (T, M) that come in give the potentials that they cause (T, M)."""
        return causal_filter(x, self.srmKernel)

    def fire(self, potential: Tensor) -> Tensor:
        """Potentials (T, M) give spikes of 0 and 1 (T, M)."""
        spikes: Tensor = _Fire.apply(potential, self.refKernel, self.neuron)  # type: ignore[no-untyped-call]
        return spikes

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # The kernels follow from the neuron; a file without them, or with a series cut off elsewhere, is fine.
        kept = dict(state_dict)
        for name, kernel in self._kernels().items():
            if prefix + name not in kept or kept[prefix + name].shape != kernel.shape:
                kept[prefix + name] = kernel
        super()._load_from_state_dict(kept, prefix, *rest)


class SpikingStage(nn.Module):
    """SC-Net's spiking stage: respond, convolve, fire, twice. No state is kept between calls.

    The parameters are those of the first two layers of EventSR's network (ICCV 2021). A third layer's
    constants are part of the checkpoint and take no part.

    Args:
        channels: in, between and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.slayer1 = SpikeLayer(Neuron(30, 1, 1))
        self.slayer2 = SpikeLayer(Neuron(50, 2, 2))
        self.slayer3 = SpikeLayer(Neuron(100, 4, 4, surrogate_width=10, surrogate_scale=100))
        self.conv1 = nn.Conv3d(channels, channels, (5, 5, 1), padding=(2, 2, 0), bias=False)
        self.conv2 = nn.Conv3d(channels, channels, (3, 3, 1), padding=(1, 1, 0), bias=False)
        with torch.no_grad():
            # PyTorch's own weights never reach the second threshold.
            self.conv1.weight.mul_(100)
            self.conv2.weight.mul_(100)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W, T) of counts or spikes gives spikes of the same shape."""
        n, c, h, w, steps = x.shape
        device = x.device.type
        with torch.autocast(device, enabled=False), without_tf32():
            # Time first: a step is then one block of memory, and one batch entry for the convolutions.
            s = x.float().permute(4, 0, 1, 2, 3).reshape(steps, -1)
            for layer, conv in ((self.slayer1, self.conv1), (self.slayer2, self.conv2)):
                maps = layer.respond(s).view(steps * n, c, h, w)
                weight = conv.weight[..., 0]
                s = layer.fire(F.conv2d(maps, weight, padding=weight.shape[-1] // 2).reshape(steps, -1))
        return s.view(steps, n, c, h, w).permute(1, 2, 3, 4, 0)
