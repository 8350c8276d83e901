"""The first commit of a region: its description and the administrator that `mulligan init` made.

Every replica of mulligan-iam runs this; on a region that has its account it changes nothing.
"""

import logging
import uuid
from pathlib import Path

import anyio

from mulligan.commands.runner import Request
from mulligan.errors import AlreadyExists, Conflict, MulliganError, NotFound
from mulligan.events.envelope import Actor
from mulligan.handlers.account import Account, Binding, CreateAccount, SetSecret
from mulligan.handlers.names import NameState, name_stream
from mulligan.handlers.region import CreateRegion
from mulligan.model import AccountId, CommitId, new_id, stream_id
from mulligan.services.iam.iam_objects import SECRET_KIND
from mulligan.services.iam.passwords import Passwords
from mulligan.services.runtime import Parts, Runtime

log = logging.getLogger(__name__)

ADMIN = "admin"
_ACTOR = Actor(account="service:iam")
_RETRY_S = 0.5


async def bootstrap(runtime: Runtime, parts: Parts, secret_file: Path, done: anyio.Event) -> None:
    """Make the region and its administrator, trying until that succeeds or is found ``done``."""
    while True:
        try:
            await _bootstrap(runtime, parts, secret_file)
            done.set()
            return
        except MulliganError as error:
            log.warning("not bootstrapped yet", extra={"reason": error.message})
            await anyio.sleep(_RETRY_S)


async def _bootstrap(runtime: Runtime, parts: Parts, secret_file: Path) -> None:
    commands = parts.commands
    if (await commands.state(stream_id("region", runtime.region))).state is None:
        request = Request(id=CommitId(new_id()), actor=_ACTOR)
        await commands.execute(CreateRegion(region=runtime.region), request)
    named: NameState | None = (await commands.state(name_stream("account", ADMIN))).state
    if named is not None:
        await _restore_secret(parts, named.object, secret_file)
        return
    secret = _read(secret_file)
    if not secret:
        log.warning("there is no admin account, and no secret to make it with at %s", secret_file)
        return
    hashed = await Passwords().hash(secret)
    seed = f"mulligan:{runtime.region}/account/{ADMIN}"
    account = AccountId(str(uuid.uuid5(uuid.NAMESPACE_URL, seed)))
    version = await parts.secrets.put(SECRET_KIND, account, hashed)
    command = CreateAccount(
        account=account,
        name=ADMIN,
        kind="user",
        secret_version=version,
        bindings=(Binding("admin"),),
    )
    try:
        await commands.execute(command, Request(id=CommitId(new_id()), actor=_ACTOR))
    except AlreadyExists:  # another replica was faster
        await parts.secrets.retire(SECRET_KIND, account, version)
        return
    log.info("made the admin account", extra={"account": account})


async def _restore_secret(parts: Parts, account: str, secret_file: Path) -> None:
    """Give the administrator the secret of the file where the store has lost theirs.

    So it is after a restore of the log alone: an account whose secret is gone opens to nobody.
    """
    commands = parts.commands
    known = (await commands.state(stream_id("account", account))).state if account else None
    state: Account | None = known
    if state is None or state.deleted or not state.secret_version:
        return
    try:
        await parts.secrets.get(SECRET_KIND, account, state.secret_version)
        return
    except NotFound:
        pass
    secret = _read(secret_file)
    if not secret:
        log.warning("the secret of the admin account is lost, and there is none at %s", secret_file)
        return
    version = await parts.secrets.put(SECRET_KIND, account, await Passwords().hash(secret))
    command = SetSecret(account=state.id, version=version, replaces=state.secret_version)
    try:
        await commands.execute(command, Request(id=CommitId(new_id()), actor=_ACTOR))
    except Conflict:  # another replica, or the administrator, was faster
        await parts.secrets.retire(SECRET_KIND, account, version)
        return
    log.warning("the secret of the admin account was lost; it is that of %s again", secret_file)


def _read(file: Path) -> str:
    """Return the file's one line, empty without a file."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
