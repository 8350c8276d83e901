"""What is done to a claim that exists: another window, another place, a reshape."""

from mulligan.commands.runner import Request
from mulligan.errors import Exhausted, FailedPrecondition, InvalidArgument
from mulligan.events.claim import Allocation
from mulligan.handlers import claim_changes as changes
from mulligan.handlers.claim import LIVE, Claim
from mulligan.handlers.provider import DoesNotFit
from mulligan.model import ClaimId, ProviderId, stream_id
from mulligan.proto import v1
from mulligan.queries.freshness import wait_until
from mulligan.reconcile.relocation import LOST, move_to_equal
from mulligan.services import parse, render
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import request_of
from mulligan.services.objects import identify, identify_all
from mulligan.services.resource.claim_views import ClaimViews
from mulligan.services.resource.refusing import with_claims_in_the_way

MAX_REASON = 1024


class ClaimChanges(ClaimViews):
    """Reschedule, move, reshape."""

    async def reschedule_claim(self, message: v1.RescheduleClaimRequest) -> v1.ClaimResponse:
        """Give a claim another window."""
        request = request_of(message)
        uuid = await self._claim(message.claim)
        claim = await self._visible(uuid)
        if message.start is None and message.end is None and not message.open_end:
            raise InvalidArgument("end", "say what to change: start, end or open_end")
        if message.end is not None and message.open_end:
            raise InvalidArgument("open_end", "give an end or an open end, not both")
        command = changes.RescheduleClaim(
            claim=ClaimId(uuid), start=message.start, end=message.end, open_end=message.open_end
        )
        versions = {stream_id("claim", uuid): parse.version(message.etag)}
        try:
            await self._commands.execute(command, request, versions=versions)
        except DoesNotFit as error:
            start = message.start or claim.start
            end = None if message.open_end else message.end or claim.end
            raise await with_claims_in_the_way(self._rt, error, start, end, but=uuid) from error
        return await self._claim_response(uuid)

    async def move_claim(self, message: v1.MoveClaimRequest) -> v1.ClaimResponse:
        """Move what a claim holds at one provider to another, or to an equal one that fits."""
        request = request_of(message)
        uuid = await self._claim(message.claim)
        claim = await self._visible(uuid)
        if await self._commands.earlier(request) is not None:
            return await self._claim_response(uuid)
        if claim.state not in LIVE:
            raise FailedPrecondition(f"the claim is {claim.state}; only a live one can be moved")
        source = await self._source(message.source, claim)
        reason = message.reason[:MAX_REASON]
        if message.target:
            target = await identify(self._commands, "provider", message.target, "target")
            command = changes.MoveClaim(
                claim=claim.id, source=source, target=ProviderId(target), reason=reason
            )
            try:
                await self._commands.execute(command, request)
            except DoesNotFit as error:
                start, end = max(claim.start, self._commands.now()), claim.end
                raise await with_claims_in_the_way(self._rt, error, start, end) from error
        else:
            await self._move_to_equal(claim, source, reason, request)
        return await self._claim_response(uuid)

    async def _source(self, text: str, claim: Claim) -> ProviderId:
        held = {hold.provider for hold in claim.held}
        if text:
            source = ProviderId(await identify(self._commands, "provider", text, "source"))
            if source not in held:
                raise FailedPrecondition(f"the claim holds nothing at {text}")
            return source
        if len(held) != 1:
            raise InvalidArgument(
                "source", f"the claim holds something at {len(held)} providers; name the one"
            )
        return held.pop()

    async def _move_to_equal(
        self, claim: Claim, source: ProviderId, reason: str, request: Request
    ) -> None:
        database = self._rt.parts.database
        await wait_until(database, ("providers",), self._commands.position().seq)
        stays = await move_to_equal(
            self._commands, database, claim, source, reason=reason, request=request
        )
        if stays == LOST:
            raise Exhausted(f"{LOST}; try again", retry_after=0.5)
        if stays:
            raise Exhausted(visibility.stranding_seen(stays))

    async def reshape(self, message: v1.ReshapeRequest) -> v1.PositionResponse:
        """Change inventories and allocations together."""
        request = request_of(message)
        names = [one.provider for one in message.providers]
        providers = await identify_all(self._commands, "provider", names, "providers.provider")
        inventories = {
            ProviderId(uuid): parse.inventories(one.inventories)
            for uuid, one in zip(providers, message.providers, strict=True)
        }
        if len(inventories) < len(message.providers):
            raise InvalidArgument("providers", "a provider is given twice")
        allocations: dict[ClaimId, tuple[Allocation, ...]] = {}
        for number, one in enumerate(message.claims):
            field = f"claims[{number}]"
            claim = ClaimId(await self._claim(one.claim, f"{field}.claim"))
            if claim in allocations:
                raise InvalidArgument(f"{field}.claim", "is given twice")
            allocations[claim] = await self._allocations(one.allocations, field)
        command = changes.Reshape(inventories=inventories, claims=allocations)
        outcome = await self._commands.execute(command, request)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def _allocations(
        self, messages: list[v1.Allocation], field: str
    ) -> tuple[Allocation, ...]:
        names = [a.provider for a in messages]
        where = f"{field}.allocations"
        uuids = await identify_all(self._commands, "provider", names, f"{where}.provider")
        return tuple(
            parse.allocation(a, uuid, f"{where}[{n}]")
            for n, (a, uuid) in enumerate(zip(messages, uuids, strict=True))
        )
