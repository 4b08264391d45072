"""`halfmirror doctor`: what is there, what is missing, and what to do about each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import console

if TYPE_CHECKING:
    from app.cli.checks import Check

EXAMPLE = "Example: halfmirror doctor --json > doctor.json   (for a bug report)"


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program or a bug report.")] = False,
) -> int:
    """Look at Python, torch, Qt, cameras, disk and memory; advise on what is missing.

    Exit code 0 when the simulated rig can run, else 1.
    """
    checks = run_checks()
    ok = can_run(checks)
    if as_json:
        import json

        from app.output.report import plain
        from app.version import version

        typer.echo(json.dumps(plain({"halfmirror": version(), "ok": ok, "checks": checks}), indent=2))
    else:
        _print(checks, ok)
    return 0 if ok else 1


def run_checks() -> list[Check]:
    """All checks; those that start a child process run side by side. A check that fails is itself a finding."""
    from concurrent.futures import ThreadPoolExecutor

    from app.cli.checks import Check, State, all_checks

    functions = all_checks()
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(f) for f in functions]
        checks: list[Check] = []
        try:
            for f, future in zip(functions, futures, strict=True):
                try:
                    result = future.result()
                except Exception as e:
                    result = Check(f.__name__, State.NOTE, f"could not be looked at: {e}")
                checks += result if isinstance(result, list) else [result]
        except BaseException:  # Ctrl+C: those that have not begun are not waited for
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return checks


def can_run(checks: list[Check]) -> bool:
    """Everything that the simulated rig needs is there."""
    from app.cli.checks import State

    return not any(c.needed and c.state is State.MISSING for c in checks)


def _print(checks: list[Check], ok: bool) -> None:
    from rich.text import Text

    from app.cli.checks import State

    style = {State.OK: "green", State.NOTE: "yellow", State.MISSING: "bold red"}
    o = console.out()
    # Plain lines rather than a table: advice is often a command, and a wrapped command cannot be copied.
    wide = max((len(c.name) for c in checks), default=0) + 2
    for c in checks:
        o.print(Text.assemble((f"{c.state:<9}", style[c.state]), f"{c.name:<{wide}}", c.facts), soft_wrap=True)
        if c.advice:
            o.print(Text(f"{'':<{9 + wide}}→ {c.advice}", "yellow"), soft_wrap=True)
    runs = "The simulated rig can run: halfmirror live simulated"
    o.print(runs if ok else "The simulated rig cannot run: see what is missing above.", style="bold")
