"""``mulligan version``."""

import typer

from mulligan import __version__

app = typer.Typer(rich_markup_mode=None)


@app.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(f"mulligan {__version__}")
