"""Where events fall on the image: maps of one grid on the other, and events on cells of the image.

An event pixel covers a patch of the image (`Rig.geometry`). A representation on the image's pixels can be had
in two ways, and which one is right depends on the sizes:

* The grid asked for is as coarse as the event pixels, or coarser: every event moves to the cell in which its
  pixel's centre lies. Counts stay whole, none is lost, cells that hold several event pixels hold the sum.
* The grid is finer: the representation is made on the event pixels and **sampled** at each cell, bilinearly.
  Each cell then shows the count of the event pixel that sees it, as it would with that many more pixels.

Cells lie edge to edge on the image: cell (x, y) of size k covers pixels [k·x, k·x + k) × [k·y, k·y + k).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from capture.packets import Events
from sync.border import REACH
from sync.rig import IDENTITY, Rig
from sync.rig_map import RigMap, lattice

# Event pixels that are at most this much wider than a cell still move whole; sampling would only smooth.
SAMPLE_ABOVE = 1.05


def cells(size: int, cell: int) -> int:
    """Cells that cover `size` pixels; the last one may reach beyond the image."""
    return -(-size // cell)


def events_on_cells(events: Events, rig: Rig, cell: int) -> Events:
    """The events as if a sensor with these cells had seen them; those beyond the image are left out.

    Args:
        events: on the event sensor's pixels.
        rig: geometry.
        cell: side of a cell in image pixels.
    """
    width, height = cells(rig.image.width, cell), cells(rig.image.height, cell)
    if rig.identity and cell == 1:
        return events
    table = _cell_of_pixel(RigMap.of(rig), (rig.events.width, rig.events.height),
                           (rig.image.width, rig.image.height), cell)  # fmt: skip
    at = table[events.y, events.x]
    seen = at >= 0
    if not seen.all():
        at = at[seen]
        events = Events(
            events.t[seen], events.x[seen], events.y[seen], events.p[seen], events.width, events.height
        )
    y, x = np.divmod(at, width)
    return Events(events.t, x.astype(np.uint16), y.astype(np.uint16), events.p, width, height)


def represent(events: Events, rig: Rig, cell: int, make: Callable[[Events], Tensor]) -> Tensor:
    """A representation on cells of the image.

    Args:
        events: on the event sensor's pixels.
        rig: geometry.
        cell: side of a cell in image pixels, 1 for the image's own grid.
        make: (…, h, w) float32 from events of a sensor of any size; linear in the events.

    Returns:
        (…, h, w) on ⌈H/cell⌉ × ⌈W/cell⌉ cells.
    """
    if rig.identity and cell == 1:
        return make(events)
    if rig.scale <= SAMPLE_ABOVE * cell:
        return make(events_on_cells(events, rig, cell))
    return sample(make(events), rig, cell)


def represent_there(
    pixel: Tensor, rig: Rig, cell: int, make: Callable[[Tensor, tuple[int, int]], Tensor]
) -> Tensor:
    """As `represent`, of events that are on a device already.

    Args:
        pixel: (N,) int64 of the event sensor, row by row, −1 for events beside it.
        rig, cell: as there.
        make: (…, h, w) float32 from (N,) cells, −1 for events outside, of a map of (h, w).
    """
    own = (rig.events.height, rig.events.width)
    if rig.identity and cell == 1:
        return make(pixel, own)
    if rig.scale <= SAMPLE_ABOVE * cell:
        width, height = cells(rig.image.width, cell), cells(rig.image.height, cell)
        table = _cell_table(RigMap.of(rig), (rig.events.width, rig.events.height),
                            (rig.image.width, rig.image.height), cell, pixel.device)  # fmt: skip
        return make(torch.where(pixel < 0, -1, table[pixel.clamp(min=0)]), (height, width))
    return sample(make(pixel, own), rig, cell)


def sample(maps: Tensor, rig: Rig, cell: int = 1) -> Tensor:
    """Maps on the event grid (…, h, w) at the middle of each cell of the image, bilinearly; 0 where unseen."""
    grid, seen, everywhere = _cell_grid(RigMap.of(rig), (rig.events.width, rig.events.height),
                                        (rig.image.width, rig.image.height), cell, maps.device)  # fmt: skip
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    out = F.grid_sample(flat, grid[None], mode="bilinear", padding_mode="border", align_corners=False)
    if not everywhere:
        out = out * seen
    return out.view(*maps.shape[:-2], *out.shape[-2:])


def event_view(image: Tensor, rig: Rig) -> Tensor:
    """A picture (H, W) as the event sensor would see it, (h, w): as `sync.geometry.image_to_event_grid`, on the
    picture's own device. 0 where the frame camera sees nothing."""
    if rig.identity:
        return image
    grid, seen, fine = _event_grid(RigMap.of(rig), (rig.events.width, rig.events.height),
                                   (rig.image.width, rig.image.height), rig.scale, image.device)  # fmt: skip
    sampled = F.grid_sample(image[None, None], grid[None], padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, fine)[0, 0] * seen


def coverage(rig: Rig, cell: int, device: torch.device) -> Tensor | None:
    """(1, h, w) float32: 1 on the cells whose middle the event sensor sees, else 0; None: it sees them all."""
    _, seen, everywhere = _cell_grid(RigMap.of(rig), (rig.events.width, rig.events.height),
                                     (rig.image.width, rig.image.height), cell, device)  # fmt: skip
    return None if everywhere else seen


def event_grid_rig(rig: Rig) -> Rig:
    """The rig of a picture that was brought onto the event sensor's own pixels."""
    image = rig.image.model_copy(update={"width": rig.events.width, "height": rig.events.height})
    geometry: Any = rig.geometry.model_copy(
        update={"image_from_event": IDENTITY, "undistorted_image_from_event": None, "mirrored": False}
    )
    return rig.model_copy(update={"image": image, "geometry": geometry})


@lru_cache(maxsize=8)
def _event_grid(
    m: RigMap, of: tuple[int, int], image: tuple[int, int], scale: float, device: torch.device
) -> tuple[Tensor, Tensor, int]:
    """Where to sample the image, `fine` × `fine` times in each event pixel, and which pixels are seen."""
    fine = max(1, math.ceil(scale - 1e-6))
    width, height = of
    at = m.to_image(lattice(width, height, fine)).reshape(height * fine, width * fine, 2)
    centres = m.to_image(lattice(width, height)).reshape(height, width, 2)
    limits = np.array(image, np.float32)
    seen = np.all((centres >= -REACH) & (centres <= limits - 1 + REACH), axis=2)
    normal = ((2 * at + 1) / limits - 1).astype(np.float32)
    with torch.inference_mode(False):
        return torch.from_numpy(normal).to(device), torch.from_numpy(seen.astype(np.float32)).to(device), fine


@lru_cache(maxsize=8)
def _cell_of_pixel(m: RigMap, of: tuple[int, int], image: tuple[int, int], cell: int) -> NDArray[np.int64]:
    """(h, w) the flat index of the cell under each event pixel, −1 where the frame camera sees nothing."""
    width, height = of
    at = m.to_image(lattice(width, height)).reshape(height, width, 2)
    # Pixel centres lie at integers, so pixel i covers [i − ½, i + ½) and the image begins at −½.
    pixel: NDArray[np.float64] = np.floor(at.astype(np.float64) + 0.5)
    fits = (pixel >= 0) & (pixel < np.array(image))
    inside: NDArray[np.bool_] = np.all(fits, axis=2)
    index = np.where(inside[..., None], pixel, 0).astype(np.int64) // cell
    flat = np.where(inside, index[..., 1] * cells(image[0], cell) + index[..., 0], -1)
    flat.flags.writeable = False
    return flat


@lru_cache(maxsize=8)
def _cell_table(
    m: RigMap, of: tuple[int, int], image: tuple[int, int], cell: int, device: torch.device
) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(_cell_of_pixel(m, of, image, cell), device=device).flatten()


@lru_cache(maxsize=8)
def _cell_grid(
    m: RigMap, of: tuple[int, int], image: tuple[int, int], cell: int, device: torch.device
) -> tuple[Tensor, Tensor, bool]:
    """Where to sample the event grid for each cell, in `grid_sample`'s terms, which cells are seen, all?"""
    width, height = cells(image[0], cell), cells(image[1], cell)
    middle = lattice(width, height) * cell + (cell - 1) / 2
    at = m.to_event(middle).reshape(height, width, 2)
    limits = np.array(of, np.float32)
    seen: NDArray[np.bool_] = np.all((at >= -REACH) & (at <= limits - 1 + REACH), axis=2)
    normal = np.where(seen[..., None], (2 * at + 1) / limits - 1, 0).astype(np.float32)
    with torch.inference_mode(False):
        share = torch.from_numpy(seen[None].astype(np.float32)).to(device)
        return torch.from_numpy(normal).to(device), share, bool(seen.all())
