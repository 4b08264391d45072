"""`halfmirror devices`: cameras that are connected, what would serve each, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import console

if TYPE_CHECKING:
    from app.cli.device_survey import Survey

EXAMPLE = "Example: halfmirror devices --watch   (plug a camera in, or out, and see)"
PAUSE_S = 2.0


def devices(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --watch one line a change.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again until Ctrl+C; say changes.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="With --watch: leave after so long.")
    ] = None,
) -> int:
    """List cameras: name, model, serial number, USB speed, what they can do; then what is missing for others.

    Exit code 0, whether or not there is a camera.
    """
    from app.cli.arguments import positive_seconds
    from app.cli.device_survey import survey
    from capture.errors import UsageError

    if seconds is not None and not watch:
        raise UsageError("--seconds is how long --watch looks; give both")
    if seconds is not None:
        positive_seconds(seconds)
    found = survey()
    _show(found, as_json)
    if watch:
        _watch(found, as_json, seconds)
    return 0


def _watch(before: Survey, as_json: bool, seconds: float | None) -> None:
    import json
    import time

    from app.cli.device_survey import changes, survey

    began = time.monotonic()
    while seconds is None or time.monotonic() - began < seconds:
        time.sleep(PAUSE_S)
        now = survey()
        for what, device in changes(before, now):
            if as_json:
                typer.echo(json.dumps({"change": what, "device": device}))
            else:
                console.out().print(f"{what:<8}{device['name'] or device['model']}", markup=False)
        before = now


def _show(found: Survey, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        import json

        typer.echo(json.dumps(asdict(found)))
        return
    from rich.text import Text

    from app.cli.device_survey import facts_of

    o = console.out()
    for d in found.devices:
        facts = ", ".join(facts_of(d))
        o.print(Text.assemble((f"{d['name'] or '–':<24}", "bold"), facts), soft_wrap=True)
    if not found.devices:
        o.print("no camera is connected; the simulated rig needs none: halfmirror live simulated", markup=False)
    for s in found.sdks:
        style = "green" if s["there"] else "yellow"
        o.print(Text.assemble((f"{s['name']:<24}", style), s["facts"]), soft_wrap=True)
    for m in found.missing:
        o.print(Text(f"→ {m['what']}", "yellow"), soft_wrap=True)
        for line in m["do"]:
            o.print(Text(f"    {line}"), soft_wrap=True)
