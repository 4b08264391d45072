"""The two cameras of a DAVIS: events with trigger edges, and frames, on one clock."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, TypeVar

from capture.camera import CameraBase, CameraInfo, CameraRole, Capabilities, Progress
from capture.errors import CameraError
from capture.inivation.hub import Hub
from capture.packets import EventPacket, Frame

Item = TypeVar("Item", EventPacket, Frame)


class DavisCamera(CameraBase[Item]):
    """One of them. Requests: `set` (settings by name), `controls`, `state` (settings read back, firmware, USB
    speed, clock offset), `imu` (the newest samples).

    Args:
        hub: the device.
        role: which.
        sizes: (event size, image size) when known before opening.
    """

    def __init__(
        self, hub: Hub, role: CameraRole, sizes: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    ) -> None:  # fmt: skip
        self._hub, self._role = hub, role
        self.superseded = 0
        self.info = CameraInfo(
            role, hub.name, hub.source.model, hub.source.serial, *sizes[role is CameraRole.FRAMES]
        )
        self.info = replace(self.info, capabilities=self._capabilities(False))

    def _capabilities(self, opened: bool) -> Capabilities:
        events = self._role is CameraRole.EVENTS
        source = self._hub.source
        return Capabilities(
            triggers=events and source.triggers, exposure_stamps=not events, event_clock=True,
            settings=source.names(), controls=source.controls() if opened else (),
        )  # fmt: skip

    def open(self, progress: Progress | None = None) -> None:
        """See `Camera.open`."""
        self._hub.open(self._role)
        s = self._hub.source
        size = s.event_size if self._role is CameraRole.EVENTS else s.image_size
        if 0 in size:
            self._hub.close(self._role)
            raise CameraError(f"{self._hub.name}: it has no {self._role.value}")
        self.info = replace(
            self.info, model=s.model, serial=s.serial, width=size[0], height=size[1],
            capabilities=self._capabilities(True),
        )  # fmt: skip

    def start(self, epoch_ns: int = 0) -> None:
        """See `Camera.start`."""
        self._hub.start(self._role)

    def read(self, timeout_s: float) -> Item | None:
        """See `Camera.read`."""
        return self._hub.read(self._role, timeout_s)  # type: ignore[return-value]

    def command(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """See the class.

        Raises:
            CameraError: unknown request or setting, a value out of range.
        """
        if verb == "set":
            for name in arguments:
                if name not in self.info.capabilities.settings:
                    known = ", ".join(self.info.capabilities.settings) or "none"
                    raise CameraError(f"{self.info.name}: no setting {name!r}; known: {known}")
            for name, value in arguments.items():
                self._hub.change(name, value)
            return dict(self._hub.state()["settings"])
        if verb == "state":
            return self._hub.state()
        if verb == "controls":
            return {c.name: asdict(c) for c in self._hub.controls()}
        if verb == "imu":
            return {"samples": self._hub.imu_samples, "newest": list(self._hub.imu)[-50:]}
        return super().command(verb, arguments)

    def stop(self) -> None:
        """See `Camera.stop`."""
        self._hub.stop(self._role)

    def close(self) -> None:
        """See `Camera.close`."""
        self._hub.close(self._role)
