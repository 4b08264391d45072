"""The list of cameras on the rig page: found, typed, named by the rig file, simulated; each once."""

from __future__ import annotations

from collections.abc import Callable

from app.rig_discovery import Choice, RigDiscovery
from app.rig_setup import RigSetup
from app.viewer import theme
from app.viewer.rig_page import RigPage, paint
from app.viewer.words import sentence
from capture.camera import CameraRole


class RigChoices:
    """For one page.

    Args:
        page: whose list it is.
        choose: called with role and camera for one that was typed.

    Attributes:
        discovery: looks for cameras.
    """

    def __init__(
        self, page: RigPage, discovery: RigDiscovery, choose: Callable[[CameraRole, str], None]
    ) -> None:
        self._page, self.discovery, self._choose = page, discovery, choose
        self._setup = RigSetup()
        self._found: tuple[Choice, ...] = ()
        self._standing: tuple[Choice, ...] = ()
        self._typed: dict[str, Choice] = {}

    def look(self) -> None:
        """Search again, beside."""
        self.discovery.look()
        paint(self._page.found, "Looking for cameras…")

    def type(self, text: str) -> None:
        """An address was typed."""
        paint(self._page.address_error, "")
        self.discovery.inspect(text)

    def hear(self) -> None:
        """What was found, and what was typed."""
        p = self._page
        if self.discovery.standing != self._standing:
            self._standing = self.discovery.standing
            self.show(self._setup)
        found = self.discovery.take()
        if found is not None:
            self._found = found.choices
            paint(p.found, found.line)
            p.missing.set_whole(found.missing)
            p.missing.setToolTip(found.remedies)
            self.show(self._setup)
        for text, answer in self.discovery.take_typed():
            if isinstance(answer, str):
                paint(p.address_error, sentence(answer), theme.FAULT)
                continue
            if text == p.address.text():
                p.address.clear()
            self._typed[answer.name] = answer
            for role, gives in ((CameraRole.EVENTS, answer.events), (CameraRole.FRAMES, answer.frames)):
                if gives:
                    self._choose(role, answer.name)
            self.show(self._setup)

    def of(self, camera: str) -> Choice | None:
        """The choice of this name."""
        return next((c for c in self._all() if c.name == camera), None)

    def show(self, setup: RigSetup) -> None:
        """The list, and which of it is chosen."""
        self._setup = setup
        self._page.cameras.set_choices(self._all())
        picks = {role: setup.pick_of(role) for role in CameraRole}
        self._page.cameras.set_picked({role: p.camera for role, p in picks.items() if p.there})

    def _all(self) -> list[Choice]:
        out = {c.name or f"? {c.facts}": c for c in (*self._found, *self._typed.values())}
        standing = {c.name: c for c in self._standing}
        both = self._setup.one_camera
        for role in CameraRole:
            name = self._setup.pick_of(role).camera
            if self._setup.pick_of(role).there and name not in out and name not in standing:
                events, frames = both or role is CameraRole.EVENTS, both or role is CameraRole.FRAMES
                where = "in the rig file" if self._setup.path else "chosen"
                out[name] = Choice(name, where, events, frames)
        return [*out.values(), *(c for name, c in standing.items() if name not in out)]
