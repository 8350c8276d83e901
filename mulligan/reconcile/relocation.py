"""Moves what a claim holds at one provider to an equal one that has room."""

from mulligan.commands.runner import Commands, Request
from mulligan.handlers.claim import Claim
from mulligan.handlers.claim_changes import MoveClaim
from mulligan.handlers.provider import DoesNotFit, Provider
from mulligan.log.protocol import Fence
from mulligan.model import ProviderId, stream_id
from mulligan.queries.database import Database
from mulligan.queries.equals import find_equal

LOST = "others took each place first"
_CHOICES = 8


async def move_to_equal(
    commands: Commands,
    database: Database,
    claim: Claim,
    source: ProviderId,
    *,
    reason: str,
    request: Request,
    fence: Fence | None = None,
) -> str:
    """Move it, and return nothing; else why it stays: no equal has room, or ``LOST``.

    Raise what the command raises. The read model should have what the caller knows of.
    """
    left: Provider | None = (await commands.state(stream_id("provider", source))).state
    rejected: set[ProviderId] = set()
    for _ in range(_CHOICES):
        found = await find_equal(database, claim, left, commands.now(), rejected=rejected)
        if found.target is None:
            return found.reason
        move = MoveClaim(claim=claim.id, source=source, target=found.target, reason=reason)
        try:
            await commands.execute(move, request, fence=fence)
            return ""
        except DoesNotFit as lost:
            rejected.add(lost.provider)
    return LOST
