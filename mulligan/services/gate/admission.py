"""Whom a token admits: the claims as they were signed, held against how the account stands now.

A token says who asks; what they may do is decided by the exact states of the account, its owner
and its project, so that roles taken away, accounts disabled, sessions ended and projects disabled
count from the next call on, at every service. What was found once is remembered for as long as
these states are the very same objects, and not longer than a moment, for some of it ends by time.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mulligan.commands.runner import Commands
from mulligan.commands.states import Known
from mulligan.errors import PermissionDenied, Unauthenticated
from mulligan.handlers import roles
from mulligan.handlers.account import Account
from mulligan.handlers.authority import check_session
from mulligan.model import StreamId, stream_id
from mulligan.services.gate.caller import Caller
from mulligan.services.iam.tokens import caller_of, kid_of, session_of
from mulligan.services.objects import project_path
from mulligan.services.runtime import Runtime

RECHECK_S = 1.0
"""What ends at a time (accounts, certificates) is noticed so late at most."""
MAX_REMEMBERED = 1024
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Admitted(msgspec.Struct, kw_only=True):
    """A caller whose token holds; ``payer`` is the account that its calls are counted for.

    ``granted`` remembers which permissions its roles were found to grant or not, ``reach`` which
    over every project, and ``over_all`` is the caller where they do.
    """

    caller: Caller
    claims: Mapping[str, Any]
    payer: str
    known: tuple[tuple[StreamId, Known], ...]
    until: float
    granted: dict[str, bool]
    reach: dict[str, bool]
    over_all: Caller

    def may(self, permission: str) -> bool:
        """Tell whether the caller's roles grant the permission."""
        if permission == "authenticated":
            return True
        granted = self.granted.get(permission)
        if granted is None:
            granted = self.granted[permission] = roles.grants(self.caller.roles, permission)
        return granted

    def require(self, permission: str) -> None:
        """Raise PermissionDenied unless the caller's roles grant the permission."""
        if not self.may(permission):
            raise PermissionDenied(
                f"this needs the permission {permission}, which your roles"
                f" ({', '.join(self.caller.roles) or 'none'}) do not grant"
            )

    def reaching(self, permission: str) -> Caller:
        """Return the caller, with the reach that its roles give to a permission."""
        over_all = self.reach.get(permission)
        if over_all is None:
            over_all = self.reach[permission] = roles.reaches_all(self.caller.roles, permission)
        return self.over_all if over_all else self.caller

    def making(self, permission: str, traceparent: str) -> Caller:
        """Return the caller of one call; a trace that is not in the form of W3C is left out."""
        caller = self.reaching(permission)
        if not traceparent or not _TRACEPARENT.fullmatch(traceparent):
            return caller
        return msgspec.structs.replace(caller, traceparent=traceparent)


class Admission:
    """Admits callers by their tokens, at one process."""

    def __init__(self, runtime: Runtime, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rt = runtime
        self._clock = clock
        self._remembered: OrderedDict[str, Admitted] = OrderedDict()

    def remembers(self, token: str) -> bool:
        """Whether the token was admitted before, and so is no guess."""
        return token in self._remembered

    def recall(self, token: str) -> Admitted | None:
        """Return whom the token admitted a moment ago, if nothing has changed since."""
        found = self._remembered.get(token)
        if found is None or not self._holds(found, self._rt.present.commands):
            return None
        return found

    async def verify(self, token: str) -> Mapping[str, Any]:
        """Return the claims of an access token of this region; raise Unauthenticated."""
        return await self._rt.verify(token, "access")

    async def admit(self, token: str, claims: Mapping[str, Any]) -> Admitted:
        """Return who a verified token admits; raise Unauthenticated when its session is over."""
        found = self.recall(token)
        if found is not None:
            return found
        self._remembered.pop(token, None)
        admitted = await self._admit(token, claims, self._rt.present.commands)
        self._remembered[token] = admitted
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return admitted

    def _holds(self, found: Admitted, commands: Commands) -> bool:
        if self._clock() >= found.until:
            return False
        return all(commands.peek(stream) is known for stream, known in found.known)

    async def _admit(self, token: str, claims: Mapping[str, Any], commands: Commands) -> Admitted:
        until = self._clock() + RECHECK_S
        states = _States(commands)
        await states.read("key", kid_of(token))  # a key that is retired shows at once
        session = session_of(claims)
        account: Account | None = await states.read("account", str(claims["sub"]))
        owner: Account | None = None
        if account is not None and account.owner:
            owner = await states.read("account", account.owner)
        path = await project_path(states.known, session.project)
        usable = check_session(session, account, owner, path, commands.now())
        if account is None:  # check_session has refused it
            raise Unauthenticated("the token's account does not exist here; log in again")
        caller = msgspec.structs.replace(caller_of(claims, ""), roles=tuple(sorted(usable)))
        return Admitted(
            caller=caller,
            claims=claims,
            payer=account.owner or account.id,
            known=tuple(states.seen.items()),
            until=until,
            granted={},
            reach={},
            over_all=msgspec.structs.replace(caller, is_system=True),
        )


class _States:
    """Exact states, with a note of which were read."""

    def __init__(self, commands: Commands) -> None:
        self.seen: dict[StreamId, Known] = {}
        self._commands = commands

    async def known(self, stream: StreamId) -> Known:
        known = self.seen[stream] = await self._commands.state(stream)
        return known

    async def read(self, kind: str, key: str) -> Any:
        return (await self.known(stream_id(kind, key))).state
