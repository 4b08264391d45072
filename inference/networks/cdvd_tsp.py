"""CDVD-TSP: five consecutive blurry frames give the sharp middle one. It uses no events.

J. Pan, H. Bai, J. Tang, Cascaded Deep Video Deblurring Using Temporal Sharpness Prior, CVPR 2020,
arXiv 2004.02501. The neighbours of a frame are aligned to it by optical flow; a map says where they agree,
that is where the frame is probably sharp; an encoder-decoder restores the frame. Done for the three inner
frames, then once more on the three results, all with the same weights.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks.blocks import PictureConv, in_float32, require_multiple, residual, widened
from inference.networks.pwc import FlowNet
from inference.networks.warping import backward_warp, warp_coverage


def box_mean(x: Tensor) -> Tensor:
    """5×5 mean of each channel; outside counts as zero, so the border gets darker."""
    return F.avg_pool2d(x, 5, stride=1, padding=2)


def sharpness_prior(
    previous: Tensor,
    centre: Tensor,
    following: Tensor,
    previous_mask: Tensor,
    following_mask: Tensor,
    mean_filter: bool = True,
) -> Tensor:
    """Where the aligned neighbours agree with the centre frame; gives no gradient.

    `exp(−√(½ Σ_channels (box(previous − centre)² + box(following − centre)²)))`, zero outside the masks. The
    root and the filter before the difference are the published code's, not the paper's.

    Args:
        previous, centre, following: (N, 3, H, W), the neighbours aligned to the centre.
        previous_mask, following_mask: (N, 1, H, W) of 0 and 1.
        mean_filter: apply the 5×5 mean.

    Returns:
        (N, 1, H, W) in 0…1.
    """
    with torch.no_grad():
        # The mean is linear: it is taken of the differences.
        differences = (previous - centre, following - centre)
        if mean_filter:
            differences = (box_mean(differences[0]), box_mean(differences[1]))
        before, after = (d.square().sum(1, keepdim=True) for d in differences)
        return torch.exp(-((before + after) * 0.5).sqrt()) * previous_mask * following_mask


def align(frame: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """A frame seen from another one's pixels, zero where it does not reach.

    Args:
        frame: (N, 3, H, W).
        flow: (N, 2, H, W) in pixels, from the other frame to this one.

    Returns:
        the warped frame (N, 3, H, W) and its mask (N, 1, H, W) of 0 and 1.
    """
    mask = (warp_coverage(flow.detach()) >= 0.999).to(frame.dtype)
    return backward_warp(frame, flow, "border") * mask, mask


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 5, padding=2)
        self.conv2 = nn.Conv2d(channels, channels, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return residual(x, self.conv1, self.conv2)


def _blocks(channels: int, count: int) -> list[nn.Module]:
    return [_Residual(channels) for _ in range(count)]


def _enter(inside: int, outside: int, stride: int, count: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 5, stride=stride, padding=2)
    return nn.Sequential(nn.Sequential(conv, nn.ReLU(inplace=True)), *_blocks(outside, count))


def _double(inside: int, outside: int, count: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(inside, outside, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(*_blocks(inside, count), nn.Sequential(conv, nn.ReLU(inplace=True)))


class RestorationNet(nn.Module):
    """Encoder-decoder with skips that are added: (N, inside, H, W) gives (N, outside, H, W)."""

    def __init__(self, inside: int, outside: int, width: int, count: int) -> None:
        super().__init__()
        self.inBlock = _enter(inside, width, 1, count)
        self.encoder_first = _enter(width, 2 * width, 2, count)
        self.encoder_second = _enter(2 * width, 4 * width, 2, count)
        self.decoder_second = _double(4 * width, 2 * width, count)
        self.decoder_first = _double(2 * width, width, count)
        self.outBlock = nn.Sequential(*_blocks(width, count), PictureConv(width, outside, 5, padding=2))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        full = self.inBlock(x)
        half = self.encoder_first(full)
        out: Tensor = self.decoder_second(self.encoder_second(half))
        out = self.decoder_first(out + half)
        restored: Tensor = self.outBlock(out + full)
        return restored


class Known(NamedTuple):
    """A frame (N, 3, H, W) and its flow features, which serve every triple that the frame is part of."""

    frame: Tensor
    pyramid: list[Tensor]


class CDVDTSP(nn.Module):
    """CDVD-TSP with the entry names of the published checkpoints.

    Args:
        in_channels, out_channels: 3; the flow network takes nothing else.
        n_sequence: 5; nothing else was published.
        n_resblock: residual blocks a stage.
        n_feat: channels of the finest scale.
        is_mask_filter: mean filter in the sharpness prior.

    Shapes and ranges of `forward`:
        frames: (N, 5, 3, H, W) in 0…1, **RGB**, in order of time, H and W multiples of 4.
        Gives `(recons_1, recons_2, recons_3, out)`, each (N, 3, H, W), not clipped: the first stage's frames
        1, 2, 3 and the result for frame 2.

    A stream need not compute everything anew: the first stage's result for a frame is the same wherever it
    stands in the window. `know` a frame once, `restore` one triple of frames and one triple of first-stage
    results for each new frame: half the work, the same bits.

    Under autocast only the restoration network runs in the narrower type, up to its last layer. Flow, warps,
    their thresholds and the prior stay in float32: 500 pixels from the origin float16 places a sample to a
    quarter of a pixel.
    """

    def __init__(
        self,
        in_channels: int = 3,
        n_sequence: int = 5,
        out_channels: int = 3,
        n_resblock: int = 3,
        n_feat: int = 32,
        is_mask_filter: bool = True,
    ) -> None:
        super().__init__()
        if (in_channels, out_channels, n_sequence) != (3, 3, 5):
            raise ValueError("only in_channels=3, out_channels=3, n_sequence=5 were ever published")
        self.mean_filter = is_mask_filter
        self.flow_net = FlowNet()
        self.recons_net = RestorationNet(3 * in_channels + 1, out_channels, n_feat, n_resblock)

    def know(self, frame: Tensor) -> Known:
        """A frame (N, 3, H, W) with its flow features, in float32."""
        with in_float32(frame):
            return Known(widened(frame), self.flow_net.pyramid(widened(frame)))

    def flow(self, centre: Known, neighbour: Known) -> Tensor:
        """(N, 2, H, W): for each pixel of the centre where to look in the neighbour, in pixels."""
        height, width = centre.frame.shape[-2:]
        with in_float32(centre.frame):
            out: Tensor = self.flow_net(centre.pyramid, neighbour.pyramid, (height, width))
            return out

    def restore(self, previous: Known, centre: Known, following: Known) -> Tensor:
        """The centre of three frames, or of three first-stage results, (N, 3, H, W), not clipped."""
        # Both flows in one pass: they share the reference.
        n = len(centre.frame)
        twice = Known(torch.cat([centre.frame] * 2), [torch.cat([m, m]) for m in centre.pyramid])
        pyramids = zip(previous.pyramid, following.pyramid, strict=True)
        both = Known(torch.cat([previous.frame, following.frame]), [torch.cat(pair) for pair in pyramids])
        with in_float32(centre.frame):
            warped, mask = align(both.frame, self.flow(twice, both))
            before, after = warped[:n], warped[n:]
            prior = sharpness_prior(before, centre.frame, after, mask[:n], mask[n:], self.mean_filter)
        out: Tensor = self.recons_net(torch.cat([before, centre.frame, after, prior], dim=1))
        return out

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both stages; see the class."""
        if frames.ndim != 5 or frames.shape[1:3] != (5, 3):
            raise ValueError(f"CDVD-TSP takes frames of the shape (N, 5, 3, H, W), not {tuple(frames.shape)}")
        require_multiple(frames, 4, "CDVD-TSP")
        a, b, c, d, e = (self.know(frame) for frame in frames.unbind(1))
        first = [self.restore(a, b, c), self.restore(b, c, d), self.restore(c, d, e)]
        out = self.restore(*(self.know(frame) for frame in first))
        return first[0], first[1], first[2], out
