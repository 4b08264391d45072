"""dv-processing, imported when a camera is opened."""

from __future__ import annotations

from typing import Any

from capture.errors import CameraError


def dv_processing(name: str) -> Any:
    """The module. Raises `CameraError` when it cannot be imported; `name` is who needs it."""
    try:
        import dv_processing
    except Exception as e:  # also what a broken build raises
        text = " ".join(str(e).split())[:200]
        raise CameraError(
            f"{name}: needs dv-processing, which cannot be loaded ({text}); pip install dv-processing"
        ) from e
    return dv_processing
