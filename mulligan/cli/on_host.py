"""What commands have in common that work on a region's parts directly, on its host."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mulligan.config import Config

StateOption = Annotated[
    Path,
    typer.Option("--state", envvar="MULLIGAN_STATE", help="Folder of the region's data."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar="MULLIGAN_CONFIG_FILE", help="Configuration (TOML)."),
]
DEFAULT_STATE = Path("~/.local/state/mulligan")


def config_of(state: Path, file: Path | None) -> "Config":
    """Read a region's configuration as `mulligan serve` does."""
    from mulligan.config import load

    return load(file or state.expanduser().resolve() / "config.toml", os.environ)
