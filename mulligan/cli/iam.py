"""``mulligan iam``: the keys that sign tokens and seal secrets."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli import keystone
from mulligan.cli.output import Column
from mulligan.cli.progress import Progress
from mulligan.cli.verbs import Session, YesOption, verb
from mulligan.errors import Corrupt, Unavailable
from mulligan.quantities import format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import Key, RekeyProgress

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
key_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="See and rotate keys.")
secrets_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Care for secrets.")
app.add_typer(key_app, name="key")
app.add_typer(secrets_app, name="secrets")
app.add_typer(keystone.app, name="import")

COLUMNS = (
    Column("KEY", lambda key: key.kid),
    Column("USE", lambda key: key.use),
    Column("STATE", lambda key: "signs" if key.active else "retired"),
    Column("CREATED", lambda key: format_time(key.created_at)),
    Column("HONOURED UNTIL", lambda key: format_time(key.honoured_until)),
    Column("PUBLIC", lambda key: key.x, wide=True),
)


@verb(key_app, "list")
async def list_keys(session: Session) -> None:
    """List the keys that tokens are verified with."""
    from mulligan.proto.v1 import GetKeysRequest

    answer = await session.client.iam.get_keys(GetKeysRequest())
    session.out.rows(answer.keys, COLUMNS, "no keys")


@verb(key_app, "rotate")
async def rotate_key(
    session: Session,
    use: Annotated[str, typer.Option("--use", help="token or log.")] = "token",
    compromised: Annotated[
        bool,
        typer.Option("--compromised", help="Honour nothing that old keys signed: ends sessions."),
    ] = False,
    yes: YesOption = False,
) -> None:
    """Sign with a new key from now on; tokens of the old one stay valid for their life."""
    from mulligan.proto.v1 import RotateKeyRequest

    if compromised and use == "token":
        session.confirm("End every session of the region, yours too?", yes)
    request = RotateKeyRequest(use=use, compromised=compromised)
    answer = await session.client.iam.rotate_key(request)
    session.out.one(answer.key, COLUMNS)
    if compromised and use == "token":
        session.out.note("every session has ended; log in again (mulligan login)")


@verb(app, "jwks")
async def print_jwks(session: Session) -> None:
    """Print the keys that tokens are verified with as a JSON Web Key Set (RFC 7517)."""
    from mulligan.proto.v1 import GetKeysRequest

    answer = await session.client.iam.get_keys(GetKeysRequest())
    document = {"keys": [jwk(key) for key in answer.keys]}
    session.out.line(json.dumps(document, indent=2))


def jwk(key: "Key") -> dict[str, str]:
    """Return an Ed25519 key as a JSON Web Key (RFC 8037)."""
    return {
        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.kid, "x": key.x,
    }  # fmt: skip


REKEYED = (
    Column("SECRETS", lambda done: str(done.seen)),
    Column("REKEYED", lambda done: str(done.rekeyed)),
    Column("FAILED", lambda done: str(done.failed)),
    Column("MASTER KEY", lambda done: done.master_key),
    Column("PROBLEM", lambda done: done.problem),
)


@verb(secrets_app, "rekey")
async def rekey_secrets(session: Session) -> None:
    """Wrap every secret's key with the newest master key; run it again to resume."""
    from mulligan.proto.v1 import RekeyProgress, RekeySecretsRequest

    done = RekeyProgress()
    with Progress(quiet=not session.out.err.isatty()) as progress:
        async for done in session.client.iam.rekey_secrets(RekeySecretsRequest()):
            progress.show("rekey", f"{done.seen} secrets, {done.rekeyed} rekeyed", done.seen)
    session.out.one(done, REKEYED)
    _require_all(done)


def _require_all(done: "RekeyProgress") -> None:
    if not done.finished:
        raise Unavailable("rekeying was broken off; run it again, it goes on where it was")
    if done.failed:
        raise Corrupt(
            f"{done.failed} secrets could not be rekeyed: keep the old master key until they are"
            f" set anew or destroyed; the first one: {done.problem}"
        )
