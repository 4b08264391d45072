"""Geometry of a rig: targets, their corners in both cameras, the map between the two pixel grids, its error."""
