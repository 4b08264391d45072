"""Modules of the networks, one file each, with the published entry names."""
