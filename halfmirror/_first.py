"""Looked at before anything of ours is imported: can it be? If not, an ImportError says why in a sentence."""

import os
import runpy

_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
# By its path: `app` itself may be hidden, by a program that is called app.py for instance.
_CHECK = runpy.run_path(os.path.join(_ROOT, "app", "hindrance.py"))
_WHY = _CHECK["hindrance"](_CHECK["IMPORTED"])
if _WHY is not None:
    raise ImportError(_WHY)
