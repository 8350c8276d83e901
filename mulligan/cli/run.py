"""`mulligan init|up|serve|demo`: the commands that run a region rather than talk to one."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mulligan.errors import InvalidArgument

app = typer.Typer(rich_markup_mode=None)

_DEFAULT_STATE = "~/.local/state/mulligan"

State = Annotated[
    Path,
    typer.Option("--state", envvar="MULLIGAN_STATE", help="Folder of the region's data."),
]
Region = Annotated[str, typer.Option("--region", help="Name of the region.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", envvar="MULLIGAN_CONFIG_FILE", help="Configuration (TOML)."),
]


@app.command()
def init(
    state: State = Path(_DEFAULT_STATE),
    region: Region = "local",
    host: Annotated[
        list[str] | None, typer.Option(help="A further name or address of this host.")
    ] = None,
) -> int:
    """Set up a region: CA, certificates, admin account, configuration, client context.

    Running it again changes nothing but what is lost or close to expiry.
    """
    from shlex import quote

    from mulligan.config import load
    from mulligan.embedded.region import init_region
    from mulligan.embedded.up import remember

    paths = init_region(state, region, hosts=tuple(host or ()))
    config = load(paths.config, os.environ)
    context_file = remember(config, paths, region)
    typer.echo(f"region {region} is set up in {paths.state_dir}")
    typer.echo(f"  configuration  {paths.config}")
    typer.echo(f"  admin secret   {paths.admin_secret}")
    typer.echo(f"  client context {region} in {context_file}")
    elsewhere = "" if state == Path(_DEFAULT_STATE) else f" --state {quote(str(state))}"
    typer.echo(f"next: mulligan up{elsewhere}")
    return 0


@app.command()
def up(
    state: State = Path(_DEFAULT_STATE),
    region: Region = "local",
    regions: Annotated[
        str, typer.Option("--regions", help="Several regions at once, as east,west.")
    ] = "",
) -> int:
    """Run everything here, with an embedded etcd and Postgres, until Ctrl-C.

    With --regions several whole regions run, each in a folder of its own, and know each other.
    """
    if regions:
        if region != "local":
            raise InvalidArgument("--region", "leave it out where --regions says which")
        return _up_several(state, regions)
    from mulligan.config import load
    from mulligan.embedded.region import RegionPaths, init_region
    from mulligan.embedded.up import remember, run

    paths = RegionPaths(state_dir=state.expanduser().resolve())
    if not paths.config.exists():
        paths = init_region(state, region)
    config = load(paths.config, os.environ)
    remember(config, paths, config.region)

    def ready(seconds: float) -> None:
        typer.echo(f"region {config.region} is ready after {seconds:.1f} s: {config.listen.iam}")
        typer.echo("  in another terminal: mulligan status; mulligan machine list")
        typer.echo(f"  logs: {paths.state_dir}/logs; Ctrl-C stops everything")

    return run(config, on_ready=ready)


def _up_several(state: Path, text: str) -> int:
    from mulligan.config import Config
    from mulligan.embedded.regions import names_of, run_regions

    names = names_of(text)

    def ready(config: Config, seconds: float) -> None:
        typer.echo(f"region {config.region} is ready after {seconds:.1f} s: {config.listen.iam}")

    typer.echo(f"{len(names)} regions start in {state.expanduser()}; Ctrl-C stops everything")
    return run_regions(state, names, on_ready=ready)


@app.command()
def serve(
    name: Annotated[str, typer.Argument(help="iam, meta, resource, control, log, …")],
    config_file: ConfigFile = None,
    state: State = Path(_DEFAULT_STATE),
) -> int:
    """Run one service until SIGTERM; etcd and Postgres may come later."""
    from mulligan.config import load
    from mulligan.services.process import run
    from mulligan.services.serve import SERVICES

    if name not in SERVICES:
        raise InvalidArgument("name", f"{name!r} is not one of {', '.join(SERVICES)}")
    path = config_file or state.expanduser().resolve() / "config.toml"
    return run(name, load(path, os.environ))


@app.command()
def demo(
    machines: Annotated[int, typer.Option(min=6, max=1000, help="Emulated machines.")] = 24,
    keep: Annotated[bool, typer.Option(help="Keep the demo's data and say where.")] = False,
) -> int:
    """Start everything with an emulated fleet and walk through it, on real parts."""
    from mulligan.cli.demo import run

    code = run(machines, keep=keep)
    sys.stdout.flush()
    return code
