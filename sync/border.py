"""Where a grid of pixels ends, for whatever asks whether a place on it is seen."""

REACH = 0.501
"""Pixels from the outermost centres to the border: half a pixel, and a little more, so that a centre of the
other grid that lies on the very border counts as seen, whatever float32 makes of it."""
