"""Wraps every sealed secret's key with the newest master key, so that older ones can be destroyed.

First no process seals with an older master key any more (``SecretStore.fence_off``), then each
secret is wrapped anew where it still lies, a page of names in memory at a time. What was done stays
done: broken off, it is run again.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from mulligan.commands.runner import Request
from mulligan.errors import Conflict, Corrupt, InvalidArgument
from mulligan.events.envelope import Actor
from mulligan.handlers.region import NoteRekeying
from mulligan.model import CommitId, new_id
from mulligan.services.gate.caller import Caller
from mulligan.services.runtime import Runtime

log = logging.getLogger(__name__)

_TELL_EVERY = 50


class Rekeyed(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is; ``problem`` is the first secret that failed, and why."""

    master_key: str
    seen: int = 0
    rekeyed: int = 0
    failed: int = 0
    problem: str = ""
    finished: bool = False


async def rekey(runtime: Runtime, who: Caller) -> AsyncGenerator[Rekeyed, None]:
    """Do it, yielding how far it is now and then, and note it in the log at the end.

    A secret that does not open is counted and left as it is. Raise BadConfiguration when the master
    keys cannot be read.
    """
    parts = runtime.parts
    done = Rekeyed(master_key=await parts.secrets.fence_off())
    yield done
    async with aclosing(parts.secrets.names()) as names:
        async for name in names:
            seen, rekeyed, failed, problem = done.seen + 1, done.rekeyed, done.failed, done.problem
            try:
                rekeyed += await parts.secrets.rewrap(name)
            except (Corrupt, Conflict, InvalidArgument) as error:
                failed += 1
                problem = problem or f"{name}: {error.message}"
                log.warning("a secret was not rekeyed", extra={"reason": error.message})
            done = Rekeyed(
                master_key=done.master_key,
                seen=seen,
                rekeyed=rekeyed,
                failed=failed,
                problem=problem,
            )
            if seen % _TELL_EVERY == 0:
                yield done
    actor = Actor(account=who.account, project=who.project, credential=who.credential)
    request = Request(id=CommitId(new_id()), actor=actor, traceparent=who.traceparent)
    note = NoteRekeying(region=runtime.region, master_key=done.master_key, count=done.rekeyed)
    await parts.commands.execute(note, request)
    yield msgspec.structs.replace(done, finished=True)
