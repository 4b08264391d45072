"""SC-Net and STRA: a blurry picture, event counts of three windows and a recurrent feature.

C. Cao, X. Fu, Y. Zhu, Z. Sun, Z.-J. Zha, Event-driven Video Restoration with Spiking-Convolutional
Architecture, IEEE TNNLS 2023, DOI 10.1109/TNNLS.2023.3329741. Without the spiking stage it is STRA: C. Cao et
al., Event-driven Video Deblurring via Spatio-Temporal Relation-Aware Network, IJCAI 2022. The picture's path
is a small MIMO-UNet (S.-J. Cho et al., ICCV 2021, arXiv 2108.05054).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks.blocks import in_float32, require_multiple, residual, widened
from inference.networks.spiking import SpikingStage

Spiking = Literal["clip", "window", "off"]

# Clips of this many frames are what the published spiking stage can take.
_CLIP = 8
_MAPS = 6
# The fusion works on every fourth pixel.
_STEP = 4


class _Conv(nn.Module):
    """A convolution at `main.0`, with ReLU behind it or without."""

    def __init__(
        self,
        inside: int,
        outside: int,
        kernel: int,
        stride: int = 1,
        relu: bool = True,
        transpose: bool = False,
    ) -> None:
        super().__init__()
        self.relu = relu
        padding = kernel // 2 - 1 if transpose else kernel // 2
        kind = nn.ConvTranspose2d if transpose else nn.Conv2d
        self.main = nn.Sequential(kind(inside, outside, kernel, stride=stride, padding=padding))

    @property
    def weight(self) -> Tensor:
        """Of the convolution."""
        return self.main.get_parameter("0.weight")

    @property
    def bias(self) -> Tensor:
        """Of the convolution."""
        return self.main.get_parameter("0.bias")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.main(x)
        return F.relu_(out) if self.relu else out


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.ModuleList([_Conv(channels, channels, 3, relu=False) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        return residual(x, self.main[0], self.main[1])


class _Blocks(nn.Module):
    """Residual blocks in a row."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_Residual(channels) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Each query pixel's mean of the values, weighed by softmax(qᵀk) over all key pixels, without scaling.

    Args:
        query: (N, C, h, w); key, value: (N, C, H, W).

    Returns:
        (N, C, h, w), float32 at least: exponents without scaling bear no rounding. Memory grows with the number
        of pixels, not with its square.
    """
    n, c, h, w = query.shape
    # Contiguous channels: anything else falls back to a kernel that stores the whole matrix.
    given = map(widened, (query, key, value))
    q, k, v = (x.permute(0, 2, 3, 1).reshape(n, 1, -1, c).contiguous() for x in given)
    with in_float32(query):
        out = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    return out.view(n, h, w, c).permute(0, 3, 1, 2)


class _Relation(nn.Module):
    """Entries that both kinds of relation block hold; which of them take part is theirs to say."""

    def __init__(self, channels: int, event_inside: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.value_conv = nn.Sequential(_Conv(channels, channels, 1))
        self.key_conv = nn.Sequential(_Conv(channels, channels, 1))
        self.query_conv = nn.Sequential(_Conv(channels, channels, 1))
        self.event_feature_extract = nn.ModuleList(
            [_Conv(event_inside, channels, 1), _Conv(channels, channels, 1)]
        )
        self.x_feature_extract = nn.ModuleList([_Conv(3 * channels, channels, 1), _Conv(channels, channels, 1)])


class TemporalBlock(_Relation):
    """What the current window's events are, given the previous and the next window's (TMB).

    Args:
        channels: of the result.
        theta: θ_t, the weight of the attention; 1e-4 in the published code, which makes it almost without
            effect.
        attention: False leaves the attention out.
    """

    def __init__(self, channels: int, theta: float = 1e-4, attention: bool = True) -> None:
        super().__init__(channels, 2 * channels)
        self.theta = theta
        self.attention = attention
        self.conv_neighbor = _Conv(4, 2 * channels, 1)
        self.conv_pro_key = _Conv(channels, channels, 1)
        self.conv_pro_val = _Conv(channels, channels, 1)
        self.conv_lat_key = _Conv(channels, channels, 1)
        self.conv_lat_val = _Conv(channels, channels, 1)
        self.conv_now1 = _Conv(2, channels, 1)
        self.conv_tmp1 = _Conv(2 * channels, channels, 1)
        self.conv_tmp2 = _Conv(2 * channels, channels, 1)
        self.conv_now_key = _Conv(channels, channels, 1)
        self.conv_now_val = _Conv(channels, channels, 1)

    def forward(self, events: Tensor, step: int = 1) -> Tensor:
        """The features at every `step`-th pixel, beginning with the first.

        Every layer looks at one pixel, but for the attention, which looks at all: the pixels that nobody
        asks for need not be computed.

        Args:
            events: (N, 6, H, W): previous −, +, current −, +, next −, +.
            step: 1 for all pixels.

        Returns:
            (N, C, ⌈H/step⌉, ⌈W/step⌉).
        """
        now, asked = events[:, 2:4], events[:, :, ::step, ::step]
        values: Tensor = self.conv_now_val(self.conv_now1(asked[:, 2:4]))
        if not self.attention:
            return values
        neighbours = torch.cat([events[:, 0:2], events[:, 4:6]], dim=1)
        channels = values.shape[1]
        asked_keys = self.conv_neighbor(neighbours[:, :, ::step, ::step])[:, :channels]
        others = self.conv_neighbor(neighbours)[:, channels:]
        query = self._join(self.conv_pro_key(asked_keys), self.conv_lat_key(asked_keys))
        value = self._join(self.conv_pro_val(others), self.conv_lat_val(others))
        key = self.key_conv(self.conv_now_key(self.conv_now1(now)))
        attended = _attend(self.query_conv(query), key, self.value_conv(value))
        return self.theta * attended + values

    def _join(self, previous: Tensor, following: Tensor) -> Tensor:
        # conv_tmp1 serves keys and values alike; conv_tmp2 exists and takes no part.
        out: Tensor = self.conv_tmp1(torch.cat([previous, following], dim=1))
        return out


class _Fusion(_Relation):
    """The picture's features ask the events' (SFB), at every fourth pixel."""

    def __init__(self, channels: int, event_inside: int, theta: float) -> None:
        super().__init__(channels, event_inside)
        self.theta = theta

    def forward(self, full: Tensor, half: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the picture (N, C, H, W), (N, 2C, H/2, W/2), and of the events (N, ·, H/4, W/4).

        Returns:
            fused features (N, C, H, W), and the event feature at every fourth pixel (N, C, H/4, W/4).
        """
        x = self._entry(full, half)
        asked = self.x_feature_extract[1](x[:, :, ::_STEP, ::_STEP])
        known = self.event_feature_extract[1](self.event_feature_extract[0](events))
        attended = _attend(self.query_conv(asked), self.key_conv(known), self.value_conv(asked))
        spread = F.interpolate(attended * (self.theta * self.gamma), scale_factor=_STEP, mode="nearest")
        return spread + x, known

    def _entry(self, full: Tensor, half: Tensor) -> Tensor:
        # A 1×1 convolution of [full, repeated half] may look at the half before it is repeated.
        conv = self.x_feature_extract[0]
        assert isinstance(conv, _Conv)
        channels = full.shape[1]
        coarse = F.conv2d(half, conv.weight[:, channels:])
        fine = F.conv2d(full, conv.weight[:, :channels], conv.bias)
        return F.relu_(fine + F.interpolate(coarse, scale_factor=2, mode="nearest"))


class SCNet(nn.Module):
    """SC-Net, or STRA, with the published entry names.

    No weights were ever published, and the published spiking stage does not run as it stands. Which tensor
    axes it sees is therefore an option:

    - "clip": the convention of the author's other repositories. A batch is a clip of exactly 8 frames, whose
      entries mix; the image's columns are time. This is what the parity case checks.
    - "window": our own completion for live use, any batch size, not published: each of the three event
      windows is binned into T steps, and time is time. The stage has 6 channels.
    - "off": STRA, any batch size; no `snn` entries.

    Args:
        base_channel: C, channels of the finest scale.
        num_res: residual blocks a stage.
        spiking: see above.
        theta_t: weight of the temporal attention.
        theta_s: weight of the fusion's attention; with the published 1e-3 the picture hardly depends on the
            events.
        temporal_attention: False leaves the attention between the windows out: a faster live mode, whose
            result differs by about theta_t.

    Shapes and ranges of `forward`:
        frame: (N, 9, H, W), H and W multiples of 4: **RGB** in 0…1; event counts, neither scaled nor clipped,
            negative then positive, of the previous, the current and the next window. With "window" the
            picture alone, (N, 3, H, W).
        previous: (N, C, H, W), the event feature that the call for the frame before gave, or None.
        events: only with "window", (N, 6, H, W, T), the same six maps in T time steps.
        Gives `(image, feature)`: (N, 3, H, W), not clipped, and (N, C, H, W), constant over 4×4 pixels.
    """

    def __init__(
        self,
        base_channel: int = 32,
        num_res: int = 4,
        spiking: Spiking = "clip",
        theta_t: float = 1e-4,
        theta_s: float = 1e-3,
        temporal_attention: bool = True,
    ) -> None:
        super().__init__()
        if spiking not in get_args(Spiking):
            raise ValueError(f"spiking is {spiking!r}; known are {', '.join(get_args(Spiking))}")
        c = base_channel
        self.spiking = spiking
        self.Encoder = nn.ModuleList([_Blocks(c, num_res), _Blocks(2 * c, num_res), _Blocks(2 * c, num_res)])
        self.feat_extract = nn.ModuleList(
            [
                _Conv(3, c, 3),
                _Conv(c, 2 * c, 3, stride=2),
                _Conv(2 * c, 2 * c, 3, stride=2),
                _Conv(2 * c, 2 * c, 4, stride=2, transpose=True),
                _Conv(2 * c, c, 4, stride=2, transpose=True),
                _Conv(c, 3, 3, relu=False),
            ]
        )
        self.Decoder = nn.ModuleList([_Blocks(2 * c, num_res), _Blocks(2 * c, num_res), _Blocks(c, num_res)])
        self.Convs = nn.ModuleList([_Conv(4 * c, 2 * c, 1), _Conv(2 * c, c, 1)])
        # Part of the checkpoint, of no use: ConvsOut, event_c1, event_c2.
        self.ConvsOut = nn.ModuleList([_Conv(4 * c, 3, 3, relu=False), _Conv(2 * c, 3, 3, relu=False)])
        self.event_c1 = nn.Conv2d(2, 10, 1, bias=False)
        self.event_c2 = nn.Conv2d(10, c, 1, bias=False)
        self.sfb1 = nn.ModuleList([_Fusion(c, c, theta_s)])
        self.sfb2 = nn.ModuleList([_Fusion(c, 2 * c, theta_s)])
        self.tmb = TemporalBlock(c, theta_t, temporal_attention)
        if spiking != "off":
            self.snn = SpikingStage(_CLIP if spiking == "clip" else _MAPS)

    def forward(
        self, frame: Tensor, previous: Tensor | None = None, events: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The restored picture and the event feature; see the class."""
        require_multiple(frame, _STEP, "STRA" if self.spiking == "off" else "SC-Net")
        image = frame[:, :3]
        told = self.tmb(self.event_maps(frame, events), step=_STEP)
        fuse = self.sfb1[0]
        if previous is not None:
            told = torch.cat([told, previous[:, :, ::_STEP, ::_STEP]], dim=1)
            fuse = self.sfb2[0]

        full = self.Encoder[0](self.feat_extract[0](image))
        half = self.Encoder[1](self.feat_extract[1](full))
        quarter = self.Encoder[2](self.feat_extract[2](half))
        fused, feature = fuse(full, half, told)
        z = self.feat_extract[3](self.Decoder[0](quarter))
        z = self.Convs[0](torch.cat([z, half], dim=1))
        z = self.feat_extract[4](self.Decoder[1](z))
        z = self.Convs[1](torch.cat([z, fused], dim=1))
        restored = self.feat_extract[5](self.Decoder[2](z)) + image
        return restored, F.interpolate(feature, scale_factor=_STEP, mode="nearest")

    def event_maps(self, frame: Tensor, events: Tensor | None = None) -> Tensor:
        """What the temporal block gets: (N, 6, H, W), the counts themselves or the spiking stage's spikes.

        Raises:
            ValueError: what the chosen form of the stage cannot take.
        """
        if self.spiking == "window":
            if frame.shape[1] != 3 or events is None or events.ndim != 5 or events.shape[1] != _MAPS:
                raise ValueError("SC-Net with spiking='window' takes (N, 3, H, W) and events (N, 6, H, W, T)")
            spikes: Tensor = self.snn(events)
            return spikes.sum(-1).to(frame.dtype)
        if frame.shape[1] != 3 + _MAPS or events is not None:
            raise ValueError(f"takes 9 channels, RGB and six event maps, in one tensor, not {frame.shape[1]}")
        counts = frame[:, 3:]
        if self.spiking == "off":
            return counts
        if len(frame) != _CLIP:
            raise ValueError(f"SC-Net with spiking='clip' takes a clip of exactly 8 frames, not {len(frame)}")
        clip: Tensor = self.snn(counts[None])[0]
        return clip.to(frame.dtype)
