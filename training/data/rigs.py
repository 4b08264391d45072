"""The rig of a data set's sequence, by which restorers see it as they see a camera pair."""

from __future__ import annotations

from sync.geometry import scaled_homography
from sync.rig import EventEntry, Geometry, ImageEntry, Rig
from training.data.sets.facts import SequenceFacts


def rig_of(facts: SequenceFacts, width: int, height: int, *, left: int = 0, top: int = 0) -> Rig:
    """Both grids edge to edge, as the sets have them; the frames as they are stored.

    Args:
        facts: of the sequence.
        width, height: of the part of the frames that the rig sees.
        left, top: its place in them.
    """
    grid = facts.grid or (width, height)
    m = scaled_homography(facts.size[0] / grid[0])
    m[:2, 2] -= (left, top)
    rows = tuple((float(r[0]), float(r[1]), float(r[2])) for r in m)
    return Rig(
        name=facts.format,
        events=EventEntry(camera="data set", width=grid[0], height=grid[1]),
        image=ImageEntry(camera="data set", width=width, height=height, tone="srgb"),
        geometry=Geometry(image_from_event=(rows[0], rows[1], rows[2])),
    )
