"""Between 8-bit pictures and the tensors that networks take: value range, colour order, gray, tone.

Networks were trained on pictures in 0…1, mostly gamma-coded ones. A picture whose values are proportional to
light (`Rig.image.tone` "linear") can be coded with the sRGB curve on the way in and decoded on the way out, in
floating point; one that is coded already, or is to go in as it is, has the tone "srgb" here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.representations.scatter_torch import to_device, to_host
from inference.tone import Tone

ColourOrder = Literal["rgb", "bgr"]

LUMINANCE = (0.299, 0.587, 0.114)  # of R, G, B: ITU-R BT.601, as gamma-coded values are mixed


def srgb_from_light(light: Tensor) -> Tensor:
    """Light 0…1 → sRGB value 0…1 (IEC 61966-2-1); values outside are clipped."""
    x = light.clamp(0, 1)
    return torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def light_from_srgb(value: Tensor) -> Tensor:
    """The inverse of `srgb_from_light`."""
    x = value.clamp(0, 1)
    return torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


@cache
def _codes(tone: Tone, device: torch.device) -> Tensor:
    """(256,) float32: what a network is given for each 8-bit code of a camera of this tone."""
    with torch.inference_mode(False):
        value = torch.arange(256, dtype=torch.float64) / 255
        return (srgb_from_light(value) if tone == "linear" else value).float().to(device)


def mix_luminance(values: Tensor) -> Tensor:
    """(N, H, W) from (N, 3, H, W) in the order R, G, B."""
    r, g, b = LUMINANCE
    return r * values[:, 0] + g * values[:, 1] + b * values[:, 2]


def to_network(
    pictures: Sequence[NDArray[np.uint8]], device: torch.device, order: ColourOrder, tone: Tone
) -> Tensor:
    """(N, 3, H, W) float32 in 0…1, channels-last in memory, from pictures of one size.

    Args:
        pictures: (H, W, 3) RGB, or (H, W) gray, which becomes three equal channels.
        device: where the tensor is wanted; 8 bits a value travel.
        order: of the channels that the network takes.
        tone: "linear" is coded, see the module's text; "srgb" is handed over as it is.
    """
    codes = pictures[0][None] if len(pictures) == 1 else np.stack(pictures)
    return of_codes(to_device(codes, device), order, tone)


def of_codes(codes: Tensor, order: ColourOrder, tone: Tone) -> Tensor:
    """As `to_network`, of pictures (N, H, W[, 3]) uint8 that are on their device already."""
    if codes.ndim == 3:
        codes = codes[..., None].expand(-1, -1, -1, 3)
    elif order == "bgr":
        codes = codes.flip(-1)
    values = _codes(tone, codes.device)[codes.long()] if tone == "linear" else codes.float() / 255
    return values.permute(0, 3, 1, 2)


def to_pictures(values: Tensor, order: ColourOrder, tone: Tone, *, gray: bool) -> NDArray[np.uint8]:
    """`codes_of`, on the host."""
    return to_host(codes_of(values, order, tone, gray=gray))


def codes_of(values: Tensor, order: ColourOrder, tone: Tone, *, gray: bool) -> Tensor:
    """(N, H, W, 3) RGB or (N, H, W) uint8 from a network's (N, 3, H, W): clipped, decoded, rounded to nearest.

    Args:
        values: 0…1 with overshoot. Not finite ones must have been replaced (they end at 0).
        order: of the channels.
        tone: as at `to_network`.
        gray: the camera has no colour: the channels are mixed to luminance.
    """
    x = values.float().nan_to_num(nan=0.0).clamp(0, 1)
    if order == "bgr":
        x = x.flip(1)
    x = mix_luminance(x) if gray else x.permute(0, 2, 3, 1)
    if tone == "linear":
        x = light_from_srgb(x)
    return (x * 255).round_().to(torch.uint8)
