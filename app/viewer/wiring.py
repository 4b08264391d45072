"""Which signal calls which wish: the wires between the window's widgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.viewer import dialogs
from app.viewer.player import Player
from app.viewer.transport_bar import next_speed

if TYPE_CHECKING:
    from app.viewer.window import ViewerWindow


def connect(w: ViewerWindow) -> None:
    """Connect every widget of the window."""
    w.keys.connect(
        events=lambda: w.set_events_mode(w.picture.events_mode.next()),
        residual=lambda: w.set_residual(w.keys["residual"].isChecked()),
        fit=w.picture.fit,
        full=w.toggle_full_screen,
        earlier=lambda: w.wish(lambda p: p.nudge(-1)),
        later=lambda: w.wish(lambda p: p.nudge(1)),
        slow=lambda: w.slow_motion(w.keys["slow"].isChecked()),
        live=w.escape,
        play=lambda: w.wish(Player.play_or_pause),
        back=lambda: w.wish(lambda p: p.step(-1)),
        forward=lambda: w.wish(lambda p: p.step(1)),
        slower=lambda: w.wish(lambda p: p.set_speed(next_speed(p.speed, -1))),
        faster=lambda: w.wish(lambda p: p.set_speed(next_speed(p.speed, 1))),
        loop=lambda: w.wish(lambda p: p.set_loop(not p.loop)),
        record=w.recorder.toggle,
        mark_in=lambda: w.marking.toggle(out=False),
        mark_out=lambda: w.marking.toggle(out=True),
        rig=w.rig.toggle,
        calibrate=w.calibration.toggle,
        open=w.choose_recording,
        networks=w.show_networks,
        snapshot=w.save_snapshot,
        help=w.help.toggle,
        quit=w.close,
    )
    w.top.view_chosen.connect(w.set_view)
    w.top.events_chosen.connect(w.set_events_mode)
    w.top.source_chosen.connect(lambda name: w.open_source(name))
    w.top.network.clicked.connect(w.show_networks)
    w.top.folder_wanted.connect(w.choose_snapshot_folder)
    w.top.forget_wanted.connect(w.ask_to_forget)
    w.top.about_wanted.connect(lambda: dialogs.about(w))
    w.chooser.chosen.connect(lambda name: w.wish(lambda p: p.select(name)))
    w.exposure.moved.connect(lambda f: w.wish(lambda p: p.move_to(f)))
    w.exposure.slow_motion.connect(w.slow_motion)
    w.exposure.live.connect(lambda: w.wish(Player.let_go))
    w.transport.play_clicked.connect(lambda: w.wish(Player.play_or_pause))
    w.transport.stepped.connect(lambda n: w.wish(lambda p: p.step(n)))
    w.transport.sought.connect(lambda t: w.wish(lambda p: p.seek(t)))
    w.transport.speed_chosen.connect(lambda f: w.wish(lambda p: p.set_speed(f)))
    w.transport.loop_switched.connect(lambda on: w.wish(lambda p: p.set_loop(on)))
    w.strip.restart.connect(w.restart_worker)
    w.way_out.clicked.connect(w.show_unrestored)
    w.empty.acted.connect(lambda: w.help_out())
