"""The clock relation of a rig: measured from trigger edges, arrival times, or what both cameras saw."""
