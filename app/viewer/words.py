"""Figures as words: one place for how the window writes numbers. Thin spaces group thousands."""

from __future__ import annotations

NARROW = "\u202f"


def grouped(n: int) -> str:
    """12 345."""
    return f"{n:,}".replace(",", NARROW)


def milliseconds(us: float | None) -> str:
    """Microseconds as milliseconds, three figures; "–" for unknown."""
    if us is None:
        return "–"
    ms = us / 1000
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms" if ms < 1000 else f"{ms:.0f} ms"


def microseconds(us: float) -> str:
    """Whole microseconds."""
    return f"{grouped(round(us))} µs"


def clock(us: int) -> str:
    """mm:ss.t of a position, hours only when there are any."""
    tenths = max(0, us) // 100_000
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes:02d}"
    return f"{head}:{rest // 10:02d}.{rest % 10}"


def rate(hz: float) -> str:
    """Events a second with k, M, G."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if hz >= factor:
            return f"{hz / factor:.1f} {unit}ev/s"
    return f"{hz:.0f} ev/s"


def sentence(error: object) -> str:
    """The first line of an error's text, as a sentence; its class when it has no text."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else ""
    if not text:
        text = f"{type(error).__name__} without a message" if isinstance(error, BaseException) else "unknown"
    elif isinstance(error, (AttributeError, TypeError, KeyError, AssertionError)):
        text = f"{type(error).__name__}: {text}"
    return text if text[-1] in ".!?…" else text + "."
