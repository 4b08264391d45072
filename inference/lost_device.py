"""A GPU that is lost to this process: after some errors CUDA answers every later call with the same one.

An illegal access does that, and a laptop that was suspended. Whichever network is chosen then, it fails;
another process finds the GPU well.
"""

from __future__ import annotations

import sys

from capture.errors import HalfmirrorError


class DeviceLostError(HalfmirrorError):
    """Nothing can be restored on the GPU any more; only a new process can."""


def device_lost() -> bool:
    """Whether the GPU that this process uses answers nothing but errors. To be asked after a failure."""
    torch = sys.modules.get("torch")  # never imported for this: EDI runs without
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        # A stream of its own: waiting for the whole device would break off a graph that is being recorded.
        torch.cuda.Stream().synchronize()
    except RuntimeError as error:
        return "captur" not in str(error)
    return False
