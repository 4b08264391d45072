"""What `halfmirror live` opens when no RIG is given: what the window showed last, else the simulated rig."""

from __future__ import annotations

from pathlib import Path

SIMULATED = "simulated"


def first_source(last: str, network: str | None, *, rig_page: bool = False) -> tuple[str | Path, str]:
    """What a window begins with, and one line where that is not what it showed last ("" else).

    Args:
        last: what it showed last as it remembers it, "" for nothing.
        network: that was asked for, None for none.
        rig_page: only a rig will do.
    """
    from app import patience
    from app.cli.arguments import rig_source
    from app.cli.replay import check_streams
    from capture.errors import HalfmirrorError
    from recordings.open import recognise
    from recordings.recording import OpenOptions

    if not last:
        return SIMULATED, ""
    path = Path(last)
    try:
        # It may lie on a disk that has gone, and then nothing would be seen for ever.
        there = patience.within(patience.SLOW_S, path.exists, last)
        if rig_page or path.suffix.lower() == ".toml" or not there:
            return rig_source(last), ""
        patience.within(patience.SLOW_S, lambda: recognise(path), last)
        check_streams(path, network, OpenOptions())
    except (HalfmirrorError, OSError) as e:
        return SIMULATED, f"The simulated rig; {last}, which was shown last, does not open: {e}"
    return path, ""


def source_of(network: str | None, *, window: bool, rig_page: bool) -> str | Path:
    """What `live` without a RIG shows. Without a `window` it is always the same: the simulated rig."""
    from app.cli import console
    from app.cli.run_session import no_window

    if not window or no_window():
        return SIMULATED
    from app.viewer.remembered import Remembered

    source, why = first_source(Remembered().source, network, rig_page=rig_page)
    if why:
        console.say(why)
    return source
