"""``mulligan certificate``: the certificates of a region's folder on this host. Talks to nobody."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.output import Column, Format, Output
from mulligan.quantities import format_time

if TYPE_CHECKING:
    from mulligan.config import Config
    from mulligan.embedded.certificates import Certificates

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

State = Annotated[
    Path,
    typer.Option("--state", envvar="MULLIGAN_STATE", help="Folder of the region's data."),
]
Form = Annotated[Format, typer.Option("-o", "--output", help="How to print what is found.")]
Hosts = Annotated[list[str] | None, typer.Option("--host", help="A name or address of the host.")]
_DEFAULT_STATE = Path("~/.local/state/mulligan")

COLUMNS = (
    Column("NAME", lambda one: one.name),
    Column("SUBJECT", lambda one: one.subject),
    Column("HOSTS", lambda one: ", ".join(one.hosts)),
    Column("EXPIRES", lambda one: format_time(one.expires)),
    Column("LEFT", lambda one: _left(one)),
    Column("BY", lambda one: "the CA" if one.current else "the old CA"),
    Column("FINGERPRINT", lambda one: one.fingerprint, wide=True),
    Column("FILE", lambda one: one.file, wide=True),
)


def _left(one: object) -> str:
    from datetime import UTC, datetime

    days = (one.expires - datetime.now(UTC)).days  # type: ignore[attr-defined]
    return f"{days} days" if days >= 0 else "expired"


def _at(state: Path) -> "tuple[Certificates, Config]":
    import os

    from mulligan.config import load
    from mulligan.embedded.certificates import Certificates

    folder = state.expanduser().resolve()
    config = load(folder / "config.toml", os.environ, check_files=False)
    return Certificates(folder), config


@app.command("list")
def list_certificates(state: State = _DEFAULT_STATE, output: Form = Format.TABLE) -> int:
    """List the CA, this host's certificates, and those issued to others."""
    certificates, _ = _at(state)
    Output(output).rows(list(certificates.known()), COLUMNS)
    return 0


@app.command("renew")
def renew_certificates(
    state: State = _DEFAULT_STATE,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that hold for 30 days and more.")
    ] = False,
    host: Hosts = None,
) -> int:
    """Issue this host's certificates anew where they end soon; services take them up as they run.

    Names and addresses that a certificate has stay in it; --host adds more.
    """
    certificates, config = _at(state)
    made = certificates.keep(config.region, tuple(host or ()), every=every)
    typer.echo(f"renewed {', '.join(made)}" if made else "nothing ends within 30 days")
    return 0


@app.command("issue")
def issue_certificate(
    name: Annotated[str, typer.Argument(help="Account or host that it is for.")],
    state: State = _DEFAULT_STATE,
    out: Annotated[Path, typer.Option(help="Folder to write NAME.pem and NAME.key to.")] = Path(),
    server: Annotated[
        bool, typer.Option("--server", help="For a service on another host.")
    ] = False,
    host: Hosts = None,
) -> int:
    """Issue a certificate to an account, or to the services of another host."""
    certificates, _ = _at(state)
    made, files = certificates.issue(
        name, out.expanduser().resolve(), server=server, hosts=tuple(host or ())
    )
    typer.echo(f"certificate  {files.cert}")
    typer.echo(f"key          {files.key}")
    typer.echo(f"CA           {files.ca}")
    typer.echo(f"fingerprint  {made.fingerprint}")
    typer.echo(f"expires      {format_time(made.expires)}")
    if not server:
        typer.echo(f"next: mulligan account add-certificate {name} --file {files.cert}")
    return 0


@app.command("renew-ca")
def renew_ca(
    state: State = _DEFAULT_STATE,
    finish: Annotated[bool, typer.Option("--finish", help="Trust the old CA no more.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --finish: make void what still goes by the old.")
    ] = False,
) -> int:
    """Make a new CA beside the old one; later, with --finish, drop the old one."""
    certificates, config = _at(state)
    if finish:
        void = certificates.finish_ca(force=force)
        typer.echo("the old CA is trusted no more" + (f"; void: {', '.join(void)}" if void else ""))
        typer.echo("next: restart etcd, which reads its CA only when it starts")
        return 0
    made = certificates.renew_ca(config.region)
    typer.echo(f"a new CA is in force beside the old one; issued anew: {', '.join(made)}")
    typer.echo(f"  who trusts either trusts both's certificates: {certificates.files('ca').ca}")
    typer.echo("next: give that file to clients and hosts, issue their certificates anew,")
    typer.echo("  restart etcd, then mulligan certificate renew-ca --finish")
    return 0
