"""glint: Halfmirror's own network, a small residual U-Net that mends what the double integral leaves.

Input is the blurred frame as stored, EDI's picture of an instant (`inference.restorers.edi_pictures`) and the
EDI stack of that instant (`inference.representations.edi_stack`): EDI's log ratio and how it turns with the
contrast, and the events around the instant. The camera's contrast is known about, its tone curve by name; the
network finds from frame and events together how far the ratio is to be followed, pixel by pixel, and mends what
the integral leaves: noise, clipped light, ghosts.

Two bodies (full resolution; half resolution, where the frame's 2×2 pixels become channels) and two forms of the
output can be built; `docs/glint.md` compares them and says which one the shipped weights have.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks.blocks import require_multiple
from inference.representations.edi_stack import CHANNELS, MULTIPLES

Body = Literal["full", "half"]
Output = Literal["residual", "ratio"]

COLOURS = 3
INPUTS = 2 * COLOURS + CHANNELS
"""Channels of the frame, EDI's picture and the stack."""
LOG_LIMIT = 3.0
"""A change of the logarithm beyond this is a hot pixel, not light: exp(3) is a factor of 20."""


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
    """Blurred frame + EDI's picture + EDI stack → sharp picture at the stack's instant.

    Args:
        widths: channels of the three levels; each level halves the one before.
        blocks: residual blocks at the three levels on the way down (the third: at the bottom) and, the last
            two, at the second and the first level on the way up.
        body: "half": the first level lies at half resolution, a pixel's 2×2 neighbourhood in its channels;
            "full": at full resolution.
        output: "ratio": EDI's picture is multiplied by a weighted sum of the stack's three log ratios and a
            gain per pixel, then a residual is added; "residual": a residual alone.
        stem: side of the first layer's kernel, 1 or 3.

    Raises:
        ValueError: a body, an output or a stem that does not exist.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (40, 80, 128),
        blocks: tuple[int, int, int, int, int] = (0, 1, 3, 1, 1),
        body: Body = "half",
        output: Output = "ratio",
        stem: int = 1,
    ) -> None:
        super().__init__()
        if body not in ("full", "half") or output not in ("residual", "ratio"):
            raise ValueError(f"body {body!r}, output {output!r}: give full or half, residual or ratio")
        if stem not in (1, 3):
            raise ValueError(f"stem {stem!r}: give 1 or 3")
        self.cell = 2 if body == "half" else 1
        self.multiple = 4 * self.cell
        self.output = output
        area = self.cell**2
        a, b, c = widths
        # The log ratios' weights, a gain, and three colours of residual; or the residual alone.
        self.outputs = len(MULTIPLES) + 1 + COLOURS if output == "ratio" else COLOURS
        self.stem = nn.Conv2d(INPUTS * area, a, stem, padding=stem // 2)
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

    def forward(self, frame: Tensor, edi: Tensor, stack: Tensor) -> Tensor:
        """Sharp pictures.

        Args:
            frame: (N, 3, H, W) float32, RGB as stored 0…1; a gray frame three times. H and W are multiples
                of `multiple`.
            edi: as `frame`, EDI's picture at the stack's instant.
            stack: (N, `edi_stack.CHANNELS`, H, W) on the frame's pixels.

        Returns:
            (N, 3, H, W), about 0…1, not clipped. Before training: `edi`.

        Raises:
            ValueError: sides that are not multiples of `multiple`.
        """
        require_multiple(frame, self.multiple, "glint")
        x = torch.cat((frame, edi, stack), 1)
        if self.cell > 1:
            # On CUDA the channels come first out of it; convolutions want them last.
            x = F.pixel_unshuffle(x, self.cell).contiguous(memory_format=torch.channels_last)
        y = self.features(x)
        if self.cell > 1:
            y = F.pixel_shuffle(y, self.cell)
        return self._compose(edi, stack, y)

    def features(self, x: Tensor) -> Tensor:
        """All between input and composition, at the body's resolution.

        Args:
            x: (N, `INPUTS`·cell², H / cell, W / cell): frame, EDI's picture, stack, a pixel's neighbourhood in
                its channels as `pixel_unshuffle` puts it.

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

    def _compose(self, edi: Tensor, stack: Tensor, y: Tensor) -> Tensor:
        if self.output == "residual":
            return edi + y
        n = len(MULTIPLES)
        log = (y[:, :n] * stack[:, :n]).sum(1, keepdim=True) + y[:, n : n + 1]
        return edi * torch.exp(log.clamp(-LOG_LIMIT, LOG_LIMIT)) + y[:, n + 1 :]
