"""Recordings written in the layouts of published data sets, each verified after writing."""
