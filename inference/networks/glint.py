"""glint: Halfmirror's own network, a small residual U-Net on top of the event-based double integral.

Input is the blurred frame as stored and the EDI stack of an instant (`inference.representations.edi_stack`):
the double integral's log ratios at four contrasts and the events counted around the instant. The camera's
contrast is known roughly at best (found from the first exposures, as for EDI), its tone curve by name; the
network finds from the frame and the events together how far which ratio is to be followed, pixel by pixel, and
mends what the integral leaves: noise, clipped light, ghosts.

Two bodies (full resolution; half resolution, where the frame's 2×2 pixels become channels) and two forms of the
output can be built; `docs/glint.md` compares them and says which one the shipped weights have.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks.blocks import require_multiple
from inference.representations.edi_stack import CHANNELS, CONTRASTS

Body = Literal["full", "half"]
Output = Literal["residual", "ratio"]

# A log ratio beyond this is a hot pixel, not light: exp(3) is a factor of 20.
RATIO_LIMIT = 3.0


class _Block(nn.Module):
    """x + conv(relu(conv(x))), 3×3, shape kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        # Begins as the identity, so that a deep body trains from the first step on.
        _zero(self.second)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(F.relu(self.first(x), inplace=True))
        return out.add_(x)


def _zero(layer: nn.Conv2d) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width) for _ in range(count)))


class Glint(nn.Module):
    """Blurred frame + EDI stack → sharp picture at the stack's instant.

    Args:
        widths: channels of the three levels; each level halves the one before.
        blocks: residual blocks at the three levels on the way down (the third: at the bottom) and, the last
            two, at the second and the first level on the way up.
        body: "half": the first level lies at half resolution, a pixel's 2×2 neighbourhood in its channels;
            "full": at full resolution.
        output: "ratio": a weighted sum of the four log ratios and a gain per pixel is multiplied onto
            the frame, then a residual is added; "residual": a residual on the ratio at contrast 0.2.

    Raises:
        ValueError: a body or an output that does not exist.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (32, 64, 128),
        blocks: tuple[int, int, int, int, int] = (1, 1, 2, 1, 1),
        body: Body = "half",
        output: Output = "ratio",
    ) -> None:
        super().__init__()
        if body not in ("full", "half") or output not in ("residual", "ratio"):
            raise ValueError(f"body {body!r}, output {output!r}: give full or half, residual or ratio")
        self.cell = 2 if body == "half" else 1
        self.multiple = 4 * self.cell
        self.output = output
        area = self.cell**2
        a, b, c = widths
        # The four log ratios' weights, a gain, and three colours of residual; or the residual alone.
        self.outputs = len(CONTRASTS) + 1 + 3 if output == "ratio" else 3
        self.stem = nn.Conv2d((3 + CHANNELS + 1) * area, a, 3, padding=1)
        self.down1 = _blocks(a, blocks[0])
        self.half1 = nn.Conv2d(a, b, 2, stride=2)
        self.down2 = _blocks(b, blocks[1])
        self.half2 = nn.Conv2d(b, c, 2, stride=2)
        self.bottom = _blocks(c, blocks[2])
        self.double2 = nn.ConvTranspose2d(c, b, 2, stride=2)
        self.up2 = _blocks(b, blocks[3])
        self.double1 = nn.ConvTranspose2d(b, a, 2, stride=2)
        self.up1 = _blocks(a, blocks[4])
        self.head = nn.Conv2d(a, self.outputs * area, 3, padding=1)
        _zero(self.head)

    def forward(self, frame: Tensor, stack: Tensor, follow: Tensor) -> Tensor:
        """Sharp pictures.

        Args:
            frame: (N, 3, H, W) float32, RGB as stored 0…1; a gray frame three times. H and W are multiples
                of `multiple`.
            stack: (N, `edi_stack.CHANNELS`, H, W) on the frame's pixels.
            follow: (N, 4) how the log ratios are followed where the network adds nothing (`edi_stack.follow`).

        Returns:
            (N, 3, H, W), about 0…1, not clipped. Before training: the double integral as `follow` says.

        Raises:
            ValueError: sides that are not multiples of `multiple`.
        """
        require_multiple(frame, self.multiple, "glint")
        ratios = stack[:, : len(CONTRASTS)].clamp(-RATIO_LIMIT, RATIO_LIMIT)
        base = (ratios * follow[:, :, None, None]).sum(1, keepdim=True).clamp(-RATIO_LIMIT, RATIO_LIMIT)
        x = torch.cat((frame, ratios, stack[:, len(CONTRASTS) :], base), 1)
        if self.cell > 1:
            x = F.pixel_unshuffle(x, self.cell)
        y = self.features(x)
        if self.cell > 1:
            y = F.pixel_shuffle(y, self.cell)
        return self._compose(frame, ratios, base, y)

    def features(self, x: Tensor) -> Tensor:
        """All between input and composition, at the body's resolution.

        Args:
            x: (N, (3 + `edi_stack.CHANNELS` + 1)·cell², H / cell, W / cell): frame, limited log ratios,
                counts, the followed log ratio, a pixel's neighbourhood in its channels as `pixel_unshuffle`
                puts it.

        Returns:
            (N, `outputs`·cell², H / cell, W / cell).
        """
        x = F.relu(self.stem(x), inplace=True)
        x1 = self.down1(x)
        x2 = self.down2(F.relu(self.half1(x1), inplace=True))
        y = self.bottom(F.relu(self.half2(x2), inplace=True))
        y = self.up2(self.double2(y).add_(x2))
        y = self.up1(self.double1(y).add_(x1))
        out: Tensor = self.head(y)
        return out

    def _compose(self, frame: Tensor, ratios: Tensor, base: Tensor, y: Tensor) -> Tensor:
        if self.output == "residual":
            return frame * torch.exp(base) + y
        n = len(CONTRASTS)
        log = base + (y[:, :n] * ratios).sum(1, keepdim=True) + y[:, n : n + 1]
        return frame * torch.exp(log.clamp(-RATIO_LIMIT, RATIO_LIMIT)) + y[:, n + 1 :]
