"""EFNet: one blurry picture and the events of its exposure give the sharp picture of the exposure's middle.

L. Sun et al., Event-Based Fusion for Motion Deblurring with Cross-modal Attention, ECCV 2022,
arXiv 2112.00167. Two encoder-decoders in a row, after HINet and MPRNet. In the first, the picture's features
query the events' features at each of three scales; the second gets features of the first through a
connection that the event mask gates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks import kernels
from inference.networks.blocks import (
    StackedConv,
    add_pointwise,
    picture_of_pixels,
    pixel_runs,
    require_multiple,
)
from inference.networks.convolving import BiasedConv, bias_of, served, unbiased


def _conv3(inside: int, outside: int) -> nn.Conv2d:
    return BiasedConv(inside, outside, 3, padding=1)


class _Residual(nn.Module):
    """`lrelu(conv_2(lrelu(conv_1(x)))) + identity(x)`: the activation stands before the sum.

    x may come in parts that stand for their concatenation.
    """

    def __init__(self, inside: int, outside: int, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.identity = StackedConv(inside, outside, 1)
        self.conv_1 = StackedConv(inside, outside, 3, padding=1)
        self.conv_2 = _conv3(outside, outside)

    def features(self, *parts: Tensor) -> Tensor:
        if served(self, self.conv_2.out_channels, *parts):
            from inference.networks.kernels.finish import finished

            hidden = finished(unbiased(self.conv_1, *parts), bias_of(self.conv_1), self.slope)
            own, bias = unbiased(self.conv_2, hidden), bias_of(self.conv_2)
            return finished(own, bias, self.slope, unbiased(self.identity, *parts), bias_of(self.identity))
        hidden = F.leaky_relu_(self.conv_1(*parts), self.slope)
        return add_pointwise(F.leaky_relu_(self.conv_2(hidden), self.slope), self.identity, *parts)

    def forward(self, *parts: Tensor) -> Tensor:
        return self.features(*parts)


def _downsample(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 4, stride=2, padding=1, bias=False)


def _normalised(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """`norm(x)` over the last axis; where a kernel serves, in x's number type, autocast or not."""
    fits = kernels.rows_fit(x.shape[-1]) and x.dtype in kernels.TYPES
    if fits and kernels.serve(x, norm.weight, norm.bias):
        from inference.networks.kernels.layer_norm import layer_norm

        return layer_norm(x, norm.weight, norm.bias, norm.eps)
    out: Tensor = norm(x)
    return out


class _LayerNorm(nn.Module):
    """Normalises the last axis, the channels; the published entries sit under `body`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.LayerNorm(channels, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return _normalised(self.body, x)


class _ChannelAttention(nn.Module):
    """Picture channels ask event channels; the products run over the whole picture.

    Values, attention and last projection act on the channels of one pixel alone, so they are joined to one
    C×C matrix per sample before they meet the pixels. Neither is anything else of the picture's size needed:
    norms and products are sums over pixels, taken run by run.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = nn.Conv2d(channels, channels, 1, bias=False)
        self.k = nn.Conv2d(channels, channels, 1, bias=False)
        self.v = nn.Conv2d(channels, channels, 1, bias=False)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, image: Tensor, event: Tensor, of_image: nn.Module, of_event: nn.Module) -> Tensor:
        """What the events say to each channel of the picture.

        Args:
            image, event: (N, C, H, W).
            of_image, of_event: their normalisations, over the last axis.

        Returns:
            (N, C, H, W).
        """
        n, c = image.shape[:2]
        events = [of_event(run) for run in pixel_runs(event)]
        cosines = self._cosines([of_image(run) for run in pixel_runs(image)], events)
        attention = (cosines * self.temperature).softmax(dim=-1)
        values = self.v.weight.view(self.heads, c // self.heads, c)
        joined = self.project_out.weight.view(c, c) @ (attention @ values).view(n, c, c)
        joined = joined.transpose(1, 2).unsqueeze(1)
        return picture_of_pixels([run @ joined for run in events])

    def _cosines(self, image: Sequence[Tensor], event: Sequence[Tensor]) -> Tensor:
        """(N, heads, C/heads, C/heads) float32: how alike each query channel is to each key channel.

        Args:
            image, event: runs of pixels, (N, rows, W, C) each.
        """
        product = squares_q = squares_k = torch.zeros((), device=self.temperature.device)
        for of_image, of_event in zip(image, event, strict=True):
            q, length_q, shrink_q = self._bounded(self.q, of_image)
            k, length_k, shrink_k = self._bounded(self.k, of_event)
            squares_q = squares_q + length_q.square().sum(1)
            squares_k = squares_k + length_k.square().sum(1)
            rows = (q.transpose(-2, -1) @ k).float() / (shrink_q.transpose(-2, -1) * shrink_k)
            product = product + rows.sum(1)
        length_q = squares_q.sqrt().clamp_min(1e-12).transpose(-2, -1)
        return product / length_q / squares_k.sqrt().clamp_min(1e-12)

    def _bounded(self, projection: nn.Module, run: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A run's queries or keys, shrunk so that no sum over a row of pixels leaves float16's range.

        The factor is a power of two: what it does can be undone without rounding, so in float32 it changes
        nothing. A row is a matrix product of its own, which keeps a GPU busy where one product over all pixels
        would not.

        Returns:
            (N, rows, heads, W, C/heads) of at most length 1 along W; the lengths before, and the factor, both
            (N, rows, heads, 1, C/heads) in float32.
        """
        c = run.shape[-1]
        x = F.linear(run, projection.get_parameter("weight").view(c, c))
        x = x.view(*run.shape[:-1], self.heads, -1).transpose(2, 3)
        length = torch.linalg.vector_norm(x, dim=3, keepdim=True, dtype=torch.float32)
        with torch.no_grad():
            # float16 holds powers of two down to 2^-24.
            shrink = torch.exp2(-length.clamp(1, 2**24).log2().ceil())
        return x * shrink.to(x.dtype), length, shrink


class _FeedForward(nn.Module):
    """C → 4C → C for each pixel, with the exact GELU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class _EventImageAttention(nn.Module):
    """EICA: event-image channel attention, then a feed-forward step, both residual."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1_image = _LayerNorm(channels)
        self.norm1_event = _LayerNorm(channels)
        self.attn = _ChannelAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-5)
        self.ffn = _FeedForward(channels)

    def forward(self, image: Tensor, event: Tensor) -> Tensor:
        """(N, C, H, W) each give (N, C, H, W)."""
        told = self.attn(image, event, self.norm1_image, self.norm1_event)
        out = []
        # The widened features of a whole picture would not stay in a cache.
        for own, more in zip(pixel_runs(image), pixel_runs(told), strict=True):
            x = own + more
            out.append(x + self.ffn(_normalised(self.norm2, x)))
        return picture_of_pixels(out)


class _EventDown(_Residual):
    """One scale of the event encoder: (what goes down or None, what the attention reads)."""

    def __init__(self, inside: int, outside: int, slope: float, down: bool) -> None:
        super().__init__(inside, outside, slope)
        self.conv_before_merge = BiasedConv(outside, outside, 1)
        self.downsample = _downsample(outside) if down else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor] | Tensor:  # type: ignore[override]
        out = self.features(x)
        merged: Tensor = self.conv_before_merge(out)
        return merged if self.downsample is None else (self.downsample(out), merged)


class _FirstDown(_Residual):
    """One scale of the first encoder, where the picture meets the events."""

    def __init__(self, inside: int, outside: int, slope: float, down: bool, heads: int) -> None:
        super().__init__(inside, outside, slope)
        self.downsample = _downsample(outside) if down else None
        self.image_event_transformer = _EventImageAttention(outside, heads)

    def forward(self, x: Tensor, event: Tensor) -> tuple[Tensor, Tensor] | Tensor:  # type: ignore[override]
        out: Tensor = self.image_event_transformer(self.features(x), event)
        return out if self.downsample is None else (self.downsample(out), out)


class _SecondDown(_Residual):
    """One scale of the second encoder, with the mask-gated connection (EMGC) from the first stage."""

    def __init__(self, inside: int, outside: int, slope: float, down: bool) -> None:
        super().__init__(inside, outside, slope)
        if down:
            self.emgc_enc = _conv3(outside, outside)
            self.emgc_dec = _conv3(outside, outside)
            self.emgc_enc_mask = _conv3(outside, outside)
            self.emgc_dec_mask = _conv3(outside, outside)
        self.downsample = _downsample(outside) if down else None

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        encoded: Tensor | None = None,
        decoded: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor] | Tensor:
        out = self.features(x)
        if self.downsample is None:
            return out
        if mask is not None and encoded is not None and decoded is not None:
            out = self._gated(encoded, decoded, mask.to(encoded.dtype), out)
        return self.downsample(out), out

    def _gated(self, encoded: Tensor, decoded: Tensor, mask: Tensor, features: Tensor) -> Tensor:
        gates = {
            self.emgc_enc: encoded, self.emgc_enc_mask: (1 - mask) * encoded,
            self.emgc_dec: decoded, self.emgc_dec_mask: mask * decoded,
        }  # fmt: skip
        if served(self, features.shape[1], encoded, decoded, features):
            from inference.networks.kernels.finish import finished

            sums = [unbiased(gate, x)[0] for gate, x in gates.items()]
            bias = torch.stack([bias_of(gate) for gate in gates]).sum(0)
            return finished(sums, bias, behind=[features])
        out: Tensor | None = None
        for gate, x in gates.items():
            out = gate(x) if out is None else out.add_(gate(x))
        assert out is not None
        return out.add_(features)


class _Up(nn.Module):
    """Doubles the size, joins the skip, halves the channels."""

    def __init__(self, inside: int, outside: int, slope: float) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inside, outside, 2, stride=2)
        self.conv_block = _Residual(inside, outside, slope)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.conv_block(self._up(x), skip)
        return out

    def _up(self, x: Tensor) -> Tensor:
        if served(self.up, self.up.out_channels, x):
            from inference.networks.kernels.finish import finished

            return finished([F.conv_transpose2d(x, self.up.weight, None, self.up.stride)], bias_of(self.up))
        out: Tensor = self.up(x)
        return out


class _SupervisedAttention(nn.Module):
    """Makes the first picture and hands on the features that it gates (after MPRNet)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv3(channels, channels)
        self.conv2 = _conv3(channels, 3)
        self.conv3 = _conv3(3, channels)

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, C, H, W) and picture (N, 3, H, W) give the gated features and the first estimate."""
        estimate = self.conv2(x) + image
        return torch.addcmul(x, self.conv1(x), self.conv3(estimate).sigmoid_()), estimate


class EFNet(nn.Module):
    """EFNet with the entry names of the published checkpoints.

    Args:
        in_chn: channels of the picture; only 3 exists.
        ev_chn: channels of the events: 6 (published), 7 in weights of the first release.
        wf: channels of the finest scale.
        depth: number of scales.
        fuse_before_downsample: only True exists.
        relu_slope: negative slope of the activations.
        num_heads: heads of the attention, one number a scale.

    Shapes and ranges of `forward`:
        image: (N, 3, H, W) in 0…1, H and W multiples of 2^(depth−1) (4), **BGR** for the weights published
            for GoPro and REBlur, RGB for HighREV.
        event: (N, ev_chn, H, W), SCER divided by its largest magnitude, or the normalised voxel grid.
        mask: (N, 1, H, W) of 0 and 1, or None. Without one the gated connection is left out altogether,
            which is not the same as a mask of zeros or ones.
        Gives `[first, second]`, each (N, 3, H, W), not clipped; the second is the result.

    The attention pools over the whole picture: padding and tiling change the result everywhere.
    """

    def __init__(
        self,
        in_chn: int = 3,
        ev_chn: int = 6,
        wf: int = 64,
        depth: int = 3,
        fuse_before_downsample: bool = True,
        relu_slope: float = 0.2,
        num_heads: Sequence[int] = (1, 2, 4),
    ) -> None:
        super().__init__()
        if in_chn != 3:
            raise ValueError(f"in_chn is {in_chn}; the module between the stages takes 3")
        if not fuse_before_downsample:
            raise ValueError("fuse_before_downsample is False; only True was ever published")
        if len(num_heads) != depth or min(num_heads) < 1:
            raise ValueError(f"num_heads is {list(num_heads)}; a depth of {depth} takes {depth} of 1 or more")
        self.multiple = 2 ** (depth - 1)
        widths = [wf * 2**i for i in range(depth)]
        steps = [(widths[max(i - 1, 0)], widths[i], relu_slope, i < depth - 1) for i in range(depth)]
        ups = [(widths[i + 1], widths[i], relu_slope) for i in reversed(range(depth - 1))]
        skips = [widths[i] for i in reversed(range(depth - 1))]
        self.down_path_1 = nn.ModuleList(_FirstDown(*s, h) for s, h in zip(steps, num_heads, strict=True))
        self.down_path_2 = nn.ModuleList(_SecondDown(*s) for s in steps)
        self.conv_01 = _conv3(in_chn, wf)
        self.conv_02 = _conv3(in_chn, wf)
        self.down_path_ev = nn.ModuleList(_EventDown(*s) for s in steps)
        self.conv_ev1 = _conv3(ev_chn, wf)
        self.up_path_1 = nn.ModuleList(_Up(*u) for u in ups)
        self.up_path_2 = nn.ModuleList(_Up(*u) for u in ups)
        self.skip_conv_1 = nn.ModuleList(_conv3(c, c) for c in skips)
        self.skip_conv_2 = nn.ModuleList(_conv3(c, c) for c in skips)
        self.sam12 = _SupervisedAttention(wf)
        self.cat12 = StackedConv(2 * wf, wf, 1)
        self.last = _conv3(wf, 3)

    def forward(self, image: Tensor, event: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """The estimates of both stages; see the class."""
        require_multiple(image, self.multiple, "EFNet")
        encoded, decoded = self._first_stage(image, self._encode_events(event))
        gated, first = self.sam12(decoded[0], image)

        x = self.cat12(self.conv_02(image), gated)
        blocks: list[Tensor] = []
        for i, down in enumerate(self.down_path_2):
            if i == len(self.down_path_2) - 1:
                x = down(x)
                break
            gate = None if mask is None else mask[:, :, :: 2**i, :: 2**i]
            x, own = down(x, encoded[i], decoded[i], gate)
            blocks.append(own)
        for up, skip, own in zip(self.up_path_2, self.skip_conv_2, reversed(blocks), strict=True):
            x = up(x, skip(own))
        return [first, self.last(x) + image]

    def _encode_events(self, event: Tensor) -> list[Tensor]:
        """What the attention of each scale reads, finest first."""
        x, out = self.conv_ev1(event), []
        for down in self.down_path_ev[:-1]:
            x, merged = down(x)
            out.append(merged)
        return [*out, self.down_path_ev[-1](x)]

    def _first_stage(self, image: Tensor, events: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Features of the first encoder and of the first decoder, finest scale first."""
        x, encoded, decoded = self.conv_01(image), [], []
        for down, event in zip(self.down_path_1[:-1], events, strict=False):
            x, own = down(x, event)
            encoded.append(own)
        x = self.down_path_1[-1](x, events[-1])
        for up, skip, own in zip(self.up_path_1, self.skip_conv_1, reversed(encoded), strict=True):
            x = up(x, skip(own))
            decoded.append(x)
        return encoded, decoded[::-1]
