"""The commands of `./sluice bench`."""

from __future__ import annotations

import typer

app = typer.Typer(help="Measure, on this machine.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure, on this machine."""
