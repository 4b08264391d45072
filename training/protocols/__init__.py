"""The published evaluation protocols, each as its specification says: frames, crop, range, channels, rounding.

`table` lists them, `pictures` restores a sequence, `run` measures a set, `report` writes what came out beside
the published numbers.
"""
