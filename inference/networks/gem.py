"""GEM: one blurry picture and the events of its exposure give the sharp picture of any instant of it.

X. Zhang, L. Yu, W. Yang, J. Liu, G.-S. Xia, Generalizing Event-Based Motion Deblurring in Real-World
Scenarios, ICCV 2023, arXiv 2308.05932; the scale-aware network (SAN). Events and picture may differ in
resolution by any ratio. The network gives the ratio of the sharp picture to the blurry one.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks import kernels
from inference.networks.blocks import PictureConv, require_multiple
from inference.networks.convolving import bias_of, relu_of, served, unbiased
from inference.networks.gem_fusion import Fusion

_WIDTHS = (16, 32, 64, 128, 128)
_KERNELS = (7, 5, 3, 3, 3)
_LEVELS = len(_WIDTHS)


class _Pair(nn.Module):
    """Two convolutions, each with ReLU."""

    def __init__(self, inside: int, outside: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv2d(outside, outside, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return relu_of(self.conv2, relu_of(self.conv1, x))


class _Encoder(_Pair):
    """Five maps, each half the size of the one before, widths 16, 32, 64, 128, 128."""

    def __init__(self, inside: int) -> None:
        super().__init__(inside, _WIDTHS[0], _KERNELS[0])
        for i in range(1, _LEVELS):
            self.add_module(f"down{i}", _Pair(_WIDTHS[i - 1], _WIDTHS[i], _KERNELS[i]))

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        maps = [super().forward(x)]
        for i in range(1, _LEVELS):
            maps.append(self.get_submodule(f"down{i}")(F.avg_pool2d(maps[-1], 2)))
        return maps


class _Up(nn.Module):
    """Twice the size by bicubic interpolation; the skip is added between the convolutions."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return relu_of(self.conv2, self._joined(_twice(x), skip))

    def _joined(self, x: Tensor, skip: Tensor) -> Tensor:
        if served(self.conv1, self.conv1.out_channels, x, skip):
            from inference.networks.kernels.finish import finished

            return finished(unbiased(self.conv1, x), bias_of(self.conv1), 0.0, [skip])
        return F.relu_(self.conv1(x)) + skip


def _twice(x: Tensor) -> Tensor:
    """(N, C, H, W) at twice the size, bicubic; C is a multiple of 32."""
    if kernels.serve(x) and kernels.fits(x) and x.dtype in kernels.TYPES:
        from inference.networks.kernels.bicubic import twice

        return twice(x)
    return F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)


class _Decoder(nn.Module):
    """From the coarsest fused map to the logarithm-like map that softplus turns into the ratio."""

    def __init__(self, outside: int) -> None:
        super().__init__()
        for i in range(1, _LEVELS):
            self.add_module(f"up{i}", _Up(_WIDTHS[_LEVELS - i], _WIDTHS[_LEVELS - 1 - i]))
        self.conv = PictureConv(_WIDTHS[0], outside, 3, padding=1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The fused maps, finest first, give (N, outside, H, W)."""
        x = maps[-1]
        for i in range(1, _LEVELS):
            x = self.get_submodule(f"up{i}")(x, maps[-1 - i])
        out: Tensor = self.conv(x)
        return out


class GEM(nn.Module):
    """GEM's scale-aware network with the published entry names.

    Args:
        im_in_channel, out_channel: channels of picture and result; 3 in the published weights.
        ev_in_channel: channels of the events: 6 times the number of bins, 96 in the published weights.
        initializor: "kaiming" is the only known one.

    Shapes and ranges of `forward`:
        events: (N, ev_in_channel, h, w), EGER counts, neither scaled nor clipped, each side at least 16
            (multiples of 16 keep the deep levels aligned).
        image: (N, 3, H, W) in 0…1, **BGR**, H and W multiples of 16; or (1, 3, H, W), one picture for all the
            event tensors (several instants of one exposure), which is then encoded once.
        Gives `(latent, ratio)`, each (N, 3, H, W); `latent` is image × ratio, not clipped; `ratio` > 0.

    Both tensors cover the same field of view, edge to edge.
    """

    def __init__(
        self,
        im_in_channel: int = 3,
        out_channel: int = 3,
        ev_in_channel: int = 96,
        initializor: str = "kaiming",
    ) -> None:
        super().__init__()
        if initializor != "kaiming":
            raise ValueError(f"initializor is {initializor!r}; only 'kaiming' was ever published")
        self.im_enc = _Encoder(im_in_channel)
        self.ev_enc = _Encoder(ev_in_channel)
        self.dec = _Decoder(out_channel)
        for part in (self.im_enc, self.ev_enc, self.dec):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
        for i, channels in enumerate(_WIDTHS):
            self.add_module(f"msff{i + 1}", Fusion(channels, 5 if i == 0 else 3))

    def forward(self, events: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The sharp picture and its ratio to the blurry one; see the class."""
        require_multiple(image, 2 ** (_LEVELS - 1), "GEM")
        if min(events.shape[-2:]) < 2 ** (_LEVELS - 1):
            raise ValueError(
                f"GEM takes events of at least 16×16 pixels, not {events.shape[-1]}×{events.shape[-2]}"
            )
        centred = (image - 0.5) / 0.5
        images, counts = self.im_enc(centred), self.ev_enc(events)
        fused = [
            self.get_submodule(f"msff{i + 1}")(count, picture)
            for i, (count, picture) in enumerate(zip(counts, images, strict=True))
        ]
        ratio = F.softplus(self.dec(fused))
        return (centred + 1) / 2 * ratio, ratio
