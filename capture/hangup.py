"""The hangup that a closing terminal sends, and `nohup`, which has it ignored."""

from __future__ import annotations

import signal


def hangup_counts() -> bool:
    """SIGHUP is not ignored: whoever started this with nohup wants it to outlive the terminal."""
    return signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
