"""The claims half of mulligan-resource: find capacity, and take it.

The read model proposes, the log disposes: candidates come from Postgres, and each is taken on exact
state. A candidate that somebody else took is passed over for the next one at once.
"""

import zlib
from collections.abc import Mapping
from datetime import timedelta
from typing import NoReturn

import msgspec

from mulligan.commands.runner import Request
from mulligan.errors import Conflict, Exhausted, InvalidArgument
from mulligan.events.claim import Search
from mulligan.events.request import ClaimRequest
from mulligan.handlers import claim as claims
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.names import slug_of
from mulligan.handlers.provider import DoesNotFit
from mulligan.model import ClaimId, CommitId, ProjectId, ProviderId, Seq, stream_id
from mulligan.placement.solver import Candidate
from mulligan.proto import v1
from mulligan.queries import claims as queries
from mulligan.queries.freshness import wait_until
from mulligan.queries.search import Proposal, Reasons, find, reasons, solved
from mulligan.services import parse, render
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import caller, request_of
from mulligan.services.objects import identify, identify_all
from mulligan.services.reading import page_of, wait_for
from mulligan.services.resource.claim_views import ClaimViews, require_consumer
from mulligan.services.resource.form import MAX_ALLOCATIONS, read_request
from mulligan.services.resource.refusing import over_quota, with_claims_in_the_way
from mulligan.services.resource.searching import SharedSearches, shareable
from mulligan.services.resource.showing import (
    allocations_named,
    candidate_shown,
    summaries,
    why_not_shown,
)
from mulligan.trial import is_trial

MAX_CANDIDATES = 10_000
DEFAULT_CANDIDATES = 10
_ROUNDS = 256
_NOTICE = 3600


class Placing(ClaimViews):
    """Claims and reservations."""

    _searches: SharedSearches

    async def list_candidates(self, message: v1.ListCandidatesRequest) -> v1.ListCandidatesResponse:
        """Answer ranked ways to meet a request, or why there is none."""
        if not 0 <= message.limit <= MAX_CANDIDATES:
            raise InvalidArgument("limit", f"{message.limit} is not between 0 and {MAX_CANDIDATES}")
        request = await read_request(self._commands, message.request)
        position = await wait_for(self._rt, message.freshness, "providers")
        database = self._rt.parts.database
        limit = message.limit or DEFAULT_CANDIDATES
        found = await find(database, request, self._commands.now(), seed=message.seed, limit=limit)
        answer = v1.ListCandidatesResponse(
            position=position,
            candidates=[candidate_shown(c, found.start, found.end) for c in found.candidates],
            truncated=len(found.candidates) >= limit,
        )
        if found.candidates:
            answer.providers = summaries(found, openly=visibility.sees_all())
            names = {p.uuid: p.name for p in answer.providers}
            for candidate in answer.candidates:
                allocations_named(candidate.allocations, names)
        else:
            why = await self._reasons(request, found)
            answer.why_not = why_not_shown(why)
        return answer

    async def make_claim(self, message: v1.MakeClaimRequest) -> v1.ClaimResponse:
        """Find providers that fit and take them."""
        who = caller()
        project = who.require_project()
        request = request_of(message)
        if message.name:
            slug_of(message.name)
        require_consumer(message.consumer)
        draft = claims.MakeClaim(
            claim=ClaimId(request.id),
            project=project,
            account=who.account,
            allocations=(),
            name=message.name,
            consumer=message.consumer,
            on_end=message.on_end or "release",
            ending_notice=read_notice(message.ending_notice),
        )
        claims.check_ending(draft.on_end, draft.ending_notice)
        # Looked for first: by the time of a repeat, the window may have begun, or be over.
        if await self._commands.earlier(request) is None:
            wanted = await read_request(self._commands, message.request)
            await self._place(draft, wanted, request)
        return await self._claim_response(request.id)

    async def _place(self, draft: claims.MakeClaim, wanted: ClaimRequest, request: Request) -> None:
        """Take the first candidate that is still free; look again while others take them first."""
        seed = seed_of(request.id)
        rejected: dict[ProviderId, None] = {}
        considered = conflicts = 0
        head = self._commands.position().seq
        seen = Seq(0)
        found: Proposal | None = None
        rank = 0
        database = self._rt.parts.database
        shared = shareable(wanted) and not is_trial()  # it would keep a share that it does not take
        for _ in range(_ROUNDS):
            now = self._commands.now()
            if shared:
                share = await self._searches.find(database, wanted, now, seed, least=seen)
                found, rank, now, seed = share.proposal, share.rank, share.now, share.seed
                considered += found.considered
            elif found is None:
                found = await find(database, wanted, now, seed=seed, rejected=rejected)
                considered += found.considered
            if not found.candidates:
                if found.loaded.seq >= head and not rejected:
                    await self._refuse(wanted, found, draft.project)
                # the read model may not have what would fit yet, nor what became of the rejected
                seen = await wait_until(database, ("providers",), head)
                rejected.clear()
                found = None
                continue
            search = Search(
                at=found.loaded.seq,
                policy=wanted.policy,
                seed=seed,
                considered=considered,
                conflicts=conflicts,
                breadth=found.breadth,
                rank=rank,
                now=now,
                request=wanted,
                rejected=tuple(rejected),
            )
            command = taking(draft, wanted, found, search)
            try:
                self._learn(command, found)
                await self._commands.execute(command, request)
                return
            except DoesNotFit as lost:
                conflicts += 1
                head = self._commands.position().seq
                if not shared:
                    rejected[lost.provider] = None
                    found = await _next(wanted, found, rejected)
                elif conflicts > 1:  # the read model lags; what it still offers is lost already
                    seen = await wait_until(database, ("providers",), head)
        raise Conflict(f"others took each of {_ROUNDS} choices first; try again")

    def _learn(self, command: claims.MakeClaim, found: Proposal) -> None:
        """Let the command be decided on the states that the search has read anyway."""
        states = {}
        for allocation in command.allocations:
            state = found.loaded.states[allocation.provider]
            for one in (allocation.provider, *state.state.ancestors):
                if one in found.loaded.states:
                    states[stream_id("provider", one)] = found.loaded.states[one]
        self._commands.learn(states)

    async def _refuse(self, wanted: ClaimRequest, found: Proposal, project: ProjectId) -> NoReturn:
        """Say why nothing fits: a quota first, for no other time or place would help against it."""
        if wanted.span.duration is None:
            over = await over_quota(self._commands, project, wanted, found.start, found.end)
            if over is not None:
                raise over
        why = await self._reasons(wanted, found)
        text = why.text
        if why.when is not None:
            start, end = why.when.start, why.when.end
            later = await over_quota(self._commands, project, wanted, start, end)
            if later is not None:
                text += f", but then {visibility.told(later)}"
        raise Exhausted(text, facts=why.facts())

    async def _reasons(self, wanted: ClaimRequest, found: Proposal) -> Reasons:
        openly = visibility.sees_all()
        database = self._rt.parts.database
        return await reasons(database, wanted, found.start, found.end, openly=openly)

    async def claim_exact(self, message: v1.ClaimExactRequest) -> v1.ClaimResponse:
        """Take the named amounts, all or nothing."""
        who = caller()
        project = who.require_project()
        request = request_of(message)
        start, end = parse.window(message.window)
        if not 0 < len(message.allocations) <= MAX_ALLOCATIONS:
            raise InvalidArgument("allocations", f"name 1 to {MAX_ALLOCATIONS}")
        names = [a.provider for a in message.allocations]
        uuids = await identify_all(self._commands, "provider", names, "allocations.provider")
        require_consumer(message.consumer)
        command = claims.MakeClaim(
            claim=ClaimId(request.id),
            project=project,
            account=who.account,
            allocations=tuple(
                parse.allocation(a, uuid, f"allocations[{i}]")
                for i, (a, uuid) in enumerate(zip(message.allocations, uuids, strict=True))
            ),
            start=start,
            end=end,
            name=message.name,
            consumer=message.consumer,
            on_end=message.on_end or "release",
            ending_notice=read_notice(message.ending_notice),
        )
        try:
            await self._commands.execute(command, request)
        except DoesNotFit as error:
            begin = start or self._commands.now()
            raise await with_claims_in_the_way(self._rt, error, begin, end) from error
        return await self._claim_response(request.id)

    async def get_claim(self, message: v1.GetClaimRequest) -> v1.ClaimResponse:
        """Return one claim."""
        return await self._claim_response(await self._claim(message.claim))

    async def list_claims(self, message: v1.ListClaimsRequest) -> v1.ListClaimsResponse:
        """List the claims the caller may see."""
        who = caller()
        position = await wait_for(self._rt, message.freshness, "claims")
        provider = None
        if message.provider:
            provider = await identify(self._commands, "provider", message.provider, "provider")
        states = [_state_name(s) for s in message.states] or sorted(claims.LIVE)
        project = who.project if who.project or not who.is_system else None
        start, end = parse.window(message.window)
        page = await queries.list_claims(
            self._rt.parts.database,
            page_of(self._rt, message.page),
            project=project,
            states=states,
            provider=provider,
            start=start,
            end=end,
            stranded=message.stranded,
        )
        names = await self._names_of(row.state for row in page.items)
        seen = [visibility.claim_seen(row) for row in page.items]
        found = [render.claim(row, self._rt.region, names) for row in seen]
        return v1.ListClaimsResponse(
            claims=found, next_page_token=page.next_token, position=position
        )

    async def release_claim(self, message: v1.ReleaseClaimRequest) -> v1.ClaimResponse:
        """Give a claim back, and its machines with it."""
        request = request_of(message)
        uuid = await self._claim(message.claim)
        await self._visible(uuid)
        await self._commands.execute(ReleaseClaim(claim=ClaimId(uuid)), request)
        return await self._claim_response(uuid)


async def _next(
    wanted: ClaimRequest, found: Proposal, rejected: Mapping[ProviderId, None]
) -> Proposal | None:
    """Return the next candidate of the same space, if it has one: no need to ask Postgres again."""
    again = await solved(wanted, found.loaded.space, found.start, found.end, rejected=rejected)
    if not again.candidates:
        return None
    return msgspec.structs.replace(found, candidates=again.candidates)


def seed_of(request: CommitId) -> int:
    """Return what the choice among equals is drawn from: the same for a dry run and its call."""
    return zlib.crc32(request.encode()) >> 1


def taking(
    draft: claims.MakeClaim, wanted: ClaimRequest, found: Proposal, search: Search
) -> claims.MakeClaim:
    """Return the command that takes a candidate; a start that is now stays now."""
    candidate: Candidate = found.candidates[search.rank]
    at_once = wanted.span.duration is None and wanted.span.start is None
    end = found.end
    start = None if at_once else found.start
    if wanted.span.duration is not None and search.now is not None and found.start <= search.now:
        start = None
        end = search.now + timedelta(seconds=wanted.span.duration)
    return msgspec.structs.replace(
        draft, allocations=candidate.allocations, search=search, start=start, end=end
    )


def read_notice(message: timedelta | None) -> int:
    """Read how long ahead of its end a claim announces it, in seconds; an hour by default."""
    return _NOTICE if message is None else parse.seconds(message, "ending_notice")


def _state_name(state: v1.ClaimState) -> str:
    name = v1.ClaimState(state).name
    if not name or name == "UNSPECIFIED":
        raise InvalidArgument("states", "name a state")
    return name.lower()
