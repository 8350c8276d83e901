"""Giving a BMC another password: look first, change, and prove it by a login of its own.

Each login here is one of a client of its own, so that what a session kept open still allows proves
nothing. Two refused logins in a row stop everything, as everywhere: so what was refused last is not
tried again before the other password, which may well be taken and ends the count.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
from msgspec.structs import replace

from mulligan.errors import NotFound
from mulligan.redfish.answers import Reply, link, text, whole
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.step import Observation, StepContext, done, is_set, param

MOST_ACCOUNTS = 64
_CLOSE_S = 5.0
_NOT_NOW = frozenset({408, 409, 423, 425, 429, 503})


async def find_password(context: StepContext) -> Observation:
    """Tell which of two versions of the login the BMC takes: ``first``, else ``other``."""
    first, other = param(context, "first"), context.params.get("other", "")
    if other and await _was_refused(context, first):
        first, other = other, first
    found = await _first_taken(context, [first, other] if other else [first])
    return replace(done("the BMC takes a password of the login"), password=found)


async def change_password(context: StepContext) -> Observation:
    """Bring the account from ``before`` to ``version``, unless the BMC takes that already."""
    before, version = param(context, "before"), param(context, "version")
    if before == version:
        return replace(await _proven(context, version), message="the BMC has the password already")
    may_have = context.resumes or is_set(context, "tried")
    if may_have and not await _was_refused(context, version) and await _takes(context, version):
        return replace(
            done("the password had been changed already", recovered=True), password=version
        )
    async with _logged_in(context, before, hide=version) as client:
        await client.prove_login()
        try:
            await _change(context, client, version)
        except Ambiguous as fault:
            note(fault.message)
        except BmcFault as fault:
            if fault.fault != "bad-credentials":
                fault.password = before
                raise
            note(f"{fault.message}: it may go by the new password already")
    return await _verified(context, before, version)


async def _verified(context: StepContext, before: str, version: str) -> Observation:
    """Log in afresh with the new password; with the old one when that is refused.

    The second login tells what to go by from now on, and ends a count of refused ones at the BMC.
    """
    await anyio.sleep(context.bmc.timings.poll)  # some BMCs take a moment to go by it
    if await _takes(context, version):
        return replace(done("the password is changed, and proven by a login"), password=version)
    await _proven(context, before)
    fault = BmcFault(
        "not-applied",
        f"{context.bmc.origin} accepted another password and goes by the former one; it is tried "
        "again, else look at its account policy",
    )
    fault.password = before
    raise fault


async def _change(context: StepContext, client: BmcClient, version: str) -> None:
    """Write the new password to the account that the client is logged in with."""
    assert context.read_login is not None
    login = await context.read_login(version)
    if client.expired_account:  # nothing else is allowed, and its policy tells by refusing
        note("the BMC wanted the password changed before anything else")
        expired = await client.get(client.expired_account)
        await _write(client, expired, login.password)
        return
    service = link(await client.root(), "AccountService")
    if not service:
        raise BmcFault(
            "unsupported",
            f"{client.origin} has no account service: change the password by its own means, then "
            "have the machine use a credential that holds it",
        )
    about = await client.get(service)
    account = await _account(client, about, login.user)
    if account.body.get("Locked") is True:
        note(f"the BMC says that the account at {account.path} is locked")
    _check_length(client, about, len(login.password))
    await _write(client, account, login.password)


async def _write(client: BmcClient, account: Reply, password: str) -> None:
    try:
        await client.patch(account.path, {"Password": password}, etag=account.etag)
    except BmcFault as fault:
        if isinstance(fault, Ambiguous) or fault.status in _NOT_NOW:
            raise
        if fault.fault == "refused":
            raise BmcFault(
                "password-refused",
                f"{fault.message}; start the rotation again with another password",
                status=fault.status,
            ) from None
        raise


def _check_length(client: BmcClient, about: Reply, length: int) -> None:
    least, most = (whole(about.body.get(f"{end}PasswordLength")) for end in ("Min", "Max"))
    if length < least or 0 < most < length:
        raise BmcFault(
            "password-refused",
            f"{client.origin} takes passwords of {least} to {most or 'any number of'} characters, "
            f"this has {length}; start the rotation again with another password",
        )


async def _account(client: BmcClient, about: Reply, user: str) -> Reply:
    accounts = link(about.body, "Accounts")
    for path in await client.members(accounts, limit=MOST_ACCOUNTS) if accounts else ():
        account = await client.get_optional(path)
        if account is not None and text(account.body.get("UserName")) == user:
            return account
    raise BmcFault(
        "unsupported",
        f"{client.origin} lists no account {user!r} of its own: it may come from a directory; "
        "change it there, then have the machine use a credential that holds the new password",
    )


async def _first_taken(context: StepContext, versions: Sequence[str]) -> str:
    """Return the first version that the BMC takes; raise ``bad-credentials`` when it takes none."""
    *likely, last = versions
    for version in likely:
        if await _takes(context, version):
            return version
    await _proven(context, last)
    return last


async def _takes(context: StepContext, version: str) -> bool:
    """Log in once; False when the BMC refuses the login, or the version is gone."""
    try:
        await _proven(context, version)
    except NotFound:
        note("a former password of the login is destroyed: it is not tried")
        return False
    except BmcFault as fault:
        if fault.fault != "bad-credentials" or fault.status != 401:
            raise
        return False
    return True


async def _was_refused(context: StepContext, version: str) -> bool:
    """Whether this version is what the BMC refused at the last login to the account."""
    try:
        async with _logged_in(context, version) as client:
            return client.login_was_refused
    except NotFound:
        return False


async def _proven(context: StepContext, version: str) -> Observation:
    """Log in and read something that needs it; raise what comes of it."""
    async with _logged_in(context, version) as client:
        await client.prove_login()
    return replace(done("the login works"), password=version)


@asynccontextmanager
async def _logged_in(
    context: StepContext, version: str, *, hide: str = ""
) -> AsyncIterator[BmcClient]:
    """Make a client for one version of the login; its session is deleted at the end."""
    if context.log_in is None:
        raise BmcFault("bad-params", "this executor cannot change passwords")
    client = await context.log_in(version, hide)
    try:
        yield client
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSE_S):
            await client.close()
