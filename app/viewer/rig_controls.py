"""Wishes about cameras' settings: sent, read back, and told at the control when they fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from app.preview import Preview, controls_of
from app.rig_setup import RigSetup
from app.viewer.control_panel import ControlPanel
from app.viewer.rig_page import RigPage
from app.viewer.rig_words import rows
from capture.camera import CameraRole, Control
from capture.link import one_line

Answer = Callable[[dict[str, Any]], None]


class RigControls:
    """For one page.

    Args:
        page: whose panels these are.
        changed: called after a setting has changed.
    """

    def __init__(self, page: RigPage, changed: Callable[[], None]) -> None:
        self._page, self._changed = page, changed
        self._preview: Preview | None = None
        self._setup = RigSetup()
        self._controls: dict[CameraRole, tuple[Control, ...]] = {}
        self._since: dict[CameraRole, dict[str, Any]] = {r: {} for r in CameraRole}  # the preview's start
        self._asked: list[tuple[Future[dict[str, Any]], CameraRole, str, Answer]] = []

    def take(self, setup: RigSetup, preview: Preview | None) -> None:
        """Other cameras, or none: what was asked of the last ones is forgotten."""
        self._setup, self._preview = setup, preview
        self._since = {r: {} for r in CameraRole}
        self._controls, self._asked = {}, []
        self.show()

    def panel(self, role: CameraRole) -> ControlPanel:
        """The panel of one camera."""
        return self._page.events_panel if role is CameraRole.EVENTS else self._page.frames_panel

    def wish(self, role: CameraRole, name: str, value: Any) -> None:
        """Change a setting; it is read back, and what goes wrong stands at its control."""
        self._wish(role, {name: value})

    def _wish(self, role: CameraRole, wanted: Mapping[str, Any]) -> None:
        """Of several the camera finds the order that is possible; a refusal stands at the last one."""
        if self._preview is None or not wanted:
            return
        for name in wanted:
            self.panel(role).say(name, "")

        def done(values: dict[str, Any]) -> None:
            for name in wanted:
                self._setup.note(role, name, values)
                if name in values:
                    self._since[role][name] = values[name]
            known = self._controls.get(role, ())
            self._controls[role] = tuple(replace(c, value=values.get(c.name, c.value)) for c in known)
            self.panel(role).set_values(values)
            self.read(role)
            self._changed()

        self._asked.append((self._preview.set(role, wanted), role, list(wanted)[-1], done))

    def learn(self, role: CameraRole, info: Mapping[str, Any]) -> None:
        """What a camera told of itself when it was opened; then it is asked how it stands now."""
        told = {str(c["name"]): c for c in info.get("capabilities", {}).get("controls", ())}
        self._controls[role] = controls_of(told)
        if told:
            self.read(role)
        self.show()

    def read(self, role: CameraRole) -> None:
        """Ask for all controls of a camera: bounds may depend on other settings."""
        if self._preview is None:
            return

        def done(found: dict[str, Any]) -> None:
            self._controls[role] = controls_of(found)
            self._setup.values[role] = {c.name: c.value for c in self._controls[role]}
            self.show()

        self._asked.append((self._preview.controls(role), role, "", done))

    def again(self, role: CameraRole) -> None:
        """The camera is back, with the settings that it was opened with: those changed since are sent again,
        also where a rig file has them by now.
        """
        self._wish(role, dict(self._since[role]))

    def settle(self) -> None:
        """Look for answers that have come."""
        asked, self._asked = self._asked, []
        for entry in asked:
            future, role, name, done = entry
            if not future.done():
                self._asked.append(entry)
                continue
            error = future.exception()
            if error is None:
                done(future.result())
            elif name:
                camera = self._setup.pick_of(role).camera
                self.panel(role).say(name, one_line(error).removeprefix(f"{camera}: "))
                self.read(role)  # what was typed is not what is

    def show(self) -> None:
        """All controls as they are known; those of one camera with both streams are divided."""
        names = {role: {c.name for c in self._controls.get(role, ())} for role in CameraRole}
        both = bool(names[CameraRole.EVENTS]) and names[CameraRole.EVENTS] == names[CameraRole.FRAMES]
        for role in CameraRole:
            pick = self._setup.pick_of(role)
            made = rows(role, self._controls.get(role, ()), pick.camera, both=both) if pick.there else []
            self.panel(role).set_rows(made)
        self._page.fit_panels()
