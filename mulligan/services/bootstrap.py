"""The first commit of a region: its description and the administrator that `mulligan init` made.

Every replica of mulligan-iam runs this; on a region that has its account it changes nothing.
"""

import logging
import uuid
from pathlib import Path

import anyio

from mulligan.commands.runner import Request
from mulligan.errors import AlreadyExists, MulliganError
from mulligan.events.envelope import Actor
from mulligan.handlers.account import Binding, CreateAccount
from mulligan.handlers.names import NameState, name_stream
from mulligan.handlers.region import CreateRegion
from mulligan.model import AccountId, CommitId, new_id, stream_id
from mulligan.services.passwords import Passwords
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
        return
    secret = _read(secret_file)
    if not secret:
        log.warning("there is no admin account, and no secret to make it with at %s", secret_file)
        return
    hashed = await Passwords().hash(secret)
    seed = f"mulligan:{runtime.region}/account/{ADMIN}"
    account = AccountId(str(uuid.uuid5(uuid.NAMESPACE_URL, seed)))
    version = await parts.secrets.put("account", account, hashed)
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
        await parts.secrets.retire("account", account, version)
        return
    log.info("made the admin account", extra={"account": account})


def _read(file: Path) -> str:
    """Return the file's one line, empty without a file."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
