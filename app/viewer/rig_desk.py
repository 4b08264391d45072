"""The rig page in the window: runs the preview of its cameras, carries wishes there and figures back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.preview import Preview
from app.rig_discovery import RigDiscovery
from app.rig_setup import RigSetup
from app.viewer import dialogs, theme
from app.viewer.calibration_desk import default_output
from app.viewer.rig_choices import RigChoices
from app.viewer.rig_controls import RigControls
from app.viewer.rig_figures import Figures
from app.viewer.rig_page import RigPage, paint
from app.viewer.words import sentence
from capture.camera import CameraRole, CameraState
from capture.errors import HalfmirrorError

if TYPE_CHECKING:
    from app.viewer.window import ViewerWindow

VIEW_EVERY, FIGURES_EVERY = 2, 12  # ticks of 16 ms
TOLD_S = 10.0
EVENTS, FRAMES = CameraRole.EVENTS, CameraRole.FRAMES


class RigDesk:
    """For one window.

    Args:
        window: whose picture gives way to the page.
        discovery: looks for cameras.
        make_preview: opens cameras.
    """

    def __init__(
        self,
        window: ViewerWindow,
        discovery: RigDiscovery | None = None,
        make_preview: Callable[..., Preview] = Preview,
    ) -> None:
        self.window = window
        self.make_preview = make_preview
        self.page = RigPage()
        self.choices = RigChoices(self.page, discovery or RigDiscovery(), self.choose)
        self.controls = RigControls(self.page, self._changed)
        self.setup = RigSetup()
        self.preview: Preview | None = None
        self.figures = Figures(self.page, window.clock)
        self.views = 0
        self._ticks = 0
        self._return_to = ""
        self._known: dict[CameraRole, dict[str, Any]] = {}
        self._down: set[CameraRole] = set()
        self._sent: Any = None
        self._looker: int | None = None  # process that makes views
        self._told, self._told_until = ("", theme.QUIET), 0.0
        window.pages.addWidget(self.page)
        self._connect()

    def _connect(self) -> None:
        p = self.page
        p.chosen.connect(self.choose)
        p.typed.connect(self.choices.type)
        p.look_wanted.connect(self.choices.look)
        p.start_wanted.connect(self.start)
        p.stop_wanted.connect(self.stop)
        p.open_wanted.connect(self._choose_file)
        p.save_wanted.connect(self._choose_name)
        p.use_wanted.connect(self.use)
        p.calibrate_wanted.connect(self.calibrate)
        p.closed.connect(self.leave)
        p.overlap_switched.connect(self.set_overlap)
        p.mirror_switched.connect(self._set_mirror)
        p.polarity_wanted.connect(self._turn_polarity)
        p.peaks_wanted.connect(self._forget_peaks)
        p.events_wished.connect(lambda name, value: self.controls.wish(EVENTS, name, value))
        p.frames_wished.connect(lambda name, value: self.controls.wish(FRAMES, name, value))

    # opening and leaving ------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """The page is shown."""
        return self.window.pages.currentWidget() is self.page

    def toggle(self) -> None:
        """Key C."""
        if self.open:
            self.leave()
        else:
            self.show()

    def show(self, source: str | Path = "") -> None:
        """Open the page for a rig, or for what is running now. Cameras of a rig that is known start at once."""
        w = self.window
        if w.recorder.desk.busy:
            w.say("This is being recorded; end the recording first (R).")
            return
        if w.calibration.open:
            w.calibration.stop()
            if w.calibration.open:
                return  # it was calibrating: once more closes it
        w.opening.forget()  # what comes late must not close this page
        self._return_to = str(source) or w.source or "simulated"
        self.page.clear_views()
        self._tell("")
        try:
            self._take(RigSetup.of(self._return_to))
        except HalfmirrorError as e:
            self._take(RigSetup())
            self._tell(sentence(e), theme.ACCENT)
        self.choices.look()
        w.set_page(self.page)
        if self.setup.events.there or self.setup.frames.there:
            self.start()

    def leave(self) -> None:
        """Back to the picture."""
        w = self.window
        self.shut()
        w.set_page(None)
        if w.player is None:
            w.open_source(self._return_to)

    def shut(self) -> None:
        """The cameras are needed elsewhere, or the window closes; `closing` of the window tells when they are
        free.
        """
        self._close()
        self.page.set_running(False)

    def use(self) -> None:
        """Go on live with this rig; one that is not in a file is written first."""
        source = self._source()
        if source is not None:
            self.shut()
            self.window.set_page(None)
            self.window.open_source(source)

    def calibrate(self) -> None:
        """The guided calibration of this rig, in the same place."""
        source = self._source()
        if source is not None:
            self.shut()
            self.window.source = str(source)
            self.window.calibration.show()

    def _source(self) -> str | Path | None:
        try:
            source = self.setup.source()
            if source is None:
                source = default_output()
                self.setup.save(source)
        except HalfmirrorError as e:
            self._tell(sentence(e), theme.FAULT)
            return None
        return source

    # the cameras --------------------------------------------------------------------------------------------

    def _take(self, setup: RigSetup) -> None:
        self.setup = setup
        self._known, self._down, self._sent = {}, set(), None
        self.choices.show(setup)
        self.controls.take(setup, self.preview)
        self._show_rig()

    def choose(self, role: CameraRole, camera: str) -> None:
        """Another camera in one place; what runs stops, so that the link can be judged before it starts."""
        if self.setup.pick(role, camera):
            self.stop()
            self.page.clear_views()
            self._take(self.setup)

    def start(self) -> None:
        """Open the chosen cameras; the session that runs gives them up."""
        w = self.window
        if w.recorder.desk.busy:
            w.say("This is being recorded; end the recording first (R).")
            return
        w.close_session()
        w.strip.clear()
        self.stop()
        self.figures.clear()
        self._known, self._down, self._sent, self._looker = {}, set(), None, None
        self.preview = self.make_preview(*self.setup.picks(), self.setup.clock())
        self.preview.start(w.closing.thread)
        self.controls.take(self.setup, self.preview)
        self._tell("")
        self._show_rig()

    def stop(self) -> None:
        """Close the cameras, in the background."""
        self._close()
        self._show_rig()

    def _close(self) -> None:
        preview, self.preview = self.preview, None
        self.controls.take(self.setup, None)
        if preview is not None:
            self.window.closing.begin(preview.stop)

    # helpers ------------------------------------------------------------------------------------------------

    def set_overlap(self, on: bool) -> None:
        """Both pictures in one, by the map as it stands."""
        self.page.set_overlap(on)
        self._send_overlay()

    def _set_mirror(self, on: bool) -> None:
        self.setup.mirrored = on
        self._send_overlay()
        self._show_rig()

    def _forget_peaks(self) -> None:
        if self.preview is not None:
            self.preview.forget_peaks()

    def _turn_polarity(self) -> None:
        self.setup.turn_polarity()
        if self.preview is not None:
            self.preview.set_clock(self.setup.clock())
        self._show_rig()

    def _changed(self) -> None:
        """A setting has another value."""
        self._send_overlay()
        self._show_rig()

    def _send_overlay(self) -> None:
        matrix = self.setup.matrix() if self.page.overlapping else None
        key = None if matrix is None else matrix.tobytes()
        if self.preview is not None and key != self._sent:
            self._sent = key
            self.preview.overlay(None if matrix is None else np.asarray(matrix))

    # rig files ----------------------------------------------------------------------------------------------

    def load(self, path: Path) -> None:
        """Another rig file in the place of all this; an unreadable one changes nothing."""
        setup = RigSetup()
        try:
            setup.load(path)
        except HalfmirrorError as e:
            self._tell(sentence(e), theme.FAULT)
            return
        self.stop()
        self.page.clear_views()
        self._take(setup)
        self._return_to = str(path)
        self._tell(f"Opened {path.name}.")

    def save(self, path: Path) -> None:
        """Write the rig file."""
        try:
            self.setup.save(path)
        except HalfmirrorError as e:
            self._tell(sentence(e), theme.FAULT)
            return
        self._return_to = str(path)
        self._tell(f"Saved as {path}.")
        self._show_rig()

    def _choose_file(self) -> None:
        path = dialogs.rig_to_open(self.window, self.setup.path or default_output().parent)
        if path is not None:
            self.load(path)

    def _choose_name(self) -> None:
        path = dialogs.rig_to_save(self.window, self.setup.path or default_output())
        if path is not None:
            self.save(path)

    def _tell(self, text: str, colour: Any = theme.QUIET) -> None:
        """One line above the buttons, for a while."""
        self._told, self._told_until = (text, colour), self.window.clock() + TOLD_S
        self._show_warning()

    # ticks --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """60 times a second: the newest view every second time; figures a few times a second."""
        if not self.open:
            return
        self._ticks += 1
        preview = self.preview
        if preview is not None and self._ticks % VIEW_EVERY == 0:
            view = preview.poll()
            if view is not None:
                self.views += 1
                self.figures.show_view(view)
        if self._ticks % FIGURES_EVERY:
            return
        self.choices.hear()
        self.controls.settle()
        if preview is not None:
            self._meet(preview)
        self.figures.show_states(preview, self.setup)
        self.figures.show_link(self.setup, self.choices.of)
        self._show_warning()

    def _meet(self, preview: Preview) -> None:
        """Cameras have told who they are, or have come back."""
        for role in CameraRole:
            info = preview.infos.get(role.value)
            if info is not None and info is not self._known.get(role):
                if role in self._known:  # opened again: it may have been away for too short a time to be seen
                    self._down.add(role)
                self._known[role] = info
                self.setup.infos[role.value] = dict(info)
                self.setup.learn_facts(preview.facts)
                self.controls.learn(role, info)
                self._changed()
            status = preview.status(role)
            if status is None:
                continue
            if status.state is CameraState.FAULTED:
                self._down.add(role)
            elif status.state is CameraState.RUNNING and role in self._down:
                self._down.discard(role)
                self.controls.again(role)
        looking = preview.looking()
        if looking is not None and looking.state is CameraState.RUNNING and looking.pid != self._looker:
            if self._looker is not None:  # another process knows nothing of what was asked since the start
                preview.set_clock(self.setup.clock())
                self._sent = None
                self._send_overlay()
            self._looker = looking.pid
        size = self.figures.frame_size
        frames = self.setup.infos.get(FRAMES.value)
        if frames is not None and size != (0, 0) and size != (frames.get("width"), frames.get("height")):
            frames.update(width=size[0], height=size[1])  # another region is read out
            self._changed()

    # what is shown ------------------------------------------------------------------------------------------

    def _show_rig(self) -> None:
        """Names, buttons, map."""
        s, p = self.setup, self.page
        p.source.set_whole(str(s.path) if s.path is not None else s.name or "no rig file")
        p.set_running(self.preview is not None, can_start=s.events.there or s.frames.there)
        why = ""
        try:
            s.build()
        except HalfmirrorError as e:
            why = sentence(e)
        p.set_rig(why)
        base, mirrored = s.base, s.mirrored
        words = "no map yet: both cameras are needed"
        if not why and s.events.there:
            words = "assumed, not calibrated"
            if s.measured and base is not None:
                mirrored = base.geometry.mirrored
                error = base.geometry.residual_px
                words = "map of the rig" + ("" if error is None else f", ±{error:.2f} px")
        p.set_map(words, mirrored=mirrored, free=not s.measured)

    def _show_warning(self) -> None:
        text, colour = self._told
        if not text or (self.window.clock() > self._told_until and colour != theme.FAULT):
            lines = self.setup.warnings()
            text, colour = (sentence(lines[0]), theme.ACCENT) if lines else ("", theme.QUIET)
            text = text[:1].upper() + text[1:]
        paint(self.page.warning, text, colour)
