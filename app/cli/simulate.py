"""`halfmirror simulate`: cameras that are not there, on their real protocols, as far as this machine only.

One command for each kind of camera and one for both, in files of their own (`simulate_genicam`, …).
"""

from __future__ import annotations

import typer

from app.cli import simulate_events, simulate_genicam, simulate_rig

app = typer.Typer(
    name="simulate",
    help="Serve simulated cameras over the real protocols, on this machine's loopback network only.",
    epilog=simulate_rig.EXAMPLE,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("genicam", epilog=simulate_genicam.EXAMPLE)(simulate_genicam.genicam)
app.command("events", epilog=simulate_events.EXAMPLE)(simulate_events.events)
app.command("rig", epilog=simulate_rig.EXAMPLE)(simulate_rig.rig)


@app.callback()
def _commands() -> None:
    """Without this a single command would take the place of its group."""
