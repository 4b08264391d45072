"""The progress bar of verbs that may take a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.cli import console


@contextmanager
def bar() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on stderr, which appears when the work has taken two seconds.

    The function that it gives takes the step's name and the share of it that is done.
    """
    import threading

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    terminal = console.err()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=terminal, transient=True,
        disable=not terminal.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=None, visible=False)
        # By a clock of its own, since one step may take all the time.
        late = threading.Timer(2.0, lambda: bar.update(task, visible=True))
        late.daemon = True
        late.start()
        try:
            # Without a share the bar only moves to and fro.
            yield lambda step, share: bar.update(
                task, description=step, completed=share, total=1.0 if share else None
            )
        finally:
            late.cancel()
