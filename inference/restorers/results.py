"""From what a network gave to the pictures of the frame's own size, tone and colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.restorers.change import add_change
from inference.restorers.pictures import ColourOrder, mix_luminance, to_network, to_pictures
from inference.restorers.placement import sample
from inference.restorers.ratio_filter import resampled
from inference.tone import Tone
from sync.geometry import event_from_image
from sync.rig import Rig
from sync.rig_map import straight_table

U8 = NDArray[np.uint8]


def restored_pictures(values: Tensor, picture: U8, order: ColourOrder, tone: Tone) -> tuple[U8, bool]:
    """The network's values as pictures; where they are not finite, the blurred pixel stands.

    Args:
        values: (L, 3, H, W) float32, 0…1, in `order`.
        picture: (H, W, 3) RGB or (H, W) gray, the blurred frame.
        order, tone: see `pictures.to_network`.

    Returns:
        (L, H, W[, 3]), and whether anything was not finite.
    """
    return _pictures(values, lambda: to_network([picture], values.device, order, tone), picture, order, tone)


def changed_pictures(
    values: Tensor, coarse: U8, picture: U8, rig: Rig, order: ColourOrder, tone: Tone
) -> tuple[U8, bool]:
    """What the network changed on the event grid, brought back onto the blurred frame.

    What the event sensor does not resolve, or does not see, stays as the frame camera saw it.

    Args:
        values: (L, 3, h, w) float32 on the event grid, as above.
        coarse: the blurred frame on the event grid, which the network got.
        picture: the blurred frame itself.
        rig: geometry between the two.
        order, tone: see `pictures.to_network`.

    Returns:
        as above.
    """
    before = to_network([coarse], values.device, order, tone)
    if values.device.type != "cpu" or tone != "srgb":
        blurred = to_network([picture], values.device, order, tone)
        return _pictures(blurred + sample(values - before, rig), lambda: blurred, picture, order, tone)
    # In one pass over the full picture. Only for pictures that went in as stored: then the change is one of
    # their own codes.
    finite = torch.isfinite(values).all(dim=1, keepdim=True)
    change = torch.where(finite, (values - before) * 255, 0.0)
    if order == "bgr":
        change = change.flip(1)
    if picture.ndim == 2:
        change = mix_luminance(change)[:, None]
    straight = straight_table(rig)
    codes = change.permute(0, 2, 3, 1).contiguous().numpy()
    if straight is not None:
        codes = np.stack([_straightened(c, straight) for c in codes])
    m = event_from_image(rig)
    pictures = [add_change(picture, c[..., 0] if picture.ndim == 2 else c, m) for c in codes]
    return np.stack(pictures), not bool(finite.all())


def _straightened(change: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w, C): the change on the grid on which the rig's homography is exact."""
    return np.stack([resampled(change[..., c], table) for c in range(change.shape[2])], axis=2)


def _pictures(
    values: Tensor, blurred: Callable[[], Tensor], picture: U8, order: ColourOrder, tone: Tone
) -> tuple[U8, bool]:
    finite = torch.isfinite(values).all(dim=1, keepdim=True)
    bad = not bool(finite.all())
    if bad:
        values = torch.where(finite, values, blurred())
    return to_pictures(values, order, tone, gray=picture.ndim == 2), bad
