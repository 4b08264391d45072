"""`halfmirror simulate`: cameras that are not there, on their real protocols, as far as this machine only.

One command for each kind of camera, in a file of its own (`simulate_genicam`).
"""

from __future__ import annotations

import typer

from app.cli import simulate_genicam

app = typer.Typer(
    name="simulate",
    help="Serve simulated cameras over the real protocols, on this machine's loopback network only.",
    epilog=simulate_genicam.EXAMPLE,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("genicam", epilog=simulate_genicam.EXAMPLE)(simulate_genicam.genicam)


@app.callback()
def _commands() -> None:
    """Without this a single command would take the place of its group."""
