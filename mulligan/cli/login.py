"""``mulligan login``, ``logout``, ``whoami``, ``passwd``."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Bundle, Session, verb
from mulligan.errors import InvalidArgument
from mulligan.quantities import format_time

app = typer.Typer(rich_markup_mode=None)

LOGOUT_PATIENCE = 5.0
"""Seconds for which a logout waits for a server that is away."""

WHO = (
    Column("ACCOUNT", lambda who: who.account_name or who.account),
    Column("UUID", lambda who: who.account),
    Column("PROJECT", lambda who: who.project_name or who.project or "(system)"),
    Column("ROLES", lambda who: ", ".join(who.roles) or "none"),
    Column("REGION", lambda who: who.region),
    Column("EXPIRES", lambda who: format_time(who.expires_at)),
)


@dataclass(frozen=True)
class ProofOptions(Bundle):
    """What proves who logs in."""

    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the secret from standard input.")
    ] = False
    secret_file: Annotated[str, typer.Option("--secret-file", help="File of the secret.")] = ""
    cert: Annotated[
        str, typer.Option("--cert", help="Client certificate (PEM), in place of a secret.")
    ] = ""
    key: Annotated[str, typer.Option("--key", help="Private key of --cert (PEM).")] = ""

    def check(self) -> None:
        """Raise InvalidArgument for options that do not go together."""
        if self.cert and (self.password_stdin or self.secret_file):
            raise InvalidArgument("--cert", "give a certificate or a secret, not both")
        if self.key and not self.cert:
            raise InvalidArgument("--key", "this goes with --cert")


@verb(app, "login")
async def login(
    session: Session,
    proof: ProofOptions,
    account: Annotated[
        str, typer.Argument(help="Account; default: the context's. Or OWNER/NAME of a credential.")
    ] = "",
    ca: Annotated[str, typer.Option("--ca", help="PEM file that vouches for the services.")] = "",
    save_as: Annotated[
        str, typer.Option("--save-as", help="Keep address, CA, account and project as a context.")
    ] = "",
) -> None:
    """Log in and remember the tokens.

    The secret is asked for, or read from standard input, a file, or MULLIGAN_SECRET; it is never
    an argument. A client certificate does without one.
    """
    import msgspec

    from mulligan.client.client import Client
    from mulligan.client.context import choose_context, config_path, save_context
    from mulligan.client.tokens import TokenCache

    proof.check()
    overrides = {
        "address": session.common.address,
        "project": session.common.project,
        "account": account,
        "ca": absolute(ca),
        "cert": absolute(proof.cert),
        "key": absolute(proof.key),
    }
    chosen = choose_context(config_path(), session.common.context, overrides=overrides)
    context = chosen.context
    secret = given_secret(proof.password_stdin, proof.secret_file)
    if secret:
        context = msgspec.structs.replace(context, cert="", key="")
    elif not context.cert:
        if not context.account:
            context = msgspec.structs.replace(context, account=ask("Account: ", hidden=False))
        secret = chosen.secret or ask(f"Secret of {context.account}: ", hidden=True)
    name = save_as or chosen.name
    async with Client(context, secret=secret, cache=TokenCache.at(name)) as client:
        await client.log_in()
        if save_as or ca or session.common.address or account or proof.cert:
            save_context(config_path(), name, context, keep_tokens=True)
        session.out.one(await client.iam.who_am_i(), WHO)


@verb(app, "logout")
async def logout(
    session: Session,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="End every session of the account, not only this.")
    ] = False,
) -> None:
    """End the session at the server and forget the tokens of the context.

    The tokens are forgotten even if the server cannot be told; then they end by themselves.
    """
    from mulligan.client.client import Client
    from mulligan.errors import MulliganError

    chosen = session.chosen
    client = Client(chosen.context, cache=session.cache, patience=LOGOUT_PATIENCE)
    try:
        await client.log_out(everywhere=everywhere)
    except MulliganError as error:
        session.out.note(f"the server could not be told: {error.message}")
        if everywhere:
            raise
    finally:
        client.close()
    session.out.note(f"logged out of {chosen.name}")


@verb(app, "passwd")
async def change_secret(
    session: Session,
    proof_file: Annotated[
        str, typer.Option("--old-secret-file", help="File of the present secret.")
    ] = "",
    secret_file: Annotated[str, typer.Option("--secret-file", help="File of the new one.")] = "",
) -> None:
    """Give your own account another secret.

    Every session that the old one began ends, this one too: log in again.
    """
    from mulligan.proto.v1 import ChangeSecretRequest

    chosen = session.chosen
    who = chosen.context.account
    old = given_secret(False, proof_file) or chosen.secret
    request = ChangeSecretRequest(
        old_secret=old or ask(f"Present secret of {who}: ", hidden=True),
        new_secret=new_secret(False, secret_file, f"New secret of {who}"),
    )
    await session.client.iam.change_secret(request)
    session.cache.forget()
    session.out.note(f"the secret of {who} is changed; log in again with it")


@verb(app, "whoami")
async def whoami(session: Session) -> None:
    """Show who you are and what you may do."""
    session.out.one(await session.client.iam.who_am_i(), WHO)


def absolute(path: str) -> str:
    """Return a path that holds in any folder; an empty one stays empty."""
    return os.path.abspath(path) if path else ""


def given_secret(from_stdin: bool, file: str) -> str:
    """Return the secret of standard input or of a file; empty when neither is named."""
    if from_stdin and file:
        raise InvalidArgument("--password-stdin", "give it or a file, not both")
    if from_stdin:
        secret = sys.stdin.readline().rstrip("\r\n")
        if not secret:
            raise InvalidArgument("--password-stdin", "standard input is empty")
        return secret
    if file:
        return secret_in(file)
    return ""


def secret_in(file: str) -> str:
    """Return the first line of a file; raise InvalidArgument when there is none."""
    try:
        lines = Path(file).expanduser().read_text().splitlines()
    except OSError as error:
        raise InvalidArgument(file, f"cannot be read: {error.strerror}") from error
    if not lines or not lines[0]:
        raise InvalidArgument(file, "is empty; its first line must be the secret")
    return lines[0]


def ask(prompt: str, *, hidden: bool) -> str:
    """Ask the person at the terminal; raise InvalidArgument when there is none."""
    if not sys.stdin.isatty():
        raise InvalidArgument(
            prompt.rstrip(": ").lower(),
            "nobody is there to ask; use --password-stdin, a file, or MULLIGAN_SECRET",
        )
    answer: str = typer.prompt(prompt.rstrip(": "), hide_input=hidden, err=True)
    return answer


def new_secret(from_stdin: bool, file: str, prompt: str) -> str:
    """Return a new secret from standard input, a file, or asked for twice."""
    given = given_secret(from_stdin, file)
    if given:
        return given
    secret = ask(prompt, hidden=True)
    if ask(f"{prompt} (again)", hidden=True) != secret:
        raise InvalidArgument("secret", "the two are not the same")
    return secret
