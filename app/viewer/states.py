"""What the window says when there is nothing to see, or when what is seen stands still."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.session import SessionStatus
from app.viewer.modes import View
from app.viewer.player import Player
from app.viewer.showing import Mode
from app.viewer.words import rate, sentence
from capture.camera import CameraState
from inference.restorers.base import RANDOM_FLAG
from sync.exposing import NO_STAMPS
from sync.exposure import Refusal

if TYPE_CHECKING:
    from app.viewer.window import ViewerWindow

PASSED_THROUGH = "none"  # the network that changes nothing
OPENING = "source"  # the name under which a session reports that its source does not open
SLOW_START_S = 6.0  # from then on a start without a picture is explained


def pill(player: Player) -> str:
    """Why the picture stands still and which key goes on; "" when it does not."""
    s = player.showing
    on = "Esc goes on" if player.recording else "Esc goes back to live"
    if s.mode is Mode.SLOW_MOTION:
        return f"restoring all instants… · {on}" if s.waiting else f"slow motion of one exposure · {on}"
    if s.mode is Mode.HELD:
        return f"held · {on}"
    if player.ended:
        return "end of the recording · Space plays it again"
    if s.paused:
        return "paused · Space plays"
    return ""


def word(player: Player) -> str:
    """What time does: live, late, playing, paused or ended; "" while nothing is on screen yet."""
    if player.picture is None:
        return ""
    if not player.recording:
        return "late" if player.showing.stale() >= 1.0 else "live"
    return "ended" if player.ended else "paused" if player.showing.paused else "playing"


def label(player: Player) -> str:
    """What the right half is called: with its instant when a frame is held, honest when nothing was done."""
    s, p = player.showing, player.picture
    name = "sharp"
    if p is not None and p.network == PASSED_THROUGH:
        name = "unchanged"
    elif p is not None and RANDOM_FLAG in p.flags:
        name = RANDOM_FLAG
    at = s.shown_latent
    return f"{name}  {at:.2f}" if s.held and at is not None else name


def refusal(player: Player, source: str) -> str:
    """Why the picture on screen was not restored; what helps, too, where a recording tells no exposures."""
    p = player.picture
    text = "" if p is None else p.refusal
    reason = Refusal.NO_EXPOSURE.value
    if not (player.recording and text.startswith(reason) and NO_STAMPS in text.removeprefix(reason)):
        return text
    return (
        f"{text}.\nState how long they were exposed: halfmirror replay {shlex.quote(source)} --exposure-us N. "
        f"Or see the frames as they are: network {PASSED_THROUGH} (N)"
    )


def still(player: Player) -> str:
    """held, paused or ended: the picture is old by the user's wish; "" when it is not."""
    if player.showing.held:
        return "held"
    state = word(player)
    return state if state in ("paused", "ended") else ""


@dataclass(frozen=True, slots=True)
class Nothing:
    """What stands where the picture would be: a sentence, the name of the action that helps ("" for none), the
    action itself.
    """

    text: str
    action: str
    help_out: Callable[[], object]


def residual(player: Player) -> tuple[str, str]:
    """Words beside the map of the re-blur residual, and why there is none; both "" when nobody asked."""
    s = player.showing
    if not s.measuring:
        return "", ""
    if not s.any_latent:
        why = f"{player.network} restores one instant only, so its pictures cannot be blurred again"
        return "no re-blur residual: one instant only", why
    p = player.picture
    if p is None or p.sharp is None or p.exposure_start_us is None:
        return "", "the exposure on screen was not restored, or its length is not known"
    found = s.residual
    return ("re-blur residual…" if found is None else f"re-blur residual {found.rms:.1f}"), ""


def unopened(status: SessionStatus) -> bool:
    """The source does not open: there is nothing to play through."""
    return any(w.name == OPENING and w.state is CameraState.FAULTED for w in status.workers)


def nothing(window: ViewerWindow, player: Player | None, status: SessionStatus | None) -> Nothing | None:
    """What to say where the picture would be; None with a picture."""
    if player is None and window.opening.looking:
        other = "Choose another source" if window.opening.slow else ""
        return Nothing(f"Looking at {window.opening.looking}…", other, window.show_sources)
    if window.problem:
        return Nothing(window.problem, "Choose another source", window.show_sources)
    if player is None and window.closing.going:
        return Nothing("Closing what ran before…", "", window.show_sources)
    if player is None:
        return Nothing("Nothing is open.", "Choose a source", window.show_sources)
    p = player.picture
    if p is not None:
        if window.presenter.nothing_to_see(p):
            return Nothing(
                "No events come with the pictures, so there is nothing to draw.",
                "Show blurred and sharp",
                lambda: window.set_view(View.WIPE),
            )
        return None
    workers = status.workers if status is not None else ()
    faulted = next((w for w in workers if w.state is CameraState.FAULTED), None)
    if faulted is not None:
        if faulted.name == OPENING:
            why = sentence(faulted.detail or f"{window.source} cannot be opened")
            network = player.choice(player.wanted or player.network)
            if network is not None and not network.usable:
                return Nothing(why, "Choose another network", window.show_networks)
            if not player.recording:  # a camera may be there by now
                return Nothing(why, "Try again", lambda: window.restart_worker(OPENING))
            return Nothing(why, "Choose another source", window.show_sources)
        why = sentence(faulted.detail) if faulted.detail else "It gives no reason."
        return Nothing(
            f"{faulted.name.capitalize()} stopped with a fault. {why}",
            f"Restart {faulted.name}",
            lambda: window.restart_worker(faulted.name),
        )
    if status is not None and status.message:
        text = status.message[0].upper() + status.message[1:]
        slow = any(w.name == OPENING for w in workers) and player.clock() - player.made_at > SLOW_START_S
        return Nothing(text, "Choose another source" if slow else "", window.show_sources)
    starting = [w for w in workers if w.state is CameraState.STARTING]
    if starting:
        detail = next((w.detail for w in starting if w.detail), "")
        text = f"Starting {', '.join(w.name for w in starting)}" + (f": {detail}" if detail else "")
        return Nothing(text.rstrip("…") + "…", "", window.show_sources)
    if player.clock() - player.began_at < SLOW_START_S or status is None:
        return Nothing("Waiting for the first picture…", "", window.show_sources)
    return Nothing(
        f"No picture has come yet. Events arrive at {rate(status.event_rate_hz)}, "
        f"{status.items_in} exposures came in.",
        "Choose another source",
        window.show_sources,
    )
